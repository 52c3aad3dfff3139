"""Chromium's DevTools for one page of a session, in a sandbox so that it cannot use the console's cookie."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from browser_sessions.api.caller_credentials import Caller, CheckedRoute, by_ticket
from browser_sessions.api.dependencies import Here, Services
from browser_sessions.api.middleware.origin import base_url
from browser_sessions.api.models.live_models import DevToolsBody, DevToolsResponse
from browser_sessions.api.responses import problems
from browser_sessions.api.session_access import find_active
from browser_sessions.auth.tickets import mint
from browser_sessions.chromium.devtools.crawl import START
from browser_sessions.chromium.devtools.front_end import file
from browser_sessions.chromium.ports import BrowserProcess
from browser_sessions.domain.errors import PageNotFound

router = APIRouter(prefix="/v1/browser/sessions/{session_id}/devtools", tags=["console"], route_class=CheckedRoute)

FILES_LIFETIME_S: Final = 12 * 3600.0
"""Seconds: panels are loaded when they are opened, perhaps hours later. This ticket is valid for static files only; the
one for the page's WebSocket is valid for a minute."""
_POLICY: Final = (
    "sandbox allow-scripts allow-forms allow-downloads; default-src 'none'; script-src {own} 'unsafe-inline' "
    "'unsafe-eval' 'wasm-unsafe-eval' blob:; style-src {own} 'unsafe-inline'; img-src {own} data: blob: http: https:; "
    "font-src {own} data:; worker-src {own} blob:; connect-src {own} {socket} data: blob:; base-uri 'none'; "
    "form-action 'none'; frame-src {own}; frame-ancestors 'none'"
)
"""The front end may use eval and inline styles, in an opaque origin, and connects to this service only."""


@router.post("", response_model=DevToolsResponse, responses=problems(400, 401, 403, 404, 409, 413, 415, 503))
async def open_devtools(
    request: Request, session_id: str, services: Here, principal: Caller, body: DevToolsBody
) -> dict[str, Any]:
    """Create a path that opens Chromium's DevTools for one page of the session, valid for a minute."""
    await find_active(services.pool, principal, session_id)
    if all(page.page_id != body.page_id for page in services.pool.context(session_id).pages()):
        raise PageNotFound(session_id, body.page_id)
    services.console.devtools.check(_process(services, session_id).version)
    now = services.pool.clock.wall()
    socket_ticket = mint(services.ticket_secret, session_id, "cdp", principal, now, sign_in=principal.sign_in)
    files_ticket = mint(
        services.ticket_secret, session_id, "devtools", principal, now, lifetime_seconds=FILES_LIFETIME_S
    )
    scheme, host = _address(request, services)
    path = f"/v1/browser/sessions/{session_id}"
    socket = f"{host}{path}/cdp/devtools/page/{body.page_id}?ticket={socket_ticket}"
    return {"url": f"{path}/devtools/{files_ticket}/{START}?{scheme}={quote(socket, safe='')}"}


@router.get("/{ticket}/{path:path}", include_in_schema=False)
async def devtools_file(request: Request, session_id: str, ticket: str, path: str, services: Here) -> Response:
    """A file of the front end. The ticket is in the path, so that relative URLs keep it."""
    by_ticket(services, request.scope, ticket, session_id, "devtools")
    content, media_type = await file(services.console.devtools, _process(services, session_id).version, path)
    scheme, host = _address(request, services)
    own = f"{'https' if scheme == 'wss' else 'http'}://{host}"
    headers = {
        "Content-Security-Policy": _POLICY.format(own=own, socket=f"{scheme}://{host}"),
        "Access-Control-Allow-Origin": "*",  # modules are loaded by CORS, and a sandbox has an opaque origin
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Cache-Control": "private, max-age=3600",
    }
    return Response(content, headers=headers, media_type=media_type)


def _process(services: Services, session_id: str) -> BrowserProcess:
    """Raises `WrongState`, `SessionNotFound`."""
    return services.pool.registry.live(session_id).opened.process


def _address(request: Request, services: Services) -> tuple[str, str]:
    """(`ws` or `wss`, host and path) under which the caller's browser reaches us."""
    scheme, _, host = base_url(request.scope, services.options.public_url).partition("://")
    return ("wss" if scheme == "https" else "ws"), host
