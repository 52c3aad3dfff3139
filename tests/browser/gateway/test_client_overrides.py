"""Overrides set by a client apply while it is connected; then the page immediately has the session's values again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from playwright.async_api import Playwright

from tests.harness.clients.node_client import NODE, needs_node
from tests.harness.clients.raw_cdp import Raw, raw
from tests.harness.pixels import png_size
from tests.harness.service import Running
from tests.harness.sites.plain_site import Site
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

RESTORED_S: Final = 10.0
"""Time limit from the client's disconnect until the page is as before."""
ALL_OPTIONS: Final[dict[str, Any]] = {
    "viewport_width": 700,
    "viewport_height": 500,
    "user_agent": "session/1.0",
    "locale": "de-DE",
    "timezone_id": "Asia/Tokyo",
    "device_scale_factor": 1.5,
    "color_scheme": "dark",
    "reduced_motion": "reduce",
    "forced_colors": "active",
    "geolocation": {"latitude": 52.5, "longitude": 13.4},
    "permissions": ["geolocation"],
    "extra_http_headers": {"x-session": "session"},
}
PLAIN: Final[dict[str, Any]] = {"permissions": ["geolocation"]}
"""A session without options that a client overrides: the browser's defaults."""
PHONE: Final[dict[str, Any]] = {"device": "iPhone 13"}
CLIP: Final = {"x": 0, "y": 0, "width": 100, "height": 50, "scale": 1}
SESSIONS: Final = {"named": ALL_OPTIONS, "plain": PLAIN, "phone": PHONE}

FACTS: Final = """(async () => {
  const position = () => new Promise(done => navigator.geolocation.getCurrentPosition(
    ({coords}) => done([coords.latitude, coords.longitude]), error => done(error.code),
    {timeout: PATIENCE, maximumAge: 0}))
  const media = query => matchMedia(query).matches
  return {
    size: [innerWidth, innerHeight], screen: [screen.width, screen.height], scale: devicePixelRatio,
    touches: navigator.maxTouchPoints, coarse: media('(pointer: coarse)'),
    dark: media('(prefers-color-scheme: dark)'), reducedMotion: media('(prefers-reduced-motion: reduce)'),
    print: media('print'), forced: media('(forced-colors: active)'),
    agent: navigator.userAgent, platform: navigator.platform, languages: [...navigator.languages],
    zone: Intl.DateTimeFormat().resolvedOptions().timeZone, offset: new Date(2026, 6, 1).getTimezoneOffset(),
    locale: new Intl.NumberFormat().resolvedOptions().locale, number: (1234.5).toLocaleString(),
    position: await position(), online: navigator.onLine,
  }
})()"""

_numbers = itertools.count()


class Subject:
    """A session whose page is inspected over HTTP."""

    def __init__(self, service: Running, site: Site, created: dict[str, Any], page_id: str, *, placed: bool) -> None:
        """`placed`: the session has a position, which is waited for. Without one each inspection takes a whole
        second."""
        self._service, self._site, self._page_id = service, site, page_id
        self._facts = FACTS.replace("PATIENCE", "10_000" if placed else "1000")
        self.session_id: str = created["session_id"]
        self.url: str = created["connect_url"]

    async def facts(self) -> dict[str, Any]:
        """Values as seen by the page, and the session's and client's headers in its requests."""
        found: dict[str, Any] = await self._service.evaluate(self.session_id, self._facts, self._page_id)
        path = f"/request{next(_numbers)}"
        await self._service.evaluate(self.session_id, f"fetch('{path}').then(() => 0, () => 0)", self._page_id)
        sent = next((headers for at, headers in self._site.requests if at == path), {})
        wanted = ("x-session", "x-client", "user-agent", "accept-language")
        return {**found, "headers": {name: sent.get(name) for name in wanted}}

    async def picture_size(self, full_page: bool) -> tuple[int, int]:
        """Of a screenshot by the API."""
        path = f"/v1/browser/sessions/{self.session_id}/pages/{self._page_id}/screenshot"
        return png_size((await self._service.http.get(path, params={"full_page": full_page})).content)

    async def disconnected(self) -> bool:
        return bool((await self._service.details(self.session_id))["connections"] == 0)

    async def differs_from(self, before: dict[str, Any]) -> dict[str, Any]:
        """Values that differ from `before` once all are equal or the time limit has passed."""
        now: dict[str, Any] = {}

        async def same() -> bool:
            now.update(await self.facts())
            return now == before

        with contextlib.suppress(AssertionError):
            await until(same, within=RESTORED_S)
        return {name: value for name, value in now.items() if value != before[name]}


