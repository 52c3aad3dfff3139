"""The console's front end in a real Chromium, against the fake server of `fake_console_server`.

The fake is for exact or rare conditions: hostile rows, the messages that input on the canvas becomes, 200 sessions, a
lost connection. Tests with the real service are in `test_console_service`.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.harness.axe import PAINTED
from tests.harness.console_page import driving, fleet, got, jpeg, sent, watching
from tests.harness.fakes.fake_console_server import KEY, FakeConsole, row, stamp
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

HOSTILE = (
    "<img src=x onerror=\"window.pwned='img'\"><script>window.pwned='script'</script>\"'><svg onload=window.pwned=1>"
)
HOSTILE_URL = "javascript:window.pwned='url'"

# --- hostile content


async def test_hostile_strings_are_text_everywhere(operator: Browser) -> None:
    evil = row(
        "evil", title=HOSTILE, url=HOSTILE_URL, owner_name=HOSTILE, metadata={HOSTILE: HOSTILE}, controlled_by=HOSTILE,
        browser_id=HOSTILE,
    )  # fmt: skip
    dead = row("dead", title=HOSTILE, url=HOSTILE_URL, status="crashed", end_reason=HOSTILE, ended_at=stamp(-5))
    console = FakeConsole(rows={"evil": evil, "dead": dead}, options={"locale": HOSTILE, HOSTILE: [HOSTILE]})
    console.pages["evil"] = [{"page_id": "pg1", "url": HOSTILE_URL, "title": HOSTILE, "crashed": False}]
    page_fields: dict[str, Any] = {"page_id": "pg1", "url": HOSTILE_URL}
    for session in ("evil", "dead"):
        console.histories[session] = [
            console.event("page.navigated", session, title=HOSTILE, **page_fields),
            console.event("console", session, level=HOSTILE, text=HOSTILE, line=HOSTILE, **page_fields),
            console.event("console", session, level="error", text="document.cookie=" + HOSTILE, **page_fields),
            console.event("network.failed", session, method=HOSTILE, error=HOSTILE, **page_fields),
            console.event("dialog.opened", session, type=HOSTILE, message=HOSTILE, page_id="pg1"),
            console.event("download.started", session, filename=HOSTILE),
        ]
    async with watching(operator, console) as (page, base_url):
        await expect(page.locator(".card strong").first).to_have_text(HOSTILE)
        await page.keyboard.press("g")
        await expect(page.locator("td.wide").first).to_contain_text("<script>")
        await page.get_by_label("Select all shown").check()
        await page.keyboard.press("e")
        await expect(page.get_by_role("dialog")).to_contain_text("<script>")
        for session in ("evil", "dead"):
            await page.goto(f"{base_url}/sessions/{session}")
            await expect(page.locator("aside h1")).to_contain_text("<script>")
            for panel in ("Console", "Network", "Errors", "Options", "Timeline"):
                await page.get_by_role("tab", name=panel).click()
                await expect(page.locator("#panel")).to_contain_text("<svg onload")
        console.emit("session.updated", "dead", title=HOSTILE * 2)
        for link in await page.locator("a").all():
            assert not (await link.get_attribute("href") or "").startswith("javascript")


# --- input on the canvas


@pytest.mark.parametrize(
    ("scale", "width", "height"),
    [
        pytest.param(1, 1440, 900, id="plain"),
        pytest.param(2, 1440, 900, id="dpr 2", marks=pytest.mark.slow),
        pytest.param(1, 800, 600, id="scaled down", marks=pytest.mark.slow),
        pytest.param(2, 640, 480, id="scaled down, dpr 2", marks=pytest.mark.slow),
        pytest.param(3, 390, 844, id="phone"),
    ],
)
async def test_a_click_lands_where_the_picture_shows_it(operator: Browser, scale: int, width: int, height: int) -> None:
    console = FakeConsole(rows={"s1": row("s1")}, frames={"": [await jpeg(operator, "#336699")]})
    options: dict[str, Any] = {"device_scale_factor": scale} if scale > 1 else {}
    options["viewport"] = {"width": width, "height": height}
    async with watching(operator, console, "/sessions/s1", **options) as (page, _):
        await page.locator("canvas[data-seq]").wait_for()
        await page.get_by_role("button", name="Take control").click()
        await page.locator(".stage.mine").wait_for()
        box = await page.locator(".stage canvas").bounding_box()
        assert box is not None
        assert box["width"] / box["height"] == pytest.approx(1280 / 720, rel=0.01)
        for part_x, part_y in ((0.1, 0.2), (0.5, 0.5), (0.93, 0.88)):
            console.sent.clear()
            await page.mouse.click(box["x"] + box["width"] * part_x, box["y"] + box["height"] * part_y)
            for action in ("down", "up"):
                message = (await got(console, "mouse", action=action))[0]
                # one px of the screen is 1280 / box width px of the page
                assert message["x"] == pytest.approx(1280 * part_x, abs=1280 / box["width"])
                assert message["y"] == pytest.approx(720 * part_y, abs=1280 / box["width"])
                assert (message["button"], message["click_count"]) == ("left", 1)


async def test_double_clicks_drags_the_right_button_and_the_wheel(operator: Browser) -> None:
    async with driving(operator) as (page, console):
        picture = page.locator(".stage canvas")
        await picture.dblclick(position={"x": 100, "y": 100})
        await until(lambda: len(sent(console, "mouse", action="up")) == 2)
        assert [m["click_count"] for m in sent(console, "mouse", action="down")] == [1, 2]
        await picture.click(position={"x": 300, "y": 200}, button="right", modifiers=["Shift"])
        [press] = await got(console, "mouse", action="down", button="right")
        assert (press["modifiers"], press["buttons"]) == (8, 2)
        console.sent.clear()
        await page.mouse.move(400, 400)
        await page.mouse.down()
        await page.mouse.move(500, 450, steps=5)
        await page.mouse.up()
        await got(console, "mouse", action="up")
        order = [m["action"] for m in sent(console, "mouse")]
        assert order[-1] == "up", "pending moves are sent before the button is released"
        assert all(m["button"] == "left" for m in sent(console, "mouse", action="move", buttons=1))
        assert sent(console, "mouse", action="move", buttons=1), "a drag sends moves"
        console.sent.clear()
        await page.mouse.down()
        await page.mouse.down(button="right")
        await page.mouse.up(button="right")
        await page.mouse.up()
        await got(console, "mouse", action="up", button="left")
        presses = [(m["action"], m["button"], m["buttons"]) for m in sent(console, "mouse") if m["action"] != "move"]
        assert presses == [("down", "left", 1), ("down", "right", 3), ("up", "right", 1), ("up", "left", 0)]
        await page.locator(".stage canvas").hover()
        await page.mouse.wheel(0, 120)
        await page.mouse.wheel(0, 120)
        await until(lambda: sum(m["dy"] for m in sent(console, "wheel")) == 240)


async def test_keys_paste_and_composed_text_are_sent_until_escape_twice_releases_control(operator: Browser) -> None:
    async with driving(operator) as (page, console):
        await page.keyboard.type("Aé")
        await page.keyboard.press("Enter")
        await page.keyboard.press("Control+a")
        await page.keyboard.press("Tab")
        await got(console, "key", action="up", key="Tab")
        downs = [(m["key"], m["text"], m["modifiers"]) for m in sent(console, "key", action="down")]
        assert ("A", "A", 0) in downs or ("A", "A", 8) in downs
        assert ("Enter", "\r", 0) in downs
        assert ("a", "", 2) in downs, "a key with Ctrl has no text"
        assert ("Tab", "", 0) in downs, "the focus stays with the page"
        assert [m["text"] for m in sent(console, "text")] == ["é"], "characters without a key are sent as text"
        console.sent.clear()
        for key in ("t", "e", "u", "?", "/"):
            await page.keyboard.press(key)
        await until(lambda: len(sent(console, "key", action="up")) == 5)
        await expect(page.locator("dialog")).to_have_count(0)
        await expect(page.locator(".stage.mine")).to_be_visible()
        console.sent.clear()
        await page.evaluate(
            """() => {
                const clipboardData = new DataTransfer();
                clipboardData.setData("text/plain", "pasted, ünïcode");
                const paste = new ClipboardEvent("paste", { clipboardData, bubbles: true });
                document.querySelector(".pad").dispatchEvent(paste);
            }"""
        )
        [text] = await got(console, "text")
        assert text["text"] == "pasted, ünïcode"
        assert sent(console, "key") == []
        await page.evaluate(
            """() => {
                const clipboardData = new DataTransfer();
                clipboardData.setData("text/plain", "x".repeat(600_000));
                document.querySelector(".pad").dispatchEvent(new ClipboardEvent("paste", { clipboardData }));
            }"""
        )
        await expect(page.locator(".notice")).to_contain_text("Not pasted: 600,000 characters, and at most 100,000")
        assert len(sent(console, "text")) == 1
        console.sent.clear()
        cdp = await page.context.new_cdp_session(page)
        await cdp.send("Input.imeSetComposition", {"text": "に", "selectionStart": 1, "selectionEnd": 1})
        await cdp.send("Input.imeSetComposition", {"text": "日本", "selectionStart": 2, "selectionEnd": 2})
        await cdp.send("Input.insertText", {"text": "日本"})
        await got(console, "text")
        await page.keyboard.press("x")
        await got(console, "key", action="up", key="x")
        assert [m["text"] for m in sent(console, "text")] == ["日本"]
        console.sent.clear()
        await page.keyboard.down("Shift")
        await got(console, "key", action="down", key="Shift")
        await page.get_by_role("button", name="Release control").focus()
        await got(console, "key", action="up", key="Shift")
        await page.keyboard.up("Shift")
        await page.locator(".pad").focus()
        console.sent.clear()
        await page.keyboard.press("Escape")
        await got(console, "key", action="up", key="Escape")
        await expect(page.locator(".stage.mine")).to_be_visible()
        await page.keyboard.press("Escape")
        await page.keyboard.press("Escape")
        await expect(page.locator(".stage.mine")).to_have_count(0)
        await expect(page.locator(".who")).to_have_text("View only")
        assert console.rows["s1"]["controlled_by"] is None


async def test_copying_sends_the_selection_of_the_page_to_the_operators_clipboard(operator: Browser) -> None:
    async with driving(operator) as (page, console):
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await page.keyboard.press("Control+c")
        await got(console, "key", action="up", key="c")
        assert [m["type"] for m in console.sent if m["type"] in ("copy", "key")][:3] == ["key", "copy", "key"]
        await console.send_live("s1", type="copied", text="of the page")
        await expect(page.locator(".notice")).to_have_text("Selection copied")
        assert await page.evaluate("navigator.clipboard.readText()") == "of the page"
        await page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")  # as without HTTPS
        console.sent.clear()
        await page.get_by_role("button", name="Copy", exact=True).click()
        await got(console, "copy")
        await console.send_live("s1", type="copied", text="another way")
        await expect(page.locator("body > textarea")).to_have_count(0)
        await expect(page.locator(".notice")).to_have_text("Selection copied")
        await console.send_live("s1", type="copied", text="")
        await expect(page.locator(".notice")).to_have_text("Nothing is selected on the page.")
        await page.context.clear_permissions()


async def test_a_pop_up_of_a_form_control_is_shown_by_the_console(operator: Browser) -> None:
    async with driving(operator) as (page, console):
        place = {"x": 128, "y": 72, "width": 256, "height": 36}
        options = [{"label": f"Option {n}", "group": None, "disabled": n == 1} for n in range(20)]
        await console.send_live("s1", type="picker", element="select", options=options, selected=2, **place)
        shown = page.get_by_label("Options of the page")
        await expect(shown).to_be_focused()
        picture, box = await page.locator(".stage canvas").bounding_box(), await page.locator(".picker").bounding_box()
        assert picture is not None
        assert box is not None
        assert box["x"] == pytest.approx(picture["x"] + 0.1 * picture["width"], abs=2)
        assert box["y"] == pytest.approx(picture["y"] + 0.15 * picture["height"], abs=2)
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Enter")
        await got(console, "choose", choice=3)
        await expect(page.locator(".pad")).to_be_focused()
        assert sent(console, "key") == []
        await console.send_live("s1", type="picker", element="select", options=options, selected=2, **place)
        await shown.get_by_text("Option 5").click()
        await got(console, "choose", choice=5)
        await console.send_live(
            "s1", type="picker", element="date", value="2031-05-01", min="", max="", step="", **place
        )
        await expect(page.get_by_label("Value for the page")).to_have_value("2031-05-01")
        await page.get_by_label("Value for the page").fill("2031-05-04")
        await console.send_live("s1", type="url", url="https://b.example/", title="B")
        await expect(page.get_by_label("Address of the page")).to_have_value("https://b.example/")
        await page.get_by_role("button", name="Set").click()
        await got(console, "choose", choice="2031-05-04")
        await console.send_live("s1", type="picker", element="select", options=options, selected=2, **place)
        await expect(shown).to_be_focused()
        await page.keyboard.press("Escape")
        await got(console, "choose", choice=None)
        await expect(page.locator(".picker")).to_have_count(0)
        at_edge = place | {"x": 1270, "width": 10}
        await console.send_live("s1", type="picker", element="date", value="", min="", max="", step="", **at_edge)
        await expect(page.locator(".picker")).to_be_visible()
        beyond = "(p) => p.getBoundingClientRect().right - p.offsetParent.getBoundingClientRect().right"
        assert await page.locator(".picker").evaluate(beyond) < 1


@pytest.mark.slow
async def test_touches_on_the_picture_are_sent_as_touches(operator: Browser) -> None:
    async with driving(operator, has_touch=True) as (page, console):
        box = await page.locator(".stage canvas").bounding_box()
        assert box is not None
        await page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        [start] = await got(console, "touch", action="start")
        [end] = await got(console, "touch", action="end")
        assert start["points"][0]["x"] == pytest.approx(640, abs=2)
        assert start["points"][0]["y"] == pytest.approx(360, abs=2)
        assert end["points"] == []


async def test_the_mouse_is_a_finger_on_a_session_with_touch(operator: Browser) -> None:
    async with driving(operator, {"has_touch": True}) as (page, console):
        picture = page.locator(".stage canvas")
        await picture.click(position={"x": 100, "y": 100})
        [start] = await got(console, "touch", action="start")
        [end] = await got(console, "touch", action="end")
        assert len(start["points"]) == 1
        assert end["points"] == []
        await picture.click(position={"x": 100, "y": 100}, button="right")
        await got(console, "mouse", action="up", button="right")
        assert {m["button"] for m in sent(console, "mouse")} == {"right"}


async def test_view_only_is_the_default_and_sends_nothing_but_opens_devtools_in_a_new_tab(operator: Browser) -> None:
    console = FakeConsole(rows={"s1": row("s1")}, frames={"": [await jpeg(operator, "#336699")]})
    async with watching(operator, console, "/sessions/s1") as (page, base_url):
        await page.locator("canvas[data-seq]").wait_for()
        await expect(page.locator(".who")).to_have_text("View only")
        await page.locator(".stage canvas").click()
        await page.keyboard.type("abc")
        await page.mouse.wheel(0, 100)
        drawn = int(await page.locator("canvas").get_attribute("data-seq") or 0)
        await page.wait_for_function("n => +document.querySelector('.stage canvas').dataset.seq > n", arg=drawn + 2)
        assert {m["type"] for m in console.sent} <= {"ack", "view"}
        await expect(page.get_by_label("Address of the page")).not_to_be_editable()
        console.slow = asyncio.Event()
        async with page.context.expect_page() as opened:
            await page.get_by_role("button", name="DevTools").click()
        tab = await opened.value
        await expect(tab.get_by_text("Loading DevTools…")).to_be_visible()
        await expect(page.get_by_role("button", name="Loading…")).to_be_disabled()
        console.slow.set()
        await tab.wait_for_url(f"{base_url}/v1/browser/sessions/s1/devtools/**")
        assert await tab.evaluate("window.opener") is None
        await expect(page.get_by_role("button", name="DevTools")).to_be_enabled()


async def test_address_bar_tabs_new_pages_and_an_answered_dialog(operator: Browser) -> None:
    async with driving(operator) as (page, console):
        address = page.get_by_label("Address of the page")
        for field in (address, page.locator(".pad")):
            await expect(field).to_have_js_property("spellcheck", value=False)
        await address.click()
        await page.keyboard.type("shop.example/x")
        await page.keyboard.press("Enter")
        assert (await got(console, "navigate"))[0]["url"] == "https://shop.example/x"
        await console.send_live("s1", type="download", url="https://shop.example/x")
        await expect(page.locator(".notice:not(.bad)")).to_contain_text("The address is a file. It is downloaded")
        await page.get_by_role("button", name="Back").click()
        assert (await got(console, "go"))[0]["delta"] == -1
        await page.get_by_role("button", name="Reload").click()
        await got(console, "reload")
        await page.get_by_role("button", name="New page").click()
        await got(console, "new_page")
        pages = [{"page_id": "pg1", "url": "https://a.example/", "title": "A", "crashed": False},
                 {"page_id": "pg2", "url": "https://b.example/", "title": "B", "crashed": True}]  # fmt: skip
        await console.send_live("s1", type="pages", pages=pages, page_id="pg1")
        await expect(page.get_by_role("button", name="B crashed")).to_be_visible()
        await page.get_by_role("button", name="B crashed").click()
        assert (await got(console, "view", page_id="pg2"))[0]["max_fps"] == 30
        await page.get_by_role("button", name="Close B").click()
        assert (await got(console, "close_page"))[0]["page_id"] == "pg2"
        url = "https://gone.example/"
        error = "net::ERR_NAME_NOT_RESOLVED"
        pages = [{"page_id": "pg1", "url": url, "title": "", "crashed": False, "failed": True, "error": error}]
        await console.send_live("s1", type="pages", pages=pages, page_id="pg1")
        await console.send_live("s1", type="url", url=url, title="")
        await expect(address).to_have_value(url)
        await console.send_live("s1", type="problem", detail="url must be an http: URL")
        await expect(page.locator(".notice.bad")).to_be_visible()
        await expect(page.locator(".veil")).to_have_text(f"The page did not load: {error}")
        await console.send_live("s1", type="pages", pages=[{**pages[0], "failed": False, "error": None}], page_id="pg1")
        await console.send_live("s1", type="url", url="https://a.example/", title="A")
        await expect(page.locator(".notice")).to_be_empty(timeout=3000)
        console.emit("dialog.opened", "s1", page_id="pg1", type="confirm", message="Really leave?")
        await expect(page.locator(".ask")).to_contain_text("Really leave?")
        await page.get_by_role("button", name="Dismiss").click()
        assert (await got(console, "dialog"))[0]["accept"] is False
        console.emit("dialog.closed", "s1", page_id="pg1")
        await expect(page.locator(".ask")).to_have_count(0)


@pytest.mark.slow
async def test_a_long_dialog_of_the_page_scrolls_clear_of_the_controls_on_a_phone(operator: Browser) -> None:
    async with driving(operator, viewport={"width": 320, "height": 640}) as (page, console):
        console.emit("dialog.opened", "s1", page_id="pg1", type="confirm", message="Sehr langer Text " * 28)
        asked = page.locator(".ask")
        await asked.wait_for()
        box, stage = await asked.bounding_box(), await page.locator(".stage").bounding_box()
        assert box
        assert stage
        assert box["width"] > 300
        assert stage["y"] <= box["y"]
        assert box["y"] + box["height"] <= stage["y"] + stage["height"]
        colour = await asked.evaluate("ask => getComputedStyle(ask).backgroundColor")
        assert colour == await page.locator(".actions").evaluate("bar => getComputedStyle(bar).backgroundColor")
        for name in ("Accept", "Dismiss", "Release control"):
            await page.get_by_role("button", name=name).click(trial=True)
        assert await asked.evaluate("ask => ask.scrollTop") == 0
        await page.keyboard.press("PageDown")
        await page.wait_for_function("() => document.querySelector('.ask').scrollTop > 0")


async def test_another_operator_with_control_is_named_and_keeps_it(operator: Browser) -> None:
    console = FakeConsole(rows={"s1": row("s1", controlled_by="anna")}, frames={"": [await jpeg(operator, "#336699")]})
    async with watching(operator, console, "/sessions/s1") as (page, _):
        await expect(page.locator(".who")).to_have_text("anna has control")
        await expect(page.get_by_role("button", name="Take control")).to_be_disabled()
        console.emit("control.waiting", "s1", count=3)
        await expect(page.locator(".waits")).to_have_text("3 clients waiting")
        await console.send_live("s1", type="control", controlled_by=None, waiting=0)
        await expect(page.get_by_role("button", name="Take control")).to_be_enabled()
        console.signed_in = False
        await page.get_by_role("button", name="Take control").click()
        await page.get_by_role("heading", name="Sign in").wait_for()


# --- the picture


async def test_the_picture_changes_with_the_frames_and_never_moves(operator: Browser) -> None:
    red, blue = await jpeg(operator, "#ff0000"), await jpeg(operator, "#0000ff", 640, 360)
    console = FakeConsole(rows={"s1": row("s1")}, frames={"": [red]})
    async with watching(operator, console, "/sessions/s1") as (page, _):
        picture = page.locator(".stage canvas")
        await page.locator("canvas[data-seq]").wait_for()
        before = await picture.bounding_box()
        pixel = "(c) => [...c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data]"
        shown = await picture.evaluate(pixel)
        assert shown[0] > 200
        assert shown[2] < 50
        console.frames[""] = [blue]
        await page.wait_for_function(
            "() => { const c = document.querySelector('.stage canvas');"
            " return c.getContext('2d').getImageData(9, 9, 1, 1).data[2] > 200; }"
        )
        assert await picture.bounding_box() == before, "a frame of another size does not move the picture"
        await until(lambda: sent(console, "ack"))
        acked = [m["seq"] for m in sent(console, "ack")]
        assert acked == sorted(set(acked)), "each drawn frame is acknowledged once, in order"


async def test_a_silent_server_is_said_over_the_picture_and_lost_input_too(operator: Browser) -> None:
    async with driving(operator) as (page, console):
        silence = page.get_by_text("The server does not respond. What you type or click may not arrive.")
        await page.keyboard.press("a")
        await got(console, "key", action="up", key="a")
        answered = console.pings
        await until(lambda: console.pings >= answered + 2)
        console.frozen = True
        await silence.wait_for()
        console.frozen = False
        await silence.wait_for(state="detached")
        await expect(page.locator(".stage.mine")).to_be_visible()
        console.frozen = True
        await page.keyboard.type("xyz")
        await expect(page.locator(".veil")).to_have_text(
            "Connection lost. Reconnecting… 3 inputs may not have reached the page.", timeout=60_000
        )
        await page.keyboard.press("u")
        await expect(page.locator(".stage")).to_be_visible()
        console.rows["s1"]["controlled_by"] = None
        console.frozen = False
        await expect(page.locator(".notice")).to_contain_text("3 inputs may not have reached the page")


async def test_the_viewport_is_the_one_that_the_page_has_now(operator: Browser) -> None:
    picture = await jpeg(operator, "#336699", 400, 300)
    console = FakeConsole(rows={"s1": row("s1")}, frames={"": [picture]}, sizes={"s1": (800, 600)})
    async with watching(operator, console, "/sessions/s1") as (page, _):
        await page.locator("canvas[data-seq]").wait_for()
        await expect(page.locator("aside dd", has_text=re.compile("800 . 600"))).to_be_visible()
        cdp = await page.context.new_cdp_session(page)
        height = "document.getElementById('control').offsetHeight"
        assert await page.evaluate(height) == 32
        await cdp.send("Page.setFontSizes", {"fontSizes": {"standard": 20}})
        await page.wait_for_function(f"{height} === 40")
        assert await page.evaluate("getComputedStyle(document.body).fontSize") == "16.25px"
        await cdp.send("Page.setFontSizes", {"fontSizes": {"standard": 16}})


async def test_invalid_and_very_frequent_frames_do_not_break_the_console(operator: Browser) -> None:
    console = FakeConsole(
        rows={"s1": row("s1")}, frames={"": [b"no jpeg", await jpeg(operator, "#00ff00")]}, frames_per_second=200
    )
    async with watching(operator, console, "/sessions/s1") as (page, _):
        await until(lambda: len(sent(console, "ack")) > 10)
        await expect(page.get_by_role("button", name="Take control")).to_be_enabled()


async def test_a_session_that_ends_while_it_is_watched_shows_the_reason(operator: Browser) -> None:
    console = FakeConsole(rows={"s1": row("s1")}, frames={"": [await jpeg(operator, "#336699")]})
    async with watching(operator, console, "/sessions/s1") as (page, _):
        await page.locator("canvas[data-seq]").wait_for()
        await console.send_live("s1", type="problem", detail="The page could not be opened.")
        await expect(page.locator(".notice")).to_have_text("The page could not be opened.")
        console.end("s1", "expired", "idle_timeout")
        await expect(page.locator(".actions")).to_contain_text("idle timeout")
        await expect(page.locator(".notice")).to_be_empty(timeout=3000)
        await expect(page.locator(".stage img")).to_be_visible()
        await expect(page.locator("#panel")).to_contain_text("Ended: expired")
        await expect(page.get_by_role("button", name="Take control")).to_have_count(0)


async def test_a_queued_session_shows_that_it_waits_then_that_it_loads_and_then_its_picture(operator: Browser) -> None:
    console = FakeConsole(rows={"s1": row("s1", status="queued")})
    async with watching(operator, console, "/sessions/s1") as (page, _):
        await expect(page.locator(".picture")).to_have_text("Waiting for a free slot…")
        console.rows["s1"]["status"] = "active"
        console.emit("session.active", "s1", seconds=1.0)
        await expect(page.locator(".stage")).to_contain_text("Loading…")
        console.frames[""] = [await jpeg(operator, "#336699")]
        await page.locator("canvas[data-seq]").wait_for()
        await expect(page.locator(".stage")).not_to_contain_text("Loading…")


# --- the fleet


async def test_the_keyboard_alone_filters_opens_selects_and_ends(operator: Browser) -> None:
    console = FakeConsole(rows=fleet(12))
    async with watching(operator, console) as (page, base_url):
        await page.locator(".card:not(.ghost)").first.wait_for()
        await page.keyboard.press("/")
        await page.keyboard.type("page1")
        await expect(page.locator(".card")).to_have_count(3)
        assert page.url == f"{base_url}/?q=page1"
        await page.keyboard.press("Escape")
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("x")
        await expect(page.locator(".chosen").first).to_be_visible()
        await page.keyboard.press("e")
        await expect(page.get_by_role("dialog")).to_contain_text("Page10")
        await expect(page.get_by_role("dialog")).to_contain_text("Its pages close and its clients are disconnected.")
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await page.keyboard.press("e")
        await expect(page.get_by_role("button", name="Cancel")).to_be_focused()
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await until(lambda: [r for r in console.rows.values() if r["status"] == "closed"])
        assert [r["title"] for r in console.rows.values() if r["status"] == "closed"] == ["Page10"]
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await page.keyboard.press("?")
        await expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
        await page.keyboard.press("Escape")
        await page.keyboard.press("g")
        await expect(page.locator("table")).to_be_visible()
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/sessions/*")


async def test_filters_and_sorting_are_kept_in_the_url(operator: Browser) -> None:
    rows = fleet(6) | {
        "x": row("x", status="crashed", ended_at=stamp(-9), owner="p_bo", owner_name="bo", title="Broken")
    }
    rows["x"]["metadata"] = {"team": "checkout"}
    async with watching(operator, FakeConsole(rows=rows)) as (page, base_url):
        await page.get_by_role("button", name="crashed").click()
        await page.locator("select").first.select_option("p_bo")
        await page.locator("#filter").fill("team=checkout")
        await page.get_by_role("button", name="table", exact=True).click()
        await page.get_by_role("button", name="Memory").click()
        assert page.url == f"{base_url}/?q=team%3Dcheckout&status=crashed&owner=p_bo&sort=-memory&view=table"
        await expect(page.locator("tbody tr")).to_have_count(1)
        await page.reload()
        await expect(page.locator("tbody tr")).to_have_count(1)
        await expect(page.locator("#filter")).to_have_value("team=checkout")
        await expect(page.locator("th[aria-sort=descending]")).to_contain_text("Memory")


CLICK_EACH_HEAD = """async () => {
    const heads = () => [...document.querySelectorAll("th button")], found = [];
    const names = heads().map((head) => head.innerText);
    for (const n of names.keys()) {
        heads()[n].click();
        await new Promise(requestAnimationFrame);
        found.push(document.querySelector("th[aria-sort] button").innerText.replace(/[↑↓]/g, "").trim());
    }
    return [names, found];
}"""


async def test_the_table_sorts_by_each_of_its_columns(operator: Browser) -> None:
    rows = fleet(5)
    for n, session in enumerate(rows.values()):
        session |= {"memory_bytes": (n * 7 % 5) * 10**6, "owner_name": f"o{n * 3 % 5}", "page_count": n * 2 % 5}
    async with watching(operator, FakeConsole(rows=rows), "/?view=table") as (page, _):
        await page.locator("tbody tr").first.wait_for()
        heads, sorted_by = await page.evaluate(CLICK_EACH_HEAD)
        assert len(heads) == 13
        assert sorted_by == [head.strip("↑↓\n") for head in heads]
        for _ in range(2):
            await page.locator("th").get_by_role("button", name="Memory").click()
        cells = await page.locator("tbody td:nth-child(12)").all_inner_texts()
        assert cells == ["0 B", "1.0 MB", "2.0 MB", "3.0 MB", "4.0 MB"]


async def test_an_unresponsive_page_shows_on_its_card_and_is_found_by_a_filter(operator: Browser) -> None:
    console = FakeConsole(rows=fleet(2) | {"hung": row("hung", title="Busy")})
    async with watching(operator, console) as (page, base_url):
        await expect(page.locator(".card")).to_have_count(3)
        await expect(page.get_by_role("button", name="unresponsive")).to_have_count(0)
        console.emit("session.updated", "hung", responsive=False)
        await page.get_by_role("button", name="unresponsive 1").click()
        await expect(page.locator(".card")).to_have_count(1)
        await expect(page.locator(".card")).to_contain_text("Busyunresponsive")
        assert page.url == f"{base_url}/?status=unresponsive"
        await page.get_by_role("button", name="table", exact=True).click()
        await expect(page.locator("tbody tr")).to_contain_text("unresponsive")
        console.emit("session.updated", "hung", responsive=True)
        await expect(page.get_by_role("heading", name="No matching sessions")).to_be_visible()


async def test_every_fact_of_a_card_is_inside_it(operator: Browser) -> None:
    long = {"title": "A long title " * 9, "owner_name": "an owner with a long name", "memory_bytes": 999_000_000}
    rows = {
        "a": row("a", created_at=stamp(-23.9 * 3600), expires_at=stamp(23.9 * 3600), connections=100, **long),
        "b": row("b", status="starting", expires_at=None, created_at=stamp(-10 * 86400 - 7 * 3600), **long),
        "c": row("c", responsive=False, expires_at=stamp(590), connections=12, **long),
        "d": row("d", status="crashed", end_reason="browser_died", ended_at=stamp(-86_399), **long),
    }
    async with watching(operator, FakeConsole(rows=rows)) as (page, _):
        await expect(page.locator(".card")).to_have_count(4)
        for width in (1280, 1440, 1920):
            await page.set_viewport_size({"width": width, "height": 900})
            await page.evaluate(PAINTED)
            cut = await page.evaluate(
                """() => [...document.querySelectorAll(".card .facts > *, .card .head .status")].filter((fact) => {
                    const card = fact.closest(".card").getBoundingClientRect(), box = fact.getBoundingClientRect();
                    return box.right > card.right - 8 || box.left < card.left + 8
                        || fact.scrollWidth > fact.clientWidth + 1 && getComputedStyle(fact).display !== "inline";
                }).map((fact) => fact.innerText)"""
            )
            assert cut == [], width


async def test_the_pools_memory_is_a_dash_until_it_is_measured(operator: Browser) -> None:
    point = {"at": stamp(), "active": 0, "queue": 0, "refused": 0, "memory_bytes": 0, "loop_lag_ms": 1.0, "browsers": 1}
    browser: dict[str, Any] = {"browser_id": "browser-1", "state": "running", "memory_bytes": None}
    pool = {"taken": 0, "capacity": 20, "queue": 0, "refused_total": 0, "warm_spares": 1, "draining": False}
    console = FakeConsole(rows=fleet(1), pool=pool | {"browsers": [browser]})
    console.history = {"step_seconds": 10, "points": [point]}
    async with watching(operator, console) as (page, _):
        memory = page.locator(".tile", has_text="Memory").locator("b")
        await expect(memory).to_have_text("\u2013")
        browser["memory_bytes"] = 182_000_000
        await page.reload()
        await expect(memory).to_have_text("182 MB")


async def test_rows_follow_the_events_without_a_reload(operator: Browser) -> None:
    console = FakeConsole(rows=fleet(2))
    async with watching(operator, console) as (page, _):
        await expect(page.locator(".link")).to_have_text("live")
        console.rows["new"] = row("new", title="Just made", created_at=stamp())
        console.emit("session.active", "new")
        await expect(page.locator(".card")).to_have_count(3)
        console.emit("session.updated", "new", title="Another title", memory_bytes=345_000_000)
        await expect(page.locator(".card strong").first).to_have_text("Another title")
        await expect(page.locator(".card").first).to_contain_text("345 MB")
        console.end("new", "crashed", "browser_crashed")
        card = page.locator(".card.final")
        await expect(card).to_contain_text("browser crashed")
        await expect(page.get_by_role("button", name="crashed")).to_contain_text("1")
        assert console.calls.count(("GET", "/v1/browser/overview")) == 2, (
            "one for the unknown session, none for the rest"
        )


async def test_a_slow_overview_does_not_undo_newer_events(operator: Browser) -> None:
    console = FakeConsole(rows=fleet(2))
    first = next(iter(console.rows))
    async with watching(operator, console) as (page, _):
        await expect(page.locator(".link")).to_have_text("live")
        console.slow = asyncio.Event()
        console.rows["new"] = row("new", title="Just made")
        console.emit("session.active", "new")
        await until(lambda: console.calls.count(("GET", "/v1/browser/overview")) == 2)
        console.end(first, "crashed", "browser_crashed")
        await expect(page.locator(".card.final")).to_have_count(1)
        console.slow.set()
        await expect(page.locator(".card")).to_have_count(3)
        await expect(page.locator(".card.final")).to_have_count(1)


async def test_more_than_ten_are_ended_only_when_their_number_is_typed(operator: Browser) -> None:
    console = FakeConsole(rows=fleet(11) | {"b1": row("b1", owner="p_bo", owner_name="bo")})
    async with watching(operator, console, "/?view=table") as (page, _):
        await page.get_by_label("Select all shown").check()
        await page.get_by_role("button", name="End 12…").click()
        box = page.get_by_role("dialog")
        await expect(box).to_contain_text("anna: 11 · bo: 1")
        await expect(box).to_contain_text("Their pages close and their clients are disconnected.")
        end = box.get_by_role("button", name="End 12 sessions")
        await expect(end).to_be_disabled()
        await box.get_by_role("textbox").fill("11")
        await expect(end).to_be_disabled()
        await box.get_by_role("textbox").fill("12")
        await end.click()
        await expect(box).to_have_count(0)
        assert {r["status"] for r in console.rows.values()} == {"closed"}
        await expect(page.locator(".notice")).to_have_text("12 sessions ended")


async def test_a_lost_connection_is_shown_and_reconnects_automatically(operator: Browser) -> None:
    console = FakeConsole(rows=fleet(1))
    async with watching(operator, console) as (page, _):
        await expect(page.locator(".link")).to_have_text("live")
        await console.break_off()
        await expect(page.locator(".link")).to_contain_text("connection lost, reconnecting")
        await expect(page.locator(".link")).to_contain_text("stale since", timeout=9000)
        await expect(page.locator(".card")).to_have_count(1)
        console.down = False
        await expect(page.locator(".link")).to_have_text("live", timeout=9000)
        console.emit("session.updated", next(iter(console.rows)), title="Back again")
        await expect(page.locator(".card strong")).to_have_text("Back again")


THUMBNAIL_REQUESTS = """performance.getEntriesByType('resource').filter(each => each.name.includes('/thumbnail'))
    .map(each => [each.name, each.startTime])"""


async def test_thumbnails_are_requested_only_on_screen_and_at_most_once_a_second(operator: Browser) -> None:
    colours = ["#112233", "#445566"]
    console = FakeConsole(rows=fleet(60), frames={"": [await jpeg(operator, c, 320, 180) for c in colours]})
    async with watching(operator, console) as (page, _):
        await page.locator(".card .drawn").first.wait_for()
        seen = await page.locator(".card").evaluate_all(
            "cards => cards.filter((c) => c.getBoundingClientRect().top < innerHeight + 80)"
            ".map((c) => c.querySelector('.open').dataset.id)"
        )
        starts: dict[str, list[float]] = {}

        async def three_of_one() -> bool:
            starts.clear()
            for url, started in await page.evaluate(
                THUMBNAIL_REQUESTS
            ):  # by the page's clock: a busy server reads late
                starts.setdefault(url, []).append(started)
            return max(len(each) for each in starts.values()) >= 3

        await until(three_of_one)
        assert set(console.thumbnails) <= set(seen)
        assert 0 < len(seen) < 60
        for times in starts.values():
            assert times[-1] - times[0] > (len(times) - 2) * 1000, times  # one may begin late and the next in time


async def test_the_last_frame_of_an_ended_session_is_requested_once(operator: Browser) -> None:
    over = {"ended_at": stamp(-5)}
    console = FakeConsole(
        rows={"d": row("d", status="closed", **over), "n": row("n", status="lost", **over), "a": row("a")},
        frames={"d": [await jpeg(operator, "#112233", 320, 180)], "a": [await jpeg(operator, "#445566", 320, 180)]},
    )  # fmt: skip
    async with watching(operator, console) as (_, __):
        await until(lambda: len(console.thumbnails.get("a", [])) >= 3)
        assert len(console.thumbnails["d"]) == 1
        assert len(console.thumbnails["n"]) == 1


FRAMES = 180
SCROLL = f"""async () => {{
    for (let n = 0; n < {FRAMES}; n += 1) {{
        scrollTo(0, 10 * (n % 90));
        await new Promise(requestAnimationFrame);
    }}
    return scrollY;
}}"""


async def scrolling_s(operator: Browser, cards: int) -> float:
    """Processor time of the page's thread while it scrolls by some rows."""
    pictures = [await jpeg(operator, colour, 320, 180) for colour in ("#112233", "#665544")]
    async with watching(operator, FakeConsole(rows=fleet(cards), frames={"": pictures})) as (page, _):
        await expect(page.locator(".card")).to_have_count(cards)
        await page.locator(".card .drawn").first.wait_for()
        cdp = await page.context.new_cdp_session(page)
        await cdp.send("Performance.enable", {"timeDomain": "threadTicks"})

        async def busy() -> float:
            metrics = (await cdp.send("Performance.getMetrics"))["metrics"]
            return float(next(m["value"] for m in metrics if m["name"] == "TaskDuration"))

        before = await busy()
        assert await page.evaluate(SCROLL) == 890, "there are rows enough"
        return await busy() - before


