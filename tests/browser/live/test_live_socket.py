"""The live view of the real service with a real browser: frames, authorization and input."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from browser_sessions.chromium.input import file_choosers
from browser_sessions.events.journal import Event
from browser_sessions.live.viewer import MESSAGES_PER_S
from tests.harness.clients.live_client import LiveClient, Message, watching
from tests.harness.clients.raw_cdp import raw
from tests.harness.pixels import PixelReader
from tests.harness.service import ADMIN_KEY, Running
from tests.harness.sites.client_site import client_site
from tests.harness.sites.plain_site import Site
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

SESSIONS = "/v1/browser/sessions"
FORM = """<body style='margin:0;font:20px sans-serif'>
<button style='position:absolute;left:100px;top:100px;width:200px;height:50px' onclick='document.title="clicked"'>Go
</button>
<input id=i style='position:absolute;left:100px;top:200px;width:300px;height:40px'>
<div style='height:5000px'></div>"""
MOVING = """<body style='margin:0'><script>let n = 0;
const paint = () => {n = (n + 1) & 255; document.body.style.background = `rgb(0,${n},0)`; requestAnimationFrame(paint)};
paint()</script>"""
MOVING_SLOWLY = MOVING.replace("requestAnimationFrame(paint)", "setTimeout(paint, 100)")


def live_url(service: Running, session_id: str, query: str = "") -> str:
    return f"{service.url.replace('http', 'ws')}{SESSIONS}/{session_id}/live{query}"


def keyed(key: str = ADMIN_KEY) -> dict[str, str]:
    return {"X-API-Key": key}


async def show(service: Running, session_id: str, html: str, page_id: str | None = None) -> None:
    page_id = page_id or await service.first_page(session_id)
    path = f"{SESSIONS}/{session_id}/pages/{page_id}/navigate"
    response = await service.http.post(
        path, json={"url": "data:text/html," + html.replace("%", "%25").replace("\n", " ")}
    )
    assert response.status_code == 200, response.text


async def control(client: httpx.AsyncClient, session_id: str, action: str) -> httpx.Response:
    return await client.post(f"{SESSIONS}/{session_id}/control", json={"action": action})


async def pixel_reader(service: Running) -> PixelReader:
    watcher = (await service.create(metadata={"pixels": "yes"}))["session_id"]
    page_id = await service.first_page(watcher)
    return PixelReader(lambda script: service.evaluate(watcher, script, page_id))


async def seen(viewer: LiveClient, pixels: PixelReader, colour: tuple[int, int, int]) -> None:
    async def matches() -> bool:
        return bool(viewer.frames) and await pixels.matches(viewer.frames[-1].jpeg, colour)

    await until(matches, what=f"{colour} is shown")


Evaluate = Callable[[str], Awaitable[Any]]


DRAWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""Chromium drops input for a page that has not been drawn yet."""


async def ready(service: Running, html: str = FORM, **options: Any) -> tuple[str, Evaluate]:
    session_id = (await service.create(**options))["session_id"]
    page_id = await service.first_page(session_id)
    await show(service, session_id, html, page_id)
    await service.evaluate(session_id, DRAWN, page_id)
    return session_id, lambda script: service.evaluate(session_id, script, page_id)


# -- frames ------------------------------------------------------------------------------------------------------------


async def test_a_viewer_gets_a_hello_and_frames_of_page_changes(service: Running) -> None:
    session_id, evaluate = await ready(service, "<title>Red</title><body style='margin:0;background:rgb(220,0,0)'>")
    pixels = await pixel_reader(service)
    async with watching(live_url(service, session_id, "?max_width=640"), keyed()) as viewer:
        hello = await viewer.message("hello")
        assert hello["can_control"] is True
        assert hello["controlled_by"] is None
        assert hello["viewers"] == 1
        pages = await viewer.message("pages")
        assert [page["title"] for page in pages["pages"]] == ["Red"]
        assert pages["page_id"] == hello["page_id"] == await service.first_page(session_id)
        assert (await viewer.message("url"))["title"] == "Red"
        await seen(viewer, pixels, (220, 0, 0))
        header = viewer.frames[-1].header
        assert (header["width"], header["css_width"], header["css_height"]) == (640, 1280, 720)
        await evaluate("document.body.style.background = 'rgb(0,0,220)'")
        await seen(viewer, pixels, (0, 0, 220))


async def test_watching_does_not_postpone_the_idle_timeout(service: Running) -> None:
    session_id, _ = await ready(service, MOVING_SLOWLY, idle_timeout_seconds=2)
    async with watching(live_url(service, session_id), keyed()) as viewer:
        await viewer.frame()
        code, reason = await viewer.end()
    assert code == 4000
    assert "idle" in reason

    async def expired() -> bool:
        return bool((await service.get(session_id))["status"] == "expired")

    await until(expired, what="the session has expired")


@pytest.mark.parametrize(
    ("end", "code"),
    [("delete", 1000), pytest.param("operator", 4001, marks=pytest.mark.slow), ("kill", 1011)],
)
async def test_the_close_code_states_the_end_reason(service: Running, end: str, code: int) -> None:
    key = await service.key("client")
    async with service.caller(key) as owner:
        session_id = (await owner.post(SESSIONS, json={})).json()["session_id"]
        async with watching(live_url(service, session_id), keyed(key)) as viewer:
            await viewer.frame()
            if end == "delete":
                await owner.delete(f"{SESSIONS}/{session_id}")
            elif end == "operator":
                await service.http.delete(f"{SESSIONS}/{session_id}")
            else:
                os.kill(service.inside.pool.registry.live(session_id).opened.process.pid, signal.SIGKILL)
            assert (await viewer.end())[0] == code


