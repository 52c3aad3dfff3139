"""Real clients through the gateway, two concurrent sessions in one browser: each sees a complete, separate browser."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from playwright.async_api import Playwright
from websockets.asyncio.client import connect

from tests.harness.clients import playwright_client
from tests.harness.clients.mcp_client import WANTED as MCP_WANTED
from tests.harness.clients.mcp_client import drive_mcp
from tests.harness.clients.node_client import NODE, needs_node, run_node
from tests.harness.service import ADMIN_KEY, Running
from tests.harness.sites.client_site import REPORT, ClientSite, client_site
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "anna": {"viewport_width": 1024, "viewport_height": 600, "user_agent": "anna/1.0", "locale": "de-DE"},
    "bert": {"viewport_width": 900, "viewport_height": 500, "user_agent": "bert/1.0", "locale": "fr-FR"},
}


@pytest.fixture(scope="module")
def site() -> Iterator[ClientSite]:
    with client_site() as site:
        yield site


class Pair:
    """Two sessions of one owner, in one browser."""

    def __init__(self, server: Running, created: dict[str, dict[str, Any]]) -> None:
        self.server = server
        self.ids = {who: session["session_id"] for who, session in created.items()}
        self.urls = {who: session["connect_url"] for who, session in created.items()}

    async def downloaded(self, who: str) -> dict[str, tuple[str, bytes]]:
        """Names and contents of the session's downloads by id."""
        path = f"/v1/browser/sessions/{self.ids[who]}/downloads"
        listed = (await self.server.http.get(path)).json()["downloads"]
        files = {each["download_id"]: each["filename"] for each in listed}
        return {each: (name, (await self.server.http.get(f"{path}/{each}")).content) for each, name in files.items()}


@pytest_asyncio.fixture(loop_scope="session")
async def pair(service: Running) -> Pair:
    pair = Pair(service, {who: await service.create(**options) for who, options in OPTIONS.items()})
    browsers = (await service.http.get("/v1/browser/pool")).json()["browsers"]
    assert len([each for each in browsers if each["sessions"]]) == 1, "both must share a browser"
    return pair


async def drive_with_node(script: str, pair: Pair, site: ClientSite) -> dict[str, dict[str, Any]]:
    sessions = [{"who": who, "url": url} for who, url in pair.urls.items()]
    results: dict[str, dict[str, Any]] = await run_node(
        script, {"sessions": sessions, "site": site.url, "other": site.other}
    )
    return results


def own(who: str) -> dict[str, Any]:
    """The values that a page of the session reports."""
    options = OPTIONS[who]
    size = [options["viewport_width"], options["viewport_height"]]
    return {"size": size, "agent": options["user_agent"], "language": options["locale"]}


def expected(who: str, site: ClientSite) -> dict[str, Any]:
    """The results of every client; exceptions are stated in the client's test."""
    width, height = own(who)["size"]
    return {
        "options": own(who),
        "goto": "Home",
        "click": "clicked",
        "evaluate": 42,
        "screenshot": ["PNG", width, height],
        "pdf": "%PDF",
        "new_page": {**own(who), "first": "init"},
        "popup": {**own(who), "first": "init"},
        "frame": "clicked inside",
        "worker": 42,
        "service_worker": "in a service worker",
        "cookies": [f"who={who}", [f"who={who}"]],
        "route": ["from the client", "from the site"],
        "dialog": "yes",
        "download": ["report.txt", "completed", False],
        "nested": ["Home", 0, 1, 0],
        "close": False,
        "reconnect": [1, f"{site.url}/?who={who}", "kept"],
    }


PLAYWRIGHT: Final = {
    "download": ["report.txt", None],  # no failure
    "nested": [{"size": [500, 400], "agent": "nested/1.0", "language": "en-US"}, 0, 2, 1],
}


async def check(results: dict[str, dict[str, Any]], pair: Pair, site: ClientSite, differs: dict[str, Any]) -> None:
    for who in OPTIONS:
        found = results[who]
        seen = found.pop("targets", None)
        download_id = found["download"].pop()
        wanted = expected(who, site) | differs
        if wanted["popup"] is None:  # the client has no init scripts for popups
            wanted["popup"] = {**own(who), "first": "none"}
        assert found == wanted
        marks = [url.partition("?who=")[2] for url in seen if "?who=" in url]
        assert marks, f"{who} must see its own pages"
        assert {mark.partition("&")[0] for mark in marks} == {who}
        assert await pair.downloaded(who) == {download_id: ("report.txt", REPORT)}
        session_id = pair.ids[who]
        assert (await pair.server.get(session_id))["status"] == "active", "closing a client must not end the session"
        await until(partial(_no_connections, pair.server, session_id), what="the client has disconnected")
        await until(partial(_restored, pair.server, session_id, who), what="the session's options are restored")


async def _no_connections(server: Running, session_id: str) -> bool:
    return bool((await server.details(session_id))["connections"] == 0)


async def _restored(server: Running, session_id: str, who: str) -> bool:
    return bool(await server.evaluate(session_id, playwright_client.FACTS) == own(who))


