"""Actions on one page of a real Chromium, and pages that hang, crash or fail."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Playwright

from browser_sessions.chromium.context import page_actions
from browser_sessions.chromium.context.context import Context
from browser_sessions.chromium.launch.executable import locate
from browser_sessions.chromium.ports import Clip, ContextEvent, Picture
from browser_sessions.chromium.process import ChromiumProcess
from browser_sessions.domain.errors import BrowserTimeout, InvalidField, PageFailed, PageNotFound
from browser_sessions.domain.session_spec import SessionSpec
from tests.harness.pixels import png_size
from tests.harness.sites.plain_site import Site
from tests.harness.waiting import until

pytestmark = pytest.mark.browser


@pytest.fixture
def events() -> list[ContextEvent]:
    return []


@pytest_asyncio.fixture(loop_scope="session")
async def handle(chromium: ChromiumProcess, tmp_path: Path, events: list[ContextEvent]) -> Context:
    handle = await chromium.open_context(
        SessionSpec(viewport_width=800, viewport_height=600), tmp_path / "session", events.append, timeout=30
    )
    assert isinstance(handle, Context)
    return handle


@pytest.fixture
def page_id(handle: Context) -> str:
    return handle.pages()[0].page_id


async def test_navigating_returns_the_page_and_its_status(handle: Context, page_id: str, site: Site) -> None:
    done = await handle.navigate(page_id, f"  {site.url}/ ", wait_until="load", timeout=20)
    assert (done.page.page_id, done.page.url, done.page.title, done.http_status) == (
        page_id,
        f"{site.url}/",
        "Home",
        200,
    )

    done = await handle.navigate(page_id, f"{site.url}/none", wait_until="domcontentloaded", timeout=20)
    assert (done.page.title, done.http_status) == ("Not found", 404)

    done = await handle.navigate(page_id, "data:text/html,<title>D</title>", wait_until="load", timeout=20)
    assert (done.page.title, done.http_status) == ("D", None)


async def test_waiting_for_network_idle_observes_all_requests(handle: Context, page_id: str, site: Site) -> None:
    site.pages["/late"] = """<title>Waits</title><script>
        const fetched = (n) => n ? fetch('/more').then((r) => r.text()).then(() => setTimeout(fetched, 100, n - 1))
                                 : document.title = 'Idle'
        addEventListener('load', () => setTimeout(fetched, 100, 9))
        </script>"""
    site.pages["/more"] = "more"
    done = await handle.navigate(page_id, f"{site.url}/late", wait_until="networkidle", timeout=20)
    assert (done.page.title, done.http_status) == ("Idle", 200)
    done = await handle.navigate(page_id, f"{site.url}/late", wait_until="load", timeout=20)
    assert done.page.title == "Waits"
    done = await handle.navigate(page_id, f"{site.url}/late", wait_until="networkidle", timeout=20)
    assert done.page.title == "Idle"


async def test_a_site_cannot_tell_that_the_network_domain_is_disabled(
    handle: Context, page_id: str, site: Site, playwright: Playwright
) -> None:
    """Playwright's network domain is off most of the time; the requests and their headers must not differ."""
    site.pages["/shop"] = """<link rel=stylesheet href=/style.css><script src=/script.js></script><img src=/picture>
        <iframe src=/frame></iframe><script>fetch('/data', {method: 'POST', body: 'x'})</script>"""
    site.pages |= {"/style.css": "", "/script.js": "", "/frame": "<img src=/inner>", "/data": ""}
    found = []
    async with await playwright.chromium.launch(executable_path=locate(None).executable) as browser:
        context = await browser.new_context(viewport={"width": 800, "height": 600})
        page = await context.new_page()
        for _ in range(2):
            site.requests.clear()
            await page.goto(f"{site.url}/shop", wait_until="networkidle")
            found.append(sorted((path, sorted(headers.items())) for path, headers in site.requests))
        await browser.close()
    for seen in found:
        site.requests.clear()
        await handle.navigate(page_id, f"{site.url}/shop", wait_until="load", timeout=20)
        await until(lambda: len(site.requests) >= len(seen))  # noqa: B023 - called before the next iteration
        assert sorted((path, sorted(headers.items())) for path, headers in site.requests) == seen