async def test_viewers_share_one_screencast_and_a_stalled_one_does_not_delay_others(service: Running) -> None:
    session_id, _ = await ready(service, MOVING)
    async with (
        watching(live_url(service, session_id, "?max_width=320"), keyed()) as stalled,
        watching(live_url(service, session_id, "?max_width=320"), keyed()) as healthy,
    ):
        stalled.stalled = True
        await stalled.frame()
        assert (await healthy.message("hello"))["viewers"] == 2
        await healthy.frame()
        count = len(healthy.frames)
        await healthy.until(lambda: healthy.frames[-1].header["seq"] > count + 30, what="thirty more frames")
        assert len(stalled.frames) < 15
        handle = service.inside.pool.context(session_id)
        page_id = handle.pages()[0].page_id
        assert handle.screen(page_id) is handle.screen(page_id)


async def test_a_viewer_can_switch_pages_and_moves_to_the_newest_when_its_page_closes(service: Running) -> None:
    session_id, _ = await ready(service, "<title>One</title><body style='margin:0;background:rgb(220,0,0)'>")
    pixels = await pixel_reader(service)
    first = await service.first_page(session_id)
    second = (await service.http.post(f"{SESSIONS}/{session_id}/pages", json={})).json()["page_id"]
    await show(service, session_id, "<title>Two</title><body style='margin:0;background:rgb(0,0,220)'>", second)
    async with watching(live_url(service, session_id), keyed()) as viewer:
        assert (await viewer.message("hello"))["page_id"] == second
        await seen(viewer, pixels, (0, 0, 220))
        await viewer.send("view", page_id=first, max_width=640, max_fps=10)
        await seen(viewer, pixels, (220, 0, 0))
        await viewer.message("pages", lambda message: message["page_id"] == first)
        await service.http.delete(f"{SESSIONS}/{session_id}/pages/{first}")
        await viewer.message("pages", lambda message: [page["page_id"] for page in message["pages"]] == [second])
        await seen(viewer, pixels, (0, 0, 220))
        await viewer.send("view", page_id="0" * 32)
        assert "page" in (await viewer.message("problem"))["detail"]


async def test_responses_are_reported_only_while_a_viewer_is_connected(service: Running, site: Site) -> None:
    session_id, _ = await ready(service)
    page_id = await service.first_page(session_id)
    journal = service.inside.pool.journal
    url = f"{site.url}/"

    async def visit() -> bool:
        path = f"{SESSIONS}/{session_id}/pages/{page_id}/navigate"
        assert (await service.http.post(path, json={"url": url})).status_code == 200
        return any(event.kind == "network.response" for event in journal.of(session_id))

    assert not await visit()
    async with watching(live_url(service, session_id), keyed()) as viewer:
        await viewer.frame()
        await until(visit, what="a response is reported")
    [response] = [event for event in journal.of(session_id) if event.kind == "network.response"][:1]
    assert response.data["url"] == url
    assert response.data["method"] == "GET"
    assert response.data["status"] == 200
    assert response.data["type"] == "document"
    assert response.data["ms"] > 0
    assert response.data["size"] > 0


async def test_every_request_is_reported_while_a_viewer_is_connected(service: Running) -> None:
    session_id, _ = await ready(service)
    page_id = await service.first_page(session_id)
    journal = service.inside.pool.journal

    def reported(kind: str, **data: Any) -> bool:
        events = [event.data for event in journal.of(session_id) if event.kind == kind]
        return any(data.items() <= event.items() for event in events)

    async with watching(live_url(service, session_id), keyed()) as viewer:
        with client_site() as site, socket.create_server(("127.0.0.1", 0)) as silent:
            await viewer.frame()
            path = f"{SESSIONS}/{session_id}/pages/{page_id}/navigate"
            assert (await service.http.post(path, json={"url": f"{site.url}/fetch"})).status_code == 200
            never = f"http://127.0.0.1:{silent.getsockname()[1]}/"
            script = f"""Promise.all([fetch("/data"), fetch("/data", {{method: "POST"}})]).then(async (all) => {{
                await Promise.all(all.map((each) => each.text()));
                const stop = new AbortController();
                setTimeout(() => stop.abort(), 100);
                await fetch("{never}", {{mode: "no-cors", signal: stop.signal}}).catch(() => {{}});
            }})"""

            async def all_reported() -> bool:
                await service.evaluate(session_id, script, page_id)
                return (
                    reported("network.response", url=f"{site.url}/data", method="GET", status=200, type="fetch")
                    and reported("network.response", url=f"{site.url}/data", method="POST", status=501)
                    and reported("network.failed", url=never, method="GET", error="canceled")
                )

            await until(all_reported, what="all three are reported", every=0.2)
    responses = [event.data for event in journal.of(session_id) if event.kind == "network.response"]
    assert all(each["ms"] > 0 and each["size"] > 0 for each in responses)


# -- authorization -----------------------------------------------------------------------------------------------------