@asynccontextmanager
async def subject(service: Running, site: Site, **options: Any) -> AsyncIterator[Subject]:
    created = await service.create(**{"start_url": site.url, **options})
    try:
        page_id = await service.first_page(created["session_id"])
        yield Subject(service, site, created, page_id, placed="geolocation" in options)
    finally:
        await service.http.delete(f"/v1/browser/sessions/{created['session_id']}")


# -- with a raw client -----------------------------------------------------------------------------------------------

METRICS: Final[dict[str, Any]] = {
    "width": 420,
    "height": 640,
    "deviceScaleFactor": 2.0,
    "mobile": False,
    "screenWidth": 1000,
    "screenHeight": 1100,
}
FEATURES: Final = [
    {"name": "prefers-color-scheme", "value": "light"},
    {"name": "prefers-reduced-motion", "value": "reduce"},
    {"name": "forced-colors", "value": "active"},
]
AGENT: Final = {"userAgent": "client/2.0", "acceptLanguage": "fr-FR", "platform": "ClientOS"}
PLACE: Final = {"latitude": 10, "longitude": 20, "accuracy": 1}

CHANGES: Final[dict[str, tuple[tuple[str, dict[str, Any]], ...]]] = {
    "metrics": (("Emulation.setDeviceMetricsOverride", METRICS),),
    "mobile": (("Emulation.setDeviceMetricsOverride", {**METRICS, "mobile": True}),),
    "metrics cleared": (("Emulation.clearDeviceMetricsOverride", {}),),
    "touch": (("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 3}),),
    "touch off": (("Emulation.setTouchEmulationEnabled", {"enabled": False}),),
    "media": (("Emulation.setEmulatedMedia", {"media": "print", "features": FEATURES}),),
    "media cleared": (("Emulation.setEmulatedMedia", {"media": "", "features": []}),),
    "user agent": (("Emulation.setUserAgentOverride", AGENT),),
    "user agent by Network": (("Network.setUserAgentOverride", AGENT),),
    "headers": (("Network.enable", {}), ("Network.setExtraHTTPHeaders", {"headers": {"x-client": "client"}})),
    "geolocation": (("Emulation.setGeolocationOverride", PLACE),),
    "geolocation cleared": (("Emulation.setGeolocationOverride", PLACE), ("Emulation.clearGeolocationOverride", {})),
    "timezone": (("Emulation.setTimezoneOverride", {"timezoneId": "America/New_York"}),),
    "timezone cleared": (("Emulation.setTimezoneOverride", {"timezoneId": ""}),),
    "locale": (("Emulation.setLocaleOverride", {"locale": "fr-FR"}),),
    "locale cleared": (("Emulation.setLocaleOverride", {}),),
    "offline": (
        ("Network.enable", {}),
        (
            "Network.emulateNetworkConditions",
            {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1},
        ),
    ),
    "permissions": (("Browser.resetPermissions", {}),),
}
UNNOTICED: Final = {("phone", "geolocation"), ("phone", "permissions")}
"""(session, change) without visible effect: this session has no permission for the position."""


def reset(client: Raw) -> None:
    """Ends the connection with a RST, as when the client's machine fails."""
    own: socket.socket = client.socket.transport.get_extra_info("socket")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.transport.abort()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["named", "phone"])
async def test_each_override_of_a_raw_client_applies_until_it_disconnects(
    service: Running, site: Site, kind: str
) -> None:
    """One change at a time; every second client resets the connection instead of closing it."""
    wrong: dict[str, Any] = {}
    for number, (name, commands) in enumerate(CHANGES.items()):
        async with subject(service, site, **SESSIONS[kind]) as page:
            before = await page.facts()
            async with raw(page.url) as client:
                _, at_page = await client.page()
                responses = [
                    await client.ask(method, params, None if method.startswith("Browser.") else at_page)
                    for method, params in commands
                ]
                during = await page.facts()
                if number % 2:
                    reset(client)
            refused = [each["error"]["message"] for each in responses if "error" in each]
            if refused:
                wrong[f"{name}: refused"] = refused
            elif during == before and "cleared" not in name and "off" not in name and (kind, name) not in UNNOTICED:
                wrong[f"{name}: no effect"] = commands
            await until(page.disconnected, what="the client has disconnected")
            if remaining := await page.differs_from(before):
                wrong[f"{name}: remains"] = remaining
    assert wrong == {}


async def test_all_overrides_of_a_raw_client_are_undone_when_it_disconnects(service: Running, site: Site) -> None:
    async with subject(service, site, **ALL_OPTIONS) as page:
        before = await page.facts()
        async with raw(page.url) as client:
            _, at_page = await client.page()
            for name in ("mobile", "touch", "media", "user agent", "headers", "geolocation", "timezone", "locale"):
                for method, params in CHANGES[name]:
                    await client.call(method, params, at_page)
            during = await page.facts()
        assert {
            "size": during["size"],
            "scale": during["scale"],
            "touches": during["touches"],
            "agent": during["agent"],
            "zone": during["zone"],
            "locale": during["locale"],
            "dark": during["dark"],
            "print": during["print"],
            "position": during["position"],
            "headers": during["headers"]["x-client"],
        } == {
            "size": [980, 1494],  # 420 by 640 on a phone, for a page without a viewport tag; as in a bare Chromium
            "scale": 2,
            "touches": 3,
            "agent": "client/2.0",
            "zone": "America/New_York",
            "locale": "fr-FR",
            "dark": False,
            "print": True,
            "position": [10, 20],
            "headers": "client",
        }
        assert await page.differs_from(before) == {}


async def test_overrides_of_a_connected_client_stay_when_another_disconnects(service: Running, site: Site) -> None:
    async with subject(service, site, **ALL_OPTIONS) as page, raw(page.url) as remaining:
        _, at_page = await remaining.page()
        await remaining.call("Emulation.setDeviceMetricsOverride", METRICS, at_page)
        await remaining.call("Emulation.setEmulatedMedia", {"media": "print", "features": []}, at_page)
        wanted = await page.facts()
        async with raw(page.url) as leaving:
            _, also_at_page = await leaving.page()
            await leaving.call("Emulation.setUserAgentOverride", AGENT, also_at_page)
            await leaving.call("Emulation.setGeolocationOverride", PLACE, also_at_page)
            assert (await page.facts())["position"] == [10, 20]
        assert await page.differs_from(wanted) == {}


async def test_detaching_one_cdp_session_undoes_only_its_overrides(service: Running, site: Site) -> None:
    """Those of the client's other CDP session on the page stay, although Chromium resets media and offline for all."""
    async with subject(service, site, **ALL_OPTIONS) as page, raw(page.url) as client:
        target_id, first = await client.page()
        for name in ("media", "metrics", "offline"):
            for method, params in CHANGES[name]:
                await client.call(method, params, first)
        wanted = await page.facts()
        assert (wanted["online"], wanted["print"], wanted["zone"]) == (False, True, "Asia/Tokyo")
        second = await client.attach(target_id)
        for name in ("mobile", "touch", "user agent", "timezone", "geolocation"):
            for method, params in CHANGES[name]:
                await client.call(method, params, second)
        assert (await page.facts())["zone"] == "America/New_York"
        await client.call("Target.detachFromTarget", {"sessionId": second})
        assert await page.differs_from(wanted) == {}
        idle = await client.attach(target_id)
        await client.call("Target.detachFromTarget", {"sessionId": idle})
        assert await page.differs_from(wanted) == {}


async def test_timezone_and_locale_of_pages_in_one_process_are_the_clients_until_it_disconnects(
    service: Running, site: Site
) -> None:
    """Chromium has one override for both pages, set through the first page's session."""
    script = "[Intl.DateTimeFormat().resolvedOptions().timeZone, new Intl.NumberFormat().resolvedOptions().locale]"
    async with subject(service, site, **ALL_OPTIONS) as page, raw(page.url) as client:
        _, first = await client.page()
        await client.value("void (window.opened = open('about:blank'))", first)
        targets = (await client.call("Target.getTargets"))["targetInfos"]
        opened = await client.attach(next(info["targetId"] for info in targets if info["url"] == "about:blank"))
        assert await client.value(script, opened) == ["Asia/Tokyo", "de-DE"]
        await client.call("Emulation.setTimezoneOverride", {"timezoneId": "America/New_York"}, opened)
        await client.call("Emulation.setLocaleOverride", {"locale": "fr-FR"}, opened)
        assert await client.value(script, opened) == ["America/New_York", "fr-FR"]
        await client.close()
        await until(page.disconnected, what="the client has disconnected")
        async with raw(page.url) as observer:
            targets = (await observer.call("Target.getTargets"))["targetInfos"]
            for info in (each for each in targets if each["type"] == "page"):
                assert await observer.value(script, await observer.attach(info["targetId"])) == ["Asia/Tokyo", "de-DE"]


# -- with client libraries -------------------------------------------------------------------------------------------


@asynccontextmanager
async def playwright_client(playwright: Playwright, page: Subject) -> AsyncIterator[None]:
    browser = await playwright.chromium.connect_over_cdp(page.url)
    context = browser.contexts[0]
    own = context.pages[0]
    await own.set_viewport_size({"width": 420, "height": 640})
    await own.emulate_media(media="print", color_scheme="light", reduced_motion="reduce", forced_colors="active")
    await own.set_extra_http_headers({"x-client": "client"})
    await context.set_geolocation({"latitude": 10, "longitude": 20})
    protocol = await context.new_cdp_session(own)
    await protocol.send("Emulation.setUserAgentOverride", AGENT)
    await protocol.send("Emulation.setTimezoneOverride", {"timezoneId": "America/New_York"})
    await protocol.send("Emulation.setLocaleOverride", {"locale": "fr-FR"})
    yield
    await browser.close()


@asynccontextmanager
async def puppeteer_client(_: Playwright, page: Subject) -> AsyncIterator[None]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        "node", str(NODE / "overrides.mjs"), stdin=pipe, stdout=pipe, stderr=pipe, cwd=NODE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps({"url": page.url}).encode() + b"\n")
        async with asyncio.timeout(30):
            line = await process.stdout.readline()
        if line != b"ready\n":
            assert process.stderr is not None
            raise AssertionError((await process.stderr.read()).decode()[-2000:])
        yield
        process.stdin.write(b"\n")
        async with asyncio.timeout(30):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


