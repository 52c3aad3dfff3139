"""One-line connections: `/v1/browser/connect`, and the root of the service for tools that take a host and a port.

Tools ask `/json/version` and open the address that it names, or open the root itself; some then open
`/devtools/page/<page id>` with the query of the address that they had. What they open makes a session.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import orjson
import structlog
from fastapi import APIRouter, Request, Response, WebSocket
from pydantic import ValidationError
from starlette.types import Scope

from browser_sessions.api.caller_credentials import by_ticket, identify
from browser_sessions.api.dependencies import Here, Launch, Services
from browser_sessions.api.errors import invalid_response
from browser_sessions.api.middleware.origin import base_url, check_origin
from browser_sessions.api.models.create_body import CreateBrowserSession
from browser_sessions.api.routes.cdp import as_json, carry, refuse
from browser_sessions.api.spec_resolution import resolve
from browser_sessions.auth.tickets import mint
from browser_sessions.chromium.chromium_version import chromium_version
from browser_sessions.chromium.ports import BrowserProcess
from browser_sessions.domain.errors import BrowserSessionsError, InvalidField, NoBrowser, NotFound, Unauthenticated
from browser_sessions.domain.principal import Action, Principal, may
from browser_sessions.domain.session import EndReason, Session, SessionStatus
from browser_sessions.domain.session_spec import SessionSpec

log = structlog.get_logger()
router = APIRouter(include_in_schema=False)

MAX_KEEP_ALIVE_S: Final = 3600.0
"""Seconds that a one-line session may wait for its client to reconnect."""
KEY_NAMES: Final = ("token", "apiKey", "api_key")
"""Query parameters that may hold a key; the first one present is used. Never logged, and in no URL that we return."""
ALIKE: Final = 0.8
"""Similarity from which an unknown option counts as a misspelling of ours: `viewportWidth` has 0.96, `timeout` 0.59."""
MAX_COMPARED: Final = 5
MAX_COMPARED_NAME: Final = 40
"""Unknown options that are compared with ours, and characters of each: it takes time."""
MAX_IGNORED_LOGGED: Final = 20
MAX_NAME: Final = 64
"""Unknown options, and characters of each, in one log line."""
_NO_KEYS_IN_ADDRESSES: Final = (
    "is no option of an address, since addresses are logged: create the session with POST /v1/browser/sessions, and "
    "open its connect_url"
)
_FIELDS: Final = (*CreateBrowserSession.model_fields, "keep_alive_seconds")


@dataclass(frozen=True, slots=True)
class Asked:
    """The options in a query."""

    body: CreateBrowserSession
    keep_alive: float


@router.websocket("/v1/browser/connect")
@router.websocket("/")
async def connect_in_one_line(websocket: WebSocket) -> None:
    """Creates a session from the query and ends it when the client disconnects, or `keep_alive_seconds` later."""
    services: Services = websocket.app.state.services
    query = dict(websocket.query_params)
    try:
        check_origin(websocket.scope, services.options.public_url, ticketed=False)
        principal = _by_key(services, websocket.scope, query)
        asked = _asked(query)
        spec = resolve(asked.body, services.pool.launcher.devices, services.options)
        record, _ = await services.pool.create(principal, spec, wait_seconds=asked.body.wait_seconds)
    except (ValidationError, BrowserSessionsError) as error:
        await _refuse(websocket, error)
        return
    try:
        relay = await services.gateway.open(record.session_id, principal)
    except BrowserSessionsError as error:
        await services.pool.end(record.session_id, EndReason.CLIENT_LEFT)
        await refuse(websocket, error)
        return
    try:
        await carry(websocket, relay, principal, session_id=record.session_id)
    finally:
        await asyncio.shield(_leave(services, record.session_id, asked.keep_alive))


@router.websocket("/devtools/browser/{launch_id}")
async def connect_as_to_chromium(websocket: WebSocket, launch_id: str) -> None:
    """With a ticket of `/json/version`: the ticket's session, which the first connection creates. With a key: as the
    root."""
    if "ticket" not in websocket.query_params:
        await connect_in_one_line(websocket)
        return
    services: Services = websocket.app.state.services
    query = dict(websocket.query_params)
    ticket = query.pop("ticket")
    try:
        check_origin(websocket.scope, services.options.public_url, ticketed=True)
        launch = services.launches.get(ticket)
        if launch is None:
            principal = by_ticket(services, websocket.scope, ticket, launch_id, "launch")
            asked = _asked(query)
            spec = resolve(asked.body, services.pool.launcher.devices, services.options)
            launch = _begin(services, ticket, principal, spec, asked)
    except (ValidationError, BrowserSessionsError) as error:
        await _refuse(websocket, error)
        return
    await _join(websocket, ticket, launch, None)


@router.websocket("/devtools/page/{page_id}")
async def connect_to_page(websocket: WebSocket, page_id: str) -> None:
    """One page: of the ticket's session, or of any of the caller's sessions."""
    services: Services = websocket.app.state.services
    query = dict(websocket.query_params)
    ticket = query.get("ticket")
    try:
        check_origin(websocket.scope, services.options.public_url, ticketed=ticket is not None)
        if ticket is not None:
            launch = services.launches.get(ticket)
            if launch is None:
                raise Unauthenticated("The ticket has no session, or it has ended. Request /json/version again.")
            opened = _join(websocket, ticket, launch, page_id)
        else:
            principal = _by_key(services, websocket.scope, query)
            relay = await services.gateway.open(_session_of(services, principal, page_id), principal, page_id)
            opened = carry(websocket, relay, principal)
    except BrowserSessionsError as error:
        await refuse(websocket, error)
        return
    await opened


@router.get("/json/version")
@router.get("/json/version/")
async def root_version(request: Request, services: Here) -> Response:
    """As Chromium's. Its WebSocket URL creates a session when opened, and contains a ticket instead of the key."""
    query = dict(request.query_params)
    principal = _by_key(services, request.scope, query)
    try:
        asked = _asked(query, warn=False)
    except ValidationError as error:
        return _invalid(error)
    resolve(asked.body, services.pool.launcher.devices, services.options)
    version = await chromium_version(_any_browser(services))
    launch_id = secrets.token_hex(16)
    ticket = mint(services.ticket_secret, launch_id, "launch", principal, services.pool.clock.wall())
    address = f"{_socket_base(request.scope, services)}/devtools/browser/{launch_id}"
    return as_json(version | {"webSocketDebuggerUrl": f"{address}?{urlencode(query | {'ticket': ticket})}"})


