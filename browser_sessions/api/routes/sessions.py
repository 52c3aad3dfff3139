"""Sessions: list, details, health, keepalive, end. `session_create.py` and `session_status.py` have the other two."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request

from browser_sessions.api.caller_credentials import Caller, CheckedRoute
from browser_sessions.api.dependencies import Here
from browser_sessions.api.list_cursor import cursor_after, moment_of
from browser_sessions.api.models.session_models import (
    LIST_LIMIT,
    BrowserSessionDetails,
    BrowserSessionHealth,
    BrowserSessionList,
    BrowserSessionResponse,
    KeepaliveBody,
    StatusName,
)
from browser_sessions.api.query_parameters import metadata_filters
from browser_sessions.api.responses import problems
from browser_sessions.api.session_access import find, find_active, find_record, find_view, summary
from browser_sessions.domain.egress_rules import NO_RULES
from browser_sessions.domain.ports import SessionQuery
from browser_sessions.domain.principal import Action, may
from browser_sessions.domain.session import EndReason, SessionStatus

router = APIRouter(prefix="/v1/browser/sessions", tags=["sessions"], route_class=CheckedRoute)

_DETAILS: Final = BrowserSessionDetails.model_fields.keys() - {
    "connections",
    "pages",
    "connect_url",
    "live_url",
    "key_egress",
    "traffic",
}
_LIST_PARAMETERS: Final = ("status", "limit", "cursor")


@router.get("", response_model=BrowserSessionList, responses=problems(401, 503))
async def list_browser_sessions(
    request: Request,
    services: Here,
    principal: Caller,
    status: Annotated[list[StatusName] | None, Query(description="Only these; may be given several times")] = None,
    limit: Annotated[int, Query(ge=1, le=LIST_LIMIT)] = 50,
    cursor: Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before")] = None,
) -> dict[str, Any]:
    """List your sessions, newest first (operators see everybody's). `metadata.<key>=<value>` filters by metadata."""
    query = SessionQuery(
        owner=None if may(principal, Action.VIEW) else principal.principal_id,
        statuses=frozenset(SessionStatus(name) for name in status) if status else None,
        metadata=metadata_filters(request.query_params, _LIST_PARAMETERS),
        before=None if cursor is None else moment_of(cursor),
        limit=limit + 1,
    )
    found = await services.pool.registry.list(query)
    shown = found[:limit]
    return {
        "sessions": [summary(record) for record in shown],
        "next_cursor": cursor_after(shown[-1]) if len(found) > limit else None,
    }


@router.get("/{session_id}/details", response_model=BrowserSessionDetails, responses=problems(401, 404, 503))
async def get_browser_session_details(
    request: Request, session_id: str, services: Here, principal: Caller
) -> dict[str, Any]:
    """Get all facts about a session, with fresh URLs to connect to it and to watch it."""
    view = await find_view(services.pool, principal, session_id)
    record, live = view.record, services.pool.registry.lives.get(session_id)
    connect_url = live_url = None
    if not record.status.final:
        connect_url, live_url = services.addresses(request, record, principal)
    return view.pick(_DETAILS) | {
        "connections": view.connections + view.viewers,
        "pages": view.page_count if record.status is SessionStatus.ACTIVE else 0,
        "connect_url": connect_url,
        "live_url": live_url,
        "key_egress": None if live is None or live.session.key_egress == NO_RULES else live.session.key_egress,
        "traffic": record.traffic if live is None else live.traffic,
    }


@router.get("/{session_id}/health", response_model=BrowserSessionHealth, responses=problems(401, 404, 503))
async def get_browser_session_health(session_id: str, services: Here, principal: Caller) -> dict[str, Any]:
    """Probe the live browser now. Responds within two seconds, even when the page hangs."""
    await find(services.pool, principal, session_id)
    return asdict(await services.pool.report.health(session_id))


@router.post(
    "/{session_id}/keepalive",
    response_model=BrowserSessionResponse,
    responses=problems(400, 401, 404, 409, 413, 415, 503),
)
async def keep_browser_session_alive(
    session_id: str, services: Here, principal: Caller, body: KeepaliveBody | None = None
) -> dict[str, Any]:
    """Count as activity; `extend_seconds` extends the lifetime, within the server's maximum."""
    await find_active(services.pool, principal, session_id)
    if body is not None and body.extend_seconds is not None:
        await services.pool.extend(session_id, body.extend_seconds)
    services.pool.touch(session_id)
    return summary(await find_record(services.pool, principal, session_id))


@router.delete("/{session_id}", response_model=BrowserSessionResponse, responses=problems(401, 404, 503))
async def end_browser_session(session_id: str, services: Here, principal: Caller) -> dict[str, Any]:
    """End a session; idempotent."""
    found = await find(services.pool, principal, session_id, Action.END)
    reason = EndReason.DELETED if found.owner == principal.principal_id else EndReason.OPERATOR
    return summary(await services.pool.end(session_id, reason))
