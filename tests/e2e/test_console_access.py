"""The console by keyboard, at any size and with assistive technology, on the server of `fake_console_server`."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser, Page, ViewportSize, expect

from tests.harness.axe import axe_missing, violations
from tests.harness.console_page import driving, fleet, got, jpeg, sent, watching
from tests.harness.fakes.fake_console_server import FakeConsole, row, stamp
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

POOL: dict[str, Any] = {
    "taken": 5, "capacity": 60, "queue": 1, "refused_total": 0, "warm_spares": 1, "draining": False,
    "browsers": [{"state": "ready", "memory_bytes": 10**9}],
}  # fmt: skip
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0"


def tabs(count: int) -> list[dict[str, Any]]:
    return [
        {"page_id": f"pg{n}", "url": f"https://{n}.example/", "title": f"Page {n}", "crashed": False}
        for n in range(count)
    ]


async def focused(page: Page) -> str:
    """What has the focus: its id, else its class or name."""
    found: str = await page.evaluate(
        """() => { const e = document.activeElement; return e.id || e.dataset.id || e.className || e.tagName }"""
    )
    return found


# --- axe


@pytest.mark.skipif(axe_missing(), reason="axe-core is not installed: run scripts/setup.sh --tests")
@pytest.mark.parametrize("everywhere", [False, pytest.param(True, marks=pytest.mark.slow)])
async def test_axe_finds_no_violation_in_any_view_theme_and_width(operator: Browser, everywhere: bool) -> None:
    rows = fleet(1) | {
        "d1": row("d1", status="crashed", end_reason="browser_died", ended_at=stamp(-50)),
        "q1": row("q1", status="queued"), "s1": row("s1", controlled_by=None),
    }  # fmt: skip
    console = FakeConsole(rows=rows, frames={"": [await jpeg(operator, "#336699")]}, pool=POOL)
    console.pages["s1"] = tabs(10)
    viewport: ViewportSize = {"width": 1280, "height": 800}  # the last size that `violations` tests
    async with watching(operator, console, viewport=viewport) as (page, _):
        await page.emulate_media(reduced_motion="reduce")

        async def show(path: str, ready: str) -> None:
            await page.evaluate(
                "(path) => { history.pushState(0, '', path); dispatchEvent(new PopStateEvent('popstate')) }", path
            )
            await page.locator(ready).first.wait_for(state="attached")

        async def check(view: str) -> None:
            if everywhere or view == "in control, enlarged":
                assert await violations(page, everywhere=everywhere) == [], view

        await page.locator(".card .drawn").first.wait_for()
        await check("cards")
        await page.keyboard.press("?")
        await page.locator("dialog[open]").wait_for()
        await check("keyboard shortcuts")
        await page.keyboard.press("Escape")
        await show("/?view=table", "table")
        await page.get_by_label("Select all shown").check()
        await check("table")
        await page.keyboard.press("e")
        await page.locator("dialog[open]").wait_for()
        await check("end sessions")
        await page.keyboard.press("Escape")
        await show("/sessions/q1", "aside h1")
        await check("queued")
        await show("/sessions/s1", "canvas[data-seq]")
        await check("session")
        await page.get_by_role("button", name="Take control").click()
        await page.locator(".pad:focus").wait_for(state="attached")
        await page.get_by_label("Zoom").select_option("2")
        await check("in control, enlarged")
        await page.get_by_label("Zoom").select_option("0")
        options = [{"label": f"Option {n}", "group": None, "disabled": n == 1} for n in range(4)]
        place = {"x": 128, "y": 72, "width": 256, "height": 36}
        await console.send_live("s1", type="picker", element="select", options=options, selected=2, **place)
        await page.locator(".picker").wait_for()
        await check("a pop-up of a form control")
        await page.keyboard.press("Escape")
        console.emit("dialog.opened", "s1", page_id="pg1", type="prompt", message="Your name?")
        await page.locator(".ask").wait_for()
        await check("a dialog of the page")
        console.emit("dialog.closed", "s1", page_id="pg1")
        await console.send_live("s1", type="file_chooser", page_id="pg1", multiple=True, directory=False, accept="")
        await page.get_by_label("Your files").wait_for()
        await check("a file chooser")
        await page.get_by_role("button", name="Upload", exact=True).click()
        await page.get_by_text("Choose files first.").wait_for()
        await console.send_live("s1", type="file_chooser_closed", page_id="pg1")
        await page.get_by_label("Your files").wait_for(state="detached")
        await console.send_live("s1", type="file_chooser", page_id="pg1", multiple=False, directory=False, accept="")
        await page.get_by_label("Your files").wait_for()
        await page.keyboard.press("Escape")
        await page.locator(".pad:focus").wait_for(state="attached")
        await page.get_by_role("button", name="Details").click()
        await page.locator(".pad:focus").wait_for(state="attached")
        await check("details folded")
        await page.get_by_role("button", name="Details").click()
        await console.send_live("s1", type="pages", pages=[], page_id=None)
        await page.get_by_text("No page is open").wait_for()
        await check("no page")
        await show("/sessions/d1", ".final h1")
        await check("ended")
        await show("/sessions/none", ".words")
        await check("no such session")
        await show("/sign-in", ".signin")
        await check("sign-in")
        console.rows.clear()
        await show("/", "main.overview")
        await page.get_by_role("heading", name="No sessions yet").wait_for()
        await check("empty")


# --- focus


async def test_the_focus_goes_back_where_it_came_from(operator: Browser) -> None:
    console = FakeConsole(rows=fleet(6), frames={"": [await jpeg(operator, "#336699")]})
    second = list(console.rows)[1]
    async with watching(operator, console) as (page, _):
        said = page.locator("#announced")
        await page.locator(".card:not(.ghost)").first.wait_for()
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("ArrowRight")
        assert await focused(page) == second
        for key in ("e", "?"):
            await page.keyboard.press(key)
            await page.locator("dialog[open]").wait_for()
            await page.keyboard.press("Escape")
            await expect(page.locator("dialog")).to_have_count(0)
            assert await focused(page) == second, "after a dialog"
        await page.keyboard.press("g")
        await page.locator("table").wait_for()
        await expect(said).to_have_text("Shown as a table")
        assert await focused(page) == second, "the same session, in the table"
        await page.keyboard.press("Enter")
        await page.locator("aside h1:focus").wait_for()
        await expect(said).to_have_text("Page1")
        await page.get_by_role("button", name="End session…").click()
        await page.get_by_role("button", name="Cancel").click()
        await page.locator("button.danger:focus").wait_for()
        await page.keyboard.press("t")
        await page.locator(".pad:focus").wait_for(state="attached")
        await page.keyboard.press("Escape")
        await page.keyboard.press("Escape")
        await page.locator("#control:focus").wait_for()
        await page.get_by_role("button", name="End session…").click()
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.locator(".final aside h1:focus").wait_for()
        await expect(said).to_contain_text("ended")
        await page.keyboard.press("u")
        await page.locator("table").wait_for()
        await until(lambda: _has_focus(page, second), what="the focus is on the session that was open")
        await page.keyboard.press("/")
        await page.keyboard.type("nothing like it")
        await page.get_by_role("button", name="Clear filters").click()
        await page.locator("h1:focus").wait_for(state="attached")


async def _has_focus(page: Page, wanted: str) -> bool:
    return await focused(page) == wanted


# --- keys


async def test_keys_are_the_pages_or_its_dialogs_wherever_the_focus_is(operator: Browser) -> None:
    async with driving(operator) as (page, console):
        dialogs = page.locator("dialog")

        async def typed(*keys: str) -> None:
            console.sent.clear()
            for key in keys:
                await page.keyboard.press(key)
            await until(lambda: [m["key"] for m in sent(console, "key", action="up")] == list(keys))
            await expect(page.locator(".pad")).to_be_focused()

        for button in ("Forward", "Reload"):
            await page.get_by_role("button", name=button).click()
            await typed("e", "t", "u", "Enter")
        await page.get_by_role("tab", name="Network").click()
        await typed("e", "?", " ")
        await page.evaluate("document.activeElement.blur()")
        await typed("e", "Tab")
        await page.get_by_role("tab", name="Console").focus()
        await typed("u")
        await page.get_by_label("Address of the page").fill("a.example")
        await page.keyboard.press("Enter")
        await got(console, "navigate")
        await typed("e")
        await expect(dialogs).to_have_count(0)
        assert page.url.endswith("/sessions/s1")

        async def opened(kind: str, **data: Any) -> None:
            console.sent.clear()
            console.emit("dialog.opened", "s1", page_id="pg1", type=kind, **data)
            await expect(page.get_by_role("alertdialog", name="Really?")).to_be_visible()

        async def closed() -> None:
            console.emit("dialog.closed", "s1", page_id="pg1")
            await page.locator(".pad:focus").wait_for(state="attached")
            assert sent(console, "key") == [], "the page behind it gets no key"

        await opened("confirm", message="Really?")
        await expect(page.get_by_role("button", name="Accept")).to_be_focused()
        await page.keyboard.press("x")
        await page.keyboard.press("Enter")
        await page.keyboard.press("Enter")
        assert [m["accept"] for m in await got(console, "dialog")] == [True], "once, however often Enter is pressed"
        await closed()
        await opened("confirm", message="Really?")
        await page.keyboard.press("Escape")
        assert [m["accept"] for m in await got(console, "dialog")] == [False]
        await closed()
        await opened("prompt", message="Really?", default_prompt="")
        await page.keyboard.type("e, certainly")
        await page.keyboard.press("Enter")
        assert [(m["accept"], m["text"]) for m in await got(console, "dialog")] == [(True, "e, certainly")]
        await closed()
        await expect(page.locator(".stage.mine")).to_be_visible()


@pytest.mark.slow
async def test_a_macs_option_characters_are_typed_and_its_cmd_is_ctrl(operator: Browser) -> None:
    async with driving(operator, user_agent=MAC) as (page, console):
        cdp = await page.context.new_cdp_session(page)
        for kind in ("keyDown", "keyUp"):
            key = {"type": kind, "key": "@", "code": "KeyL", "modifiers": 1, "text": "@" if kind == "keyDown" else ""}
            await cdp.send("Input.dispatchKeyEvent", key)
        [option] = await got(console, "key", action="down", code="KeyL")
        assert (option["text"], option["modifiers"]) == ("@", 0)
        await page.keyboard.down("Meta")
        await page.keyboard.down("a")
        await page.keyboard.up("Meta")
        await got(console, "key", action="up", key="a")
        keys = [(m["action"], m["key"], m["code"], m["modifiers"]) for m in sent(console, "key") if m["code"] != "KeyL"]
        assert keys[:2] == [("down", "Control", "ControlLeft", 2), ("down", "a", "KeyA", 2)]
        assert {(action, key) for action, key, _, _ in keys[2:]} == {("up", "Control"), ("up", "a")}


# --- pages


async def test_without_a_page_the_console_says_so_and_opens_one(operator: Browser) -> None:
    async with driving(operator) as (page, console):
        await console.send_live("s1", type="pages", pages=[], page_id=None)
        await expect(page.locator(".ask")).to_contain_text("No page is open.")
        await expect(page.locator(".stage canvas")).to_be_hidden()
        for name in ("Back", "Forward", "Reload", "DevTools"):
            await expect(page.get_by_role("button", name=name)).to_be_disabled()
        await expect(page.get_by_label("Address of the page")).to_have_value("")
        new = page.locator(".ask").get_by_role("button", name="New page")
        await expect(new).to_be_focused()
        await page.keyboard.press("Enter")
        await got(console, "new_page")
        await console.send_live("s1", type="pages", pages=tabs(1), page_id="pg0")
        await page.locator(".pad:focus").wait_for(state="attached")
        for width, height in ((1280, 800), (390, 844)):
            await page.set_viewport_size({"width": width, "height": height})
            await console.send_live("s1", type="problem", detail="A problem with a long explanation. " * 6)
            notice = page.locator(".notice.bad")
            await expect(notice).to_be_visible()
            covered = await notice.evaluate(
                """(notice) => { const one = notice.getBoundingClientRect();
                return [...document.querySelectorAll("button, input, select, a")].filter((control) => {
                    const two = control.getBoundingClientRect();
                    return one.left < two.right && two.left < one.right && one.top < two.bottom && two.top < one.bottom;
                }).map((control) => control.textContent) }"""
            )
            assert covered == []


async def test_taking_control_moves_nothing_and_needs_no_scrolling(operator: Browser) -> None:
    console = FakeConsole(rows={"s1": row("s1")}, frames={"": [await jpeg(operator, "#336699")]})
    async with watching(operator, console, "/sessions/s1") as (page, _):
        await page.locator("canvas[data-seq]").wait_for()
        places = """() => [...document.querySelectorAll(".tabs, .address, .stage, .watch > .actions")]
            .map((element) => JSON.stringify(element.getBoundingClientRect()))"""
        for width, height in ((1280, 800), (1100, 800), (640, 400)):
            await page.set_viewport_size({"width": width, "height": height})
            take = page.get_by_role("button", name="Take control")
            await expect(take).to_be_in_viewport(ratio=1)
            before = await page.evaluate(places)
            await take.click()
            await page.locator(".pad:focus").wait_for(state="attached")
            assert await page.evaluate(places) == before, (width, height)
            if width == 1280:
                await console.send_live("s1", type="control", controlled_by="anna", yours=True, waiting=2, viewers=1)
                await page.locator(".waits").wait_for()
                assert await page.evaluate(places) == before, "with a client that waits"
            await page.get_by_role("button", name="Release control").click()


async def test_many_tabs_and_long_metadata_stay_usable(operator: Browser) -> None:
    metadata = {f"key{n}": "a rather long value " * 9 for n in range(30)}
    console = FakeConsole(rows={"s1": row("s1", metadata=metadata)}, frames={"": [await jpeg(operator, "#336699")]})
    console.pages["s1"] = tabs(10)
    async with watching(operator, console, "/sessions/s1", viewport={"width": 1280, "height": 800}) as (page, _):
        await page.get_by_role("tab", name="Timeline").focus()
        for key, tab in (
            ("End", "Options"),
            ("ArrowRight", "Timeline"),
            ("ArrowLeft", "Options"),
            ("Home", "Timeline"),
        ):
            await page.keyboard.press(key)
            await expect(page.get_by_role("tab", name=tab, selected=True)).to_be_focused()
        await page.get_by_role("button", name="Take control").click()
        for shown in (9, 0, 5):
            await console.send_live("s1", type="pages", pages=tabs(10), page_id=f"pg{shown}")
            await expect(page.locator(".tab [aria-current=page]")).to_have_text(f"Page {shown}")
            await expect(page.locator(".tab").nth(shown)).to_be_in_viewport(ratio=1)
            await expect(page.get_by_role("button", name="New page")).to_be_in_viewport(ratio=1)
        overlaps = await page.evaluate(
            """() => [...document.querySelectorAll("aside .list > dd")].filter((dd) => {
                const next = dd.nextElementSibling?.nextElementSibling, text = document.createRange();
                text.selectNodeContents(dd);
                return next && text.getBoundingClientRect().bottom > next.getBoundingClientRect().top + 1;
            }).length"""
        )
        assert overlaps == 0


# --- zoom


async def test_the_picture_zooms_and_moves_and_the_details_fold(operator: Browser) -> None:
    console = FakeConsole(rows={"s1": row("s1")}, frames={"": [await jpeg(operator, "#336699")]})
    async with watching(operator, console, "/sessions/s1", viewport={"width": 1280, "height": 800}) as (page, _):
        picture = page.locator(".stage canvas")
        await page.locator("canvas[data-seq]").wait_for()
        size = "(canvas) => canvas.clientWidth / 1280"
        fit = await picture.evaluate(size)
        zoom = page.get_by_label("Zoom")
        fitted = f"Fit ({round(fit * 100)} %)"
        await expect(zoom.locator("option").first).to_have_text(fitted)
        await page.keyboard.press("d")
        await expect(page.locator("aside")).to_have_count(0)
        assert await picture.evaluate(size) > fit * 1.2, "without the details it is larger"
        await page.get_by_role("button", name="Details").click()
        await expect(zoom.locator("option").first).to_have_text(fitted)
        await page.keyboard.press("+")
        assert await picture.evaluate(size) == pytest.approx(0.75, abs=0.01)
        await page.keyboard.press("0")
        assert await picture.evaluate(size) == pytest.approx(fit, abs=0.01)

        box = await page.locator(".stage").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.5
        below = """([x, y]) => {
            const box = document.querySelector(".stage canvas").getBoundingClientRect();
            return [(x - box.left) / box.width, (y - box.top) / box.height];
        }"""
        before = await page.evaluate(below, [x, y])
        await page.mouse.move(x, y)
        await page.keyboard.down("Control")
        await page.mouse.wheel(0, -450)
        await page.keyboard.up("Control")
        await until(lambda: _larger(page, fit * 2))
        await until(lambda: _near(page, below, [x, y], before), what="the point below the pointer stays there")
        await page.mouse.down()
        await page.mouse.move(x - 120, y - 40, steps=3)
        await page.mouse.up()
        await until(lambda: _near(page, below, [x - 120, y - 40], before), what="the picture follows the drag")
        assert {m["type"] for m in console.sent} <= {"ack", "view", "ping"}, "nothing of it reaches the page"

        await zoom.select_option("1")
        await page.get_by_role("button", name="Take control").click()
        await page.locator(".pad:focus").wait_for(state="attached")
        await page.locator(".port").evaluate("(port) => port.scrollTo(300, 100)")
        corner = await picture.bounding_box()
        assert corner is not None
        assert corner["width"] == 1280
        await page.mouse.click(corner["x"] + 700, corner["y"] + 400)
        [press] = await got(console, "mouse", action="down")
        assert (press["x"], press["y"]) == (pytest.approx(700, abs=1), pytest.approx(400, abs=1))


async def _larger(page: Page, scale: float) -> bool:
    return bool(await page.locator(".stage canvas").evaluate("(canvas) => canvas.clientWidth / 1280") > scale)


async def _near(page: Page, script: str, point: list[float], wanted: list[float]) -> bool:
    return bool(await page.evaluate(script, point) == pytest.approx(wanted, abs=0.02))


@pytest.mark.slow
async def test_a_pinch_zooms_the_picture_unless_touch_is_the_pages(operator: Browser) -> None:
    console = FakeConsole(rows={"s1": row("s1")}, frames={"": [await jpeg(operator, "#336699")]})
    options: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
    async with watching(operator, console, "/sessions/s1", **options) as (page, _):
        await page.locator("canvas[data-seq]").wait_for()
        cdp = await page.context.new_cdp_session(page)
        width = "(canvas) => canvas.clientWidth"
        picture = page.locator(".stage canvas")

        async def pinch() -> None:
            box = await page.locator(".stage").bounding_box()
            assert box is not None
            x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
            for kind, apart in (("touchStart", 40), ("touchMove", 44), ("touchMove", 80), ("touchMove", 120)):
                points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
                await cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
            await cdp.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

        fitted = await picture.evaluate(width)
        await pinch()
        await until(lambda: _wider(page, fitted * 1.8), what="the picture is larger")
        assert await page.evaluate("visualViewport.scale") == 1
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390
        assert sent(console, "touch") == []
        await page.get_by_label("Zoom").select_option("0")
        await page.get_by_role("button", name="Take control").click()
        await page.locator(".pad:focus").wait_for(state="attached")
        await pinch()
        await got(console, "touch", action="move")
        assert await picture.evaluate(width) == fitted, "in control, touch is the page's"
        await page.get_by_role("button", name="Touch moves the picture").click()
        console.sent.clear()
        await pinch()
        await until(lambda: _wider(page, fitted * 1.8), what="the picture is larger")
        assert sent(console, "touch") == []


async def _wider(page: Page, width: float) -> bool:
    return bool(await page.locator(".stage canvas").evaluate("(canvas) => canvas.clientWidth") > width)
