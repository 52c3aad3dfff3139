"""Files that a session's pages may be given. They are removed on request, and when the session ends."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response

from browser_sessions.api import upload_body
from browser_sessions.api.caller_credentials import Caller
from browser_sessions.api.dependencies import Here
from browser_sessions.api.models.file_models import UploadList, UploadResponse
from browser_sessions.api.responses import problems
from browser_sessions.api.routes.pages import bytes_of, driving
from browser_sessions.api.session_access import find
from browser_sessions.domain.errors import Conflict, InvalidField, UploadTooLarge
from browser_sessions.domain.session import SessionStatus
from browser_sessions.domain.uploads import name_problem

router = APIRouter(prefix="/v1/browser/sessions/{session_id}/uploads", tags=["sessions"])

_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": bytes_of("application/octet-stream")
        | {
            upload_body.FORM: {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}
_NAME: Final = "The file's name, with folders if it is one of a folder: `docs/a.txt`. Not needed for a form."


@router.post("", status_code=201, responses=problems(400, 401, 404, 409, 413, 415, 503), openapi_extra=_BODY)
async def upload_file(
    session_id: str,
    services: Here,
    principal: Caller,
    request: Request,
    name: Annotated[str | None, Query(description=_NAME)] = None,
) -> UploadResponse:
    """Upload a file for the session's pages: as it is, or in a form. Its `path` is what a file input takes, over CDP
    with `DOM.setFileInputFiles`. Counts as activity."""
    async with driving(services, principal, session_id) as context:
        body = await upload_body.read(request, name)
        if (problem := name_problem(body.name)) is not None:
            raise InvalidField(body.where, problem)
        try:
            uploaded = await context.uploads.add(body.name, body.size, body.content)
        except (UploadTooLarge, Conflict):
            services.metrics.files.labels("upload", "refused").inc()
            raise
        return UploadResponse.model_validate(uploaded, from_attributes=True)


@router.get("", responses=problems(401, 404))
async def list_uploads(session_id: str, services: Here, principal: Caller) -> UploadList:
    """List uploads, oldest first. Not an activity; empty for an ended session."""
    found = await find(services.pool, principal, session_id)
    if found.status is not SessionStatus.ACTIVE:
        return UploadList(uploads=[])
    uploads = services.pool.context(session_id).uploads.all()
    return UploadList(uploads=[UploadResponse.model_validate(each, from_attributes=True) for each in uploads])


@router.delete("/{upload_id}", status_code=204, responses=problems(401, 404, 409))
async def delete_upload(session_id: str, upload_id: str, services: Here, principal: Caller) -> Response:
    """Remove a file, which frees its share of the quota. Counts as activity."""
    async with driving(services, principal, session_id) as context:
        await context.uploads.remove(upload_id)
        return Response(status_code=204)