async def test_an_address_of_the_host_is_rejected(handle: Context, page_id: str) -> None:
    for address in (
        "file:///etc/passwd",
        "chrome://version",
        "\tfi\nle:///etc/passwd",
        "javascript:1",
        "/relative",
        "",
    ):
        with pytest.raises(InvalidField) as refused:
            await handle.navigate(page_id, address, wait_until="load", timeout=10)
        assert refused.value.loc == ("body", "url")
        with pytest.raises(InvalidField):
            await handle.open_page(address, timeout=10)
        assert len(handle.pages()) == 1


async def test_a_failed_connection_has_chromiums_error(handle: Context, page_id: str) -> None:
    with pytest.raises(PageFailed, match="ERR_NAME_NOT_RESOLVED") as failed:
        await handle.navigate(page_id, "http://nowhere.invalid/", wait_until="load", timeout=20)
    assert "Call log" not in failed.value.detail
    with pytest.raises(PageFailed, match="ERR_"):
        await handle.open_page("http://nowhere.invalid/", timeout=20)
    await until(lambda: len(handle.pages()) == 1, what="the failed page is closed")


async def test_a_site_that_never_responds_fails_at_the_deadline(handle: Context, page_id: str, site: Site) -> None:
    began = asyncio.get_running_loop().time()
    with pytest.raises(BrowserTimeout):
        await handle.navigate(page_id, f"{site.url}/hang", wait_until="load", timeout=1)
    assert asyncio.get_running_loop().time() - began < 20, "Playwright's own timeout is longer"
    assert await handle.responsive(timeout=10)
    assert await handle.evaluate(page_id, "1", timeout=10) == 1


async def test_a_page_that_waits_for_its_site_is_responsive(handle: Context, page_id: str, site: Site) -> None:
    navigation = asyncio.create_task(handle.navigate(page_id, f"{site.url}/hang", wait_until="load", timeout=30))
    await until(lambda: any(path == "/hang" for path, _ in site.requests))

    assert await handle.responsive(timeout=0.5)

    navigation.cancel()
    await asyncio.wait({navigation})
    assert not handle._navigating


async def test_screenshots_and_pdfs(handle: Context, page_id: str, site: Site) -> None:
    site.pages["/tall"] = "<body style='margin:0'><div style='height:3000px;background:linear-gradient(red,blue)'>"
    await handle.navigate(page_id, f"{site.url}/tall", wait_until="load", timeout=20)

    png = await handle.screenshot(page_id, Picture(), timeout=20)
    full = await handle.screenshot(page_id, Picture(full_page=True), timeout=20)
    jpeg = await handle.screenshot(page_id, Picture(format="jpeg", quality=50), timeout=20)
    pdf = await handle.pdf(page_id, {}, timeout=20)

    assert png_size(png) == (800, 600)
    assert png_size(full) == (800, 3000)
    assert jpeg.startswith(b"\xff\xd8\xff")
    assert pdf.startswith(b"%PDF-")
    assert "linear-gradient" in await handle.content(page_id, timeout=20)


async def test_a_screenshot_of_a_part_of_a_page(handle: Context, page_id: str, site: Site) -> None:
    site.pages["/parts"] = (
        "<body style='margin:0'><div style='height:2000px'></div><p style='margin:0;width:120px;height:30px'></p>"
        "<b hidden></b><div id=zero style='width:0;height:0'></div><div id=tall style='width:9px;height:20000px'></div>"
    )
    await handle.navigate(page_id, f"{site.url}/parts", wait_until="load", timeout=20)

    async def taken(picture: Picture) -> bytes:
        return await handle.screenshot(page_id, picture, timeout=20)

    assert png_size(await taken(Picture(selector="p"))) == (120, 30)
    moving = "e => e.animate([{}, {transform: 'translateX(99px)'}], {duration: 300, iterations: Infinity})"
    await handle.evaluate(page_id, f"void ({moving})(document.querySelector('p'))", timeout=20)
    assert png_size(await taken(Picture(selector="p")))[1] == 30
    assert png_size(await taken(Picture(clip=Clip(10, 20, 30, 40)))) == (30, 40)
    assert png_size(await taken(Picture(clip=Clip(0, 1900, 50, 400), full_page=True))) == (50, 400)
    webp = await taken(Picture(format="webp", quality=50, omit_background=True))
    assert (webp[:4], webp[8:12]) == (b"RIFF", b"WEBP")
    opaque, clear = await taken(Picture()), await taken(Picture(omit_background=True))
    assert (opaque[25], clear[25]) == (2, 6), "colour types of PNG: without and with transparency"

    for picture, message in (
        (Picture(selector="i"), "No element of the page matches"),
        (Picture(selector="b"), "not visible"),
        (Picture(selector="#zero"), "not visible"),
        (Picture(selector="#tall"), "9 x 20000 pixels, which is too large"),
        (Picture(clip=Clip(0, 5000, 10, 10)), "outside"),
        (Picture(clip=Clip(0, 0, 9000, 9000), full_page=True), "too large"),
    ):
        with pytest.raises(PageFailed, match=message):
            await taken(picture)
    for selector in ("p[", "nonsense=1", ">>"):
        with pytest.raises(InvalidField, match="must be a selector"):
            await taken(Picture(selector=selector))