@pytest.mark.slow
async def test_200_cards_scroll_as_smoothly_as_40(operator: Browser) -> None:
    """Five times as long, if all the work of a frame was done for every card."""
    few, many = await scrolling_s(operator, 40), await scrolling_s(operator, 200)
    assert many < 3.5 * few, f"{1000 * many / FRAMES:.1f} ms a frame, {1000 * few / FRAMES:.1f} with 40 cards"


# --- sign-in and errors


async def test_sign_in_leads_back_to_the_requested_view(operator: Browser) -> None:
    console = FakeConsole(rows=fleet(1))
    async with watching(operator, console) as (page, base_url):
        console.signed_in = False
        await page.goto(f"{base_url}/?view=table")
        await page.get_by_role("heading", name="Sign in").wait_for()
        await expect(page.locator("input[name=api_key]")).to_have_js_property("spellcheck", value=False)
        await page.locator("input[name=api_key]").fill("wrong")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("Unknown API key")
        await page.locator("input[name=api_key]").fill(KEY)
        await page.keyboard.press("Enter")
        await expect(page.locator("table")).to_be_visible()
        await page.get_by_role("button", name="Sign out").click()
        await page.get_by_role("button", name="User and password").click()
        await page.get_by_label("User", exact=True).fill("olga")
        await page.get_by_label("Password").fill(KEY)
        await page.get_by_role("button", name="Sign in", exact=True).click()
        await expect(page.locator(".card")).to_have_count(1)


