"""A session as a whole browser: the WebSocket, its discovery, and the one-line connect."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Query, Request, Response, WebSocket
from pydantic import ValidationError
from starlette.types import Scope

from browser_sessions.api.access import find_active
from browser_sessions.api.answers import problems
from browser_sessions.api.credentials import Declared, by_ticket, identify
from browser_sessions.api.leases import STOPPED, until_stopped
from browser_sessions.api.origin import check_origin
from browser_sessions.api.problems import invalid_response, kind_of, response_for
from browser_sessions.api.resolve import resolve
from browser_sessions.api.services import Here, Services
from browser_sessions.gateway.relay import Relay
from browser_sessions.gateway.takeover import EXTENSION
from browser_sessions.model.errors import BrowserSessionsError, InvalidField
from browser_sessions.model.principal import Principal
from browser_sessions.model.session import EndReason
from browser_sessions.wire import CreateBrowserSession

router = APIRouter(tags=["cdp"])

MAX_KEEP_ALIVE_S: Final = 3600.0
"""How long a one-line session may wait for its client to come back."""
_JSON: Final = "application/json; charset=UTF-8"
Ticket = Annotated[str | None, Query(max_length=2048, description="Instead of a credential: from `connect_url`")]


@router.websocket("/v1/browser/sessions/{session_id}/cdp")
async def connect_to_session(websocket: WebSocket, session_id: str) -> None:
    """The session as a whole browser, over the Chrome DevTools Protocol."""
    await _connect(websocket, session_id, None)


@router.websocket("/v1/browser/sessions/{session_id}/cdp/devtools/page/{page_id}")
async def connect_to_page(websocket: WebSocket, session_id: str, page_id: str) -> None:
    """One page of the session at its root, as Chromium's own DevTools opens it."""
    await _connect(websocket, session_id, page_id)


async def _connect(websocket: WebSocket, session_id: str, page_id: str | None) -> None:
    services: Services = websocket.app.state.services
    try:
        principal = _principal(services, websocket.scope, session_id)
        await find_active(services.pool, principal, session_id)
        relay = await services.gateway.open(session_id, page_id)
        relay.of = None if page_id is None else principal.principal_id
    except BrowserSessionsError as error:
        await _refuse(websocket, error)
        return
    await _carry(websocket, relay, principal)


@router.websocket("/v1/browser/sessions/{session_id}/cdp/devtools/browser/{_any}")
async def connect_as_to_chromium(websocket: WebSocket, session_id: str, _any: str) -> None:
    """The same, at the path that Chromium itself would name."""
    await connect_to_session(websocket, session_id)


@router.websocket("/v1/browser/connect")
async def connect_in_one_line(websocket: WebSocket) -> None:
    """Makes a session from the query, serves it, and ends it when the client goes (or `keep_alive_seconds` later)."""
    services: Services = websocket.app.state.services
    query = dict(websocket.query_params)
    try:
        check_origin(websocket.scope, services.options.public_url, ticketed=False)
        api_key = query.pop("api_key", None)
        principal = identify(
            services,
            websocket.scope,
            websocket.headers.get("x-api-key", api_key),
            websocket.headers.get("authorization"),
        )
        keep_alive = _keep_alive(query.pop("keep_alive_seconds", None))
        asked = _asked(query)
        spec = resolve(asked, services.pool.devices, services.options)
        record, _ = await services.pool.create(principal, spec, wait_seconds=asked.wait_seconds)
    except ValidationError as error:
        await websocket.send_denial_response(
            invalid_response([{**each, "loc": ("query", *each["loc"])} for each in error.errors(include_input=False)])
        )
        return
    except BrowserSessionsError as error:
        await _refuse(websocket, error)
        return
    try:
        relay = await services.gateway.open(record.session_id)
    except BrowserSessionsError as error:
        await services.pool.end(record.session_id, EndReason.CLIENT_LEFT)
        await _refuse(websocket, error)
        return
    try:
        await _carry(websocket, relay, principal, session_id=record.session_id)
    finally:
        await asyncio.shield(_leave(services, record.session_id, keep_alive))


@router.get("/v1/browser/sessions/{session_id}/cdp/json/version", responses=problems(401, 404, 409))
@router.get("/v1/browser/sessions/{session_id}/cdp/json/version/", include_in_schema=False)
async def cdp_version(
    request: Request, services: Here, session_id: str, _: Declared, ticket: Ticket = None
) -> Response:
    """What Chromium says at `/json/version`, for this session: for clients that are given an http:// address."""
    principal = await _driver(services, request.scope, session_id)
    process = _process(services, session_id)
    record = await services.pool.record(session_id)
    assert record is not None
    connect_url = services.addresses(request, record, principal)[0]
    return _as_json(
        {
            "Browser": f"Chrome/{process.version}",
            "Protocol-Version": "1.3",
            "User-Agent": record.user_agent or f"browser-sessions ({process.version})",
            "webSocketDebuggerUrl": connect_url,
        }
    )


