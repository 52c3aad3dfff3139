"""Endpoints of the console: overview, thumbnails, history."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Query, Request, Response

from browser_sessions.api.caller_credentials import Caller
from browser_sessions.api.dependencies import Here, Services
from browser_sessions.api.models.event_models import SessionHistory
from browser_sessions.api.models.live_models import LiveTicket
from browser_sessions.api.models.overview_models import OverviewResponse, SessionRow
from browser_sessions.api.responses import problems
from browser_sessions.api.routes.events import event_id
from browser_sessions.api.session_access import find, find_record
from browser_sessions.console.overview import POINT_EVERY_S
from browser_sessions.domain.principal import Action, may
from browser_sessions.domain.session import require_active
from browser_sessions.live.thumbnails import etag

router = APIRouter(prefix="/v1/browser", tags=["console"])

WIDEST: Final = 640
"""Pixels; larger pictures come from the live view."""
_JPEG: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
    204: {"description": "There is no picture yet"},
    304: {"description": "Unchanged since the ETag in If-None-Match"},
}


@router.get("/overview", response_model=OverviewResponse, responses=problems(401, 503))
async def get_overview(services: Here, principal: Caller) -> Response:
    """Your live sessions and the newest 500 ended ones (operators: everybody's, the pool, and its last hour).

    `position` is the `last_event_id` to start an event stream with, so that no event is missed.
    """
    everything = may(principal, Action.SEE_POOL)
    journal, overview = services.pool.journal, services.console.overview
    position = event_id(journal, journal.newest)
    shown = {
        "sessions": [
            view.pick(SessionRow.model_fields)
            for view in await overview.views(None if may(principal, Action.VIEW) else principal.principal_id)
        ],
        "pool": asdict(services.pool.report.snapshot()) if everything else None,
        "history": {"step_seconds": POINT_EVERY_S, "points": list(overview.history)} if everything else None,
        "you": {"principal_id": principal.principal_id, "name": principal.name, "role": principal.role},
        "position": position,
    }
    return Response(orjson.dumps(shown, option=orjson.OPT_UTC_Z), media_type="application/json")


@router.get("/sessions/{session_id}/thumbnail", response_class=Response, responses=_JPEG | problems(401, 404, 503))
async def get_thumbnail(
    request: Request,
    session_id: str,
    services: Here,
    principal: Caller,
    width: Annotated[int, Query(ge=32, le=WIDEST, description="Largest side in pixels")] = 320,
) -> Response:
    """A thumbnail of the session's newest page, at most a second old; the last one of an ended session."""
    await find(services.pool, principal, session_id)
    picture = await services.console.thumbnails.thumbnail(session_id, width)
    return _picture(request, picture.jpeg if picture else await services.console.archive.picture(session_id))


@router.get("/sessions/{session_id}/frame", response_class=Response, responses=_JPEG | problems(401, 404, 503))
async def get_last_frame(request: Request, session_id: str, services: Here, principal: Caller) -> Response:
    """The last picture of a session."""
    await find(services.pool, principal, session_id)
    return _picture(request, await _last_frame(services, session_id))


@router.get("/sessions/{session_id}/history", response_model=SessionHistory, responses=problems(401, 404, 503))
async def get_session_history(session_id: str, services: Here, principal: Caller) -> Response:
    """The kept events of a session, oldest first, also after its end."""
    await find(services.pool, principal, session_id)
    shown = {
        "events": await services.console.archive.events(session_id),
        "has_frame": await _last_frame(services, session_id) is not None,
    }
    body = orjson.dumps(shown, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS, default=str)
    return Response(body, media_type="application/json")


@router.post(
    "/sessions/{session_id}/live-ticket", response_model=LiveTicket, responses=problems(401, 403, 404, 409, 503)
)
async def make_live_ticket(request: Request, session_id: str, services: Here, principal: Caller) -> dict[str, Any]:
    """Create a URL to watch a session, valid for a minute."""
    record = await find_record(services.pool, principal, session_id)
    require_active(record)
    return {"live_url": services.addresses(request, record, principal)[1]}


async def _last_frame(services: Services, session_id: str) -> bytes | None:
    thumbnail = services.console.thumbnails.newest(session_id)
    return thumbnail.jpeg if thumbnail else await services.console.archive.picture(session_id)


def _picture(request: Request, jpeg: bytes | None) -> Response:
    if jpeg is None:
        return Response(status_code=204)
    headers = {"ETag": etag(jpeg), "Cache-Control": "no-cache"}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(jpeg, headers=headers, media_type="image/jpeg")