async def test_sign_in_leads_to_no_other_site(operator: Browser) -> None:
    async with watching(operator, FakeConsole(rows=fleet(1))) as (page, base_url):
        for next_ in ("//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"):
            await page.goto(f"{base_url}/sign-in?next={next_}")
            await page.locator("input[name=api_key]").fill(KEY)
            await page.keyboard.press("Enter")
            await expect(page.locator(".card")).to_have_count(1)
            assert page.url == f"{base_url}/"


async def test_an_unreachable_server_is_retried_until_it_responds(operator: Browser) -> None:
    console = FakeConsole(rows=fleet(1), down=True)
    async with watching(operator, console) as (page, _):
        await expect(page.get_by_role("heading", name="The server reported an error")).to_be_visible()
        console.down = False
        await expect(page.locator(".card")).to_have_count(1, timeout=9000)


# --- accessibility and layout


async def test_every_control_has_a_name_and_a_focus_ring(operator: Browser) -> None:
    rows = {"s1": row("s1"), "d1": row("d1", status="closed", ended_at=stamp(-5))}
    console = FakeConsole(rows=rows, frames={"": [await jpeg(operator, "#336699")]})
    async with watching(operator, console) as (page, base_url):
        for path in ("/", "/?view=table", "/sessions/s1", "/sessions/d1", "/sign-in"):
            await page.goto(base_url + path)
            await page.locator(".card:not(.ghost), table, .panels, .signin").first.wait_for()
            if path == "/sessions/s1":
                await page.get_by_role("button", name="Take control").click()
                await page.locator(".stage.mine").wait_for()
            cdp = await page.context.new_cdp_session(page)
            await cdp.send("Accessibility.enable")
            nodes = (await cdp.send("Accessibility.getFullAXTree"))["nodes"]
            await cdp.detach()
            roles = {"button", "link", "textbox", "searchbox", "checkbox", "combobox", "tab", "dialog", "image"}
            named = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n.get("ignored")]
            controls = [(role, name) for role, name in named if role in roles]
            assert controls, path
            assert [role for role, name in controls if not name.strip()] == [], path
            bare = await page.evaluate(
                """() => [...document.querySelectorAll("a, button, input, select")].filter((control) => {
                    if (control.disabled) return false;
                    control.focus({ focusVisible: true });
                    return document.activeElement === control && getComputedStyle(control).outlineStyle === "none";
                }).map((control) => control.outerHTML.slice(0, 120))"""
            )
            assert bare == [], path


