"""The live view over a WebSocket, and taking control over HTTP: docs/live.md."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

from fastapi import APIRouter, WebSocket
from starlette.types import Message
from starlette.websockets import WebSocketDisconnect, WebSocketState

from browser_sessions.api.caller_credentials import Caller, CheckedRoute, by_ticket, credentials_of, identify
from browser_sessions.api.dependencies import Here, Services
from browser_sessions.api.errors import response_for
from browser_sessions.api.middleware.origin import check_origin
from browser_sessions.api.models.live_models import ControlBody, ControlResponse
from browser_sessions.api.responses import problems
from browser_sessions.api.session_access import find, find_active
from browser_sessions.auth.credential_leases import REVOKED, until_revoked
from browser_sessions.domain.close_codes import close_code
from browser_sessions.domain.errors import BrowserSessionsError, Forbidden, InvalidField, QuotaExceeded, WrongState
from browser_sessions.domain.principal import Action, Principal
from browser_sessions.domain.session import require_active
from browser_sessions.live.viewer import MAX_FPS, MAX_WIDTH, Viewer, watches

router = APIRouter(prefix="/v1/browser/sessions/{session_id}", tags=["console"], route_class=CheckedRoute)

VIEWERS: Final = 50
"""Viewers of one session at once: enough for an audience, not for a leak of connections."""
WITHOUT_VIEW_S: Final = 300.0
"""Seconds of control over HTTP without a live view: a program that drives by requests takes it again in time, and one
that is gone does not hold up the clients for long."""
CLOSE_S: Final = 2.0
"""Seconds to close the WebSocket of a client that may not read."""


class _Socket:
    """`live.viewer.Channel` over a WebSocket that was accepted. Raises `WebSocketDisconnect`."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def send_bytes(self, data: bytes) -> None:
        await self._send({"type": "websocket.send", "bytes": data})

    async def send_text(self, data: str) -> None:
        await self._send({"type": "websocket.send", "text": data})

    async def _send(self, message: Message) -> None:
        if self._websocket.application_state is not WebSocketState.CONNECTED:  # another task's message has shown it
            raise WebSocketDisconnect(1006)
        await self._websocket.send(message)

    async def receive(self) -> str | None:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        return message.get("text") or ""


@router.websocket("/live")
async def watch_session(websocket: WebSocket, session_id: str) -> None:
    """Sends JPEG frames, receives input."""
    services: Services = websocket.app.state.services
    try:
        principal = _principal(services, websocket, session_id)
        viewer = await _viewer(services, websocket, session_id, principal)
    except BrowserSessionsError as error:
        await websocket.send_denial_response(response_for(error))
        return
    await websocket.accept()
    with services.metrics.viewers.track_inprogress():
        try:
            code, reason = await _watch(services, principal, viewer)
        except WebSocketDisconnect:
            return
        except WrongState:  # it ended during the handshake
            ended = viewer.session.end_reason
            code, reason = close_code(ended) if ended else (1000, "")
    if websocket.client_state is WebSocketState.CONNECTED and websocket.application_state is WebSocketState.CONNECTED:
        with contextlib.suppress(TimeoutError, WebSocketDisconnect):  # the viewer may be gone, and not have said so
            async with asyncio.timeout(CLOSE_S):
                await websocket.close(code, reason)


@router.post("/control", response_model=ControlResponse, responses=problems(400, 401, 403, 404, 409, 413, 415, 503))
async def control_session(session_id: str, services: Here, principal: Caller, body: ControlBody) -> dict[str, Any]:
    """Take or release control: while it is taken, the clients' commands wait. Operators may take it
    of any session, owners of their own, and admins from another holder.

    Control ends with the holder's last live view or, without one, five minutes after it was last taken; it also ends
    when the holder's credential is revoked.
    """
    await find_active(services.pool, principal, session_id)
    live = services.pool.registry.live(session_id)
    control = live.control
    if body.action == "take":
        ends = services.pool.clock.monotonic() + WITHOUT_VIEW_S
        control.take(principal, until=None if watches(live, principal.principal_id) else ends)
        services.pool.touch(session_id)
    else:
        control.release(principal)
    return {"controlled_by": control.holder.name if control.holder else None, "waiting": control.waiting}


async def _watch(services: Services, principal: Principal, viewer: Viewer) -> tuple[int, str]:
    """Returns (close code, reason) when the viewer leaves, the session ends or the credential is revoked. Raises as
    `Viewer.run`."""
    with services.keyring.lease(principal) as stopped:
        running = asyncio.ensure_future(viewer.run())
        try:
            return REVOKED if await until_revoked(stopped, running) else running.result()
        finally:
            running.cancel()
            await asyncio.wait({running})


async def _viewer(services: Services, websocket: WebSocket, session_id: str, principal: Principal) -> Viewer:
    """Raises `SessionNotFound`, `WrongState`, `QuotaExceeded`, `PageNotFound`."""
    found = await find(services.pool, principal, session_id, Action.VIEW)
    require_active(found)
    live = services.pool.registry.live(session_id)
    if live.viewers >= VIEWERS:
        raise QuotaExceeded(f"This session has {VIEWERS} viewers, which is the limit.")
    query = websocket.query_params
    page_id = query.get("page_id")
    if page_id is not None:
        live.opened.context.screen(page_id)  # raises when the session has no such page
    return Viewer(
        services.pool,
        live,
        services.console.thumbnails,
        principal,
        _Socket(websocket),
        page_id=page_id,
        max_width=int(_number(query.get("max_width"), "max_width", 1280, MAX_WIDTH)),
        max_fps=_number(query.get("max_fps"), "max_fps", MAX_FPS, 1000),
    )


def _principal(services: Services, websocket: WebSocket, session_id: str) -> Principal:
    """Authenticates by ticket, header or cookie. Raises `Unauthenticated`, `Forbidden`."""
    ticket = websocket.query_params.get("ticket")
    check_origin(websocket.scope, services.options.public_url, ticketed=False)
    if ticket is not None:
        return by_ticket(services, websocket.scope, ticket, session_id, "live")
    headers = websocket.headers
    if credentials_of(websocket.scope) == (None, None) and "origin" not in headers and "cookie" in headers:
        raise Forbidden("Signed in by cookie, only the console's own pages may connect.")  # browsers always send Origin
    return identify(services, websocket.scope)


def _number(text: str | None, name: str, default: float, most: float) -> float:
    """Raises `InvalidField`."""
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value >= 1:
        raise InvalidField(("query", name), f"must be a number from 1 to {most:g}")
    return min(value, most)
