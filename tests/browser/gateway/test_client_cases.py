"""Less common uses of ordinary clients: mocked service workers, proxies, many contexts."""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Playwright, Route

from browser_sessions.chromium.context import context as context_module
from browser_sessions.chromium.process import ChromiumProcess
from browser_sessions.domain.errors import TOO_MANY_PAGES
from browser_sessions.domain.limits import MAX_PAGES
from browser_sessions.gateway import shared_session
from browser_sessions.gateway.policy import target_rules
from tests.harness.clients.node_client import needs_node, run_node
from tests.harness.clients.raw_cdp import raw
from tests.harness.scenarios.contexts import contexts_come_and_go, open_pages
from tests.harness.service import Running, serving
from tests.harness.sites.client_site import ClientSite, client_site
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

MOCK: Final = "self.answer = 'mocked'; self.addEventListener('activate', event => event.waitUntil(clients.claim()))"
ROUNDS: Final = 20


@pytest.fixture(scope="module")
def site() -> Iterator[ClientSite]:
    with client_site() as served:
        yield served


# -- service workers -------------------------------------------------------------------------------------------------


async def test_the_script_of_a_service_worker_is_routed_and_reported(
    service: Running, site: ClientSite, playwright: Playwright
) -> None:
    created = await service.create()
    browser = await playwright.chromium.connect_over_cdp(created["connect_url"])
    context = browser.contexts[0]
    requested: list[str] = []

    async def fulfill(route: Route) -> None:
        if route.request.url.endswith("/sw.js"):
            await route.fulfill(body=MOCK, content_type="text/javascript")
        else:
            await route.continue_()

    context.on("request", lambda request: requested.append(request.url))
    await context.route("**/*", fulfill)
    page = context.pages[0]
    async with context.expect_event("serviceworker") as expected:
        await page.goto(f"{site.url}/sw")
        await page.evaluate("window.ready.then(() => 1)")
    worker = await expected.value
    assert await worker.evaluate("self.answer") == "mocked"
    assert f"{site.url}/sw.js" in requested
    await browser.close()


# -- targets and windows ---------------------------------------------------------------------------------------------


async def test_probes_of_the_browser_cause_no_events(service: Running) -> None:
    created = await service.create()
    async with raw(created["connect_url"]) as client:
        await client.call("Target.setDiscoverTargets", {"discover": True})
        _, at_page = await client.page()
        client.events.clear()
        for _ in range(3):
            for _, process in service.inside.pool.fleet.running:
                assert isinstance(process, ChromiumProcess)
                await process._registry.refresh(timeout=10)  # as each probe does
        await client.value("document.title = 'changed'", at_page)
        changed = "Target.targetInfoChanged"
        await client.event(changed, lambda event: event["params"]["targetInfo"]["title"] == "changed")
        titles = [each["params"]["targetInfo"]["title"] for each in client.events if each["method"] == changed]
        assert titles == ["changed"]


async def test_the_window_of_a_page_is_found_without_attaching_to_it(service: Running) -> None:
    created = await service.create(viewport_width=900, viewport_height=700)
    async with raw(created["connect_url"]) as client:
        (first,) = [each["targetId"] for each in (await client.call("Target.getTargets"))["targetInfos"]]
        second = (await client.call("Target.createTarget", {"url": "about:blank"}))["targetId"]
        context = (await client.call("Target.createBrowserContext"))["browserContextId"]
        nested = {"url": "about:blank", "browserContextId": context}
        third = (await client.call("Target.createTarget", nested))["targetId"]
        for target_id in (first, second, third):
            window = await client.call("Browser.getWindowForTarget", {"targetId": target_id})
            bounds = (await client.call("Browser.getWindowBounds", {"windowId": window["windowId"]}))["bounds"]
            assert bounds == window["bounds"]


# -- proxies ---------------------------------------------------------------------------------------------------------


MEMBERS: Final = "/members"
"""A path for which the site requires a login too."""
MEMBER: Final = base64.b64encode(b"bob:site").decode().lower()


