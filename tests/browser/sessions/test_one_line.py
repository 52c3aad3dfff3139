"""The root of the service as a browser in one line: the requests of tools that know a host, a port and a key."""

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
    """As a tool asks that was given `http://host:port?token=…`."""
    async with service.caller(None) as http:
        answer = await http.get(path, params={"token": ADMIN_KEY, **query})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def sessions(service: Running, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await service.http.get(LIST, params=query)).json()["sessions"]
    return found


async def none_active(service: Running) -> bool:
    return not await sessions(service, status="active")


async def status_of(url: str, **headers: str) -> tuple[int, dict[str, Any]]:
    """The answer that refuses a WebSocket."""
    with pytest.raises(InvalidStatus) as refused:
        async with connect(url, additional_headers=headers, proxy=None):
            pass
    return refused.value.response.status_code, json.loads(refused.value.response.body or b"")


@pytest.mark.parametrize("path", ["/json/version", "/json/version/"])
async def test_the_version_is_as_chromium_tells_it_and_holds_no_key(service: Running, path: str) -> None:
    before = await sessions(service)
    told = await version(service, path)
    assert list(told) == [
        "Browser",
        "Protocol-Version",
        "User-Agent",
        "V8-Version",
        "WebKit-Version",
        "webSocketDebuggerUrl",
    ]
    assert re.fullmatch(r"Chrome/\d+(\.\d+){3}", told["Browser"])
    assert re.fullmatch(r"\d+(\.\d+)+", told["V8-Version"])
    assert re.fullmatch(r"537\.36 \(@[0-9a-f]{40}\)", told["WebKit-Version"])
    assert told["User-Agent"].startswith("Mozilla/5.0")
    assert ADMIN_KEY not in told["webSocketDebuggerUrl"]
    assert await sessions(service) == before, "asking makes no session"


async def test_a_session_tells_the_same_version(service: Running) -> None:
    session_id = (await service.create(user_agent="mine/1"))["session_id"]
    told = (await service.http.get(f"{LIST}/{session_id}/cdp/json/version")).json()
    root = await version(service)
    assert told.pop("User-Agent") == "mine/1"
    assert f"/{session_id}/cdp?ticket=" in told.pop("webSocketDebuggerUrl")
    assert told == {name: value for name, value in root.items() if name in told}


