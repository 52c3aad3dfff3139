"""The console in a real browser with the real service and real sessions: listed, watched, controlled, ended."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from tests.harness.console_page import operator_page
from tests.harness.service import ADMIN_KEY, Running
from tests.harness.shared import SharedService
from tests.harness.sites.client_site import client_site
from tests.harness.sites.plain_site import BLOCK, plain_site
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

SHOP = (
    "data:text/html,<title>Shop</title><body style='margin:0;background:white'>"
    "<button style='position:absolute;left:40px;top:40px;width:200px;height:80px' "
    "onclick='document.title=%22bought%22'>Buy</button>"
    "<input style='position:absolute;left:40px;top:160px;width:300px;height:40px' "
    "oninput='document.body.dataset.typed=this.value'>"
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SharedService]:
    shared = SharedService(lambda: tmp_path_factory.mktemp("console"))
    yield shared
    await shared.close()


@pytest_asyncio.fixture(loop_scope="session")
async def service(shared_service: SharedService, request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    """Without the sessions of earlier tests, also the ended ones, which the console shows."""
    async with shared_service.lent(request.node) as service:
        now = datetime.now(UTC)
        service.inside.pool.registry.forget_before(now)
        await service.inside.store.purge(now, now)
        yield service


@asynccontextmanager
async def watched(
    operator: Browser, service: Running, path: str = "/", *, key: str | None = ADMIN_KEY, **options: Any
) -> AsyncIterator[Page]:
    """A console on the real service at `path`, signed in with `key`. Afterwards: no script error, no CSP report."""
    async with operator_page(operator, **options) as shown:
        page = shown.page
        if key is not None:
            signed_in = await page.context.request.post(f"{service.url}/v1/auth/session", data={"api_key": key})
            assert signed_in.ok
        await page.goto(service.url + path)
        yield page
        assert await page.evaluate("window.pwned") is None
        assert shown.errors == []


async def pixel(page: Page, x: float, y: float) -> list[int]:
    """The colour at a point of the picture, in fractions of its size; negative while there is no picture."""
    colour: list[int] = await page.evaluate(
        """([x, y]) => { const c = document.querySelector('canvas.picture'); if (!c) return [-99, -99, -99];
            const d = c.getContext('2d').getImageData(Math.floor(c.width * x), Math.floor(c.height * y), 1, 1).data;
            return [...d].slice(0, 3) }""",
        [x, y],
    )
    return colour


async def test_an_operator_sees_new_sessions_filters_them_and_opens_one(service: Running, operator: Browser) -> None:
    async with watched(operator, service) as page:
        await expect(page.get_by_label("Command that creates a session")).to_be_visible()
        for name in ("apples", "pears", "plums"):
            await service.create(start_url=f"data:text/html,<title>{name}</title>", metadata={"fruit": name})
        cards = page.locator("ul.sessions a.open")
        await expect(cards).to_have_count(3)
        await page.keyboard.press("/")
        await page.keyboard.type("fruit=pears")
        await expect(cards).to_have_count(1)
        await cards.first.click()
        await expect(page.get_by_role("heading", name="pears")).to_be_visible()
        await expect(page.get_by_label("Live picture of the page")).to_be_visible()


async def test_an_empty_console_shows_how_to_create_a_session_also_on_a_phone(
    service: Running, operator: Browser
) -> None:
    async with watched(operator, service, viewport={"width": 390, "height": 800}) as page:
        command = page.get_by_label("Command that creates a session")
        await expect(command).to_contain_text(f"curl -X POST {service.url}/v1/browser/sessions")
        await expect(command).to_contain_text("$BROWSER_SESSIONS_API_KEY")
        box = await page.locator(".code").bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 390


async def test_the_picture_follows_the_page_and_watching_is_no_activity(service: Running, operator: Browser) -> None:
    session_id = (await service.create(start_url=SHOP))["session_id"]
    async with watched(operator, service, f"/sessions/{session_id}") as page:
        await until(lambda: _is(page, 0.9, 0.9, [255, 255, 255]), what="the page is white", every=0.1)
        await service.evaluate(session_id, "document.body.style.background = 'rgb(0, 128, 0)'")
        used = (await service.get(session_id))["last_activity"]
        await until(lambda: _is(page, 0.9, 0.9, [0, 128, 0]), what="the page is green", every=0.1)
        assert (await service.get(session_id))["last_activity"] == used


async def _is(page: Page, x: float, y: float, colour: list[int]) -> bool:
    return all(abs(a - b) <= 12 for a, b in zip(await pixel(page, x, y), colour, strict=True))


@pytest.mark.parametrize(
    ("scale", "width"),
    [(1, 1280), (2, 1280), (1, 820)],
)
@pytest.mark.slow
async def test_an_operator_with_control_uses_the_page_while_the_client_waits(
    service: Running, operator: Browser, scale: float, width: int
) -> None:
    created = await service.create(start_url=SHOP, viewport_width=1000, viewport_height=700)
    session_id = created["session_id"]
    client = await operator.browser_type.connect_over_cdp(created["connect_url"])
    driven = client.contexts[0].pages[0]
    size: dict[str, Any] = {"viewport": {"width": width, "height": 800}, "device_scale_factor": scale}
    async with watched(operator, service, f"/sessions/{session_id}", **size) as page:
        await page.get_by_role("button", name="Take control").click()
        await expect(page.get_by_text("You have control")).to_be_visible()
        await page.locator(".stage.mine .pad:focus").wait_for(state="attached")  # from then on it receives clicks
        await page.locator("canvas[data-seq]").wait_for()
        waiting = asyncio.create_task(driven.evaluate("document.title"))
        box = await page.get_by_label("Live picture of the page").bounding_box()
        assert box is not None

        async def click(x: float, y: float) -> None:
            await page.mouse.click(box["x"] + box["width"] * x / 1000, box["y"] + box["height"] * y / 700)

        await click(140, 80)
        await until(lambda: _title(service, session_id, "bought"), what="the button was clicked", every=0.1)
        await click(190, 180)
        await page.keyboard.type("three apples")
        await until(lambda: _typed(service, session_id, "three apples"), what="the text arrived", every=0.1)
        assert not waiting.done(), "the client's command waits"
        await page.get_by_role("button", name="Release control").click()
        assert await waiting == "bought"
    await client.close()


async def _title(service: Running, session_id: str, title: str) -> bool:
    pages = (await service.http.get(f"/v1/browser/sessions/{session_id}/pages")).json()["pages"]
    return bool(pages[0]["title"] == title)


async def _typed(service: Running, session_id: str, text: str) -> bool:
    return bool(await service.evaluate(session_id, "document.body.dataset.typed || ''") == text)


CANVAS = """<body style='margin:0'><canvas id=c width=1280 height=720></canvas><script>
let clicks = 0;
addEventListener("click", () => {
    c.getContext("2d").fillStyle = `hsl(${++clicks * 67 % 360} 80% 50%)`;
    c.getContext("2d").fillRect(0, 0, 1280, 720);
});
</script>"""


@pytest.mark.slow
async def test_each_of_many_quick_clicks_at_one_point_changes_the_picture(service: Running, operator: Browser) -> None:
    session_id = (await service.create(start_url=f"data:text/html,{quote(CANVAS)}"))["session_id"]
    async with watched(operator, service, f"/sessions/{session_id}") as page:
        await page.locator("canvas[data-seq]").wait_for()
        await page.get_by_role("button", name="Take control").click()
        await page.locator(".stage.mine .pad:focus").wait_for(state="attached")
        shown = await pixel(page, 0.5, 0.5)
        for n in range(6):
            await page.locator(".stage canvas").click(position={"x": 200, "y": 200})
            await until(partial(_differs, page, shown), what=f"click {n} changed the picture")
            shown = await pixel(page, 0.5, 0.5)
        assert await service.evaluate(session_id, "clicks") == 6


async def _differs(page: Page, before: list[int]) -> bool:
    return await pixel(page, 0.5, 0.5) != before


@pytest.mark.slow
async def test_signing_out_in_one_tab_ends_the_others_and_releases_control(service: Running, operator: Browser) -> None:
    session_id = (await service.create(start_url=SHOP))["session_id"]
    async with watched(operator, service) as page:
        await page.locator(".overview").wait_for()
        watching, driving = await page.context.new_page(), await page.context.new_page()
        await watching.goto(service.url)
        await expect(watching.locator(".link")).to_have_text("live")
        await driving.goto(f"{service.url}/sessions/{session_id}")
        await driving.locator("canvas[data-seq]").wait_for()
        await driving.get_by_role("button", name="Take control").click()
        await driving.locator(".stage.mine").wait_for()
        cookies: list[Any] = [*await page.context.cookies()]
        await page.get_by_role("button", name="Sign out").click()
        for tab in (page, watching, driving):
            await tab.get_by_role("heading", name="Sign in").wait_for()
            await tab.locator("input[name=api_key]:focus").wait_for()
        control = service.inside.pool.registry.live(session_id).control
        await until(lambda: not control.held, what="control is released")
        await page.context.add_cookies(cookies)
        await page.goto(service.url)
        await page.get_by_role("heading", name="Sign in").wait_for()


async def test_a_session_ended_in_the_console_shows_its_end_reason(service: Running, operator: Browser) -> None:
    session_id = (await service.create(start_url=SHOP))["session_id"]
    async with watched(operator, service, f"/sessions/{session_id}") as page:
        await until(lambda: _is(page, 0.9, 0.9, [255, 255, 255]), what="a picture", every=0.1)
        await page.get_by_role("button", name="End session…").click()
        await page.get_by_role("dialog").get_by_role("button", name="End").last.click()
        await expect(page.get_by_text("closed").first).to_be_visible()
        await expect(page.get_by_text("Ended by its owner.")).to_be_visible()
        assert (await service.details(session_id))["end_reason"] == "deleted"


FORM = """<title>Form</title><style>body{margin:40px;background:#fff}input,button{font-size:40px;display:block}</style>
<input id=typed><button id=ok onclick="document.title = typed.value; document.body.style.background = 'rgb(0, 0, 255)'">
OK</button>"""


@pytest.mark.parametrize(
    ("scale", "width", "height"),
    [
        pytest.param(1, 1440, 900, id="plain"),
        pytest.param(2, 1440, 900, id="dpr 2", marks=pytest.mark.slow),
        pytest.param(1, 700, 600, id="scaled down", marks=pytest.mark.slow),
    ],
)
async def test_an_operator_signs_in_controls_a_session_and_ends_it(
    operator: Browser, service: Running, scale: int, width: int, height: int
) -> None:
    size: dict[str, Any] = {"viewport": {"width": width, "height": height}, "device_scale_factor": scale}
    async with watched(operator, service, "/sign-in", key=None, **size) as page:
        await page.get_by_label("API key", exact=True).last.fill(ADMIN_KEY)
        await page.get_by_role("button", name="Sign in", exact=True).click()
        await expect(page.get_by_role("heading", name="No sessions yet")).to_be_visible()
        form = (await service.create(start_url=f"data:text/html,{quote(FORM)}"))["session_id"]
        for title in ("Second", "Third"):
            await service.create(start_url=f"data:text/html,<title>{title}</title>", metadata={"n": title})
        await expect(page.locator(".card")).to_have_count(3, timeout=20_000)
        await page.locator("#filter").fill("n=Third")
        await expect(page.locator(".card")).to_have_count(1)
        await page.locator("#filter").fill("form")
        await expect(page.locator(".card strong")).to_have_text("Form", timeout=20_000)
        await page.locator(".card .open").click()
        picture = page.locator(".stage canvas")
        await page.locator("canvas[data-seq]").wait_for(timeout=20_000)
        corner = "(c) => [...c.getContext('2d').getImageData(c.width - 4, c.height - 4, 1, 1).data].slice(0, 3)"
        assert min(await picture.evaluate(corner)) > 240, "the page is white"

        await page.get_by_role("button", name="Take control").click()
        await page.locator(".stage.mine .pad:focus").wait_for(state="attached")
        box = await picture.bounding_box()
        assert box is not None

        async def click(element: str) -> None:
            middle = (
                f"(() => {{ const b = {element}.getBoundingClientRect(); return [b.x + 9, b.y + b.height / 2] }})()"
            )
            x, y = await service.evaluate(form, middle)
            await page.mouse.click(box["x"] + x * box["width"] / 1280, box["y"] + y * box["height"] / 720)

        await click("document.getElementById('typed')")
        await page.keyboard.type("Ünal 42")
        await click("document.getElementById('ok')")
        await page.wait_for_function(
            "() => { const c = document.querySelector('.stage canvas');"
            " const [red, , blue] = c.getContext('2d').getImageData(c.width - 4, c.height - 4, 1, 1).data;"
            " return red < 40 && blue > 200; }",
            timeout=20_000,
        )
        await expect(page.locator("aside h1")).to_have_text("Ünal 42", timeout=20_000)
        await page.get_by_role("button", name="Release control").click()
        await expect(page.locator(".who")).to_have_text("View only")
        await page.get_by_role("button", name="End session…").click()
        await page.get_by_role("button", name="End session", exact=True).click()
        await expect(page.locator("#panel")).to_contain_text("Ended: closed", timeout=20_000)
        await expect(page.locator("#panel")).to_contain_text("Control released")
        await expect(page.locator(".stage img")).to_be_visible()


@pytest.mark.slow
async def test_a_dialog_is_answered_the_last_page_closed_and_another_one_opened(
    operator: Browser, service: Running
) -> None:
    session_id = (await service.create(start_url="data:text/html,<title>Only</title>"))["session_id"]
    async with watched(operator, service) as page:
        await page.locator(".card .open").click()
        await page.locator("canvas[data-seq]").wait_for()
        await page.get_by_role("button", name="Take control").click()
        await page.locator(".pad:focus").wait_for(state="attached")
        await service.evaluate(session_id, "void setTimeout(() => (document.title = prompt('Your name?')))")
        await page.get_by_label("Answer to the page").wait_for()
        await page.keyboard.type("Ünal, with e and t")
        await page.keyboard.press("Enter")
        await expect(page.locator("aside h1")).to_have_text("Ünal, with e and t")
        await page.locator(".pad:focus").wait_for(state="attached")
        await page.get_by_role("button", name="Close Ünal").click()
        await expect(page.locator(".ask")).to_contain_text("No page is open.")
        await page.set_viewport_size({"width": 1000, "height": 700})  # requests a picture of another size
        await page.locator(".ask").get_by_role("button", name="New page").click()
        await page.locator(".pad:focus").wait_for(state="attached")
        await page.get_by_label("Address of the page").fill(f"data:text/html,{quote(FORM)}")
        await page.keyboard.press("Enter")
        await expect(page.locator("aside h1")).to_have_text("Form")
        await until(lambda: _is(page, 0.9, 0.9, [255, 255, 255]), what="a picture of the new page", every=0.1)
        await expect(page.locator(".notice")).to_be_empty()
        pages = (await service.http.get(f"/v1/browser/sessions/{session_id}/pages")).json()["pages"]
        assert len(pages) == 1


HOSTILE = (
    "<img src=x onerror=\"window.pwned='img'\"><script>window.pwned='script'</script>\"'><svg onload=window.pwned=1>"
)


FILES = """<title>Files</title><body style='margin:0'><script>onchange = async event => {
document.title = [...event.target.files].map(file => file.webkitRelativePath || file.name).sort().join() }</script>
<input type=file style='position:absolute;left:100px;top:100px;width:300px;height:60px'>
<input type=file webkitdirectory style='position:absolute;left:100px;top:200px;width:300px;height:60px'>
<a download='notes.txt' href='data:text/plain,some notes'>Notes</a>"""


async def test_an_operator_uploads_what_the_page_asks_for_and_fetches_what_it_downloads(
    operator: Browser, service: Running, tmp_path: Path
) -> None:
    (tmp_path / "docs").mkdir()
    for name in ("docs/a.txt", "docs/b.txt"):
        (tmp_path / name).write_text(name)
    session_id = (await service.create(start_url=f"data:text/html,{quote(FILES)}"))["session_id"]
    async with watched(operator, service, f"/sessions/{session_id}") as page:
        await page.locator("canvas[data-seq]").wait_for()
        await page.get_by_role("button", name="Take control").click()
        await page.locator(".stage.mine .pad:focus").wait_for(state="attached")
        box = await page.get_by_label("Live picture of the page").bounding_box()
        assert box is not None

        async def choose(y: float, label: str, given: Path, wanted: str) -> None:
            await page.mouse.click(box["x"] + box["width"] * 150 / 1280, box["y"] + box["height"] * y / 720)
            field = page.get_by_role("dialog").get_by_label(label)
            await expect(field).to_be_focused(timeout=20_000)
            await field.set_input_files(given)
            await page.get_by_role("button", name="Upload").click()
            await until(lambda: _title(service, session_id, wanted), what=f"the page has {wanted}")
            await expect(page.get_by_role("dialog")).to_have_count(0)

        await choose(120, "Your files", tmp_path / "docs" / "a.txt", "a.txt")
        for _ in range(2):  # the second folder replaces the first
            await choose(220, "Your folder", tmp_path / "docs", "docs/a.txt,docs/b.txt")
            await service.evaluate(session_id, "document.title = ''")
        listed = (await service.http.get(f"/v1/browser/sessions/{session_id}/uploads")).json()["uploads"]
        assert sorted(each["name"] for each in listed) == ["a.txt", "docs/a.txt", "docs/b.txt"]

        await page.get_by_role("button", name="Release control").click()
        await page.get_by_role("tab", name="files").click()
        await expect(page.get_by_role("tabpanel")).to_contain_text("Nothing yet.")
        await service.evaluate(session_id, "document.querySelector('a').click()")
        async with page.expect_download() as fetched:
            await page.get_by_role("link", name="notes.txt").click()
        download = await fetched.value
        assert (download.suggested_filename, Path(await download.path()).read_text()) == ("notes.txt", "some notes")


@pytest.mark.slow
async def test_strings_of_a_hostile_page_are_shown_as_text(operator: Browser, service: Running) -> None:
    """Title, URL, console, error, cookie and metadata."""
    title = json.dumps(HOSTILE).replace("</", r"<\/")
    hostile = f"""<script>document.title = {title};
        console.error(document.title);
        setTimeout(() => {{ throw new Error(document.title) }});
        </script>"""
    cookie = {"name": "evil", "value": "<svg/onload=window.pwned=2>", "domain": "evil.example", "path": "/"}
    made = await service.create(
        start_url=f"data:text/html,{quote(hostile)}#{HOSTILE}",
        metadata={"k": HOSTILE},
        storage_state={"cookies": [cookie], "origins": []},
    )
    async with watched(operator, service) as page:
        await expect(page.locator(".card strong")).to_contain_text("<script>", timeout=20_000)
        await page.keyboard.press("g")
        await expect(page.locator("table")).to_contain_text("<script>")
        await page.goto(f"{service.url}/sessions/{made['session_id']}")
        await page.locator("canvas[data-seq]").wait_for(timeout=20_000)
        await expect(page.locator("aside h1")).to_contain_text("<svg onload")
        await expect(page.get_by_label("Address of the page")).to_have_value(re.compile("onload"))
        for panel in ("Console", "Errors"):
            await page.get_by_role("tab", name=panel).click()
            await expect(page.locator("#panel")).to_contain_text("<svg onload")
        await page.get_by_role("tab", name="Options").click()
        await page.get_by_role("button", name="Count").click()
        await expect(page.locator("#panel")).to_contain_text("1 cookie · 0 sites with local storage")


@pytest.mark.slow
async def test_devtools_open_with_one_click_for_the_shown_page(operator: Browser, service: Running) -> None:
    session_id = (await service.create(start_url="data:text/html,<title>Inspect me</title>"))["session_id"]
    async with watched(operator, service, f"/sessions/{session_id}") as page:
        await page.locator("canvas[data-seq]").wait_for(timeout=20_000)
        may_load = asyncio.Event()

        async def hold(route: Route) -> None:
            await may_load.wait()
            await route.continue_()

        await page.context.route("**/entrypoints/**", hold)
        async with page.context.expect_page() as opened:
            await page.get_by_role("button", name="DevTools").click()
        tab = await opened.value
        await tab.wait_for_url("**/devtools/**", wait_until="commit")
        note = "document.body && getComputedStyle(document.body, '::before').content"

        async def shows(text: str) -> bool:
            return bool(await tab.evaluate(note) == text)

        await until(lambda: shows('"Loading DevTools…"'), what="the loading note is shown", every=0.1)
        may_load.set()
        await expect(tab).to_have_title(re.compile("Inspect me"), timeout=60_000)
        await until(lambda: shows("none"), what="the loading note is gone", every=0.1)
        await page.context.unroute_all()


async def test_an_unwatched_session_shows_its_last_picture(operator: Browser, service: Running) -> None:
    session_id = (await service.create(start_url="data:text/html,<body style='background:rgb(0,128,0)'>"))["session_id"]
    drawn = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    await service.evaluate(session_id, drawn)
    await service.http.delete(f"/v1/browser/sessions/{session_id}")
    async with watched(operator, service) as page:
        await page.locator(".card.final img.drawn").wait_for(timeout=20_000)
        await page.locator(".card .open").click()
        picture = page.get_by_role("img", name="Last picture of the session")
        await expect(picture).to_be_visible(timeout=20_000)
        colour = await picture.evaluate(
            """async (img) => { await img.decode(); const c = document.createElement("canvas").getContext("2d");
                c.drawImage(img, 0, 0); return [...c.getImageData(9, 9, 1, 1).data].slice(0, 3) }"""
        )
        assert all(abs(a - b) <= 12 for a, b in zip(colour, (0, 128, 0), strict=True))


@pytest.mark.slow
async def test_a_hung_page_is_marked_on_its_card_and_found_by_a_filter(operator: Browser, service: Running) -> None:
    await service.create(start_url="data:text/html,<title>Fine</title>")
    async with plain_site() as site:
        await service.evaluate((await service.create(start_url=f"{site.url}/blocks"))["session_id"], BLOCK)
        async with watched(operator, service) as page:
            await page.get_by_role("button", name="unresponsive 1").click(timeout=30_000)
            await expect(page.locator(".card strong")).to_have_text(["Blocks"])
            await expect(page.locator(".card .status")).to_have_text("unresponsive")
            await page.locator(".card .open").click()
            await expect(page.locator(".stage")).to_contain_text("The page does not respond")


async def test_the_network_log_has_every_request_with_its_details(operator: Browser, service: Running) -> None:
    with client_site() as site:
        session_id = (await service.create(start_url=f"{site.url}/fetch"))["session_id"]
        async with watched(operator, service, f"/sessions/{session_id}") as page:
            await page.locator("canvas[data-seq]").wait_for(timeout=20_000)
            await page.get_by_role("tab", name="Network").click()
            found = page.locator("#panel li", has_text=f"{site.url}/data")
            missing = page.locator("#panel li", has_text=f"{site.url}/missing")

            async def listed() -> bool:
                fetches = "Promise.all(['/data', '/missing'].map(async (path) => (await fetch(path)).text()))"
                await service.evaluate(session_id, fetches)
                return await found.count() > 0 and await missing.count() > 0

            await until(listed, what="both requests are listed", every=0.3)
            facts = r"fetch · \d+ ms · \d+(\.\d)? k?B"
            await expect(found.first).to_have_text(re.compile(f"200GET {re.escape(site.url)}/data {facts}$"))
            await expect(missing.first).to_have_text(
                re.compile(f"404GET {re.escape(site.url)}/missing {facts} · .*404")
            )


async def test_a_client_key_shows_its_own_sessions_and_no_pool(operator: Browser, service: Running) -> None:
    key = await service.key("client", "anna")
    foreign = (await service.create(start_url="data:text/html,<title>Foreign</title>"))["session_id"]
    async with service.caller(key) as anna:
        own = {"start_url": "data:text/html,<title>Own</title>"}
        assert (await anna.post("/v1/browser/sessions", json=own)).status_code == 201
    async with watched(operator, service, key=key) as page:
        await expect(page.locator(".card strong")).to_have_text(["Own"], timeout=20_000)
        await expect(page.locator(".pool")).to_have_count(0)
        await expect(page.get_by_label("Owner", exact=True)).to_have_count(0)
        await page.goto(f"{service.url}/sessions/{foreign}")
        await expect(page.get_by_role("heading", name="No such session")).to_be_visible()
