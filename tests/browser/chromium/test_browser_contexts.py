"""Contexts in a real Chromium: isolated, opened completely or not at all, always closed."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from browser_sessions.chromium.context.context import Context
from browser_sessions.chromium.driver.playwright_link import PlaywrightLink
from browser_sessions.chromium.ports import ContextEvent, PageInfo, Picture
from browser_sessions.chromium.process import ChromiumProcess
from browser_sessions.domain.errors import (
    BrowserGone,
    InvalidField,
    PageFailed,
    PageNotFound,
    StartPageFailed,
    TooManyPages,
)
from browser_sessions.domain.limits import MAX_PAGES
from browser_sessions.domain.session_spec import Geolocation, HttpCredentials, Proxy, SessionSpec
from tests.harness.sites.plain_site import Site
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

OPEN_SECONDS = 30.0
"""Generous, because the machine may be busy; durations are measured elsewhere."""


class Events(list[ContextEvent]):
    """Events of a context so far."""

    def kinds(self) -> list[str]:
        return [event.kind for event in self]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event.data for event in self if event.kind == kind]


@pytest.fixture
def events() -> Events:
    return Events()


async def contexts_in(chromium: ChromiumProcess) -> set[str]:
    """Chromium's list, without spare contexts prepared for the next create."""
    response = await chromium.cdp.root.call("Target.getBrowserContexts", timeout=10)
    return set(response["browserContextIds"]) - chromium.unused_contexts


async def opened(
    chromium: ChromiumProcess, folder: Path, events: Events | None = None, **options: Any
) -> tuple[Context, str]:
    """A context and the id of its page."""
    handle = await chromium.open_context(
        SessionSpec(**options), folder, (events if events is not None else Events()).append, timeout=OPEN_SECONDS
    )
    assert isinstance(handle, Context)
    return handle, handle.pages()[0].page_id


async def test_contexts_each_have_their_own_viewport_agent_and_cookies(
    chromium: ChromiumProcess, tmp_path: Path, site: Site
) -> None:
    async def one(number: int) -> tuple[Context, str]:
        return await opened(
            chromium,
            tmp_path / f"s{number}",
            viewport_width=500 + number,
            viewport_height=400 + number,
            user_agent=f"Agent/{number}",
            start_url=f"{site.url}/?{number}",
        )

    handles = await asyncio.gather(*(one(number) for number in range(3)))

    assert len({handle.context_id for handle, _ in handles}) == 3
    for number, (handle, page_id) in enumerate(handles):
        await handle.evaluate(page_id, f"document.cookie = 'who={number}'", timeout=10)
    for number, (handle, page_id) in enumerate(handles):
        seen = await handle.evaluate(
            page_id, "[innerWidth, innerHeight, navigator.userAgent, document.cookie]", timeout=10
        )
        assert seen == [500 + number, 400 + number, f"Agent/{number}", f"who={number}"]
        assert len(handle.pages()) == 1
    agents = {path: headers["user-agent"] for path, headers in site.requests if path.startswith("/?")}
    assert agents == {f"/?{number}": f"Agent/{number}" for number in range(3)}


async def test_every_option_reaches_the_page(chromium: ChromiumProcess, tmp_path: Path, site: Site) -> None:
    handle, page_id = await opened(
        chromium,
        tmp_path / "session",
        device_scale_factor=2.0,
        is_mobile=True,
        has_touch=True,
        locale="de-DE",
        timezone_id="Asia/Tokyo",
        geolocation=Geolocation(48.1, 11.5, 10.0),
        permissions=("geolocation",),
        color_scheme="dark",
        reduced_motion="reduce",
        forced_colors="active",
        extra_http_headers=(("X-Who", "me"),),
        storage_state={
            "cookies": [{"name": "kept", "value": "1", "domain": "127.0.0.1", "path": "/"}],
            "origins": [],
        },
        start_url=site.url,
    )

    seen = await handle.evaluate(
        page_id,
        """async () => ({
            scale: devicePixelRatio, touch: 'ontouchstart' in window, language: navigator.language,
            zone: Intl.DateTimeFormat().resolvedOptions().timeZone,
            dark: matchMedia('(prefers-color-scheme: dark)').matches,
            still: matchMedia('(prefers-reduced-motion: reduce) and (forced-colors: active)').matches,
            cookie: document.cookie,
            place: await new Promise((yes, no) => navigator.geolocation.getCurrentPosition(
                found => yes([found.coords.latitude, found.coords.longitude]), no)),
        })""",
        timeout=10,
    )

    assert seen == {
        "scale": 2,
        "touch": True,
        "language": "de-DE",
        "zone": "Asia/Tokyo",
        "dark": True,
        "still": True,
        "cookie": "kept=1",
        "place": [48.1, 11.5],
    }
    assert site.requests[-1][1]["x-who"] == "me"


