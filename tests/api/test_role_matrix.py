"""Who may call what: every route and WebSocket of the application, without a credential and with each role."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.routing import Route

from browser_sessions.api.application import _ROUTERS
from browser_sessions.api.dependencies import ApiOptions
from browser_sessions.api.routes import cdp
from browser_sessions.console import static_files
from browser_sessions.domain.clock import SystemClock
from browser_sessions.domain.principal import Role
from tests.harness.fakes.fake_node import Node, assemble, node

SESSIONS: Final = "/v1/browser/sessions"
SESSION: Final = f"{SESSIONS}/{{session_id}}"
APPLICATION: Final = assemble(Path("unused"), SystemClock(), ApiOptions(), 1).app
DOCUMENT: Final = APPLICATION.openapi()
OPERATIONS: Final = [(method.upper(), path) for path, each in DOCUMENT["paths"].items() for method in each]
INCLUDED: Final = [route for router in _ROUTERS for route in router.routes]
ROUTES: Final = sorted(
    {
        (method, route.path)
        for route in (*APPLICATION.routes, *INCLUDED, *static_files.ROUTES)
        if isinstance(route, Route | APIRoute)
        for method in (route.methods or ())
        if method != "HEAD"  # as GET
    }
)
SOCKETS: Final = sorted({route.path for route in INCLUDED if isinstance(route, APIWebSocketRoute)})

OPEN: Final = {
    ("GET", "/healthz"): 200,
    ("GET", "/readyz"): 503,  # no browser runs yet
    ("GET", "/metrics"): 200,
    ("GET", "/docs"): 200,
    ("GET", "/openapi.json"): 200,
    ("GET", "/"): 200,
    ("GET", "/sign-in"): 200,
    ("GET", "/sessions/{session_id}"): 200,  # the console's page, which then asks who it is
    ("GET", "/assets/{name:path}"): 404,
    ("GET", "/favicon.ico"): 200,
    ("POST", "/v1/auth/token"): 422,
    ("POST", "/v1/auth/session"): 422,
    ("DELETE", "/v1/auth/session"): 204,
}
"""Routes that need no credential, with the status of a request without body."""
ADMINS: Final = ("/v1/auth/keys", "/v1/auth/users")
OPERATORS: Final = ("/v1/browser/pool",)

METHODS: Final = (
    "ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT CONNECT COPY DELETE GET HEAD LABEL LINK LOCK MERGE MKACTIVITY "
    "MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE OPTIONS ORDERPATCH PATCH POST PRI PROPFIND PROPPATCH PUT QUERY "
    "REBIND REPORT SEARCH TRACE UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL BREW get GET2"
)
"""IANA's registry of HTTP methods, and some that are none."""

BODIES: Final[dict[str, dict[str, Any]]] = {
    "/navigate": {"url": "https://a.example/"},
    "/evaluate": {"expression": "1"},
    "/control": {"action": "take"},
    "/devtools": {"page_id": "page-1"},
    "/v1/auth/keys": {"name": "a"},
    "/v1/auth/users": {"username": "bob", "password": "correct horse battery"},
}
"""Valid bodies by the end of the path, of operations that need one."""
QUERIES: Final = {"/uploads": {"name": "a.txt"}}
"""Queries by the end of the path, of operations that need one."""


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Node]:
    async with node(tmp_path) as running:
        yield running


def address(path: str, **ids: str) -> str:
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: ids.get(found[1], "none"), path)


# -- without a credential ----------------------------------------------------------------------------------------------


def test_all_operations_are_routes() -> None:
    assert set(OPERATIONS) <= set(ROUTES)
    assert set(OPEN) <= set(ROUTES)


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "bs_0123456789abcdef_wrong"}], ids=["no key", "wrong key"])
async def test_every_route_but_the_open_ones_needs_a_credential(service: Node, headers: dict[str, str]) -> None:
    for method, path in ROUTES:
        expected = OPEN.get((method, path), 401)
        response = await service.client.request(method, address(path), headers=headers)
        assert response.status_code == expected, (method, path, response.text)


async def test_no_body_is_read_without_a_credential(service: Node) -> None:
    for method, path in OPERATIONS:
        if "requestBody" not in DOCUMENT["paths"][path][method.lower()] or (method, path) in OPEN:
            continue
        read = False

        async def body() -> AsyncIterator[bytes]:
            nonlocal read
            read = True
            yield b"{"

        headers = {"Content-Type": "application/json"}
        response = await service.client.request(method, address(path), headers=headers, content=body())
        assert (response.status_code, read) == (401, False), (method, path)