CLIENT_LIBRARIES: Final[dict[str, Callable[[Playwright, Subject], Any]]] = {
    "playwright": playwright_client,
    "puppeteer": puppeteer_client,
}


QUICK: Final = {("named", "playwright"), ("plain", "puppeteer"), ("phone", "playwright")}
"""Each client and each kind of session at least once; the other pairs are slow."""


def pairs() -> Iterator[Any]:
    for pair in itertools.product(SESSIONS, ("playwright", "puppeteer")):
        node = [pytest.mark.node, needs_node] if "puppeteer" in pair else []
        yield pytest.param(*pair, marks=[*node, *([] if pair in QUICK else [pytest.mark.slow])])


@pytest.mark.parametrize(("kind", "client"), list(pairs()))
async def test_overrides_of_playwright_or_puppeteer_apply_until_it_disconnects(
    service: Running, site: Site, playwright: Playwright, client: str, kind: str
) -> None:
    async with subject(service, site, **SESSIONS[kind]) as page:
        before = await page.facts()
        async with CLIENT_LIBRARIES[client](playwright, page):
            during = await page.facts()
            seen = {name: during[name] for name in ("dark", "reducedMotion", "agent", "zone")}
            assert seen == {
                "dark": False,
                "reducedMotion": True,
                "agent": "client/2.0",
                "zone": "America/New_York",
            }
            assert during["headers"]["x-client"] == "client"
            if kind != "phone":  # has another layout
                assert during["size"] == [420, 640]
            if kind != "phone":  # has no permission for the position
                assert during["position"] == [10, 20]
        await until(page.disconnected, what="the client has disconnected")
        assert await page.differs_from(before) == {}