class FakeProxy:
    """A proxy that answers every request itself. Requires `credentials` (name:password) unless None."""

    def __init__(self, credentials: str | None) -> None:
        self.url = ""
        self.served: list[str] = []
        """Addresses of the requests answered with 200."""
        self.refused = 0
        self._wanted = None if credentials is None else "basic " + base64.b64encode(credentials.encode()).decode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            address = head.split(" ")[1]
            fields = [line.partition(":") for line in head.split("\r\n")[1:]]
            given = next((value.strip() for name, _, value in fields if name.lower() == "proxy-authorization"), "")
            scheme, _, secret = given.partition(" ")
            if head.startswith("CONNECT ") and self._wanted in (None, f"{scheme.lower()} {secret}"):
                writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
                line = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                self.served.append(f"http://{address}{line.split(' ')[1]}")
                status, body = "200 OK", "<title>through the proxy</title>"
            elif self._wanted is not None and f"{scheme.lower()} {secret}" != self._wanted:
                self.refused += 1
                status, body = '407 Ask\r\nProxy-Authenticate: Basic realm="tests"', "refused"
            elif urlsplit(address).path == MEMBERS and "authorization: basic " + MEMBER not in head.lower():
                status, body = '401 Ask\r\nWWW-Authenticate: Basic realm="members"', "members only"
            else:
                self.served.append(address)
                status, body = "200 OK", "<title>through the proxy</title>"
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\nConnection: close\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the browser disconnected
        finally:
            writer.close()


