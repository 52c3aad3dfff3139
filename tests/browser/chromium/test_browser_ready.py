"""The spare context that is prepared before a create: used, replaced, and indistinguishable from a new one."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from browser_sessions.cdp.pauses import OWNER_HOLD_S
from browser_sessions.chromium.context.context import Context
from browser_sessions.chromium.launch import process_group
from browser_sessions.chromium.ports import ContextEvent
from browser_sessions.chromium.process import ChromiumProcess
from browser_sessions.domain.session_spec import Geolocation, Isolation, Proxy, SessionSpec
from tests.harness.clients.raw_cdp import raw
from tests.harness.scenarios.leftovers import metric
from tests.harness.service import Running, running
from tests.harness.shared import Death
from tests.harness.sites.plain_site import Site
from tests.harness.waiting import until

pytestmark = pytest.mark.browser


OPEN_SECONDS = 30.0
HOUR_MS = 3_600_000.0
CLOCKS_MS = 10.0
"""Difference between Chromium's clock and ours, at most."""
NOT_THE_BROWSERS = {
    "idle_timeout_seconds",
    "max_lifetime_seconds",
    "metadata",
    "device",
    "start_url",
    "proxy",
    "egress",
    "max_traffic_bytes",
    "client_certificates",
}
"""Options that are resolved, or kept, outside the browser."""
SEEN = """async () => {
    const media = name => matchMedia(`(prefers-color-scheme: ${name})`).matches;
    const query = async name => (await navigator.permissions.query({name})).state;
    const place = () => new Promise(done => navigator.geolocation.getCurrentPosition(
        at => done([at.coords.latitude, at.coords.longitude, at.coords.accuracy]), error => done(error.code)));
    const web = location.protocol === 'http:';
    const late = new Set(['orientation']);  // an empty page of a phone has it if the size arrived before the document
    return {
        agent: navigator.userAgent, languages: navigator.languages, zone: Intl.DateTimeFormat().resolvedOptions(),
        date: new Date(0).toString(), inner: [innerWidth, innerHeight], outer: [outerWidth, outerHeight],
        at: [screenX, screenY], screen: [screen.width, screen.height, screen.availWidth, screen.availHeight],
        orientation: screen.orientation.type, scale: devicePixelRatio, touch: navigator.maxTouchPoints,
        dark: media('dark'), light: media('light'), coarse: matchMedia('(pointer: coarse)').matches,
        permissions: await Promise.all(['geolocation', 'notifications'].map(query)),
        geolocation: web ? await place() : null,
        referrer: document.referrer, history: history.length, cookie: web ? document.cookie : null,
        opener: window.opener, own: Object.keys(window).filter(key => !key.startsWith('on') && (web || !late.has(key))),
        visible: document.visibilityState, focus: document.hasFocus(), first: window.first ?? null,
        navigation: performance.getEntriesByType('navigation').map(each => each.type), name: window.name,
        driven: navigator.webdriver, cores: navigator.hardwareConcurrency, online: navigator.onLine,
    }
}"""
FIRST_PAGE = """() => {
    const entry = performance.getEntriesByType('navigation')[0].toJSON(), timing = performance.timing.toJSON();
    const numbers = Object.entries(entry).filter(([name, it]) => typeof it === 'number' && name !== 'navigationId');
    return {
        same: {
            entries: performance.getEntries().map(each => [each.entryType, each.name])
                .filter(([type]) => type !== 'long-animation-frame'),  // of a busy machine
            text: Object.entries(entry).filter(([name, it]) => typeof it === 'string'),
            happened: [...numbers, ...Object.entries(timing)].filter(([name, it]) => it > 0).map(([name]) => name),
            type: performance.navigation.type,
            history: [history.length, history.state, navigation.entries().length, navigation.canGoBack],
            page: [document.URL, document.baseURI, document.referrer, document.readyState, document.compatMode,
                document.characterSet, document.visibilityState, document.documentElement.outerHTML],
            window: [window.name, window.length, window.opener, navigator.onLine, navigator.userActivation.isActive],
        },
        moments: [performance.timeOrigin, performance.timeOrigin + performance.now(),
            ...Object.values(timing).filter(it => it > 0)],
        durations: [performance.now(), ...numbers.map(([name, it]) => it)],
        modified: Date.parse(document.lastModified),
    }
}"""
"""All that could tell when a session's first page was made; `same` is that of any first page."""
STORED = """async () => ({
    local: {...localStorage}, session: {...sessionStorage}, databases: (await indexedDB.databases()).length,
    usage: (await navigator.storage.estimate()).usage, caches: (await caches.keys()).length,
    workers: (await navigator.serviceWorker.getRegistrations()).length,
})"""
SPECS = {
    "plain": SessionSpec(),
    "desktop": SessionSpec(
        viewport_width=1111,
        viewport_height=777,
        user_agent="Agent/1",
        locale="de-DE",
        timezone_id="Asia/Tokyo",
        color_scheme="dark",
        extra_http_headers=(("X-Who", "me"),),
    ),
    "phone": SessionSpec(
        viewport_width=390,
        viewport_height=844,
        device_scale_factor=3.0,
        is_mobile=True,
        has_touch=True,
        geolocation=Geolocation(48.1, 11.5, 10.0),
        permissions=("geolocation",),
        storage_state={
            "cookies": [{"name": "kept", "value": "1", "domain": "127.0.0.1", "path": "/"}],
            "origins": [],
        },
    ),
    "media": SessionSpec(
        device_scale_factor=2.0,
        reduced_motion="reduce",
        forced_colors="active",
        bypass_csp=True,
        ignore_https_errors=True,
    ),
    "offline": SessionSpec(offline=True, java_script_enabled=False, geolocation=Geolocation(1.0, 2.0)),
    "own browser": SessionSpec(isolation=Isolation.BROWSER, viewport_width=900, permissions=("notifications",)),
}


