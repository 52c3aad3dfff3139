"""Connecting at the service's root: requests of tools that are configured with a host, a port and a key."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.harness.clients.raw_cdp import raw
from tests.harness.service import ADMIN_KEY, Running
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

LIST = "/v1/browser/sessions"


def at(service: Running, path: str = "/", **query: str) -> str:
    return f"{service.url.replace('http', 'ws', 1)}{path}?{urlencode(query)}"


async def version(service: Running, path: str = "/json/version", **query: str) -> dict[str, Any]:
    """As requested by a tool configured with `http://host:port?token=…`."""
    async with service.caller(None) as http:
        response = await http.get(path, params={"token": ADMIN_KEY, **query})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def sessions(service: Running, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await service.http.get(LIST, params=query)).json()["sessions"]
    return found


async def none_active(service: Running) -> bool:
    return not await sessions(service, status="active")


async def status_of(url: str, **headers: str) -> tuple[int, dict[str, Any]]:
    """Status and body of the response that refuses a WebSocket."""
    with pytest.raises(InvalidStatus) as refused:
        async with connect(url, additional_headers=headers, proxy=None):
            pass
    return refused.value.response.status_code, json.loads(refused.value.response.body or b"")


@pytest.mark.parametrize("path", ["/json/version", "/json/version/"])
async def test_the_version_is_like_chromiums_and_contains_no_key(service: Running, path: str) -> None:
    before = await sessions(service)
    found = await version(service, path)
    assert list(found) == [
        "Browser",
        "Protocol-Version",
        "User-Agent",
        "V8-Version",
        "WebKit-Version",
        "webSocketDebuggerUrl",
    ]
    assert re.fullmatch(r"Chrome/\d+(\.\d+){3}", found["Browser"])
    assert re.fullmatch(r"\d+(\.\d+)+", found["V8-Version"])
    assert re.fullmatch(r"537\.36 \(@[0-9a-f]{40}\)", found["WebKit-Version"])
    assert found["User-Agent"].startswith("Mozilla/5.0")
    assert ADMIN_KEY not in found["webSocketDebuggerUrl"]
    assert await sessions(service) == before, "the request must not create a session"


async def test_the_version_of_a_session_is_the_same(service: Running) -> None:
    session_id = (await service.create(user_agent="mine/1"))["session_id"]
    found = (await service.http.get(f"{LIST}/{session_id}/cdp/json/version")).json()
    root = await version(service)
    assert found.pop("User-Agent") == "mine/1"
    assert f"/{session_id}/cdp?ticket=" in found.pop("webSocketDebuggerUrl")
    assert found == {name: value for name, value in root.items() if name in found}


@pytest.mark.parametrize("name", ["token", "apiKey", "api_key"])
async def test_connecting_to_the_root_with_a_key_creates_a_session_that_ends_with_the_client(
    service: Running, name: str
) -> None:
    async with raw(at(service, viewport_width="640", **{name: ADMIN_KEY})) as client:
        (page,) = [each for each in await targets(client) if each["type"] == "page"]
        session = await client.call("Target.attachToTarget", {"targetId": page["targetId"], "flatten": True})
        assert await client.value("innerWidth", session["sessionId"]) == 640
        (made,) = await sessions(service, status="active")
        assert made["viewport_width"] == 640
    await until(lambda: none_active(service))


@pytest.mark.parametrize("header", [{"X-API-Key": ADMIN_KEY}, {"X-API-Key": "wrong"}])
async def test_a_key_in_a_header_takes_precedence(service: Running, header: dict[str, str]) -> None:
    async with service.caller(None) as http:
        response = await http.get("/json/version", params={"token": ADMIN_KEY}, headers=header)
    good = header["X-API-Key"] == ADMIN_KEY
    assert response.status_code == (200 if good else 401)
    if not good:
        assert (await status_of(at(service, token=ADMIN_KEY), **header))[0] == 401


async def test_the_versions_websocket_url_creates_a_session_with_the_requested_options(service: Running) -> None:
    found = await version(service, viewport_width="700", viewport_height="300")
    async with raw(found["webSocketDebuggerUrl"]) as client:
        (made,) = await sessions(service, status="active")
        assert (made["viewport_width"], made["viewport_height"]) == (700, 300)
        assert (await client.call("Browser.getVersion"))["product"]
    await until(lambda: none_active(service))


async def test_the_ticket_that_created_a_session_reaches_its_pages_and_it_ends_with_the_last_connection(
    service: Running,
) -> None:
    """pydoll replaces the path by `/devtools/page/<id>` and keeps the query."""
    address = (await version(service))["webSocketDebuggerUrl"]
    query = urlsplit(address).query
    async with raw(address) as browser:
        (page,) = [each for each in await targets(browser) if each["type"] == "page"]
        at_page = f"{service.url.replace('http', 'ws', 1)}/devtools/page/{page['targetId']}?{query}"
        tab = raw(at_page)
        client = await tab.__aenter__()
        listed = await http_list(service, ticket=parse_qs(query)["ticket"][0])
        assert [(each["id"], each["type"]) for each in listed] == [(page["targetId"], "page")]
        assert listed[0]["webSocketDebuggerUrl"] == at_page
        assert listed == await http_list(service, token=ADMIN_KEY)
        async with raw(address) as second:
            assert [each["targetId"] for each in await targets(second)] == [page["targetId"]], (
                "it must be the same session"
            )
    assert await client.value("1 + 1") == 2, "the page connection must outlive the browser connection"
    assert len(await sessions(service, status="active")) == 1
    await tab.__aexit__(None, None, None)
    await until(lambda: none_active(service))
    assert await http_list(service, token=ADMIN_KEY) == []
    assert (await status_of(at_page))[0] == 401


async def test_a_key_reaches_pages_of_its_own_sessions_only(service: Running) -> None:
    mine, other = await service.key(), await service.key(name="other")
    async with raw(at(service, token=mine)) as browser:
        (page,) = [each for each in await targets(browser) if each["type"] == "page"]
        path = f"/devtools/page/{page['targetId']}"
        async with raw(at(service, path, token=mine)) as tab:
            assert await tab.value("2 + 2") == 4
        context_id = (await browser.call("Target.createBrowserContext"))["browserContextId"]
        made = await browser.call("Target.createTarget", {"url": "about:blank", "browserContextId": context_id})
        async with raw(at(service, f"/devtools/page/{made['targetId']}", token=mine)) as tab:
            assert await tab.value("3 + 3") == 6, "a page in a context created by the client"
        foreign = await status_of(at(service, path, token=other))
        assert foreign == await status_of(at(service, "/devtools/page/" + "0" * 32, token=other))
        assert foreign[0] == 404
        assert (await status_of(at(service, path)))[0] == 401


async def test_keep_alive_seconds_keeps_the_session_for_a_reconnect(service: Running) -> None:
    address = (await version(service, keep_alive_seconds="60"))["webSocketDebuggerUrl"]
    async with raw(address) as client:
        first = await targets(client)
    async with raw(address) as client:
        assert await targets(client) == first
    (made,) = await sessions(service, status="active")
    await service.http.delete(f"{LIST}/{made['session_id']}")


async def test_options_of_other_services_are_ignored_and_logged_by_name(
    service: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = {"stealth": "true", "blockAds": "secret-value", "--window-size": "1,2", "launch": "{}", "timeout": "9"}
    async with raw(at(service, token=ADMIN_KEY, **foreign)):
        pass
    log = capsys.readouterr().out
    assert "connect.options_ignored" in log
    assert all(name in log for name in foreign)
    assert "secret-value" not in log


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("viewport_widht", "viewport_width"),
        ("viewportWidth", "viewport_width"),
        ("idle_timeout", "idle_timeout_seconds"),
        ("keepAliveSeconds", "keep_alive_seconds"),
        ("useragent", "user_agent"),
    ],
)
async def test_a_misspelt_option_is_refused_by_name(service: Running, name: str, meant: str) -> None:
    query = {"token": ADMIN_KEY, name: "5"}
    status, body = await status_of(at(service, **query))
    assert status == 422
    (error,) = body["detail"]
    assert error["loc"] == ["query", name]
    assert meant in error["msg"]
    response = await service.http.get("/json/version", params=query)
    assert (response.status_code, response.json()) == (422, body)
    assert (await status_of(at(service, "/v1/browser/connect", **query)))[1] == body


async def test_an_invalid_value_is_refused(service: Running) -> None:
    response = await service.http.get("/json/version", params={"viewport_width": "0"})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["query", "viewport_width"]


async def test_a_key_in_an_address_is_refused(service: Running) -> None:
    certificates = '[{"origin": "https://a.example", "cert": "c", "key": "k"}]'
    response = await service.http.get("/json/version", params={"client_certificates": certificates})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["query", "client_certificates"]
    assert "POST" in response.json()["detail"][0]["msg"]


@pytest.mark.parametrize("path", ["/json/version", "/json/version/", "/json", "/json/list", "/json/protocol"])
async def test_requests_without_a_key_are_refused(service: Running, path: str) -> None:
    async with service.caller(None) as http:
        for query in ({}, {"token": "wrong"}, {"apiKey": ""}):
            response = await http.get(path, params=query)
            assert response.status_code == 401, path
            assert response.headers["www-authenticate"]
    assert (await status_of(at(service)))[0] == 401


async def test_a_ticket_is_valid_for_its_own_path_only(service: Running) -> None:
    found = urlsplit((await version(service))["webSocketDebuggerUrl"])
    ticket = parse_qs(found.query)["ticket"][0]
    assert (await status_of(at(service, "/devtools/browser/" + "0" * 32, ticket=ticket)))[0] == 401
    assert (await status_of(at(service, found.path, ticket=ticket[:-2])))[0] == 401
    session_id = (await service.create())["session_id"]
    assert (await status_of(at(service, f"{LIST}/{session_id}/cdp", ticket=ticket)))[0] == 401


async def test_pages_of_other_sites_may_not_connect(service: Running) -> None:
    for path in ("/", "/devtools/browser/x", "/devtools/page/x"):
        refused = await status_of(at(service, path, token=ADMIN_KEY), Origin="https://elsewhere.example")
        assert refused[0] == 403, path


async def test_a_browser_gets_the_console_at_the_root(service: Running) -> None:
    response = await service.http.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")


async def test_the_protocol_description_is_served(service: Running) -> None:
    async with service.caller(None) as http:
        response = await http.get("/json/protocol", params={"apiKey": ADMIN_KEY})
    assert {"Page", "Runtime"} <= {domain["domain"] for domain in response.json()["domains"]}


async def test_a_lower_case_http_method_is_accepted(service: Running) -> None:
    """nodriver sends `get /json/version`."""
    address = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = (
        f"get /json/version HTTP/1.1\r\nHost: {address.netloc}\r\nX-API-Key: {ADMIN_KEY}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode())
    response = (await reader.read()).decode()
    writer.close()
    assert response.startswith("HTTP/1.1 200"), response
    assert "webSocketDebuggerUrl" in response


async def test_an_offer_of_http_2_is_ignored(service: Running) -> None:
    """Java's client makes it with every request to an http: address."""
    address = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    body = b'{"name": "java"}'
    request = (
        f"POST /v1/auth/keys HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: {len(body)}\r\n"
        f"Host: {address.netloc}\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\n"
        f"Content-Type: application/json\r\nX-API-Key: {ADMIN_KEY}\r\n\r\n"
    ).encode()
    for _ in range(2):  # on one connection
        writer.write(request)
        writer.write(body)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 201"), head
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
    writer.close()


async def test_keys_and_tickets_are_not_logged(service: Running, capsys: pytest.CaptureFixture[str]) -> None:
    key = await service.key()
    tickets = []
    async with service.caller(None) as http:
        for name in ("token", "apiKey", "api_key"):
            found = (await http.get("/json/version", params={name: key})).json()
            tickets.append(parse_qs(urlsplit(found["webSocketDebuggerUrl"]).query)["ticket"][0])
            await http.get("/json/list", params={name: key})
            await http.get("/json/version", params={name: key, "viewport_widht": "1"})
            await http.get("/json/nothing", params={name: key})
            async with raw(at(service, **{name: key})):
                pass
            await status_of(at(service, "/devtools/page/x", **{name: key}))
        async with raw((await version(service))["webSocketDebuggerUrl"]):
            pass
    await until(lambda: none_active(service))
    log = capsys.readouterr()
    assert "/json/version" in log.out, "requests must be logged"
    for secret in (key, *tickets):
        assert secret not in log.out + log.err


async def targets(client: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.call("Target.getTargets"))["targetInfos"]
    return found


async def http_list(service: Running, **query: str) -> list[dict[str, Any]]:
    async with service.caller(None) as http:
        response = await http.get("/json/list", params=query)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()
    return found