async def test_a_pdf_is_printed_as_asked(handle: Context, page_id: str, site: Site) -> None:
    site.pages["/print"] = "<style>p { break-after: page }</style><p>1<p>2<p>3"
    await handle.navigate(page_id, f"{site.url}/print", wait_until="load", timeout=20)
    options = {
        "width": "10cm",
        "height": "200",
        "margin": {"top": "5mm"},
        "page_ranges": "2-3",
        "scale": 0.5,
        "landscape": False,
        "display_header_footer": True,
        "footer_template": "<span class=pageNumber></span>",
        "print_background": True,
    }
    pdf = await handle.pdf(page_id, options, timeout=20)
    box = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    assert {(round(float(width)), round(float(height))) for width, height in box} == {(284, 150)}
    assert pdf.count(b"/Type /Page\n") == 2


async def test_html_is_returned_completely_or_is_too_long(handle: Context, page_id: str, site: Site) -> None:
    site.pages["/html"] = "<!doctype html><title>T</title><p>a\u00fc"
    await handle.navigate(page_id, f"{site.url}/html", wait_until="load", timeout=20)
    await handle.evaluate(page_id, "document.title = '\\ud800'", timeout=20)
    html = "<!DOCTYPE html><html><head><title>\ufffd</title></head><body><p>a\u00fc</p></body></html>"
    assert await handle.content(page_id, timeout=20) == html

    grow = (
        "Object.defineProperty(Element.prototype, 'outerHTML', {get: () => 'x'}); document.head.append('y'.repeat(2e7))"
    )
    await handle.evaluate(page_id, grow, timeout=20)
    with pytest.raises(PageFailed, match="longer than 16777216 characters"):
        await handle.content(page_id, timeout=20)


async def test_html_of_a_crashing_page_fails_at_once(handle: Context, page_id: str) -> None:
    busy = asyncio.ensure_future(handle.evaluate(page_id, "(() => { while (true); })()", timeout=60))
    reading = asyncio.ensure_future(handle.content(page_id, timeout=60))
    running = await handle._host.cdp.root.call("SystemInfo.getProcessInfo", timeout=20)
    for process in running["processInfo"]:  # a busy page does not process Page.crash
        if process["type"] == "renderer":
            os.kill(int(process["id"]), signal.SIGKILL)
    with pytest.raises(PageFailed, match="crashed"):
        async with asyncio.timeout(20):
            await reading
    with pytest.raises(PageFailed, match="crashed"):
        await handle.content(page_id, timeout=20)
    busy.cancel()
    await asyncio.wait({busy})


async def test_a_page_too_tall_for_one_screenshot_is_an_error(handle: Context, page_id: str, site: Site) -> None:
    site.pages["/tall"] = "<body style='margin:0'><div style='height:90000px'>"
    await handle.navigate(page_id, f"{site.url}/tall", wait_until="load", timeout=20)

    with pytest.raises(PageFailed, match="90000"):
        await handle.screenshot(page_id, Picture(full_page=True), timeout=20)

    assert await handle.screenshot(page_id, Picture(), timeout=20)