async def test_python_playwright(playwright: Playwright, pair: Pair, site: ClientSite) -> None:
    results = await playwright_client.drive(playwright, pair.urls, site)
    await check(results, pair, site, PLAYWRIGHT)


@pytest.mark.slow
@pytest.mark.node
@needs_node
async def test_playwright_core(pair: Pair, site: ClientSite) -> None:
    results = await drive_with_node("playwright.mjs", pair, site)
    await check(results, pair, site, PLAYWRIGHT)


@pytest.mark.node
@needs_node
async def test_puppeteer_core(pair: Pair, site: ClientSite) -> None:
    results = await drive_with_node("puppeteer.mjs", pair, site)
    await check(results, pair, site, {"nested": ["Home", 0, 2, 1], "popup": None})


@pytest.mark.slow
@pytest.mark.node
@needs_node
async def test_chrome_remote_interface(pair: Pair, site: ClientSite) -> None:
    results = await drive_with_node("raw.mjs", pair, site)
    await check(results, pair, site, {})


@pytest.mark.slow
@pytest.mark.node
@needs_node
async def test_playwright_mcp(pair: Pair, site: ClientSite, tmp_path: Path) -> None:
    """Both concurrently, with the server's tools where it has one for a step, otherwise with Playwright code."""
    results = await asyncio.gather(*(drive_mcp(NODE, url, site, who, tmp_path) for who, url in pair.urls.items()))
    for who, found in zip(pair.urls, results, strict=True):
        for name, text in found.items():
            assert MCP_WANTED[name].replace("WHO", who) in text, f"{name}: {text}"
        others = set(OPTIONS) - {who}
        assert not any(f"who={other}" in found["tabs"] for other in others)
        files = await pair.downloaded(who)
        assert list(files.values()) == [("report.txt", REPORT)] * 2, "one by a tool, one by Playwright code"
        assert any(download_id in found["download"] for download_id in files)
        assert (await pair.server.get(pair.ids[who]))["status"] == "active"


@pytest.mark.node
@needs_node
async def test_a_window_has_the_size_that_puppeteer_requested(service: Running) -> None:
    made = await service.create()
    bounds = {"left": 0, "top": 0, "width": 640, "height": 480}
    sizes = await run_node("window.mjs", {"url": made["connect_url"], "bounds": bounds})
    assert sizes == [[640, 480]] * 2


# -- ends ------------------------------------------------------------------------------------------------------------


async def close_code(url: str, act: Any) -> tuple[int, str]:
    """The close code and reason that a connected client gets after `act`."""
    async with connect(url) as socket:
        await act()
        async with asyncio.timeout(20):
            await socket.wait_closed()
        assert socket.close_code is not None
        return socket.close_code, socket.close_reason or ""


async def test_clients_get_the_reason_why_their_session_ended(service: Running) -> None:
    key = await service.key()

    async def wait_for_timeout() -> None:
        """The idle timeout ends the session."""

    async with service.caller(key) as owner:

        async def create(**options: Any) -> tuple[str, str]:
            created = (await owner.post("/v1/browser/sessions", json=options)).json()
            return f"/v1/browser/sessions/{created['session_id']}", created["connect_url"]

        path, url = await create()
        assert await close_code(url, lambda: owner.delete(path)) == (1000, "the session was ended")
        path, url = await create()
        assert (await close_code(url, lambda: service.http.delete(path)))[0] == 4001, "an operator ended it"
        path, url = await create(idle_timeout_seconds=1)
        code, reason = await close_code(url, wait_for_timeout)
        assert (code, "idle" in reason) == (4000, True), reason

        async def expired() -> bool:
            return bool((await owner.get(path)).json()["status"] == "expired")

        await until(expired, what="it has expired")


# -- one line --------------------------------------------------------------------------------------------------------


def one_line(service: Running, **query: Any) -> str:
    return f"{service.url.replace('http', 'ws', 1)}/v1/browser/connect?{urlencode({**query, 'api_key': ADMIN_KEY})}"


async def ended(service: Running, mark: str) -> str | None:
    """The end reason of the session with this mark; None while it is active."""
    query = {"metadata.mark": mark}
    (found,) = (await service.http.get("/v1/browser/sessions", params=query)).json()["sessions"]
    reason: str | None = (await service.details(found["session_id"]))["end_reason"]
    return reason


async def test_one_line_with_python_playwright(service: Running, playwright: Playwright) -> None:
    url = one_line(service, viewport_width=640, metadata=json.dumps({"mark": "python"}))
    browser = await playwright.chromium.connect_over_cdp(url)
    assert await browser.contexts[0].pages[0].evaluate("innerWidth") == 640
    assert await ended(service, "python") is None
    await browser.close()
    assert await until(lambda: ended(service, "python")) == "client_left"


@pytest.mark.slow
@pytest.mark.node
@needs_node
@pytest.mark.parametrize("client", ["playwright", "puppeteer"])
async def test_one_line_with_node(service: Running, client: str) -> None:
    url = one_line(service, viewport_width=640, metadata=json.dumps({"mark": client}))
    assert await run_node("one-line.mjs", {"client": client, "url": url}) == 640
    assert await until(lambda: ended(service, client)) == "client_left"