@pytest.mark.parametrize("name", ["token", "apiKey", "api_key"])
async def test_a_key_in_the_query_of_the_root_makes_a_session_that_goes_with_its_client(
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
async def test_a_key_in_a_header_decides(service: Running, header: dict[str, str]) -> None:
    async with service.caller(None) as http:
        answer = await http.get("/json/version", params={"token": ADMIN_KEY}, headers=header)
    good = header["X-API-Key"] == ADMIN_KEY
    assert answer.status_code == (200 if good else 401)
    if not good:
        assert (await status_of(at(service, token=ADMIN_KEY), **header))[0] == 401


async def test_the_address_of_the_version_makes_a_session_with_what_was_asked_for(service: Running) -> None:
    told = await version(service, viewport_width="700", viewport_height="300")
    async with raw(told["webSocketDebuggerUrl"]) as client:
        (made,) = await sessions(service, status="active")
        assert (made["viewport_width"], made["viewport_height"]) == (700, 300)
        assert (await client.call("Browser.getVersion"))["product"]
    await until(lambda: none_active(service))


async def test_pages_are_reached_with_the_ticket_that_opened_the_session_and_it_ends_with_the_last_connection(
    service: Running,
) -> None:
    """pydoll puts `/devtools/page/<id>` in place of the path, and keeps the query."""
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
            assert [each["targetId"] for each in await targets(second)] == [page["targetId"]], "the same session"
    assert await client.value("1 + 1") == 2, "the tab outlives the connection to the browser"
    assert len(await sessions(service, status="active")) == 1
    await tab.__aexit__(None, None, None)
    await until(lambda: none_active(service))
    assert await http_list(service, token=ADMIN_KEY) == []
    assert (await status_of(at_page))[0] == 401


async def test_pages_of_ones_own_sessions_are_reached_with_a_key_and_nobody_elses(service: Running) -> None:
    mine, other = await service.key(), await service.key(name="other")
    async with raw(at(service, token=mine)) as browser:
        (page,) = [each for each in await targets(browser) if each["type"] == "page"]
        path = f"/devtools/page/{page['targetId']}"
        async with raw(at(service, path, token=mine)) as tab:
            assert await tab.value("2 + 2") == 4
        context_id = (await browser.call("Target.createBrowserContext"))["browserContextId"]
        made = await browser.call("Target.createTarget", {"url": "about:blank", "browserContextId": context_id})
        async with raw(at(service, f"/devtools/page/{made['targetId']}", token=mine)) as tab:
            assert await tab.value("3 + 3") == 6, "in a context that the client has made"
        foreign = await status_of(at(service, path, token=other))
        assert foreign == await status_of(at(service, "/devtools/page/" + "0" * 32, token=other))
        assert foreign[0] == 404
        assert (await status_of(at(service, path)))[0] == 401


async def test_a_session_stays_for_a_client_that_said_it_comes_back(service: Running) -> None:
    address = (await version(service, keep_alive_seconds="60"))["webSocketDebuggerUrl"]
    async with raw(address) as client:
        first = await targets(client)
    async with raw(address) as client:
        assert await targets(client) == first
    (made,) = await sessions(service, status="active")
    await service.http.delete(f"{LIST}/{made['session_id']}")


async def test_options_of_other_services_are_ignored_and_named_in_the_log(
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
    answer = await service.http.get("/json/version", params=query)
    assert (answer.status_code, answer.json()) == (422, body)
    assert (await status_of(at(service, "/v1/browser/connect", **query)))[1] == body


async def test_a_bad_value_is_refused_before_anything_is_opened(service: Running) -> None:
    answer = await service.http.get("/json/version", params={"viewport_width": "0"})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", "viewport_width"]


@pytest.mark.parametrize("path", ["/json/version", "/json/version/", "/json", "/json/list", "/json/protocol"])
async def test_without_a_key_nothing_is_told(service: Running, path: str) -> None:
    async with service.caller(None) as http:
        for query in ({}, {"token": "wrong"}, {"apiKey": ""}):
            answer = await http.get(path, params=query)
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"]
    assert (await status_of(at(service)))[0] == 401


async def test_a_ticket_is_good_for_its_own_address_only(service: Running) -> None:
    told = urlsplit((await version(service))["webSocketDebuggerUrl"])
    ticket = parse_qs(told.query)["ticket"][0]
    assert (await status_of(at(service, "/devtools/browser/" + "0" * 32, ticket=ticket)))[0] == 401
    assert (await status_of(at(service, told.path, ticket=ticket[:-2])))[0] == 401
    session_id = (await service.create())["session_id"]
    assert (await status_of(at(service, f"{LIST}/{session_id}/cdp", ticket=ticket)))[0] == 401


async def test_pages_of_other_sites_may_not_connect(service: Running) -> None:
    for path in ("/", "/devtools/browser/x", "/devtools/page/x"):
        refused = await status_of(at(service, path, token=ADMIN_KEY), Origin="https://elsewhere.example")
        assert refused[0] == 403, path


async def test_a_browser_still_finds_the_console_at_the_root(service: Running) -> None:
    answer = await service.http.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")


async def test_the_protocol_is_told(service: Running) -> None:
    async with service.caller(None) as http:
        answer = await http.get("/json/protocol", params={"apiKey": ADMIN_KEY})
    assert {"Page", "Runtime"} <= {domain["domain"] for domain in answer.json()["domains"]}


async def test_a_method_in_lower_case_is_understood(service: Running) -> None:
    """nodriver asks with `get /json/version`."""
    address = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = (
        f"get /json/version HTTP/1.1\r\nHost: {address.netloc}\r\nX-API-Key: {ADMIN_KEY}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode())
    answer = (await reader.read()).decode()
    writer.close()
    assert answer.startswith("HTTP/1.1 200"), answer
    assert "webSocketDebuggerUrl" in answer


async def test_no_key_and_no_ticket_comes_into_the_log(service: Running, capsys: pytest.CaptureFixture[str]) -> None:
    key = await service.key()
    tickets = []
    async with service.caller(None) as http:
        for name in ("token", "apiKey", "api_key"):
            told = (await http.get("/json/version", params={name: key})).json()
            tickets.append(parse_qs(urlsplit(told["webSocketDebuggerUrl"]).query)["ticket"][0])
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
    assert "/json/version" in log.out, "requests are logged"
    for secret in (key, *tickets):
        assert secret not in log.out + log.err


async def targets(client: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.call("Target.getTargets"))["targetInfos"]
    return found


async def http_list(service: Running, **query: str) -> list[dict[str, Any]]:
    async with service.caller(None) as http:
        answer = await http.get("/json/list", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found