async def test_a_session_signs_in_at_a_site_ignores_its_policy_and_goes_offline(
    chromium: ChromiumProcess, tmp_path: Path, site: Site
) -> None:
    site.locked["/private"] = "Basic bWU6c2VjcmV0"
    site.pages["/private"] = (
        "<meta http-equiv=content-security-policy content=\"script-src 'none'\"><title>x</title>"
        "<script>document.title = 'ran'</script>"
    )
    credentials = HttpCredentials("me", "secret", origin=site.url)
    handle, page_id = await opened(chromium, tmp_path / "one", http_credentials=credentials, bypass_csp=True)
    done = await handle.navigate(page_id, f"{site.url}/private", wait_until="load", timeout=20)
    assert (done.http_status, done.page.title) == (200, "ran")
    second = await handle.open_page(f"{site.url}/private", timeout=20)
    assert await handle.evaluate(second.page_id, "document.title", timeout=20) == "ran"

    elsewhere = HttpCredentials("me", "secret", origin="http://127.0.0.1:9")
    handle, page_id = await opened(chromium, tmp_path / "two", http_credentials=elsewhere)
    done = await handle.navigate(page_id, f"{site.url}/private", wait_until="load", timeout=20)
    assert done.http_status == 401

    handle, page_id = await opened(chromium, tmp_path / "three", offline=True)
    with pytest.raises(PageFailed, match="ERR_INTERNET_DISCONNECTED"):
        await handle.navigate(page_id, site.url, wait_until="load", timeout=20)


async def test_without_javascript_no_script_runs(chromium: ChromiumProcess, tmp_path: Path, site: Site) -> None:
    site.pages["/script"] = "<title>before</title><script>document.title = 'after'</script>"
    handle, page_id = await opened(chromium, tmp_path / "session", java_script_enabled=False)

    done = await handle.navigate(page_id, f"{site.url}/script", wait_until="load", timeout=20)

    assert done.http_status == 200
    assert done.page.title == "before"


async def test_the_session_folder_is_private_and_removed_after_the_end(
    chromium: ChromiumProcess, tmp_path: Path
) -> None:
    folder = tmp_path / "sessions" / "one"
    handle, _ = await opened(chromium, folder)
    assert stat.S_IMODE(folder.stat().st_mode) == (0o711 if os.geteuid() == 0 else 0o700), "as root it can be traversed"
    assert stat.S_IMODE((folder / "downloads").stat().st_mode) == 0o700
    (folder / "file").write_text("x")

    await handle.close(timeout=5)

    await until(lambda: not folder.exists(), what="the end of the folder")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"timezone_id": "Mars/Base"}, "timezone_id"),
        ({"locale": "de_DE@@"}, "locale"),
        ({"permissions": ("nonsense",)}, "permissions"),
        ({"user_agent": "a\r\nb: c"}, "user_agent"),
        ({"extra_http_headers": (("a b", "c"),)}, "extra_http_headers"),
        ({"extra_http_headers": (("a", "c\r\nd: e"),)}, "extra_http_headers"),
        ({"geolocation": Geolocation(100.0, 0.0)}, "geolocation"),
        ({"color_scheme": "pink"}, "color_scheme"),
        ({"proxy": Proxy("::::")}, "proxy"),
        ({"proxy": Proxy("socks5://x:1", username="a", password="b")}, "proxy"),
        ({"storage_state": {"cookies": [{"name": "a"}]}}, "storage_state"),
        ({"storage_state": {"cookies": 5}}, "storage_state"),
        ({"storage_state": {"origins": [{"origin": "nonsense", "localStorage": []}]}}, "storage_state"),
        ({"device_scale_factor": -1.0}, "device_scale_factor"),
        ({"device_scale_factor": 100.0}, "device_scale_factor"),
        ({"start_url": "file:///etc/passwd"}, "start_url"),
        ({"start_url": " JavaScript:1"}, "start_url"),
        ({"start_url": "chrome://version"}, "start_url"),
        ({"start_url": "http://[bad/"}, "start_url"),
    ],
    ids=str,
)
async def test_an_invalid_option_is_rejected_by_name(
    chromium: ChromiumProcess, tmp_path: Path, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidField) as refused:
        await opened(chromium, tmp_path / "session", **options)

    assert refused.value.loc[:2] == ("body", field)
    assert refused.value.detail.startswith(("must ", "viewport_width x"))
    assert await contexts_in(chromium) == set()
    assert not (tmp_path / "session").exists()


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/", "http://nowhere.invalid/"])
async def test_a_start_url_that_fails_undoes_everything(
    chromium: ChromiumProcess, tmp_path: Path, address: str
) -> None:
    with pytest.raises(StartPageFailed, match=r"^Start page failed: "):
        await opened(chromium, tmp_path / "session", start_url=address)

    assert await contexts_in(chromium) == set()
    assert not (tmp_path / "session").exists()