async def refused(url: str, headers: dict[str, str], **options: Any) -> tuple[int, dict[str, Any]]:
    with pytest.raises(InvalidStatus) as refusal:
        async with connect(url, additional_headers=headers, proxy=None, **options):
            pass
    response = refusal.value.response
    body: dict[str, Any] = json.loads(response.body or b"{}")
    return response.status_code, body


async def test_unauthorized_viewers_are_refused_before_the_upgrade(service: Running) -> None:
    session_id, _ = await ready(service)
    url = live_url(service, session_id)
    client = keyed(await service.key("client"))
    cookie = {"Cookie": await cookie_of(service)}
    for headers, origin, status in (
        ({}, None, 401),
        (keyed("wrong"), None, 401),
        (client, None, 404),
        (keyed(), "http://evil.example", 403),
        (keyed(), "null", 403),
        (cookie, "http://evil.example", 403),
        (cookie, None, 403),
    ):
        found, body = await refused(url, headers, origin=origin)
        assert found == status, (headers, origin, body)
        assert body["detail"]
    here = urlsplit(url)
    foreign = here._replace(netloc="evil.example").geturl()
    assert (await refused(foreign, keyed(), host=here.hostname, port=here.port))[0] == 421
    unknown, body = await refused(live_url(service, "ses_" + "0" * 32), client)
    assert unknown == 404
    assert (await refused(live_url(service, session_id, "?page_id=none"), keyed()))[0] == 404
    assert (await refused(live_url(service, session_id, "?max_width=wide"), keyed()))[0] == 422
    await service.http.delete(f"{SESSIONS}/{session_id}")
    assert (await refused(url, keyed()))[0] == 409


async def cookie_of(service: Running) -> str:
    response = await service.http.post("/v1/auth/session", json={"api_key": ADMIN_KEY})
    service.http.cookies.clear()
    return response.headers["set-cookie"].partition(";")[0]


async def test_viewers_authenticate_by_ticket_or_by_cookie_from_our_origin(service: Running) -> None:
    session_id, _ = await ready(service)
    ticket_url = (await service.http.post(f"{SESSIONS}/{session_id}/live-ticket")).json()["live_url"]
    async with watching(ticket_url) as viewer:
        await viewer.frame()
    cookie = {"Cookie": await cookie_of(service)}
    async with watching(live_url(service, session_id), cookie, origin=service.url) as viewer:
        await viewer.frame()
    connect_url = (await service.details(session_id))["connect_url"]
    cdp_ticket = connect_url.partition("ticket=")[2]
    assert (await refused(live_url(service, session_id, f"?ticket={cdp_ticket}"), {}))[0] == 401
    other = (await service.create())["session_id"]
    live_ticket = ticket_url.partition("ticket=")[2]
    assert (await refused(live_url(service, other, f"?ticket={live_ticket}"), {}))[0] == 401


async def test_an_owner_can_watch_and_control_its_session(service: Running) -> None:
    key = await service.key("client")
    async with service.caller(key) as owner:
        session_id = (await owner.post(SESSIONS, json={})).json()["session_id"]
        async with watching(live_url(service, session_id), keyed(key)) as viewer:
            assert (await viewer.message("hello"))["can_control"] is True
            assert (await control(owner, session_id, "take")).json()["controlled_by"]
            await viewer.message("control", lambda message: message["yours"])
            async with service.caller(await service.key("operator")) as operator:
                assert (await control(operator, session_id, "take")).status_code == 409
            assert (await control(service.http, session_id, "take")).status_code == 200, "an admin takes over"
            await viewer.message("control", lambda message: not message["yours"])


# -- input -------------------------------------------------------------------------------------------------------------


async def click(viewer: LiveClient, x: float, y: float) -> None:
    await viewer.send("mouse", action="move", x=x, y=y, button="none", buttons=0)
    await viewer.send("mouse", action="down", x=x, y=y, button="left", buttons=1, click_count=1)
    await viewer.send("mouse", action="up", x=x, y=y, button="left", buttons=0, click_count=1)


async def type_text(viewer: LiveClient, text: str) -> None:
    for character in text:
        code = f"Key{character.upper()}" if character.isalpha() else ""
        await viewer.send("key", action="down", key=character, code=code, text=character)
        await viewer.send("key", action="up", key=character, code=code)


async def test_input_without_control_is_ignored(service: Running) -> None:
    session_id, evaluate = await ready(service)
    before = (await service.get(session_id))["last_activity"]
    async with watching(live_url(service, session_id), keyed()) as viewer:
        await viewer.frame()
        await click(viewer, 200, 125)
        assert "Take control first" in (await viewer.message("problem"))["detail"]
    assert (await service.get(session_id))["last_activity"] == before
    assert await evaluate("document.title") == ""


@pytest.mark.parametrize("scale", [1, pytest.param(2, marks=pytest.mark.slow)])
async def test_a_viewer_can_click_type_paste_and_scroll(service: Running, scale: int) -> None:
    options: dict[str, Any] = {} if scale == 1 else {"device": "Desktop Chrome HiDPI"}
    session_id, evaluate = await ready(service, **options)
    async with watching(live_url(service, session_id, "?max_width=500"), keyed()) as viewer:
        await viewer.frame()
        assert (await control(service.http, session_id, "take")).status_code == 200
        await viewer.message("control", lambda message: message["yours"])
        before = (await service.get(session_id))["last_activity"]
        await click(viewer, 200, 125)
        await until(lambda: is_title(evaluate, "clicked"), what="the button was clicked")
        await click(viewer, 200, 220)
        await type_text(viewer, "Hi you")
        await viewer.send("key", action="down", key="Backspace", code="Backspace")
        await viewer.send("key", action="up", key="Backspace", code="Backspace")
        await viewer.send("text", text=" ü日")
        await until(lambda: has_value(evaluate, "Hi yo ü日"), what="the text is typed")
        await viewer.send("wheel", x=600, y=400, dx=0, dy=300)
        await until(lambda: scrolled(evaluate), what="the page has scrolled")
        assert (await service.get(session_id))["last_activity"] > before