@router.get("/json")
@router.get("/json/")
@router.get("/json/list")
@router.get("/json/list/")
async def root_list(request: Request, services: Here) -> Response:
    """As Chromium's: the pages of the ticket's session, or of all sessions created by the caller's tickets."""
    query = dict(request.query_params)
    ticket = query.get("ticket")
    if ticket is not None:
        launch = services.launches.get(ticket)
        launches = {} if launch is None else {ticket: launch}
    else:
        principal = _by_key(services, request.scope, query)
        launches = {
            ticket: launch
            for ticket, launch in services.launches.items()
            if launch.principal.principal_id == principal.principal_id
        }
    return as_json([page for each in launches.items() for page in _listed(request.scope, services, *each)])


@router.get("/json/protocol")
@router.get("/json/protocol/")
async def root_protocol(request: Request, services: Here) -> Response:
    """Chromium's description of the protocol."""
    _by_key(services, request.scope, dict(request.query_params))
    content = await services.console.devtools.protocol(_any_browser(services).version)
    return Response(content, media_type="application/json; charset=UTF-8")


def _by_key(services: Services, scope: Scope, query: dict[str, str]) -> Principal:
    """Authenticates by header or by a key in `query`, which is removed from it. Raises `Unauthenticated`."""
    named = [query.pop(name) for name in KEY_NAMES if name in query]
    return identify(services, scope, named[0] if named else None)


def _asked(query: Mapping[str, str], *, warn: bool = True) -> Asked:
    """The query as a request body: JSON numbers, booleans, null and objects are parsed, everything else is text.

    Unknown options are ignored, with a warning in the log. Raises `InvalidField` where one of the first
    unknown ones is a misspelling of ours, `ValidationError`.
    """
    if "client_certificates" in query:
        raise InvalidField(("query", "client_certificates"), _NO_KEYS_IN_ADDRESSES)
    body: dict[str, Any] = {}
    ignored: list[str] = []
    for name, text in query.items():
        if name == "keep_alive_seconds":
            continue
        field = CreateBrowserSession.model_fields.get(name)
        if field is None:
            if len(ignored) < MAX_COMPARED and (meant := _meant(name)) is not None:
                raise InvalidField(("query", name[:MAX_NAME]), f"is unknown. Did you mean {meant}?")
            ignored.append(name[:MAX_NAME])
            continue
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            value = text
        body[name] = text if field.annotation in (str, str | None) and value is not None else value
    if ignored and warn:
        log.warning("connect.options_ignored", names=ignored[:MAX_IGNORED_LOGGED], count=len(ignored))
    return Asked(CreateBrowserSession.model_validate(body), _keep_alive(query.get("keep_alive_seconds")))