async def test_the_theme_follows_the_system_until_one_is_chosen_and_reduced_motion_too(operator: Browser) -> None:
    async with watching(operator, FakeConsole(rows=fleet(1))) as (page, _):
        await page.emulate_media(color_scheme="dark")
        ground = "() => getComputedStyle(document.documentElement).backgroundColor"
        dark = await page.evaluate(ground)
        await page.get_by_role("button", name="Theme: auto").click()
        light = await page.evaluate(ground)
        assert light != dark
        await page.reload()
        assert await page.evaluate(ground) == light
        await page.get_by_role("button", name="Theme: light").click()
        assert await page.evaluate(ground) == dark
        await page.get_by_role("button", name="Theme: dark").click()
        await expect(page.get_by_role("button", name="Theme: auto")).to_be_visible()
        await page.emulate_media(reduced_motion="reduce")
        await page.locator(".card:not(.ghost)").wait_for()
        moving = "() => [...document.querySelectorAll('*')].map((e) => getComputedStyle(e).transitionDuration)"
        assert set(await page.evaluate(moving)) == {"0s"}


@pytest.mark.slow
async def test_a_phone_scrolls_in_one_direction_only(operator: Browser) -> None:
    console = FakeConsole(rows={"s1": row("s1", title="A title that is much longer than a phone is wide " * 3)})
    async with watching(operator, console, viewport={"width": 390, "height": 844}, has_touch=True) as (page, base_url):
        for path, ready in (
            ("/", ".card:not(.ghost)"), ("/?view=table", "table"), ("/sessions/s1", ".panels"), ("/sign-in", ".signin"),
        ):  # fmt: skip
            await page.goto(base_url + path)
            await page.locator(ready).wait_for()
            assert await page.evaluate("document.documentElement.scrollWidth") <= 390, path