async def test_clicks_and_touches_on_a_zoomed_out_phone_page_hit_the_right_point(service: Running) -> None:
    html = """<body style='margin:0'><div style='width:1600px;height:2800px'></div><script>
    for (const kind of ['touchstart', 'click']) addEventListener(kind, event => {
        const {clientX, clientY} = event.touches ? event.touches[0] : event;
        document.title += `${kind} ${Math.round(clientX)},${Math.round(clientY)};`;
    });</script>"""
    session_id, evaluate = await ready(service, html, device="Pixel 7")
    async with watching(live_url(service, session_id), keyed()) as viewer:
        header = (await viewer.frame()).header
        assert header["scale"] < 1
        assert header["css_width"] == pytest.approx(await evaluate("innerWidth"), abs=2)
        assert header["css_width"] > 1000
        assert header["css_height"] == pytest.approx(await evaluate("innerHeight"), abs=2)
        await control(service.http, session_id, "take")
        await viewer.message("control", lambda message: message["yours"])
        await click(viewer, 900, 1200)
        await until(lambda: is_title(evaluate, "click 900,1200;"), what="the click is at the right point")
        await viewer.send("touch", action="start", points=[{"x": 800, "y": 300, "id": 7}])
        await viewer.send("touch", action="end", points=[])
        wanted = "click 900,1200;touchstart 800,300;click 800,300;"
        await until(lambda: is_title(evaluate, wanted), what="the tap is at the right point")


async def is_title(evaluate: Evaluate, title: str) -> bool:
    return bool(await evaluate("document.title") == title)


async def has_value(evaluate: Evaluate, value: str) -> bool:
    return bool(await evaluate("document.getElementById('i').value") == value)


async def scrolled(evaluate: Evaluate) -> bool:
    return bool(await evaluate("scrollY") > 100)


async def test_a_viewer_can_navigate_and_open_and_close_pages(service: Running) -> None:
    session_id, _ = await ready(service, "<title>One</title>")
    async with watching(live_url(service, session_id), keyed()) as viewer:
        await viewer.frame()
        await control(service.http, session_id, "take")
        await viewer.message("control", lambda message: message["yours"])
        await viewer.send("navigate", url="file:///etc/passwd")
        assert "http" in (await viewer.message("problem"))["detail"]
        viewer.messages.clear()
        with client_site() as site:
            await viewer.send("navigate", url=f"{site.url}/report.txt")
            assert (await viewer.message("download"))["url"] == f"{site.url}/report.txt"
        assert not [message for message in viewer.messages if message["type"] == "problem"]
        await viewer.send("navigate", url="data:text/html,<title>Two</title>")
        await viewer.message("url", lambda message: message["title"] == "Two")
        viewer.messages.clear()
        await viewer.send("go", delta=-1)
        await viewer.message("url", lambda message: message["title"] == "One")
        await viewer.send("go", delta=1)
        await viewer.message("url", lambda message: message["title"] == "Two")
        await viewer.send("reload")
        await viewer.send("new_page")

        def shows_the_second(message: Message) -> bool:
            return len(message["pages"]) == 2 and message["page_id"] == message["pages"][1]["page_id"]

        second = (await viewer.message("pages", shows_the_second))["page_id"]
        await viewer.send("close_page", page_id=second)
        viewer.messages.clear()
        await viewer.message("pages", lambda message: len(message["pages"]) == 1)


async def test_a_page_that_the_holders_input_opens_is_shown_to_them_alone(service: Running) -> None:
    link = "<a style='position:absolute;inset:0' target=_blank href='about:blank'>Open</a>"
    session_id, _ = await ready(service, link)
    first = await service.first_page(session_id)
    operator = keyed(await service.key("operator"))
    async with (
        watching(live_url(service, session_id), keyed()) as viewer,
        watching(live_url(service, session_id), operator) as watcher,
    ):
        await viewer.frame()
        await control(service.http, session_id, "take")
        await viewer.message("control", lambda message: message["yours"])
        await viewer.send("mouse", action="down", x=9, y=9, button="left", buttons=1, click_count=1, modifiers=2)
        await viewer.send("mouse", action="up", x=9, y=9, button="left", buttons=0, click_count=1, modifiers=2)
        behind = await viewer.message("pages", lambda message: len(message["pages"]) == 2)
        assert behind["page_id"] == first, "a link clicked with Ctrl opens behind the page"
        await click(viewer, 9, 9)
        shown = await viewer.message("pages", lambda message: len(message["pages"]) == 3)
        assert shown["page_id"] == shown["pages"][2]["page_id"]
        stays = await watcher.message("pages", lambda message: len(message["pages"]) == 3)
        assert stays["page_id"] == first


