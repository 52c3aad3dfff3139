"""CDP access to a session: the WebSocket, and Chromium's discovery endpoints under /json."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl

import orjson
from fastapi import APIRouter, Query, Request, Response, WebSocket
from starlette.types import Scope

from browser_sessions.api.caller_credentials import Declared, by_ticket, identify
from browser_sessions.api.dependencies import Here, Services
from browser_sessions.api.errors import kind_of, response_for
from browser_sessions.api.middleware.edge import CREATED
from browser_sessions.api.middleware.origin import check_origin
from browser_sessions.api.responses import problems
from browser_sessions.api.session_access import find_active
from browser_sessions.auth.credential_leases import REVOKED, until_revoked
from browser_sessions.chromium.chromium_version import chromium_version
from browser_sessions.chromium.ports import BrowserProcess
from browser_sessions.domain.errors import BrowserSessionsError, InvalidField
from browser_sessions.domain.principal import Principal
from browser_sessions.gateway.gateway import TAKE_OVER
from browser_sessions.gateway.relay import Relay

router = APIRouter(tags=["cdp"])

_JSON: Final = "application/json; charset=UTF-8"
Ticket = Annotated[str | None, Query(max_length=2048, description="Instead of a credential: from `connect_url`")]


@router.websocket("/v1/browser/sessions/{session_id}/cdp")
async def connect_to_session(websocket: WebSocket, session_id: str) -> None:
    """The session as a browser over the Chrome DevTools Protocol."""
    await _connect(websocket, session_id, None)


@router.websocket("/v1/browser/sessions/{session_id}/cdp/devtools/page/{page_id}")
async def connect_to_page(websocket: WebSocket, session_id: str, page_id: str) -> None:
    """One page of the session, as Chromium's DevTools connects to it."""
    await _connect(websocket, session_id, page_id)


async def _connect(websocket: WebSocket, session_id: str, page_id: str | None) -> None:
    services: Services = websocket.app.state.services
    try:
        principal = _principal(services, websocket.scope, session_id)
        await find_active(services.pool, principal, session_id)
        relay = await services.gateway.open(session_id, principal, page_id)
    except BrowserSessionsError as error:
        await refuse(websocket, error)
        return
    await carry(websocket, relay, principal)


@router.websocket("/v1/browser/sessions/{session_id}/cdp/devtools/browser/{_any}")
async def connect_as_to_chromium(websocket: WebSocket, session_id: str, _any: str) -> None:
    """The same, under the path that Chromium uses."""
    await connect_to_session(websocket, session_id)


@router.get("/v1/browser/sessions/{session_id}/cdp/json/version", responses=problems(401, 404, 409))
@router.get("/v1/browser/sessions/{session_id}/cdp/json/version/", include_in_schema=False)
async def cdp_version(
    request: Request, services: Here, session_id: str, _: Declared, ticket: Ticket = None
) -> Response:
    """Chromium's `/json/version` for this session, for clients that connect by an http:// URL."""
    principal = await _principal_of_active(services, request.scope, session_id)
    facts = await chromium_version(_process(services, session_id))
    record = services.pool.registry.live(session_id).session.record(services.pool.clock)
    connect_url = services.addresses(request, record, principal)[0]
    return as_json(
        facts | ({"User-Agent": record.user_agent} if record.user_agent else {}) | {"webSocketDebuggerUrl": connect_url}
    )


@router.get("/v1/browser/sessions/{session_id}/cdp/json/list", responses=problems(401, 404, 409))
@router.get("/v1/browser/sessions/{session_id}/cdp/json", include_in_schema=False)
@router.get("/v1/browser/sessions/{session_id}/cdp/json/", include_in_schema=False)
@router.get("/v1/browser/sessions/{session_id}/cdp/json/list/", include_in_schema=False)
async def cdp_list(request: Request, services: Here, session_id: str, _: Declared, ticket: Ticket = None) -> Response:
    """The session's pages in the format of Chromium's `/json/list`."""
    principal = await _principal_of_active(services, request.scope, session_id)
    record = services.pool.registry.live(session_id).session.record(services.pool.clock)
    connect_url = services.addresses(request, record, principal)[0]
    path, _mark, query = connect_url.partition("?")
    return as_json(
        [
            {
                "id": page.page_id,
                "type": "page",
                "title": page.title,
                "url": page.url,
                "webSocketDebuggerUrl": f"{path}/devtools/page/{page.page_id}?{query}",
            }
            for page in services.pool.context(session_id).pages()
        ]
    )


@router.get("/v1/browser/sessions/{session_id}/cdp/json/protocol", responses=problems(401, 404, 409, 503))
@router.get("/v1/browser/sessions/{session_id}/cdp/json/protocol/", include_in_schema=False)
async def cdp_protocol(
    request: Request, services: Here, session_id: str, _: Declared, ticket: Ticket = None
) -> Response:
    """Chromium's description of the protocol."""
    await _principal_of_active(services, request.scope, session_id)
    version = _process(services, session_id).version
    return Response(await services.console.devtools.protocol(version), media_type=_JSON)


async def carry(websocket: WebSocket, relay: Relay, principal: Principal, session_id: str | None = None) -> None:
    """Accepts the WebSocket and hands the transport over. Returns when the client is gone or its credential revoked.

    `session_id`: of the session that this connection has created; the handshake's response names it.
    """
    take_over = websocket.scope["extensions"].get(TAKE_OVER)
    try:
        if take_over is None:
            raise RuntimeError("The server was started without uvicorn_adapter.TakeOverProtocol.")
        named = []
        if session_id is not None:
            websocket.scope[CREATED] = session_id
            named = [(b"browser-session-id", session_id.encode())]
        await websocket.accept(headers=named)
        take_over(relay.socket)
        relay.begin()
    except BaseException:
        relay.client_gone()
        raise
    services: Services = websocket.app.state.services
    with services.keyring.lease(principal) as stopped:
        if await until_revoked(stopped, relay.socket.closed):
            relay.socket.close(*REVOKED)
    await asyncio.shield(relay.socket.closed)


async def refuse(websocket: WebSocket, error: BrowserSessionsError) -> None:
    if kind_of(error).status == 500 and not isinstance(error, InvalidField):
        raise error
    await websocket.send_denial_response(response_for(error))


def _principal(services: Services, scope: Scope, session_id: str) -> Principal:
    """Authenticates by ticket, else by headers. Raises `Unauthenticated`, `Forbidden`."""
    query = dict(_pairs(scope))
    ticket = query.get("ticket")
    if scope["type"] == "websocket":
        check_origin(scope, services.options.public_url, ticketed=ticket is not None)
    if ticket is not None:
        return by_ticket(services, scope, ticket, session_id, "cdp")
    return identify(services, scope)


async def _principal_of_active(services: Services, scope: Scope, session_id: str) -> Principal:
    principal = _principal(services, scope, session_id)
    await find_active(services.pool, principal, session_id)
    return principal


def _process(services: Services, session_id: str) -> BrowserProcess:
    return services.pool.registry.live(session_id).opened.process


def _pairs(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope["query_string"].decode("latin-1"))


def as_json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type=_JSON)