@pytest_asyncio.fixture(loop_scope="session")
async def chromium(chromium: ChromiumProcess) -> AsyncIterator[ChromiumProcess]:
    """The shared browser, with no context but a spare one that no test has touched."""
    await spare_context(chromium)
    await until(lambda: len(renderers(chromium)) == 1, what="only the spare context's renderer")
    ready = chromium._ready_contexts
    yield chromium
    if chromium.alive:
        chromium._ready_contexts = ready  # a session that took the browser for itself has set it to none
        chromium._spare_contexts = 0
        chromium._spares.close()
        chromium.keep_ready(False)
        await until(lambda: not chromium.unused_contexts, what="no spare context")
        chromium.keep_ready(True)


async def spare_context(chromium: ChromiumProcess) -> str:
    """Waits for the spare context and returns its id."""
    await until(lambda: len(chromium._link.ready) == len(chromium.unused_contexts) == 1, what="a spare context")
    (context_id,) = chromium.unused_contexts
    return context_id


async def spare_of_any(chromium: ChromiumProcess) -> None:
    await until(lambda: len(chromium._link.ready) == 1, what="a spare context for any options")


async def opened(chromium: ChromiumProcess, folder: Path, spec: SessionSpec | None = None) -> Context:
    handle = await chromium.open_context(spec or SessionSpec(), folder, lambda _: None, timeout=OPEN_SECONDS)
    assert isinstance(handle, Context)
    assert len(handle.pages()) == 1
    return handle


async def contexts_in(chromium: ChromiumProcess) -> set[str]:
    """Chromium's complete list."""
    response = await chromium.cdp.root.call("Target.getBrowserContexts", timeout=10)
    return set(response["browserContextIds"])


def renderers(chromium: ChromiumProcess) -> list[int]:
    found = []
    for pid in process_group.members(chromium.process_group):
        try:
            if "--type=renderer" in psutil.Process(pid).cmdline():
                found.append(pid)
        except psutil.Error:
            continue
    return found


async def learn(chromium: ChromiumProcess, spec: SessionSpec, folder: Path, *, at_once: int = 1) -> None:
    """Lets the browser prepare contexts for these options."""
    chromium._spare_contexts = 4
    chromium.keep_ready(True)
    if at_once == 1:
        await (await opened(chromium, folder / "first", spec)).close(timeout=10)
        await until(lambda: not any(kind.wanted for kind in chromium._spares._kinds.values()), what="an idle moment")
    handles = await asyncio.gather(*(opened(chromium, folder / f"learn{n}", spec) for n in range(at_once)))
    for handle in handles:
        await handle.close(timeout=10)
    await until(lambda: len(chromium._spares) == at_once, what="contexts are prepared")