async def test_arrow_keys_move_by_columns_and_selecting_does_not_move_the_layout(operator: Browser) -> None:
    async with watching(operator, FakeConsole(rows=fleet(12)), viewport={"width": 1280, "height": 800}) as (page, _):
        await page.locator(".card:not(.ghost)").first.wait_for()
        tops = await page.locator(".card").evaluate_all("cards => cards.map((c) => c.getBoundingClientRect().top)")
        columns = tops.count(tops[0])
        assert columns > 1
        for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
            await page.keyboard.press(key)
        index = "() => [...document.querySelectorAll('.card .open')].indexOf(document.activeElement)"
        assert await page.evaluate(index) == columns + 1
        boxes = """() => [...document.querySelectorAll(".card, .tools > *")]
            .map((element) => JSON.stringify(element.getBoundingClientRect()))"""
        before = await page.evaluate(boxes)
        for n in range(3):
            await page.get_by_role("checkbox").nth(n).check(force=True)
        await expect(page.get_by_label("Selected sessions")).to_contain_text("3 selected")
        assert await page.evaluate(boxes) == before


async def test_changing_numbers_do_not_move_the_layout(operator: Browser) -> None:
    console = FakeConsole(rows=fleet(3, expires_at=stamp(62)))
    async with watching(operator, console) as (page, _):
        await page.locator(".card:not(.ghost)").first.wait_for()
        boxes = """() => [...document.querySelectorAll(".card, .tools > *")]
            .map((element) => JSON.stringify(element.getBoundingClientRect()))"""
        before = await page.evaluate(boxes)
        text = await page.locator(".card .facts").first.inner_text()
        await page.wait_for_function("t => document.querySelector('.card .facts').innerText !== t", arg=text)
        console.emit("session.updated", next(iter(console.rows)), memory_bytes=1_234_000_000, connections=12)
        await expect(page.locator(".card .facts").first).to_contain_text("1.2 GB")
        assert await page.evaluate(boxes) == before
