"""Files that a session's pages have downloaded. They are removed on request, and when the session ends."""

from __future__ import annotations

import os
from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse
from starlette.types import Receive, Scope, Send

from browser_sessions.api.caller_credentials import Caller
from browser_sessions.api.dependencies import Here
from browser_sessions.api.models.file_models import DownloadList, DownloadResponse
from browser_sessions.api.responses import problems
from browser_sessions.api.routes.pages import BYTES_HEADERS, bytes_of, driving
from browser_sessions.api.session_access import find
from browser_sessions.domain.session import SessionStatus

router = APIRouter(prefix="/v1/browser/sessions/{session_id}/downloads", tags=["sessions"])

MEDIA_TYPE: Final = "application/octet-stream"
"""Whatever the site declared: a file of a site must not be rendered by the caller's browser."""


class _OpenFile(FileResponse):
    """Sends a file by its descriptor, which it closes."""

    def __init__(self, descriptor: int, filename: str) -> None:
        super().__init__(
            f"/dev/fd/{descriptor}",
            media_type=MEDIA_TYPE,
            filename=filename,
            headers=dict(BYTES_HEADERS),
            stat_result=os.fstat(descriptor),
        )
        self._descriptor = descriptor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            os.close(self._descriptor)


@router.get("", responses=problems(401, 404))
async def list_downloads(session_id: str, services: Here, principal: Caller) -> DownloadList:
    """List downloads, oldest first, including those in progress. Not an activity; empty for an ended session."""
    found = await find(services.pool, principal, session_id)
    if found.status is not SessionStatus.ACTIVE:
        return DownloadList(downloads=[])
    downloads = services.pool.context(session_id).downloads.all()
    return DownloadList(downloads=[DownloadResponse.model_validate(each, from_attributes=True) for each in downloads])


@router.get(
    "/{download_id}",
    response_class=FileResponse,
    responses={**problems(401, 404, 409), 200: {"content": bytes_of(MEDIA_TYPE), "description": "The file"}},
)
async def get_download(session_id: str, download_id: str, services: Here, principal: Caller) -> FileResponse:
    """Get a complete file; 409 while it is in progress or when it was cancelled. Counts as activity."""
    async with driving(services, principal, session_id) as context:
        found, descriptor = await context.downloads.open(download_id)
        return _OpenFile(descriptor, found.filename)


@router.delete("/{download_id}", status_code=204, responses=problems(401, 404, 409))
async def delete_download(session_id: str, download_id: str, services: Here, principal: Caller) -> Response:
    """Remove a file, or cancel a download in progress. Counts as activity."""
    async with driving(services, principal, session_id) as context:
        await context.downloads.remove(download_id)
        return Response(status_code=204)