async def test_a_context_that_is_prepared_is_taken_without_a_permit(chromium: ChromiumProcess, tmp_path: Path) -> None:
    spec = SessionSpec(user_agent="Agent/7")
    await learn(chromium, spec, tmp_path)
    (prepared,) = chromium._spares.context_ids
    async with asyncio.timeout(OPEN_SECONDS):
        handle = await chromium.open_context(
            spec, tmp_path / "session", lambda _: None, timeout=OPEN_SECONDS, permit=asyncio.Semaphore(0)
        )
    assert handle.context_id == prepared
    await handle.close(timeout=10)


async def test_the_spare_context_is_used_by_the_next_create_and_replaced(
    chromium: ChromiumProcess, tmp_path: Path
) -> None:
    before = await spare_context(chromium)
    await chromium.probe(timeout=10)
    assert chromium.context_count == 0
    first = await opened(chromium, tmp_path / "first")
    assert first.context_id == before
    after = await spare_context(chromium)
    assert await contexts_in(chromium) == {before, after}
    await chromium.probe(timeout=10)
    assert chromium.context_count == 1
    second = await opened(chromium, tmp_path / "second")
    assert second.context_id == after != before
    assert await first.evaluate(first.pages()[0].page_id, "document.readyState", timeout=10) == "complete"
    page = await first.open_page(None, timeout=10)
    assert len(first.pages()) == 2
    assert page.page_id not in [each.page_id for each in second.pages()]
    for handle in (first, second):
        await handle.close(timeout=10)
    last = await spare_context(chromium)
    assert await contexts_in(chromium) == {last}
    assert last not in (before, after), "a used context must not become spare again"