async def test_a_start_url_without_a_response_fails_at_the_deadline(
    chromium: ChromiumProcess, tmp_path: Path, site: Site
) -> None:
    with pytest.raises(StartPageFailed, match=r"^Start page failed: the address did not respond within 2 s\.$"):
        await chromium.open_context(
            SessionSpec(start_url=f"{site.url}/hang"), tmp_path / "session", lambda _: None, timeout=2
        )

    assert await contexts_in(chromium) == set()
    assert not (tmp_path / "session").exists()


async def test_a_permit_is_needed_to_make_a_context_but_not_while_its_start_page_loads(
    chromium: ChromiumProcess, tmp_path: Path, site: Site
) -> None:
    permit = asyncio.Semaphore(1)
    await permit.acquire()
    spec = SessionSpec(start_url=f"{site.url}/hang")
    opening = asyncio.create_task(
        chromium.open_context(spec, tmp_path / "session", lambda _: None, timeout=30, permit=permit)
    )
    await opened(chromium, tmp_path / "other")
    assert site.requests == [], "the context was made without a permit"
    permit.release()
    await site.blocked()
    assert not permit.locked()
    assert not opening.done()
    opening.cancel()
    await asyncio.wait([opening])
    assert not (tmp_path / "session").exists()


async def test_a_folder_that_cannot_be_created_is_reported(chromium: ChromiumProcess, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(Exception, match="folder could not be created"):
        await opened(chromium, tmp_path / "file" / "session")

    assert await contexts_in(chromium) == set()


async def test_a_cancelled_open_leaves_no_context(chromium: ChromiumProcess, tmp_path: Path) -> None:
    for number in range(8):  # at each of its steps, which take some milliseconds
        opening = asyncio.create_task(opened(chromium, tmp_path / f"s{number}", start_url="about:blank"))
        await asyncio.sleep(0.01 * number)
        opening.cancel()
        await asyncio.wait({opening})
        if not opening.cancelled():
            await opening.result()[0].close(timeout=5)

    async def none_left() -> bool:
        return await contexts_in(chromium) == set()

    await until(none_left, what="the end of every context")
    await until(lambda: not list(tmp_path.glob("s*")), what="the end of every folder")
    assert chromium._registry.pages("") == []


async def test_a_context_that_is_closed_is_gone(chromium: ChromiumProcess, tmp_path: Path, events: Events) -> None:
    handle, page_id = await opened(chromium, tmp_path / "session", events)

    await asyncio.gather(handle.close(timeout=5), handle.close(timeout=5))
    await handle.close(timeout=5)

    assert await contexts_in(chromium) == set()
    assert handle.pages() == []
    assert "context.died" not in events.kinds()
    with pytest.raises(BrowserGone):
        await handle.evaluate(page_id, "1", timeout=5)
    with pytest.raises(BrowserGone):
        await handle.open_page(None, timeout=5)


async def test_a_context_disposed_of_by_others_is_reported(
    chromium: ChromiumProcess, tmp_path: Path, events: Events
) -> None:
    handle, page_id = await opened(chromium, tmp_path / "session", events)
    other, other_page = await opened(chromium, tmp_path / "other")

    await chromium.cdp.root.call("Target.disposeBrowserContext", {"browserContextId": handle.context_id}, timeout=5)
    await until(lambda: "context.died" in events.kinds(), what="the event")

    with pytest.raises((BrowserGone, PageNotFound)):
        await handle.evaluate(page_id, "1", timeout=5)
    assert await other.evaluate(other_page, "2", timeout=5) == 2
    await handle.close(timeout=5)
    assert events.kinds().count("context.died") == 1


async def test_closing_the_last_page_does_not_end_the_context(
    chromium: ChromiumProcess, tmp_path: Path, events: Events
) -> None:
    handle, page_id = await opened(chromium, tmp_path / "session", events)

    await handle.close_page(page_id, timeout=5)
    await until(lambda: handle.pages() == [])

    assert await handle.responsive(timeout=5)
    page = await handle.open_page("data:text/html,<title>again</title>", timeout=20)
    assert [info.page_id for info in handle.pages()] == [page.page_id]
    assert "context.died" not in events.kinds()
    with pytest.raises(PageNotFound):
        await handle.evaluate(page_id, "1", timeout=5)


async def test_a_popup_keeps_the_options_and_is_known_by_its_target_id(
    chromium: ChromiumProcess, tmp_path: Path, site: Site, events: Events
) -> None:
    site.pages["/popup"] = "<title>Popup</title>"
    handle, page_id = await opened(
        chromium, tmp_path / "session", events, user_agent="Agent/1", viewport_width=640, start_url=site.url
    )

    await handle.evaluate(page_id, "void window.open('/popup')", timeout=10)
    await until(lambda: len(handle.pages()) == 2)
    popup = handle.pages()[1].page_id
    await handle.evaluate(popup, "document.readyState", timeout=10)
    await until(lambda: any(data["url"].endswith("/popup") for data in events.of("page.navigated")))

    assert await handle.evaluate(popup, "navigator.userAgent", timeout=10) == "Agent/1"
    assert next(headers for path, headers in site.requests if path == "/popup")["user-agent"] == "Agent/1"
    assert [data["page_id"] for data in events.of("page.opened")] == [page_id, popup]
    assert {"page_id": popup, "url": f"{site.url}/popup", "title": "Popup"} in events.of("page.navigated")
    targets = await chromium.cdp.root.call("Target.getTargets", timeout=5)
    assert popup in {info["targetId"] for info in targets["targetInfos"]}
    await handle.close_page(popup, timeout=5)
    await until(lambda: {"page_id": popup} in events.of("page.closed"))


async def test_pages_show_their_current_url_and_title(chromium: ChromiumProcess, tmp_path: Path, site: Site) -> None:
    handle, page_id = await opened(chromium, tmp_path / "session", start_url=site.url)
    await handle.evaluate(page_id, "void (location.hash = 'x', document.title = 'Changed')", timeout=10)
    await chromium.probe(timeout=10)

    await until(lambda: handle.pages()[0].title == "Changed", what="the new title, which the probe fetches")

    assert handle.pages()[0].url == f"{site.url}/#x"


@pytest.fixture
def few_pages(monkeypatch: pytest.MonkeyPatch) -> int:
    """A page limit that tests reach quickly, instead of the real one."""
    assert MAX_PAGES == 20
    monkeypatch.setattr("browser_sessions.chromium.context.context.MAX_PAGES", 3)
    return 3


async def test_a_page_that_opens_windows_in_a_loop_is_limited(
    chromium: ChromiumProcess, tmp_path: Path, few_pages: int
) -> None:
    handle, page_id = await opened(chromium, tmp_path / "session")
    other, other_page = await opened(chromium, tmp_path / "other")

    await handle.evaluate(page_id, "for (let i = 0; i < 8; i++) window.open('about:blank')", timeout=60)

    await until(lambda: len(handle.pages()) == few_pages, within=60)
    assert await other.evaluate(other_page, "1", timeout=10) == 1
    with pytest.raises(TooManyPages):
        await handle.open_page(None, timeout=10)
    for _ in range(2):  # the opener goes on, and can open windows again once some are closed
        await handle.evaluate(page_id, "void window.open('about:blank')", timeout=10)
        await until(lambda: len(handle.pages()) == few_pages)
        assert await handle.evaluate(page_id, "6 * 7", timeout=5) == 42
    await handle.close(timeout=20)


async def test_a_session_has_at_most_so_many_pages_even_concurrently(
    chromium: ChromiumProcess, tmp_path: Path, few_pages: int
) -> None:
    handle, _ = await opened(chromium, tmp_path / "session")

    calls = (handle.open_page(None, timeout=60) for _ in range(6))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [PageInfo] * 2 + [TooManyPages] * 4
    assert len(handle.pages()) == few_pages
    await handle.close(timeout=20)


@pytest.mark.parametrize("kind", ["alert('x'.repeat(2000))", "confirm('x')", "prompt('x')"])
async def test_a_session_without_clients_has_its_dialogs_dismissed(
    chromium: ChromiumProcess, tmp_path: Path, events: Events, kind: str
) -> None:
    handle, page_id = await opened(chromium, tmp_path / "session", events)

    value = await handle.evaluate(page_id, kind, timeout=10)

    assert value in (None, False)
    opened_dialog = events.of("dialog.opened")[0]
    assert opened_dialog["page_id"] == page_id
    assert kind.startswith(opened_dialog["type"])
    assert len(opened_dialog["message"]) <= 500


async def test_a_dialog_stays_open_for_a_connected_client_until_it_disconnects(
    chromium: ChromiumProcess, tmp_path: Path, events: Events
) -> None:
    handle, page_id = await opened(chromium, tmp_path / "session", events)
    client = await chromium.cdp.page(page_id, timeout=10)
    assert client is not None
    await client.call("Page.enable", timeout=10)
    handle.connections_changed(clients=1, viewers=0, controlled=False)
    pending = asyncio.create_task(handle.evaluate(page_id, "confirm('sure?')", timeout=30))
    await until(lambda: "dialog.opened" in events.kinds())
    assert not await handle.responsive(timeout=0.3)

    await client.call("Page.handleJavaScriptDialog", {"accept": True}, timeout=10)

    assert await pending is True
    assert await handle.screenshot(page_id, Picture(), timeout=10)
    pending = asyncio.create_task(handle.evaluate(page_id, "confirm('and now?')", timeout=30))
    await until(lambda: events.kinds().count("dialog.opened") == 2)
    await client.call("Page.disable", timeout=10)
    handle.connections_changed(clients=0, viewers=0, controlled=False)
    assert await pending is False
    assert await handle.responsive(timeout=5)


async def test_beforeunload_dialogs_are_accepted(chromium: ChromiumProcess, tmp_path: Path, site: Site) -> None:
    site.pages["/stay"] = "<script>onbeforeunload = event => event.preventDefault()</script><button>x</button>"
    handle, page_id = await opened(chromium, tmp_path / "session", start_url=f"{site.url}/stay")
    await handle.evaluate(page_id, "document.readyState", timeout=10)

    done = await handle.navigate(page_id, site.url, wait_until="load", timeout=20)

    assert (done.page.title, done.http_status) == ("Home", 200)


@pytest.mark.parametrize("leaving", [True, False], ids=["beforeunload", "alert"])
async def test_a_context_closes_while_a_dialog_is_open(
    chromium: ChromiumProcess, tmp_path: Path, site: Site, leaving: bool
) -> None:
    site.pages["/stay"] = "<script>onbeforeunload = event => event.preventDefault()</script><button>x</button>"
    handle, page_id = await opened(chromium, tmp_path / "session", start_url=f"{site.url}/stay")
    handle.connections_changed(clients=1, viewers=0, controlled=False)  # nobody closes the dialog
    link = handle.owner
    assert isinstance(link, PlaywrightLink)
    code = "location.href = '/'" if leaving else "alert(1)"
    asking = asyncio.create_task(handle.evaluate(page_id, f"setTimeout(() => {{ {code} }}), 1", timeout=10))
    await until(lambda: link.dialogs.kind(page_id) == ("beforeunload" if leaving else "alert"))

    await handle.close(timeout=10)

    assert handle.context_id not in await contexts_in(chromium)
    await asyncio.wait([asking])


async def test_usage_counts_only_the_contexts_own_renderers(chromium: ChromiumProcess, tmp_path: Path) -> None:
    handle, page_id = await opened(chromium, tmp_path / "session")
    idle, _ = await opened(chromium, tmp_path / "idle")
    await handle.evaluate(page_id, "window.kept = Array.from({length: 2e6}, (_, i) => ({i})), 1", timeout=60)

    memory, cpu = await handle.usage(timeout=10)
    idle_memory, idle_cpu = await idle.usage(timeout=10)

    assert memory is not None
    assert idle_memory is not None
    assert cpu is not None
    assert idle_cpu is not None
    assert memory > idle_memory + 20 * 2**20
    assert cpu > idle_cpu + 0.05


async def test_pages_that_share_a_renderer_are_counted_once(chromium: ChromiumProcess, tmp_path: Path) -> None:
    handle, page_id = await opened(chromium, tmp_path / "session")
    spin = "const until = Date.now() + 300; while (Date.now() < until);"
    await handle.evaluate(page_id, f"(() => {{ window.open('about:blank'); {spin} }})()", timeout=20)
    await until(lambda: len(handle.pages()) == 2)
    memory, cpu = await handle.usage(timeout=10)
    await handle.close_page(handle.pages()[1].page_id, timeout=10)
    alone, cpu_alone = await handle.usage(timeout=10)

    assert memory is not None
    assert alone is not None
    assert cpu is not None
    assert cpu_alone is not None
    assert memory < 1.5 * alone
    assert cpu <= cpu_alone