@pytest.mark.slow
async def test_nothing_without_a_credential_adds_a_line_to_the_metrics(service: Node) -> None:
    before = (await service.client.get("/metrics")).text.splitlines()
    for method, path in itertools.product(METHODS.split(), sorted({path for _, path in ROUTES} | {"/none"})):
        await service.client.request(method, address(path))
    after = (await service.client.get("/metrics")).text.splitlines()
    assert len(after) == len(before)


# -- roles -------------------------------------------------------------------------------------------------------------


def expected(path: str, role: Role, own: bool) -> str:
    """What docs/api.md says: `allowed`, or the status."""
    if path.startswith(ADMINS):
        return "allowed" if role is Role.ADMIN else "403"
    if path.startswith(OPERATORS):
        return "allowed" if role is not Role.CLIENT else "403"
    if path.startswith(SESSION):
        return "allowed" if own or role is not Role.CLIENT else "404"
    return "allowed"


@pytest.mark.parametrize("role", Role)
async def test_every_operation_is_for_the_roles_of_the_docs(
    service: Node, role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def version(_process: object) -> dict[str, str]:
        return {}

    monkeypatch.setattr(cdp, "chromium_version", version)  # the fake browser would not respond
    await service.pool.fleet.first()
    theirs, mine = await service.key(), await service.key(role)
    admin = await service.key(Role.ADMIN)
    for (method, path), own in itertools.product(OPERATIONS, (True, False)):
        if (method, path) in OPEN:
            continue
        created = await service.client.post(SESSIONS, headers=mine if own else theirs)
        session_id = created.json()["session_id"]
        ids = {"page_id": "page-1", "download_id": "guid-1", "username": "ann"}
        if "{key_id}" in path:
            key = await service.client.post("/v1/auth/keys", json={"name": "a"}, headers=admin)
            ids["key_id"] = key.json()["key_id"]
        if "{username}" in path:
            user = {"username": "ann", "password": "correct horse battery"}
            await service.client.post("/v1/auth/users", json=user, headers=admin)
        if "{upload_id}" in path:
            uploads = f"{SESSIONS}/{session_id}/uploads"
            upload = await service.client.post(uploads, params={"name": "b.txt"}, content=b"b", headers=admin)
            ids["upload_id"] = upload.json()["upload_id"]
        body = next((body for end, body in BODIES.items() if path.endswith(end)), None)
        query = next((query for end, query in QUERIES.items() if path.endswith(end)), None)
        response = await service.client.request(
            "HEAD" if path.endswith("/events") else method,  # a stream would not end
            address(path, session_id=session_id, **ids),
            json=body if method == "POST" else None,
            params=query if method == "POST" else None,
            headers=mine,
        )
        status = response.status_code
        unprepared = status == 503 and response.json()["type"].endswith(":devtools-unavailable")
        got = "allowed" if status < 400 or unprepared else str(status)
        assert got == expected(path, role, own), (method, path, own, response.text)
        for left in service.pool.registry.sessions.copy():
            await service.client.delete(f"{SESSIONS}/{left}", headers=admin)
        await service.client.delete("/v1/auth/users/bob", headers=admin)


# -- WebSockets --------------------------------------------------------------------------------------------------------


async def answer_to(service: Node, path: str, headers: dict[str, str], query: str = "") -> int:
    """The status of the response to an upgrade; 101 if it was accepted."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    scope = {
        "type": "websocket",
        "path": path,
        "scheme": "ws",
        "query_string": query.encode(),
        "root_path": "",
        "client": ("127.0.0.1", 5),
        "headers": [(b"host", b"127.0.0.1"), *((name.lower().encode(), headers[name].encode()) for name in headers)],
        "extensions": {"websocket.http.response": {}},
    }
    await service.app(scope, receive, send)
    return 101 if sent[0]["type"] == "websocket.accept" else int(sent[0]["status"])


@pytest.mark.parametrize("path", SOCKETS)
async def test_no_websocket_opens_without_a_credential_for_it(service: Node, path: str) -> None:
    theirs, mine = await service.key(), await service.key()
    created = (await service.client.post(SESSIONS, headers=theirs)).json()
    ids = {"session_id": created["session_id"], "page_id": "page-1"}
    assert await answer_to(service, address(path, **ids), {}) == 401
    assert await answer_to(service, address(path, **ids), {"X-API-Key": "bs_wrong"}) == 401
    assert await answer_to(service, address(path, **ids), {}, "ticket=wrong") == 401
    if "{session_id}" in path or "{page_id}" in path:
        assert await answer_to(service, address(path, **ids), mine) == 404
    other = await service.client.post(SESSIONS, headers=mine)
    ticket = other.json()["connect_url"].partition("?")[2]
    assert await answer_to(service, address(path, **ids), {}, ticket) == 401, "a ticket of another session"