VALUES: Final[list[tuple[str, Any]]] = [
    ("1 + 1", 2),
    ("({a: [1, 'x', null, true]})", {"a": [1, "x", None, True]}),
    ("Promise.resolve(7)", 7),
    ("async () => 8", 8),
    ("NaN", None),
    ("[1 / 0, -1 / 0, undefined]", [None, None, None]),
    ("new Date(0)", "1970-01-01T00:00:00.000Z"),
    ("new URL('http://x/y?z')", "http://x/y?z"),
    ("/a+/g", {}),
    ("new Map([[1, 2]])", {}),
    ("undefined", None),
    ("[document.createElement('p'), window]", [{}, {}]),
    ("'\\ud800x'", "\ud800x"),
    ("let q = 1; q + 1", 2),
    ("() => 5", 5),
    ("Array.from({length: 99999}, () => []).length", 99_999),
    ("2 ** 53 + 2", 2**53 + 2),
    ("[1e300, -0, 0.1, 1e-9]", [1e300, 0, 0.1, 1e-9]),
    ("({a: undefined, b: () => 1, c: Symbol('x')})", {}),
    (
        "[, new Uint8Array(2), new Set([1]), new TypeError('q'), new Date(NaN)]",
        [None, {"0": 0, "1": 0}, {}, {}, None],
    ),
    (
        "({a: {toJSON(key) { return `the ${key}` }}, b: new Number(1), c: [() => 1]})",
        {"a": "the a", "b": 1, "c": [None]},
    ),
    ("new DOMPoint(1, 2)", {"x": 1, "y": 2, "z": 0, "w": 1}),
    ("({get a() { return 1 }, b: 2, ['\\ud800']: 3})", {"a": 1, "b": 2, "\ud800": 3}),
    ("(() => { const a = {b: 1}; return [a, a] })()", [{"b": 1}, {"b": 1}]),
    ("Array.prototype.toJSON = Object.prototype.toJSON = () => 'x'; [{a: [1]}]", [{"a": [1]}]),
]
"""Expressions and what they are in JSON."""


async def test_values_are_represented_as_json(handle: Context, page_id: str) -> None:
    for expression, value in VALUES:
        result = await handle.evaluate(page_id, expression, timeout=20)
        assert result == value, expression
        json.dumps(result, allow_nan=False).encode()
        await restored(handle, page_id, expression)


async def test_values_are_represented_as_by_json_stringify(handle: Context, page_id: str) -> None:
    for expression in (
        "document.body",
        "location",
        "[new Map([[1, 2]]), new Set([1]), new Date(0), new Date(NaN), /a/, new Error('x'), new Uint8Array(2), -0]",
        "({a: undefined, [Symbol('b')]: 1, c: Symbol('d'), e: () => 1, f: [undefined, () => 1, Symbol('g')], 5: 1})",
        "[Object('s'), Object(1), Object(true), new (class { x = 1; get y() { return 2 } })(), new Proxy([1], {})]",
        "({toJSON: key => ({key}), a: 1})",
        "({nested: {toJSON(key) { return [key, this.x] }, x: 2}})",
        "'\\u2028\\ud800\\u0000'",
        "[1e21, 1e-7, 0.1, 2 ** 53, 1 / 0]",
    ):
        expected = await handle.evaluate(page_id, f"JSON.stringify({expression})", timeout=20)
        assert await handle.evaluate(page_id, f"({expression})", timeout=20) == json.loads(expected), expression


FAILURES: Final = [
    ("throw new Error('why not')", "why not"),
    ("Promise.reject(new Error('no'))", "no"),
    ("a b c", "SyntaxError"),
    ("throw new Error('x'.repeat(100000))", "xxx"),
    ("(() => { let a = []; for (let i = 0; i < 250; i++) a = [a]; return a })()", "nested more than 200"),
    ("throw 'x'.repeat(1e7)", "xxx"),
    ("throw {toString() { return 'odd' }}", "odd"),
    ("throw {message: 'm', code: 1}", "^m$"),
    ("Promise.reject({code: 1, why: ['no']})", r'^{"code":1,"why":\["no"\]}$'),
    ("throw null", "^null$"),
    ("(() => { const a = {}; a.self = [a]; return a })()", "contains itself"),
    ("({a: [12n]})", "has a BigInt"),
    ("Object(1n)", "has a BigInt"),
    ("({get a() { throw new Error('own') }})", "own"),
    ("throw Object.create(null)", "cannot be shown"),
    ("throw new TypeError('\\ud800')", "TypeError: \ufffd"),
    ("Array.prototype.join = () => 'x'.repeat(1e7); [1]", "too long"),
    ("'x'.repeat(1e7)", "more than 8388608 characters"),
    ("new Array(4e9)", "more than 8388608 characters"),
    ("Array.from({length: 1e5}, () => [])", "too many objects"),
]
"""Expressions and a pattern of the error."""