CONTROLS = """<body style='margin:0'><p style='margin:0'>Some words</p><select id=s
style='position:absolute;left:100px;top:100px;width:200px;height:40px' onchange='document.title = this.value'>
<option>one<option>two<optgroup label=More><option disabled>three<option>four</optgroup></select>
<input id=d type=date style='position:absolute;left:100px;top:200px;width:200px;height:40px'>
<iframe style='position:absolute;left:400px;top:300px;border:10px solid' srcdoc='<select><option>in a frame</select>'>
</iframe>"""


async def test_what_no_frame_shows_is_sent_pop_ups_of_form_controls_and_the_selection(service: Running) -> None:
    session_id, evaluate = await ready(service, CONTROLS)
    async with watching(live_url(service, session_id), keyed()) as viewer:
        await viewer.frame()
        await control(service.http, session_id, "take")
        await viewer.message("control", lambda message: message["yours"])
        await click(viewer, 200, 120)
        picker = await viewer.message("picker")
        assert (picker["element"], picker["selected"]) == ("select", 0)
        assert (picker["x"], picker["y"], picker["width"], picker["height"]) == (100, 100, 200, 40)
        assert [option["label"] for option in picker["options"]] == ["one", "two", "three", "four"]
        assert picker["options"][2] == {"label": "three", "group": "More", "disabled": True}
        await viewer.send("choose", choice=3)
        await until(lambda: is_title(evaluate, "four"), what="the option is chosen")
        assert await evaluate("document.querySelector('select:open')") is None
        await click(viewer, 290, 220)
        await viewer.message("picker", lambda message: message["element"] == "date")
        await viewer.send("choose", choice="2031-05-04")
        await until(lambda: is_value(evaluate, "d", "2031-05-04"), what="the date is chosen")
        await click(viewer, 430, 325)
        inner = await viewer.message("picker", lambda message: "in a frame" in str(message))
        assert (inner["x"], inner["y"]) == (pytest.approx(418, abs=2), pytest.approx(318, abs=2))
        await viewer.send("choose")
        await evaluate("getSelection().selectAllChildren(document.querySelector('p'))")
        await viewer.send("copy")
        assert (await viewer.message("copied"))["text"] == "Some words"


FILE_INPUTS = """<body style='margin:0'><script>onchange = event => {
document.title = [...event.target.files].map(file => file.webkitRelativePath || file.name).sort().join() }</script>
<input id=i type=file multiple accept='.txt, image/*'
style='position:absolute;left:100px;top:100px;width:200px;height:40px'>
<input type=file webkitdirectory style='position:absolute;left:100px;top:200px;width:200px;height:40px'>"""


async def test_a_file_chooser_is_sent_to_who_has_control_and_takes_uploads(service: Running) -> None:
    session_id, evaluate = await ready(service, FILE_INPUTS)
    uploaded = {}
    for name in ("a.txt", "b.txt", "docs/c.txt", "docs/d.txt"):
        path = f"/v1/browser/sessions/{session_id}/uploads"
        response = await service.http.post(path, params={"name": name}, content=b"x")
        uploaded[name] = response.json()["upload_id"]
    async with watching(live_url(service, session_id), keyed()) as viewer:
        await viewer.frame()
        await control(service.http, session_id, "take")
        await viewer.message("control", lambda message: message["yours"])
        await click(viewer, 150, 120)
        asked = await viewer.message("file_chooser")
        page_id = await service.first_page(session_id)
        facts = {"page_id": page_id, "multiple": True, "directory": False, "accept": ".txt, image/*"}
        assert asked == {"type": "file_chooser", **facts}
        await viewer.send("choose_files", upload_ids=["/etc/passwd"])
        await viewer.message("problem", lambda message: "upload_ids" in message["detail"])
        await viewer.send("choose_files", upload_ids=[uploaded["b.txt"], uploaded["a.txt"]])
        await until(lambda: is_title(evaluate, "a.txt,b.txt"), what="the input has the files")
        assert await viewer.message("file_chooser_closed") == {"type": "file_chooser_closed", "page_id": page_id}
        viewer.messages.clear()
        await click(viewer, 150, 120)
        await viewer.message("file_chooser")

        async def folder_refused() -> bool:  # at most one problem a second is sent
            await viewer.send("choose_files", upload_ids=[uploaded["docs/c.txt"]])
            return any("does not take a folder" in each.get("detail", "") for each in viewer.messages)

        await until(folder_refused, every=0.2, what="the folder is refused")
        await click(viewer, 150, 220)
        await viewer.message("file_chooser", lambda message: message["directory"])
        await viewer.send("choose_files", upload_ids=[uploaded["docs/c.txt"], uploaded["docs/d.txt"]])
        await until(lambda: is_title(evaluate, "docs/c.txt,docs/d.txt"), what="the input has the folder")
        await viewer.message("file_chooser_closed")
        viewer.messages.clear()
        await click(viewer, 150, 120)
        await viewer.message("file_chooser")
        await viewer.send("reload")
        await viewer.message("file_chooser_closed")


async def test_a_file_chooser_of_a_page_that_is_busy_is_sent_without_what_the_page_knows(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_choosers, "READ_SECONDS", 0.0)
    session_id, _ = await ready(service, FILE_INPUTS)
    async with watching(live_url(service, session_id), keyed()) as viewer:
        await viewer.frame()
        await control(service.http, session_id, "take")
        await viewer.message("control", lambda message: message["yours"])
        await click(viewer, 150, 120)
        asked = await viewer.message("file_chooser")
        assert (asked["multiple"], asked["directory"], asked["accept"]) == (True, False, "")