def _meant(name: str) -> str | None:
    """The option that `name` is a misspelling or a prefix of."""
    plain = name.lower().replace("-", "_")
    if plain.startswith("_") or len(plain) > MAX_COMPARED_NAME:
        return None  # a Chromium switch, as other services accept them
    begun = next((field for field in _FIELDS if field.startswith(f"{plain}_")), None)
    near = difflib.get_close_matches(plain, _FIELDS, 1, ALIKE)
    return near[0] if near else begun


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


def _begin(services: Services, ticket: str, principal: Principal, spec: SessionSpec, asked: Asked) -> Launch:
    """Starts to create the session of a ticket, for all connections that open it meanwhile."""

    async def create() -> str:
        try:
            record, _ = await services.pool.create(principal, spec, wait_seconds=asked.body.wait_seconds)
        except BaseException:
            services.launches.pop(ticket, None)
            raise
        return record.session_id

    creating = asyncio.ensure_future(create())
    creating.add_done_callback(lambda done: None if done.cancelled() else done.exception())
    launch = services.launches[ticket] = Launch(principal, creating, asked.keep_alive)
    return launch


async def _join(websocket: WebSocket, ticket: str, launch: Launch, page_id: str | None) -> None:
    services: Services = websocket.app.state.services
    launch.connections += 1
    try:
        try:
            if not services.keyring.is_valid(launch.principal):
                raise Unauthenticated("The ticket's key was revoked, or its user was removed.")
            session_id = await asyncio.shield(launch.session_id)
            relay = await services.gateway.open(session_id, launch.principal, page_id)
        except BrowserSessionsError as error:
            await refuse(websocket, error)
            return
        await carry(websocket, relay, launch.principal, session_id=session_id)
    finally:
        launch.connections -= 1
        await asyncio.shield(_part(services, ticket, launch))


async def _part(services: Services, ticket: str, launch: Launch) -> None:
    """Ends the session when its last connection is closed, after `keep_alive` seconds."""
    launch.parted += 1
    parted = launch.parted
    if not launch.connections and launch.keep_alive > 0:
        await asyncio.sleep(launch.keep_alive)
    if launch.connections or launch.parted != parted or services.launches.get(ticket) is not launch:
        return
    del services.launches[ticket]
    with contextlib.suppress(BrowserSessionsError):
        session_id = await launch.session_id
        if not services.pool.registry.connections(session_id):
            await services.pool.end(session_id, EndReason.CLIENT_LEFT)


async def _leave(services: Services, session_id: str, keep_alive: float) -> None:
    """Ends the session of a client that has disconnected, unless somebody is connected after `keep_alive` seconds."""
    if keep_alive > 0:
        await asyncio.sleep(keep_alive)
        if services.pool.registry.connections(session_id):
            return
    with contextlib.suppress(BrowserSessionsError):
        await services.pool.end(session_id, EndReason.CLIENT_LEFT)


def _session_of(services: Services, principal: Principal, page_id: str) -> str:
    """The session of a page. Raises `NotFound`, also for a foreign one."""
    in_a_client_s_context = services.gateway.session_of(page_id)
    for session_id, live in services.pool.registry.lives.items():
        if live.context is None or not may(principal, Action.DRIVE, live.session.owner):
            continue
        if session_id == in_a_client_s_context or any(page.page_id == page_id for page in live.context.pages()):
            return session_id
    raise NotFound("None of your sessions has such a page.")


def _listed(scope: Scope, services: Services, ticket: str, launch: Launch) -> Iterable[dict[str, Any]]:
    if not launch.session_id.done() or launch.session_id.cancelled() or launch.session_id.exception() is not None:
        return
    known = services.pool.registry.known(launch.session_id.result())
    if not isinstance(known, Session) or known.status is not SessionStatus.ACTIVE:
        return
    base = _socket_base(scope, services)
    for page in services.pool.context(known.session_id).pages():
        yield {
            "description": "",
            "id": page.page_id,
            "type": "page",
            "title": page.title,
            "url": page.url,
            "webSocketDebuggerUrl": f"{base}/devtools/page/{page.page_id}?{urlencode({'ticket': ticket})}",
        }


def _any_browser(services: Services) -> BrowserProcess:
    """A running browser; all have the same version. Raises `NoBrowser`."""
    for _, process in services.pool.fleet.running:
        if process.alive:
            return process
    raise NoBrowser("No browser is running yet. Try again in a moment.")


def _socket_base(scope: Scope, services: Services) -> str:
    return "ws" + base_url(scope, services.options.public_url).removeprefix("http")


async def _refuse(websocket: WebSocket, error: ValidationError | BrowserSessionsError) -> None:
    if isinstance(error, ValidationError):
        await websocket.send_denial_response(_invalid(error))
    else:
        await refuse(websocket, error)


def _invalid(error: ValidationError) -> Response:
    return invalid_response([{**each, "loc": ("query", *each["loc"])} for each in error.errors(include_input=False)])