async def test_the_pause_limit_of_a_spare_page_starts_with_its_use(
    chromium: ChromiumProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("browser_sessions.cdp.pauses.HOLD_S", 0.02)
    monkeypatch.setattr("browser_sessions.cdp.pauses.OWNER_HOLD_S", 0.03)
    before = await spare_context(chromium)
    chromium.keep_ready(False)
    chromium.keep_ready(True)
    context_id = await spare_context(chromium)
    assert context_id != before, "it must be created with the short limits"
    (page,) = chromium._registry.pages(context_id)
    paused = chromium.cdp.pauses._paused
    await until(
        lambda: paused[page.target_id].timer.when() < asyncio.get_running_loop().time(),
        what="the end of its pause limit",
    )
    await chromium.probe(timeout=10)
    assert page.target_id in chromium.cdp.pauses
    monkeypatch.setattr("browser_sessions.cdp.pauses.OWNER_HOLD_S", OWNER_HOLD_S)
    handle = await opened(chromium, tmp_path / "session", SPECS["desktop"])
    assert handle.pages()[0].page_id == page.target_id
    assert page.target_id not in chromium.cdp.pauses
    assert await handle.evaluate(page.target_id, "[innerWidth, navigator.userAgent]", timeout=10) == [1111, "Agent/1"]
    await handle.close(timeout=10)


async def test_creates_with_the_options_of_earlier_ones_use_contexts_that_were_prepared_for_them(
    chromium: ChromiumProcess, tmp_path: Path
) -> None:
    spec = SPECS["desktop"]
    await learn(chromium, spec, tmp_path, at_once=2)
    prepared = chromium._spares.context_ids
    await chromium.probe(timeout=10)
    assert chromium.context_count == 0
    other = await opened(chromium, tmp_path / "other", replace(spec, viewport_width=1110))
    same = replace(
        spec,
        idle_timeout_seconds=1.0,
        max_lifetime_seconds=None,
        metadata=(("run", "7"),),
        extra_http_headers=(),
        offline=True,
    )
    handles = await asyncio.gather(*(opened(chromium, tmp_path / f"s{n}", same) for n in range(3)))
    assert other.context_id not in prepared
    assert prepared < {handle.context_id for handle in handles}
    for handle in handles:
        page_id = handle.pages()[0].page_id
        seen = await handle.evaluate(page_id, "[innerWidth, navigator.userAgent, navigator.onLine]", timeout=10)
        assert seen == [1111, "Agent/1", False]
    assert len({handle.context_id for handle in handles}) == 3
    await handles[0].close(timeout=10)
    assert handles[0].context_id not in await contexts_in(chromium), "a used context is not prepared again"


async def test_a_prepared_context_whose_renderer_died_is_not_used(chromium: ChromiumProcess, tmp_path: Path) -> None:
    await learn(chromium, SPECS["desktop"], tmp_path)
    (prepared,) = chromium._spares.context_ids
    await spare_of_any(chromium)
    for pid in renderers(chromium):
        os.kill(pid, signal.SIGKILL)
    (page,) = chromium._registry.pages(prepared)
    await until(lambda: page.crashed, what="the crash is noticed")
    handle = await opened(chromium, tmp_path / "session", SPECS["desktop"])
    assert handle.context_id != prepared
    assert await handle.evaluate(handle.pages()[0].page_id, "innerWidth", timeout=10) == 1111

    async def gone() -> bool:
        return prepared not in await contexts_in(chromium)

    await until(gone, what="the lost context is gone")


async def test_a_session_in_a_prepared_context_has_its_own_rules_and_events(tmp_path: Path, site: Site) -> None:
    """In a service that keeps none ready for any options."""
    async with running(tmp_path / "data", spare_contexts=1, ready_contexts=0) as service:

        async def prepared() -> bool:
            return await metric(service.http, "browser_sessions_spare_contexts") == 1

        earlier = {"user_agent": "Agent/1", "egress": {"deny": ["127.0.0.1"]}, "metadata": {"run": "1"}}
        both = await asyncio.gather(*(service.create(**earlier) for _ in range(2)))
        (process,) = [process for slot, process in service.inside.pool.fleet.running if slot.taken]
        assert isinstance(process, ChromiumProcess)
        assert process._link.ready._timer is None
        assert len(process._link.ready) == 0
        for made in both:
            await service.http.delete(f"/v1/browser/sessions/{made['session_id']}")
        await until(prepared, every=0.1, what="a context is prepared")
        made = await service.create(user_agent="Agent/1", start_url=site.url, metadata={"run": "2"})
        session_id = made["session_id"]
        assert await metric(service.http, "browser_sessions_spare_contexts") == 0, "it was used"
        assert await service.evaluate(session_id, "navigator.userAgent") == "Agent/1"
        details = await service.details(session_id)
        assert details["traffic"]["bytes_down"] > 0
        assert details["traffic"]["refused"] == 0
        events = [event.kind for event in service.inside.pool.journal.since(0, session_id=session_id)[0]]
        assert events.count("page.opened") == 1
        await until(prepared, every=0.1, what="the next context is prepared")
        denied = await service.create(user_agent="Agent/1", egress={"deny": ["127.0.0.1"]})
        site.requests.clear()
        page_id = await service.first_page(denied["session_id"])
        path = f"/v1/browser/sessions/{denied['session_id']}/pages/{page_id}/navigate"
        assert (await service.http.post(path, json={"url": site.url})).status_code == 409
        assert site.requests == []
        assert (await service.details(denied["session_id"]))["traffic"]["refused"] == 1


async def test_a_mobile_session_does_not_use_the_spare_context(chromium: ChromiumProcess, tmp_path: Path) -> None:
    ready = await spare_context(chromium)
    handle = await opened(chromium, tmp_path / "phone", SPECS["phone"])
    assert handle.context_id != ready
    assert ready in chromium.unused_contexts
    await handle.close(timeout=10)


@pytest.mark.parametrize(
    ("name", "prepared"),
    [
        ("phone", True),
        *(pytest.param(name, False, marks=pytest.mark.slow) for name in ("plain", "desktop", "phone", "own browser")),
        *(pytest.param(name, True, marks=pytest.mark.slow) for name in ("plain", "desktop")),
    ],
)
async def test_a_spare_context_is_indistinguishable_to_pages_and_servers(
    chromium: ChromiumProcess, tmp_path: Path, site: Site, name: str, prepared: bool
) -> None:
    """`prepared`: with the options of the session already, else for any."""
    spec = SPECS[name]
    site.pages["/next"] = "<title>Next</title><script>window.seen_first = window.first</script>"
    reported: list[list[tuple[str, str]]] = []

    async def observe(folder: Path) -> list[Any]:
        events: list[ContextEvent] = []
        handle = await chromium.open_context(spec, folder, events.append, timeout=OPEN_SECONDS)
        assert isinstance(handle, Context)
        page_id = handle.pages()[0].page_id
        await handle._inner.add_init_script("window.first = document.readyState + location.pathname")
        seen = [await handle.evaluate(page_id, SEEN, timeout=10)]
        for path in ("/", "/next"):
            await handle.navigate(page_id, f"{site.url}{path}", wait_until="load", timeout=20)
            seen.append(await handle.evaluate(page_id, SEEN, timeout=10))
        seen.append(await handle.evaluate(page_id, "window.seen_first", timeout=10))
        seen.append(await handle.evaluate(page_id, STORED, timeout=10))
        another = await handle.open_page(f"{site.url}/", timeout=20)
        seen.append(await handle.evaluate(another.page_id, SEEN, timeout=10))
        await chromium._registry.refresh(timeout=5)
        seen.append([(page.title, page.url) for page in handle.pages()])
        window = await chromium.cdp.root.call("Browser.getWindowForTarget", {"targetId": page_id}, timeout=5)
        seen.append(window["bounds"])
        await handle.close(timeout=10)
        # a new page is reported with either no URL or about:blank; titles vary in timing
        reported.append([(each.kind, each.data.get("url") or "about:blank") for each in events])
        requests = [(path, headers) for path, headers in site.requests]
        site.requests.clear()
        return [*seen, requests]

    if prepared:
        await learn(chromium, spec, tmp_path)
        (context_id,) = chromium._spares.context_ids
    else:
        context_id = await spare_context(chromium)
    with_it = await observe(tmp_path / "with")
    assert (context_id in chromium.unused_contexts) is (spec.is_mobile and not prepared)
    chromium.keep_ready(False)
    await until(lambda: not chromium.unused_contexts, what="no spare context")
    without = await observe(tmp_path / "without")
    assert context_id not in await contexts_in(chromium)
    assert with_it == without
    assert reported[0] == reported[1]
    assert with_it[3] == "loading/next"


@pytest.mark.parametrize(
    ("name", "prepared"),
    [
        ("plain", True),
        ("plain", False),
        *(pytest.param(name, True, marks=pytest.mark.slow) for name in ("desktop", "phone", "media", "offline")),
        pytest.param("desktop", False, marks=pytest.mark.slow),
    ],
)
async def test_the_first_page_does_not_tell_when_it_was_made(
    chromium: ChromiumProcess, tmp_path: Path, name: str, prepared: bool
) -> None:
    async def first_page(folder: Path) -> tuple[str, Any]:
        began = time.time() * 1000
        handle = await opened(chromium, folder, SPECS[name])
        page_id = handle.pages()[0].page_id
        loaded = "performance.timing.loadEventEnd > 0"
        await until(lambda: handle.evaluate(page_id, loaded, timeout=10), what="about:blank has loaded")
        seen = await handle.evaluate(page_id, FIRST_PAGE, timeout=10)
        ended = time.time() * 1000
        (history,) = await handle._host.call_page(page_id, ("Page.getNavigationHistory", {}), timeout=10)
        await handle.close(timeout=10)
        assert all(began - CLOCKS_MS <= moment <= ended + CLOCKS_MS for moment in seen["moments"]), seen
        assert all(duration <= ended - began for duration in seen["durations"]), seen
        assert (seen["modified"] - began + 1000) % HOUR_MS <= ended - began + 1000, "it has seconds, in any time zone"
        entries = [(entry["url"], entry["title"], entry["transitionType"]) for entry in history["entries"]]
        return handle.context_id, [seen["same"], history["currentIndex"], entries]

    if prepared:
        await learn(chromium, SPECS[name], tmp_path)
        (made_before,) = chromium._spares.context_ids
        await spare_of_any(chromium)
    else:
        made_before = await spare_context(chromium)
    await asyncio.sleep(2 * CLOCKS_MS / 1000)  # what the test looks for
    context_id, with_it = await first_page(tmp_path / "with")
    assert context_id == made_before
    chromium.keep_ready(False)
    await until(lambda: not chromium.unused_contexts, what="no spare context")
    assert with_it == (await first_page(tmp_path / "without"))[1]


def test_every_option_is_compared() -> None:
    plain = SessionSpec()
    options = {field.name for field in fields(SessionSpec)}
    compared = {name for spec in SPECS.values() for name in options if getattr(spec, name) != getattr(plain, name)}
    assert options - compared == NOT_THE_BROWSERS | {"http_credentials"}, "no context is prepared for those"


async def test_of_two_concurrent_creates_one_uses_the_spare_context(chromium: ChromiumProcess, tmp_path: Path) -> None:
    before = await spare_context(chromium)
    handles = await asyncio.gather(*(opened(chromium, tmp_path / f"s{number}") for number in range(2)))
    assert before in [handle.context_id for handle in handles]
    assert len({handle.context_id for handle in handles}) == 2


async def test_concurrent_creates_get_different_contexts(chromium: ChromiumProcess, tmp_path: Path) -> None:
    await spare_context(chromium)
    handles = await asyncio.gather(*(opened(chromium, tmp_path / f"s{number}") for number in range(4)))
    ids = {handle.context_id for handle in handles}
    assert len(ids) == 4
    assert {page.page_id for handle in handles for page in handle.pages()} == {
        target.target_id for each in ids for target in chromium._registry.pages(each)
    }
    after = await spare_context(chromium)
    assert await contexts_in(chromium) == ids | {after}


async def test_a_cancelled_create_leaves_no_context(chromium: ChromiumProcess, tmp_path: Path) -> None:
    rng = random.Random(5)
    for number in range(8):
        await spare_context(chromium)
        opening = asyncio.create_task(opened(chromium, tmp_path / f"s{number}"))
        await asyncio.sleep(rng.uniform(0, 0.03))
        opening.cancel()
        await asyncio.wait({opening})
        if not opening.cancelled():
            await opening.result().close(timeout=5)

    async def none_left() -> bool:
        return await contexts_in(chromium) == chromium.unused_contexts

    await until(none_left, what="the contexts of cancelled creates are gone")
    assert len(chromium._link._pages) == 0
    context_id = await spare_context(chromium)
    assert (await opened(chromium, tmp_path / "last")).context_id == context_id


async def test_a_session_with_a_proxy_does_not_use_the_spare_context(
    chromium: ChromiumProcess, tmp_path: Path, site: Site
) -> None:
    before = await spare_context(chromium)
    spec = SessionSpec(proxy=Proxy(site.url.replace("127.0.0.1", "localhost"), bypass="<-loopback>"))
    handle = await opened(chromium, tmp_path / "session", spec)
    assert handle.context_id != before
    assert before in await contexts_in(chromium)


async def test_the_spare_context_is_disposed_of_with_its_renderer(chromium: ChromiumProcess) -> None:
    await spare_context(chromium)
    await until(lambda: len(renderers(chromium)) == 1, what="its renderer")
    chromium.keep_ready(False)

    async def gone() -> bool:
        return await contexts_in(chromium) == set()

    await until(gone, what="the end of the context")
    await until(lambda: renderers(chromium) == [], what="the end of its renderer")
    chromium.keep_ready(True)
    await spare_context(chromium)


async def test_a_spare_context_whose_renderer_died_is_not_used(chromium: ChromiumProcess, tmp_path: Path) -> None:
    before = await spare_context(chromium)
    await until(lambda: len(renderers(chromium)) == 1, what="its renderer")
    os.kill(renderers(chromium)[0], signal.SIGKILL)
    await until(lambda: len(chromium._link.ready) == 0, what="the loss is noticed")
    handle = await opened(chromium, tmp_path / "session")
    assert handle.context_id != before
    assert await handle.evaluate(handle.pages()[0].page_id, "1 + 1", timeout=10) == 2
    after = await spare_context(chromium)
    assert await contexts_in(chromium) == {handle.context_id, after}


async def test_prepared_contexts_end_with_the_memory_for_them(chromium: ChromiumProcess, tmp_path: Path) -> None:
    await learn(chromium, SPECS["desktop"], tmp_path, at_once=2)
    prepared = chromium._spares.context_ids
    chromium.keep_ready(False)

    async def gone() -> bool:
        return not prepared & await contexts_in(chromium) and not chromium.unused_contexts

    await until(gone, what="they are gone")
    await opened(chromium, tmp_path / "session", SPECS["desktop"])
    assert chromium._spares._timer is None
    assert len(chromium._spares) == 0


# -- browsers of their own: the tests end them, or a session takes one for itself -------------------------------------


async def test_a_dedicated_browser_prepares_no_spare_context(own_chromium: ChromiumProcess, tmp_path: Path) -> None:
    chromium = own_chromium
    before = await spare_context(chromium)
    handle = await opened(chromium, tmp_path / "session", SPECS["own browser"])
    assert (handle.context_id, chromium.unused_contexts) == (before, set())
    chromium.keep_ready(True)
    assert chromium._link.ready._timer is None
    assert await contexts_in(chromium) == {before}


@pytest.mark.parametrize("killed", ["browser", "driver"])
async def test_the_spare_context_ends_with_its_browser_and_its_driver(
    own_chromium: ChromiumProcess, deaths: list[Death], killed: str
) -> None:
    chromium = own_chromium
    await spare_context(chromium)
    os.kill(chromium.pid if killed == "browser" else chromium.driver.pid, signal.SIGKILL)
    await until(lambda: len(deaths) == 1, what="the death is reported")
    await chromium.wait_cleaned()
    assert chromium.unused_contexts == set()
    assert not chromium._link.ready._timer


@pytest.mark.slow
@pytest.mark.parametrize("end", ["kill", "close"])
async def test_prepared_contexts_end_with_their_browser(
    own_chromium: ChromiumProcess, tmp_path: Path, deaths: list[Death], end: str
) -> None:
    chromium = own_chromium
    await learn(chromium, SPECS["desktop"], tmp_path, at_once=2)
    if end == "close":
        await chromium.close(timeout=10)
    else:
        os.kill(chromium.pid, signal.SIGKILL)
        await until(lambda: len(deaths) == 1, what="the death is reported")
        await chromium.wait_cleaned()
    assert len(chromium._spares) == 0


# -- last, because the tests with browsers of their own close the service --------------------------------------------


@pytest.mark.parametrize("isolation", ["context", "browser"])
async def test_clients_do_not_see_the_spare_context(service: Running, isolation: str) -> None:
    made = await service.create(isolation=isolation)
    (process,) = [process for slot, process in service.inside.pool.fleet.running if slot.taken]
    assert isinstance(process, ChromiumProcess)
    async with raw(made["connect_url"]) as client:
        await client.call("Target.setDiscoverTargets", {"discover": True, "filter": [{}]})
        attach = {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True}
        await client.call("Target.setAutoAttach", attach)
        if isolation == "context":
            context_id = await spare_context(process)
            process.keep_ready(False)  # its targets are destroyed and created
            process.keep_ready(True)
            await until(lambda: context_id not in process.unused_contexts, what="the spare context is gone")
            context_id = await spare_context(process)
            pages = {target.target_id for target in process._registry.pages(context_id)}
            assert len(pages) == 1
        else:
            assert process.unused_contexts == set()
            assert len(await contexts_in(process)) == 1
            context_id, pages = "-", set()
        listed = await client.call("Target.getTargets", {"filter": [{}]})
        known = await client.call("Target.getBrowserContexts")
        received = "".join(client.frames)
        assert len([each for each in listed["targetInfos"] if each["type"] == "page"]) == 1
        assert known["browserContextIds"] == []
        assert context_id not in received
        assert not any(page_id in received for page_id in pages)