async def is_value(evaluate: Evaluate, element: str, value: str) -> bool:
    return bool(await evaluate(f"{element}.value") == value)


async def test_an_address_that_cannot_be_loaded_is_named_and_not_the_error_page(service: Running) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"https://127.0.0.1:{closed.getsockname()[1]}/gone"
    session_id, evaluate = await ready(service, f"<a href='{url}'>Go</a>")
    async with watching(live_url(service, session_id), keyed()) as viewer:
        await viewer.frame()
        await evaluate("setTimeout(() => document.querySelector('a').click())")
        failed = await viewer.message("pages", lambda message: message["pages"][0]["failed"])
        assert failed["pages"][0]["url"] == url
        await viewer.message("url", lambda message: message["url"] == url)
    failures = [event.data for event in service.inside.pool.journal.of(session_id) if event.kind == "network.failed"]
    assert [(each["url"], each["error"]) for each in failures] == [(url, "net::ERR_TUNNEL_CONNECTION_FAILED")]


async def test_the_reason_of_a_failed_page_is_kept_with_it_whoever_saw_it_fail(service: Running) -> None:
    unsafe = "http://127.0.0.1:9/"
    link = f"<a style='position:absolute;inset:0' target=_blank href='{unsafe}'>Open</a>"
    created = await service.create()
    session_id = created["session_id"]
    first = await service.first_page(session_id)
    path = f"{SESSIONS}/{session_id}/pages/{first}/navigate"
    names = {"url": "https://nowhere.example/", "error": "net::ERR_TUNNEL_CONNECTION_FAILED"}
    refused_port = {"url": "https://127.0.0.1:4/", "error": "net::ERR_TUNNEL_CONNECTION_FAILED"}
    journal = service.inside.pool.journal

    def not_loaded() -> list[dict[str, Any]]:
        loads = (event.data for event in journal.of(session_id) if event.kind == "page.navigated")
        return [{"url": data["url"], "error": data["error"]} for data in loads if "error" in data]

    async with raw(created["connect_url"]) as client:
        attached = await client.call("Target.attachToTarget", {"targetId": first, "flatten": True})
        await client.call("Page.navigate", {"url": refused_port["url"]}, attached["sessionId"])
        await until(lambda: not_loaded() == [refused_port], what="the events say that a client's navigation failed")
    assert (await service.http.post(path, json={"url": names["url"]})).status_code == 409
    await until(lambda: not_loaded() == [refused_port, names], what="the events say that ours failed")
    async with watching(live_url(service, session_id), keyed()) as viewer:
        shown = (await viewer.message("pages"))["pages"][0]
        assert names.items() <= shown.items()
        await show(service, session_id, link, first)
        await viewer.message("pages", lambda message: message["pages"][0]["error"] is None)
        await control(service.http, session_id, "take")
        await viewer.message("control", lambda message: message["yours"])
        await click(viewer, 9, 9)
        failed = {"url": unsafe, "error": "net::ERR_UNSAFE_PORT"}
        await viewer.message(
            "pages", lambda message: message["pages"][1:] and failed.items() <= message["pages"][1].items()
        )
        await until(lambda: not_loaded()[2:] == [failed], what="the events say why")
        await viewer.send("navigate", url=names["url"])
        await viewer.message("problem", lambda message: "nowhere.example could not be resolved" in message["detail"])


async def test_a_dialog_waits_for_the_holder_of_the_control_lock(service: Running) -> None:
    session_id, evaluate = await ready(service)
    async with watching(live_url(service, session_id), keyed()) as viewer:
        await viewer.frame()
        await control(service.http, session_id, "take")
        await viewer.message("control", lambda message: message["yours"])
        await evaluate("setTimeout(() => {document.title = 'name: ' + prompt('your name?')})")
        journal = service.inside.pool.journal
        await until(
            lambda: any(e.kind == "dialog.opened" for e in journal.of(session_id)), what="the dialog is reported"
        )
        await viewer.send("dialog", accept=True, text="Ann")
        await until(lambda: is_title(evaluate, "name: Ann"), what="the page got the text")
        closed = [event.data for event in journal.of(session_id) if event.kind == "dialog.closed"]
        assert closed == [{"page_id": await service.first_page(session_id), "accepted": True}]