async def test_a_clients_screenshots_have_a_phones_scale_and_leave_it_as_it_is(
    service: Running, site: Site, playwright: Playwright
) -> None:
    site.pages["/phone"] = "<!doctype html><meta name=viewport content='width=device-width'><p style='height:1000px'>"
    async with subject(service, site, **PHONE, start_url=f"{site.url}/phone") as page:
        before = await page.facts()
        assert before["scale"] == 3
        browser = await playwright.chromium.connect_over_cdp(page.url)
        own = browser.contexts[0].pages[0]
        for full_page in (False, True):
            assert png_size(await own.screenshot(full_page=full_page)) == await page.picture_size(full_page)
            assert await page.facts() == before
        await browser.close()
        assert await page.differs_from(before) == {}
        async with raw(page.url) as overriding, raw(page.url) as capturing:
            _, at_page = await overriding.page()
            await overriding.call("Emulation.setDeviceMetricsOverride", {**METRICS, "mobile": True}, at_page)
            during = await page.facts()
            _, at_page = await capturing.page()
            for params in ({"clip": CLIP}, {"captureBeyondViewport": True}):
                await capturing.call("Page.captureScreenshot", params, at_page)
                assert await page.differs_from(during) == {}
        assert await page.differs_from(before) == {}


async def test_offline_stays_on_all_pages_while_other_clients_connect_and_disconnect(
    service: Running, site: Site, playwright: Playwright
) -> None:
    """Chromium resets it for a page when any CDP session on the page ends, also one of another session's client."""
    async with subject(service, site, **PLAIN) as page:
        others = [await playwright.chromium.connect_over_cdp(page.url)]
        remaining = await playwright.chromium.connect_over_cdp(page.url)
        context = remaining.contexts[0]
        await context.set_offline(True)
        async with subject(service, site, **PLAIN) as other_subject:
            others += [await playwright.chromium.connect_over_cdp(other_subject.url) for _ in range(2)]
            others.append(await playwright.chromium.connect_over_cdp(page.url))
            for other in others:
                await other.close()
            await until(other_subject.disconnected, what="the other session's clients have disconnected")
        first = context.pages[0]
        opened = await context.new_page()
        async with opened.expect_popup() as popup:
            await opened.evaluate("void open('about:blank')")
        await service.create()
        for each in (first, opened, await popup.value):
            assert await each.evaluate("navigator.onLine") is False
            fetched = f"fetch('{site.url}', {{mode: 'no-cors'}}).then(() => 'fetched', () => 'failed')"
            assert await each.evaluate(fetched) == "failed"
        await remaining.close()