@router.get("/v1/browser/sessions/{session_id}/cdp/json/list", responses=problems(401, 404, 409))
@router.get("/v1/browser/sessions/{session_id}/cdp/json", include_in_schema=False)
@router.get("/v1/browser/sessions/{session_id}/cdp/json/", include_in_schema=False)
@router.get("/v1/browser/sessions/{session_id}/cdp/json/list/", include_in_schema=False)
async def cdp_list(request: Request, services: Here, session_id: str, _: Declared, ticket: Ticket = None) -> Response:
    """The session's pages as Chromium lists targets."""
    principal = await _driver(services, request.scope, session_id)
    record = await services.pool.record(session_id)
    assert record is not None
    connect_url = services.addresses(request, record, principal)[0]
    path, _mark, query = connect_url.partition("?")
    return _as_json(
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


@router.get("/v1/browser/sessions/{session_id}/cdp/json/protocol", responses=problems(401, 404, 409, 504))
@router.get("/v1/browser/sessions/{session_id}/cdp/json/protocol/", include_in_schema=False)
async def cdp_protocol(
    request: Request, services: Here, session_id: str, _: Declared, ticket: Ticket = None
) -> Response:
    """Chromium's own description of the protocol."""
    await _driver(services, request.scope, session_id)
    return Response(await services.gateway.protocol(_process(services, session_id)), media_type=_JSON)


async def _carry(websocket: WebSocket, relay: Relay, principal: Principal, session_id: str | None = None) -> None:
    """Answers the handshake, hands the transport over, and stays until the client has gone or may not stay."""
    take_over = websocket.scope["extensions"].get(EXTENSION)
    try:
        if take_over is None:
            raise RuntimeError("The server was started without gateway.takeover.TakeOverProtocol.")
        named = [(b"browser-session-id", session_id.encode())] if session_id else []
        await websocket.accept(headers=named)
        take_over(relay.downstream)
        relay.begin()
    except BaseException:
        relay.client_gone()
        raise
    services: Services = websocket.app.state.services
    with services.keyring.lease(principal) as stopped:
        if await until_stopped(stopped, relay.downstream.closed):
            relay.downstream.close(*STOPPED)
    await asyncio.shield(relay.downstream.closed)


async def _refuse(websocket: WebSocket, error: BrowserSessionsError) -> None:
    if kind_of(error).status == 500 and not isinstance(error, InvalidField):
        raise error
    await websocket.send_denial_response(response_for(error))


async def _leave(services: Services, session_id: str, keep_alive: float) -> None:
    """The one-line client has gone: so does its session, unless somebody is connected when its time is over."""
    if keep_alive > 0:
        await asyncio.sleep(keep_alive)
        if services.pool.connections(session_id):
            return
    with contextlib.suppress(BrowserSessionsError):
        await services.pool.end(session_id, EndReason.CLIENT_LEFT)


def _principal(services: Services, scope: Scope, session_id: str) -> Principal:
    """By ticket, else by headers. Raises `Unauthenticated`, `Forbidden`."""
    query = dict(_pairs(scope))
    ticket = query.get("ticket")
    if scope["type"] == "websocket":
        check_origin(scope, services.options.public_url, ticketed=ticket is not None)
    if ticket is not None:
        return by_ticket(services, ticket, session_id, "cdp")
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    return identify(services, scope, headers.get(b"x-api-key"), headers.get(b"authorization"))


async def _driver(services: Services, scope: Scope, session_id: str) -> Principal:
    principal = _principal(services, scope, session_id)
    await find_active(services.pool, principal, session_id)
    return principal


def _process(services: Services, session_id: str) -> Any:
    berth = services.pool.registry.live(session_id).berth
    assert berth is not None
    return berth.process


def _pairs(scope: Scope) -> list[tuple[str, str]]:
    from urllib.parse import parse_qsl

    return parse_qsl(scope["query_string"].decode("latin-1"))


def _keep_alive(text: str | None) -> float:
    if text is None:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_KEEP_ALIVE_S:
        raise InvalidField(("query", "keep_alive_seconds"), f"must be 0 to {MAX_KEEP_ALIVE_S:g} seconds")
    return seconds


def _asked(query: dict[str, str]) -> CreateBrowserSession:
    """The query as a body: numbers, true, false, null and JSON objects as they would stand there, all else as text."""
    body: dict[str, Any] = {}
    for name, text in query.items():
        field = CreateBrowserSession.model_fields.get(name)
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            value = text
        takes_text = field is not None and field.annotation in (str, str | None)
        body[name] = text if takes_text and value is not None else value
    return CreateBrowserSession.model_validate(body)


def _as_json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type=_JSON)