async def test_input_for_a_page_that_does_not_take_it_is_at_most_a_notice(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A click opens a dialog, and keys are pressed behind it."""
    monkeypatch.setattr("browser_sessions.live.viewer_input.INPUT_TIMEOUT_S", 0.3)
    html = "<body style='margin:0'><input autofocus><button onclick='document.title = prompt()' "
    html += "style='position:absolute;left:100px;top:100px;width:200px;height:50px'>Ask</button>"
    session_id, evaluate = await ready(service, html)
    lock = service.inside.pool.registry.live(session_id).control
    async with watching(live_url(service, session_id), keyed()) as viewer:
        await viewer.frame()
        await control(service.http, session_id, "take")
        await viewer.message("control", lambda message: message["yours"])
        await click(viewer, 200, 125)
        await type_text(viewer, "ab")
        assert "did not respond" in (await viewer.message("problem"))["detail"]
        await viewer.send("ping")
        await viewer.message("pong")
        assert lock.held
        await viewer.send("dialog", accept=True, text="Ann")
        await until(lambda: is_title(evaluate, "Ann"), what="the page got the text")
        assert viewer.closed is None


async def test_a_dialog_without_a_holder_or_client_is_dismissed_and_reported_once(service: Running) -> None:
    session_id, evaluate = await ready(service)
    journal = service.inside.pool.journal
    for watched in (False, True):
        async with AsyncExitStack() as stack:
            if watched:
                viewer = await stack.enter_async_context(watching(live_url(service, session_id), keyed()))
                await viewer.frame()
            await evaluate("document.title = 'result ' + confirm('sure?')")
            assert await evaluate("document.title") == "result false"
            await until(lambda: balanced(journal.of(session_id)), what="its end is reported")
            assert dialogs(journal.of(session_id), "opened") == 1 + watched


async def test_a_dialog_outlasts_the_views_only_with_a_client_and_its_end_is_reported_once(service: Running) -> None:
    created = await service.create()
    session_id = created["session_id"]
    page_id = await service.first_page(session_id)
    journal = service.inside.pool.journal
    opening = "setTimeout(() => document.title = 'result ' + confirm('sure?'))"

    async def leaves_with_an_open_dialog(number: int) -> None:
        async with watching(live_url(service, session_id), keyed()) as viewer:
            await viewer.frame()
            await control(service.http, session_id, "take")
            await viewer.message("control", lambda message: message["yours"])
            await service.evaluate(session_id, opening, page_id)
            await until(lambda: dialogs(journal.of(session_id), "opened") == number, what="a dialog is open")

    await leaves_with_an_open_dialog(1)
    assert await service.evaluate(session_id, "document.title", page_id) == "result false"
    await until(lambda: balanced(journal.of(session_id)), what="its end is reported")
    async with raw(created["connect_url"]) as client:
        attached = await client.call("Target.attachToTarget", {"targetId": page_id, "flatten": True})
        await client.call("Page.enable", {}, attached["sessionId"])
        await leaves_with_an_open_dialog(2)
        await client.call("Page.handleJavaScriptDialog", {"accept": True}, attached["sessionId"])
        await until(lambda: balanced(journal.of(session_id)), what="its end is reported")
    ends = [event.data["accepted"] for event in journal.of(session_id) if event.kind == "dialog.closed"]
    assert ends == [False, True]


def balanced(events: list[Event]) -> bool:
    return dialogs(events, "opened") == dialogs(events, "closed") > 0


def dialogs(events: list[Event], what: str) -> int:
    return sum(event.kind == f"dialog.{what}" for event in events)


async def test_invalid_messages_are_reported_and_do_not_close_the_connection(service: Running) -> None:
    session_id, _ = await ready(service)
    async with watching(live_url(service, session_id), keyed()) as viewer:
        await viewer.frame()
        await control(service.http, session_id, "take")
        await viewer.message("control", lambda message: message["yours"])
        for text in ("nonsense", "[]", '{"type":"mouse","action":"move","x":"here"}', '{"type":"exec"}', '{"type":1}'):
            viewer.messages.clear()
            await viewer.socket.send(text)
            await viewer.message("problem")
            await asyncio.sleep(1.05)  # problems are reported at most once a second
        await viewer.socket.send(b"binary")
        await viewer.send("ack", seq="one")
        await viewer.send("view", max_width=True)
        await viewer.message("problem")
        assert viewer.closed is None
        await viewer.socket.send("x" * 600_000)
        assert (await viewer.end())[0] == 1009


async def test_control_is_released_when_the_holders_last_viewer_disconnects(service: Running) -> None:
    session_id, _ = await ready(service)
    lock = service.inside.pool.registry.live(session_id).control
    async with watching(live_url(service, session_id), keyed()) as one:
        async with watching(live_url(service, session_id), keyed()) as two:
            await two.frame()
            await control(service.http, session_id, "take")
            await one.message("control", lambda message: message["yours"])
        await one.message("control", lambda message: message["viewers"] == 1 and len(one.messages) > 3)
        assert lock.held
    await until(lambda: not lock.held, what="control is released")
    kinds = [event.kind for event in service.inside.pool.journal.of(session_id)]
    assert kinds[-3:] == ["control.taken", "client.disconnected", "client.disconnected"] or "control.released" in kinds


async def test_input_postpones_the_idle_timeout(service: Running) -> None:
    session_id, _ = await ready(service, idle_timeout_seconds=3)
    async with watching(live_url(service, session_id), keyed()) as viewer:
        await viewer.frame()
        await control(service.http, session_id, "take")
        await viewer.message("control", lambda message: message["yours"])
        for _ in range(8):
            await viewer.send("mouse", action="move", x=5, y=5)
            await asyncio.sleep(0.5)
        assert (await service.get(session_id))["status"] == "active"
        assert (await viewer.end())[0] == 4000


# -- the control lock and a client -----------------------------------------------------------------------------------


async def test_a_clients_commands_wait_while_control_is_taken(service: Running) -> None:
    created = await service.create()
    session_id = created["session_id"]
    async with connect(created["connect_url"], proxy=None) as client:
        await client.send(json.dumps({"id": 1, "method": "Browser.getVersion"}))
        assert json.loads(await client.recv())["id"] == 1
        taken = await control(service.http, session_id, "take")
        assert taken.json() == {"controlled_by": "admin", "waiting": 0}
        for number in range(2, 12):
            await client.send(json.dumps({"id": number, "method": "Browser.getVersion"}))
        lock = service.inside.pool.registry.live(session_id).control
        await until(lambda: lock.waiting == 1, what="the client waits")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.recv(), 0.5)
        again = await control(service.http, session_id, "take")
        assert again.json() == {"controlled_by": "admin", "waiting": 1}
        released = await control(service.http, session_id, "release")
        assert released.json()["controlled_by"] is None
        ids = [json.loads(await asyncio.wait_for(client.recv(), 10))["id"] for _ in range(10)]
        assert ids == list(range(2, 12))
    kinds = [event.kind for event in service.inside.pool.journal.of(session_id)]
    assert {"control.taken", "control.waiting", "control.released"} <= set(kinds)


SLOW = """<body style='margin:0'><button onclick='received.push("click")' style='width:100px;height:100px'>Go</button>
<script>
window.received = [];
for (const kind of ['mousedown', 'mouseup', 'keydown', 'keyup'])
    addEventListener(kind, event => received.push(kind + (event.key || '')));
addEventListener('mousedown', () => {
    console.log('pressed');
    const until = performance.now() + 1500;
    while (performance.now() < until);
});
</script>"""


async def test_release_drops_queued_input_and_the_client_waits_for_input_being_processed(service: Running) -> None:
    """The page handles a button press for 1.5 s, while the keys typed afterwards are still queued."""
    created = await service.create()
    session_id = created["session_id"]
    await show(service, session_id, SLOW)
    async with (
        connect(created["connect_url"], proxy=None) as client,
        watching(live_url(service, session_id), keyed()) as viewer,
    ):
        attached = await attach(client, await service.first_page(session_id))
        await viewer.frame()
        await control(service.http, session_id, "take")
        await viewer.message("control", lambda message: message["yours"])
        await viewer.send("key", action="down", key="a", code="KeyA", text="a")
        await viewer.send("mouse", action="down", x=50, y=50, button="left", buttons=1, click_count=1)
        await viewer.send("mouse", action="up", x=50, y=50, button="left", buttons=0, click_count=1)
        await type_text(viewer, "bcd")
        journal = service.inside.pool.journal
        lock = service.inside.pool.registry.live(session_id).control
        await evaluate_in(client, 10, attached, "received.push('client'); received.join(' ')")
        await until(lambda: lock.waiting == 1, what="the client waits")
        await until(
            lambda: any(e.data.get("text") == "pressed" for e in journal.of(session_id)), what="the button is pressed"
        )
        assert (await control(service.http, session_id, "release")).json()["controlled_by"] is None
        await until(
            lambda: any(e.kind == "control.released" for e in journal.of(session_id)), what="the release is reported"
        )
        assert await result_of(client, 10) == "keydowna mousedown keyupa mouseup client"
        assert not lock.held


async def test_pressed_keys_are_released_when_the_viewer_disconnects(service: Running) -> None:
    session_id, evaluate = await ready(service, SLOW)
    async with watching(live_url(service, session_id), keyed()) as viewer:
        await viewer.frame()
        await control(service.http, session_id, "take")
        await viewer.message("control", lambda message: message["yours"])
        await viewer.send("key", action="down", key="a", code="KeyA", text="a")
        await until(lambda: has_received(evaluate, "keydowna"), what="the key is down")
    await until(lambda: has_received(evaluate, "keydowna keyupa"), what="the key is up")


async def has_received(evaluate: Evaluate, what: str) -> bool:
    return bool(await evaluate("received.join(' ')") == what)


async def attach(client: ClientConnection, page_id: str) -> str:
    params = {"targetId": page_id, "flatten": True}
    await client.send(json.dumps({"id": 1, "method": "Target.attachToTarget", "params": params}))
    while (message := json.loads(await client.recv())).get("id") != 1:
        pass
    session: str = message["result"]["sessionId"]
    return session


async def evaluate_in(client: ClientConnection, number: int, session: str, expression: str) -> None:
    params = {"expression": expression, "returnByValue": True}
    call = {"id": number, "method": "Runtime.evaluate", "params": params, "sessionId": session}
    await client.send(json.dumps(call))


async def result_of(client: ClientConnection, number: int) -> Any:
    async with asyncio.timeout(30):
        while (message := json.loads(await client.recv())).get("id") != number:
            pass
    return message["result"]["result"]["value"]


async def test_messages_beyond_a_viewers_rate_are_read_later_and_in_order(service: Running) -> None:
    created = await service.create()
    began = asyncio.get_running_loop().time()  # its first second may begin before the first message
    async with connect(live_url(service, created["session_id"]), additional_headers=keyed(), max_size=None) as viewer:
        count = 2 * MESSAGES_PER_S + 10
        pings = asyncio.ensure_future(send_all(viewer, [json.dumps({"type": "ping"})] * count))
        async with asyncio.timeout(60):
            pongs = 0
            while pongs < count:
                message = await viewer.recv()
                pongs += isinstance(message, str) and json.loads(message)["type"] == "pong"
        assert asyncio.get_running_loop().time() - began >= 2.0, "three seconds have begun"
        await pings


async def send_all(viewer: ClientConnection, messages: list[str]) -> None:
    for message in messages:
        await viewer.send(message)