async def test_a_client_that_overrides_nothing_keeps_the_sessions_values(
    service: Running, site: Site, playwright: Playwright
) -> None:
    """Playwright sends its own defaults when it attaches; these must not override the session's options."""

    async def connect(work: Callable[[Any], Awaitable[Any]] | None = None) -> None:
        browser = await playwright.chromium.connect_over_cdp(page.url)
        own = browser.contexts[0].pages[0]
        await own.evaluate("1")
        assert await page.facts() == before
        if work is not None:
            await work(own)
        await browser.close()

    async with subject(service, site, **ALL_OPTIONS) as page:
        before = await page.facts()
        assert before["dark"] is True
        await connect()
        assert await page.differs_from(before) == {}

        async def emulate_light(own: Any) -> None:
            await own.reload()
            assert (await page.facts())["dark"] is True
            opened = await own.context.new_page()
            await opened.goto(site.url)
            assert await opened.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") is True
            await opened.close()
            await own.emulate_media(color_scheme="light")
            assert (await page.facts())["dark"] is False
            await own.emulate_media(color_scheme="dark")
            assert (await page.facts())["dark"] is True
            await own.emulate_media(color_scheme="light")

        await connect(emulate_light)
        await until(page.disconnected, what="the client has disconnected")
        assert await page.differs_from(before) == {}


async def test_a_client_goes_online_in_an_offline_session_until_it_disconnects(service: Running, site: Site) -> None:
    """By the commands of Playwright and of Puppeteer."""
    unlimited = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    by_rule = {"offline": False, "matchedNetworkConditions": [{"urlPattern": "", **unlimited}]}
    playwrights = (("Network.emulateNetworkConditions", {"offline": False, **unlimited}),)
    puppeteers = (
        ("Network.emulateNetworkConditionsByRule", by_rule),
        ("Network.overrideNetworkState", {"offline": False, **unlimited}),
    )
    created = await service.create(offline=True)
    online = f"fetch('{site.url}', {{mode: 'no-cors'}}).then(() => navigator.onLine, () => false)"

    async def is_online() -> bool:
        return bool(await service.evaluate(created["session_id"], online))

    async def is_offline() -> bool:
        return not await is_online()

    for commands in (playwrights, puppeteers):
        assert not await is_online()
        async with raw(created["connect_url"]) as client:
            _, at_page = await client.page()
            await client.call("Network.enable", {}, at_page)
            for method, params in commands:
                await client.call(method, params, at_page)
            assert await is_online(), commands
        await until(is_offline, what="the session's own option applies again")