@pytest.fixture
def names_go_to_proxies(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with `EGRESS_UPSTREAM_RESOLVES_NAMES`: nobody but a session's proxy knows example.test."""
    monkeypatch.setattr(service.inside.egress, "upstream_names", True)


@asynccontextmanager
async def fake_proxy(credentials: str | None) -> AsyncIterator[FakeProxy]:
    proxy = FakeProxy(credentials)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()


async def by_playwright(playwright: Playwright, url: str, addresses: Sequence[str]) -> list[str]:
    browser = await playwright.chromium.connect_over_cdp(url)
    titles = []
    for address in addresses:
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(address)
        titles.append(await page.title())
        await context.close()
    await browser.close()
    return titles


async def by_puppeteer(_: Playwright, url: str, addresses: Sequence[str]) -> list[str]:
    titles: list[str] = await run_node("nested-titles.mjs", {"url": url, "addresses": addresses})
    return titles


async def by_raw(_: Playwright, url: str, addresses: Sequence[str]) -> list[str]:
    titles = []
    async with raw(url) as client:
        for address in addresses:
            client.events.clear()
            context = (await client.call("Target.createBrowserContext"))["browserContextId"]
            params = {"url": "about:blank", "browserContextId": context}
            at_page = await client.attach((await client.call("Target.createTarget", params))["targetId"])
            await client.call("Page.enable", {}, at_page)
            await client.call("Page.navigate", {"url": address}, at_page)
            await client.event("Page.loadEventFired")
            titles.append(str(await client.value("document.title", at_page)))
            await client.call("Target.disposeBrowserContext", {"browserContextId": context})
    return titles


TITLES: Final = {"playwright": by_playwright, "puppeteer": by_puppeteer, "raw": by_raw}
"""The titles of addresses, each in a context that the client creates for it."""


@pytest.mark.usefixtures("names_go_to_proxies")
@pytest.mark.parametrize("credentials", ["anna:opensesame", pytest.param(None, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "by", ["playwright", pytest.param("puppeteer", marks=[pytest.mark.node, needs_node, pytest.mark.slow]), "raw"]
)
async def test_contexts_created_by_a_client_use_the_sessions_proxy(
    service: Running, playwright: Playwright, by: str, credentials: str | None
) -> None:
    """With the proxy's password, and for loopback addresses too."""
    async with fake_proxy(credentials) as proxy:
        name, _, password = (credentials or "").partition(":")
        named = {"username": name, "password": password} if credentials else {}
        created = await service.create(proxy={"server": proxy.url, **named})
        addresses = ("http://example.test/", "http://localhost:47113/", "http://127.0.0.1:47113/")
        titles = await TITLES[by](playwright, created["connect_url"], addresses)
        assert titles == ["through the proxy"] * len(addresses)
        hosts = [address.split("/")[2] for address in proxy.served if not address.endswith("favicon.ico")]
        assert hosts == ["example.test", "localhost:47113", "127.0.0.1:47113"]
        # and the session's own page
        page = await service.first_page(created["session_id"])
        path = f"/v1/browser/sessions/{created['session_id']}/pages/{page}/navigate"
        assert (await service.http.post(path, json={"url": "http://example.test/"})).json()[
            "title"
        ] == "through the proxy"


PASSWORD: Final = {"username": "anna", "password": "opensesame"}


@pytest.mark.usefixtures("names_go_to_proxies")
async def test_a_client_logs_in_at_sites_itself_behind_a_proxy_with_a_password(
    service: Running, playwright: Playwright
) -> None:
    """The context's first request is challenged by the proxy and then by the site."""
    async with fake_proxy("anna:opensesame") as proxy:
        created = await service.create(proxy={"server": proxy.url, **PASSWORD})
        browser = await playwright.chromium.connect_over_cdp(created["connect_url"])
        context = await browser.new_context(http_credentials={"username": "bob", "password": "site"})
        page = await context.new_page()
        for _ in range(2):
            await page.goto(f"http://example.test{MEMBERS}")
            assert await page.title() == "through the proxy"
        await browser.close()


@pytest.mark.usefixtures("names_go_to_proxies")
async def test_concurrent_first_requests_all_pass_a_proxy_with_a_password(
    service: Running, playwright: Playwright
) -> None:
    async with fake_proxy("anna:opensesame") as proxy:
        created = await service.create(proxy={"server": proxy.url, **PASSWORD})
        browser = await playwright.chromium.connect_over_cdp(created["connect_url"])
        context = await browser.new_context()
        pages = [await context.new_page() for _ in range(3)]
        fetches = "urls => Promise.all(urls.map(url => fetch(url, {mode: 'no-cors'})).map(each => each.then(() => 1)))"
        urls_of_pages = [[f"http://example.test/{page}/{number}" for number in range(6)] for page in range(3)]
        await asyncio.gather(*(page.evaluate(fetches, urls) for page, urls in zip(pages, urls_of_pages, strict=True)))
        assert sorted(proxy.served) == sorted(itertools.chain(*urls_of_pages))
        await asyncio.gather(*(page.goto("http://example.test/") for page in pages))
        assert [await page.title() for page in pages] == ["through the proxy"] * 3
        await browser.close()


@pytest.mark.usefixtures("names_go_to_proxies")
async def test_the_proxys_password_is_not_revealed_to_clients(service: Running) -> None:
    """Requests carry it and are reported to clients with their headers."""
    async with fake_proxy("anna:opensesame") as proxy:
        created = await service.create(proxy={"server": proxy.url, **PASSWORD})
        async with raw(created["connect_url"]) as client:
            _, own = await client.page()
            context = (await client.call("Target.createBrowserContext"))["browserContextId"]
            params = {"url": "about:blank", "browserContextId": context}
            nested = await client.attach((await client.call("Target.createTarget", params))["targetId"])
            for number, at_page in enumerate((own, nested)):
                await client.call("Network.enable", {}, at_page)
                await client.call("Fetch.enable", {"handleAuthRequests": False, "patterns": []}, at_page)
                await client.call("Page.enable", {}, at_page)
                for again in range(2):
                    address = f"http://example.test/{number}/{again}"
                    await client.call("Page.navigate", {"url": address}, at_page)
                    assert await wait_title(client, at_page, address) == "through the proxy"
            sent = [each for each in client.events if each["method"] == "Network.requestWillBeSentExtraInfo"]
            assert len(sent) >= 4
            received = "".join(client.frames)
            assert "Host" in received
            assert not any(
                secret in received for secret in ("opensesame", base64.b64encode(b"anna:opensesame").decode())
            )


async def wait_title(client: Any, at_page: str, address: str) -> str:
    """The page's title once it has loaded an address."""
    found: list[str] = []

    async def there() -> bool:
        found[:] = await client.value("[location.href, document.readyState, document.title]", at_page)
        return found[:2] == [address, "complete"]

    await until(there, what="the page has loaded")
    return found[2]


# -- crashes of a page ------------------------------------------------------------------------------------------------


async def test_a_page_that_crashes_during_its_screenshot_does_not_crash_the_browser(service: Running) -> None:
    """With Playwright's `CDPScreenshotNewSurface`, Chromium 156 crashes in three of four attempts."""
    neighbour = await service.create()
    for _ in range(3):
        created = await service.create()
        async with raw(created["connect_url"]) as client:
            _, at_page = await client.page()
            for method in ("Page.captureScreenshot", "Page.crash"):
                await client.socket.send(client.begin(method, {}, at_page)[1])
            await client.event("Inspector.targetCrashed")
        assert (await service.get(created["session_id"]))["status"] == "active"
        await service.http.delete(f"/v1/browser/sessions/{created['session_id']}")
    assert (await service.get(neighbour["session_id"]))["status"] == "active"
    assert await service.evaluate(neighbour["session_id"], "6 * 7") == 42


async def test_commands_to_a_crashed_page_that_would_crash_the_browser_are_refused(
    service: Running, site: ClientSite
) -> None:
    created = await service.create()
    async with raw(created["connect_url"]) as client:
        _, at_page = await client.page()
        await client.socket.send(client.begin("Page.crash", {}, at_page)[1])
        await client.event("Inspector.targetCrashed")
        commands: list[tuple[str, dict[str, Any]]] = [
            ("Page.printToPDF", {}),
            ("Input.synthesizePinchGesture", {"x": 10, "y": 10, "scaleFactor": 2}),
            ("Input.synthesizeScrollGesture", {"x": 10, "y": 10, "yDistance": 100}),
            ("Input.synthesizeTapGesture", {"x": 10, "y": 10}),
        ]
        refused = await asyncio.gather(*(client.ask(method, params, at_page) for method, params in commands))
        assert [each["error"] for each in refused] == [{"code": -32000, "message": "Target crashed"}] * len(commands)
        await client.call("Page.navigate", {"url": site.url}, at_page)
        assert (await client.call("Page.printToPDF", {}, at_page))["data"]
    assert (await service.get(created["session_id"]))["status"] == "active"


async def test_a_screenshot_of_a_page_that_is_too_large_is_refused(service: Running) -> None:
    """Chromium 156 crashes its GPU process on some."""
    created = await service.create()
    sized = "document.body.innerHTML = '<div style=\"width:{0}px;height:{0}px\"></div>'; 1"
    async with raw(created["connect_url"]) as client:
        _, at_page = await client.page()
        whole = {"captureBeyondViewport": True}
        await client.value(sized.format(3000), at_page)
        assert (await client.call("Page.captureScreenshot", whole, at_page))["data"]
        await client.value(sized.format(20_000), at_page)
        refused = await client.ask("Page.captureScreenshot", whole, at_page)
        assert refused["error"]["message"].startswith("Page is too large: at most 67108864 pixels; ")
        part = {"clip": {"x": 0, "y": 0, "width": 100, "height": 100, "scale": 1}}
        assert (await client.call("Page.captureScreenshot", whole | part, at_page))["data"]


# -- numbers of pages ------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_the_page_count_stays_correct_while_contexts_come_and_go(tmp_path: Path, site: ClientSite) -> None:
    """Under load on both cores; afterwards the session can open as many pages as a new one."""
    async with serving(tmp_path / "data") as service:
        created = await service.create()
        result = await contexts_come_and_go(service, created, site.url, rounds=ROUNDS)
        assert result.errors == []
        assert result.counted_wrong == []

        async def one() -> bool:
            return await open_pages(service, created["session_id"]) == 1

        await until(one, what="one page is open")
        assert await pages_until_refused(service, created["session_id"]) == MAX_PAGES - 1


async def pages_until_refused(service: Running, session_id: str) -> int:
    """The number of pages that can be opened until one is refused; they stay open."""
    path = f"/v1/browser/sessions/{session_id}/pages"
    for number in range(MAX_PAGES + 1):
        if (await service.http.post(path, json={})).status_code != 201:
            return number
    return MAX_PAGES + 1


FEW: Final = 4


@pytest.fixture
def few_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session can have `FEW` pages, because each takes a process to open."""
    for module in (context_module, shared_session, target_rules):
        monkeypatch.setattr(module, "MAX_PAGES", FEW)


@pytest.mark.usefixtures("few_pages")
async def test_concurrent_creates_of_pages_beyond_the_limit_are_refused(service: Running) -> None:
    made = await service.create()
    async with raw(made["connect_url"]) as client:
        await client.auto_attach(wait=False)
        calls = (client.ask("Target.createTarget", {"url": "about:blank"}) for _ in range(FEW + 2))
        responses = await asyncio.gather(*calls)
        assert ["result" in response for response in responses] == [True] * (FEW - 1) + [False] * 3
        assert TOO_MANY_PAGES in responses[-1]["error"]["message"]
        targets = (await client.call("Target.getTargets"))["targetInfos"]
        assert sum(info["type"] == "page" for info in targets) == FEW


@pytest.mark.usefixtures("few_pages")
async def test_windows_that_a_page_opens_in_a_clients_context_are_limited_too(service: Running) -> None:
    created = await service.create()
    async with raw(created["connect_url"]) as client:
        context = (await client.call("Target.createBrowserContext"))["browserContextId"]
        params = {"url": "about:blank", "browserContextId": context}
        at_page = await client.attach((await client.call("Target.createTarget", params))["targetId"])
        await client.call(
            "Runtime.evaluate",
            {"expression": f"for (let n = 0; n < {2 * FEW}; n++) open('about:blank')"},
            at_page,
        )

        async def pages() -> int:
            found = (await client.call("Target.getTargets"))["targetInfos"]
            return sum(info["type"] == "page" for info in found)

        async def at_the_limit() -> bool:
            return await pages() == FEW

        await until(at_the_limit, what="the windows beyond the limit are closed")
        refused = await client.ask("Target.createTarget", params)
        assert "reached its limit" in refused["error"]["message"]
        assert await client.value("6 * 7", at_page) == 42


async def test_an_opener_goes_on_when_a_client_closes_its_new_window_at_once(service: Running) -> None:
    created = await service.create()
    session_id = created["session_id"]
    async with raw(created["connect_url"]) as client:
        own, at_page = await client.page()
        await client.call("Target.setDiscoverTargets", {"discover": True})
        await client.auto_attach()
        for kind in ("targetCreated", "attachedToTarget") * 2:
            client.events.clear()
            opening = asyncio.create_task(client.ask("Runtime.evaluate", {"expression": "window.open('')"}, at_page))
            window = await client.event(f"Target.{kind}", lambda e: e["params"]["targetInfo"].get("openerId") == own)
            target_id = window["params"]["targetInfo"]["targetId"]
            assert await client.call("Target.closeTarget", {"targetId": target_id}) == {"success": True}
            await opening
            assert await service.evaluate(session_id, "6 * 7") == 42


@pytest.mark.usefixtures("few_pages")
async def test_pages_of_a_clients_context_end_and_are_not_counted_once_it_disconnects(
    service: Running, site: ClientSite
) -> None:
    """The page that it opened in the session's context stays."""
    created = await service.create()
    async with raw(created["connect_url"]) as client:
        await client.call("Target.createTarget", {"url": site.url})
        for _ in range(2):
            context: Any = (await client.call("Target.createBrowserContext"))["browserContextId"]
            await client.call("Target.createTarget", {"url": site.url, "browserContextId": context})
        client.socket.transport.abort()

    async def no_connections() -> bool:
        return bool((await service.details(created["session_id"]))["connections"] == 0)

    await until(no_connections, what="the client has disconnected")

    async def two() -> bool:
        return await open_pages(service, created["session_id"]) == 2

    await until(two, what="two pages are open")
    assert await pages_until_refused(service, created["session_id"]) == FEW - 2