async def test_an_exception_of_a_script_is_reported_truncated(handle: Context, page_id: str) -> None:
    for expression, text in FAILURES:
        with pytest.raises(PageFailed, match=text) as failed:
            await handle.evaluate(page_id, expression, timeout=20)
        assert len(failed.value.detail) <= 500, expression
        await restored(handle, page_id, expression)


async def restored(handle: Context, page_id: str, expression: str) -> None:
    """A new document if the expression has changed this one's world."""
    if "prototype" in expression:
        await handle.navigate(page_id, "about:blank", wait_until="load", timeout=20)


HANG: Final = "setTimeout(() => { while (true); })"
"""The page hangs by itself, after the call."""


async def test_a_script_that_keeps_the_page_busy_at_its_deadline_is_terminated(handle: Context, page_id: str) -> None:
    for expression in ("while (true);", "(async () => { await 0; while (true); })()"):
        with pytest.raises(BrowserTimeout):
            await handle.evaluate(page_id, expression, timeout=0.5)
        assert await handle.evaluate(page_id, "6 * 7", timeout=20) == 42


async def test_a_script_that_awaits_something_at_its_deadline_does_not_end_the_pages_own(
    handle: Context, page_id: str
) -> None:
    await handle.evaluate(page_id, "window.n = 0; setInterval(() => { n++ }, 5); 1", timeout=10)
    with pytest.raises(BrowserTimeout, match=r"^The script did not finish within 0\.5 s\."):
        await handle.evaluate(page_id, "new Promise(() => 0)", timeout=0.5)
    await page_actions._terminate(handle._host, page_id)
    before = await handle.evaluate(page_id, "n", timeout=10)

    async def counts_on() -> bool:
        return bool(await handle.evaluate(page_id, "n", timeout=10) > before + 5)

    await until(counts_on, what="the page's own script runs")


async def test_a_page_that_hangs_by_itself_stays_so_after_a_call(handle: Context, page_id: str) -> None:
    await handle.evaluate(page_id, HANG, timeout=10)
    await until(lambda: hangs(handle), what="the page hangs")
    with pytest.raises(BrowserTimeout, match=r"^The page did not respond within 0\.5 s: its own script"):
        await handle.evaluate(page_id, "1", timeout=0.5)
    with pytest.raises(BrowserTimeout, match=r"within 0\.5 s\.$"):
        await handle.content(page_id, timeout=0.5)
    await asyncio.sleep(2 * page_actions.IDLE_S)  # a termination would come within
    assert await hangs(handle)


async def hangs(handle: Context) -> bool:
    return not await handle.responsive(timeout=0.2)


async def test_a_navigation_has_its_whole_time(handle: Context, page_id: str, site: Site) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(BrowserTimeout, match="The page did not reach the requested state in time"):
        await handle.navigate(page_id, f"{site.url}/hang", wait_until="load", timeout=1)
    assert loop.time() - began >= 1


async def test_a_navigation_that_fails_does_not_disturb_the_next(handle: Context, page_id: str, site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refused = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    for _ in range(2):  # an error page that comes late interrupts nearly every navigation
        with pytest.raises(PageFailed, match="ERR_CONNECTION_REFUSED"):
            await handle.navigate(page_id, refused, wait_until="load", timeout=20)
        done = await handle.navigate(page_id, site.url, wait_until="load", timeout=20)
        assert (done.page.title, done.http_status) == ("Home", 200)


async def test_a_navigation_is_an_event_when_its_document_is_there(
    handle: Context, page_id: str, site: Site, events: list[ContextEvent]
) -> None:
    site.pages["/next"] = "<title>Next</title>"

    def navigated() -> list[tuple[str, str]]:
        return [(each.data["url"], each.data["title"]) for each in events if each.kind == "page.navigated"]

    await handle.navigate(page_id, site.url, wait_until="load", timeout=20)
    with pytest.raises(BrowserTimeout):
        await handle.navigate(page_id, f"{site.url}/hang", wait_until="load", timeout=1)
    await handle.navigate(page_id, f"{site.url}/next", wait_until="load", timeout=20)
    await handle.evaluate(page_id, "void history.pushState({}, '', '/same')", timeout=20)
    await until(lambda: len(navigated()) >= 3, what="the last one is an event")
    assert navigated() == [(f"{site.url}/", "Home"), (f"{site.url}/next", "Next"), (f"{site.url}/same", "Next")]


async def test_a_navigation_of_a_page_that_hangs_says_so(handle: Context, page_id: str, site: Site) -> None:
    site.pages["/spins"] = f"<title>Spins</title><script>{HANG}</script>"
    await handle.navigate(page_id, f"{site.url}/spins", wait_until="commit", timeout=20)
    await until(lambda: hangs(handle), what="the page hangs")
    with pytest.raises(BrowserTimeout, match="a script keeps it busy"):
        await handle.navigate(page_id, site.url, wait_until="load", timeout=0.5)


async def test_a_hung_page_times_out_and_is_closed_at_once(
    handle: Context, page_id: str, chromium: ChromiumProcess
) -> None:
    loop = asyncio.get_running_loop()
    await handle.evaluate(page_id, HANG, timeout=10)
    began = loop.time()
    for call in (
        handle.evaluate(page_id, "1", timeout=0.2),
        handle.content(page_id, timeout=0.2),
        handle.pdf(page_id, {}, timeout=0.2),
        handle.screenshot(page_id, Picture(full_page=True), timeout=0.2),
    ):
        with pytest.raises(BrowserTimeout):
            await call
    assert not await handle.responsive(timeout=0.2)
    assert await handle.usage(timeout=0.2) == (None, None)
    assert loop.time() - began < 20
    second = await handle.open_page("about:blank", timeout=20)
    assert await handle.evaluate(second.page_id, "2", timeout=20) == 2

    began = loop.time()
    await handle.close(timeout=80)

    assert loop.time() - began < 40, "Playwright closed it: less than half of the timeout has passed"
    assert chromium.alive


async def test_a_hung_page_can_be_closed(handle: Context, page_id: str) -> None:
    await handle.evaluate(page_id, HANG, timeout=10)

    await handle.close_page(page_id, timeout=5)

    await until(lambda: handle.pages() == [])


async def test_a_crashed_page_is_reported_and_the_context_stays_usable(
    handle: Context, page_id: str, events: list[ContextEvent]
) -> None:
    crash = asyncio.ensure_future(handle._inner.pages[0].goto("chrome://crash"))
    await until(lambda: handle.pages()[0].crashed, what="the crash is reported")
    await asyncio.wait({crash})
    crash.exception()

    assert ContextEvent("page.crashed", {"page_id": page_id}) in events
    with pytest.raises(PageFailed, match="crashed"):
        await handle.evaluate(page_id, "1", timeout=5)
    with pytest.raises(PageFailed, match="crashed"):
        await handle.navigate(page_id, "about:blank", wait_until="load", timeout=5)
    assert not await handle.responsive(timeout=5)
    fresh = await handle.open_page("data:text/html,<title>fresh</title>", timeout=20)
    assert await handle.evaluate(fresh.page_id, "document.title", timeout=10) == "fresh"
    await handle.close_page(page_id, timeout=5)
    await until(lambda: [page.page_id for page in handle.pages()] == [fresh.page_id])
    assert await handle.responsive(timeout=10)


async def test_a_page_closed_during_a_call_is_not_found(
    handle: Context, page_id: str, chromium: ChromiumProcess
) -> None:
    waiting = asyncio.create_task(handle.evaluate(page_id, "new Promise(() => {})", timeout=30))
    await handle.evaluate(page_id, "1", timeout=10)

    await chromium.cdp.root.call("Target.closeTarget", {"targetId": page_id}, timeout=10)

    with pytest.raises(PageNotFound):
        await waiting
    with pytest.raises(PageNotFound):
        await handle.content(page_id, timeout=5)
    with pytest.raises(PageNotFound):
        await handle.close_page(page_id, timeout=5)


async def test_pages_of_another_session_are_not_found(
    handle: Context, chromium: ChromiumProcess, tmp_path: Path
) -> None:
    other = await chromium.open_context(SessionSpec(), tmp_path / "other", lambda _: None, timeout=30)
    foreign = other.pages()[0].page_id

    for call in (handle.content(foreign, timeout=5), handle.close_page(foreign, timeout=5)):
        with pytest.raises(PageNotFound):
            await call
    assert len(other.pages()) == 1


async def test_abandoned_calls_leave_nothing_running(handle: Context, page_id: str, chromium: ChromiumProcess) -> None:
    for _ in range(20):
        with pytest.raises(BrowserTimeout):
            await handle.evaluate(page_id, "new Promise(() => {})", timeout=0.02)

    await until(lambda: not chromium._calls._tasks, what="the end of abandoned calls")
    assert await handle.evaluate(page_id, "3", timeout=10) == 3
