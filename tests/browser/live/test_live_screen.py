"""The moving picture of a real page: shared, the newest frame, current when the page has stopped, gone with the last
look."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from browser_sessions.chromium.ports import BrowserProcess, ContextHandle, Frame, StreamSettings
from browser_sessions.chromium.process import ChromiumProcess
from browser_sessions.chromium.screencast.screencast import PageScreen
from browser_sessions.chromium.screencast.screencast_frame import jpeg_size
from browser_sessions.domain.errors import BrowserTimeout, PageNotFound
from browser_sessions.domain.session_spec import SessionSpec
from tests.harness.pixels import Colour, Eye
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

WANTED = StreamSettings(max_width=640, max_height=640, fps=30, quality=60)
PLAIN = "data:text/html,<body style='margin:0;background:rgb(200,0,0)'>"
MOVING = """data:text/html,<body style='margin:0'><script>let n = 0;
const paint = () => {n = (n + 1) & 255; document.body.style.background = `rgb(0,${n},0)`; requestAnimationFrame(paint)};
paint()</script>"""


@pytest_asyncio.fixture(loop_scope="session")
async def process(chromium: ChromiumProcess) -> BrowserProcess:
    return chromium


Opened = tuple[ContextHandle, str, PageScreen]
Opener = Callable[..., Awaitable[Opened]]


@pytest_asyncio.fixture(loop_scope="session")
async def opened(process: BrowserProcess, tmp_path: Path) -> Opener:
    """Opens a context whose page shows an address."""

    async def open_one(url: str, **options: Any) -> Opened:
        spec = SessionSpec(**options)
        handle = await process.open_context(spec, tmp_path / f"s{id(spec)}", lambda _event: None, timeout=30)
        page_id = handle.pages()[0].page_id
        await handle.navigate(page_id, url, wait_until="load", timeout=30)
        screen = handle.screen(page_id)
        assert isinstance(screen, PageScreen)
        return handle, page_id, screen

    return open_one


@pytest_asyncio.fixture(loop_scope="session")
async def eye(process: BrowserProcess, tmp_path: Path) -> Eye:
    handle = await process.open_context(SessionSpec(), tmp_path / "eye", lambda _event: None, timeout=30)
    page_id = handle.pages()[0].page_id
    return Eye(lambda script: handle.evaluate(page_id, script, timeout=30))


async def shown(screen: PageScreen, eye: Eye, colour: Colour, *, pause: float = 0.0) -> Frame:
    """The first frame whose middle has this colour, for somebody who pauses after each."""
    look = screen.subscribe(WANTED)
    try:
        async with asyncio.timeout(20):
            seq = 0
            while True:
                frame = await look.after(seq)
                if await eye.sees(frame.jpeg, colour):
                    return frame
                seq = frame.seq
                await asyncio.sleep(pause)
    finally:
        look.close()


async def test_a_page_that_stands_still_is_seen_at_once(opened: Opener, eye: Eye) -> None:
    _, page_id, screen = await opened(PLAIN)
    frame = await shown(screen, eye, (200, 0, 0))
    assert frame.page_id == page_id
    assert (frame.width, frame.height) == jpeg_size(frame.jpeg) == (640, 360)
    assert (frame.css_width, frame.css_height) == (1280, 720)
    assert (frame.scroll_x, frame.scroll_y, frame.scale) == (0, 0, 1)


async def test_scrolling_is_told_with_the_frame(opened: Opener) -> None:
    handle, page_id, screen = await opened("data:text/html,<body style='height:5000px;background:rgb(0,0,200)'>")
    await handle.evaluate(page_id, "scrollTo(0, 300)", timeout=10)
    await until(lambda: _scrolled(screen), what="the frame tells where the page is scrolled to")


async def _scrolled(screen: PageScreen) -> bool:
    return (await screen.snapshot(320, timeout=10)).scroll_y == 300


async def test_the_last_of_a_burst_is_seen_however_slow_the_viewer(opened: Opener, eye: Eye) -> None:
    handle, page_id, screen = await opened(PLAIN)
    for round_ in range(3):
        colour = (0, 60 * round_, 250)
        burst = f"""(async () => {{
            for (let i = 0; i < 40; i++) {{
                document.body.style.background = `rgb(${{i}},${{i}},${{i}})`;
                await new Promise(done => setTimeout(done, 4));
            }}
            document.body.style.background = 'rgb{colour}';
        }})()"""
        async with asyncio.TaskGroup() as group:
            group.create_task(shown(screen, eye, colour, pause=0.1))
            group.create_task(handle.evaluate(page_id, burst, timeout=30))


async def test_many_looks_share_one_screencast_and_see_the_same_frames(opened: Opener) -> None:
    _, _, screen = await opened(MOVING)
    looks = [screen.subscribe(WANTED) for _ in range(5)]
    seen: list[set[int]] = []

    async def watch(look: Any) -> set[int]:
        frames: set[int] = set()
        seq = 0
        for _ in range(15):
            seq = (await look.after(seq)).seq
            frames.add(seq)
        return frames

    async with asyncio.timeout(30):
        seen = list(await asyncio.gather(*map(watch, looks)))
    assert len(set.union(*seen)) < 5 * 15 / 2
    for look in looks:
        look.close()


async def test_one_that_does_not_take_frames_holds_nobody_up(opened: Opener) -> None:
    _, _, screen = await opened(MOVING)
    stalled, healthy = screen.subscribe(WANTED), screen.subscribe(WANTED)
    await stalled.after(0)
    async with asyncio.timeout(30):
        seq = 0
        for _ in range(30):
            seq = (await healthy.after(seq)).seq
    assert (await stalled.after(1)).seq >= seq, "it gets the newest, not the next"
    stalled.close()
    healthy.close()


async def test_the_rate_is_what_was_asked_for(opened: Opener) -> None:
    _, _, screen = await opened(MOVING)
    look = screen.subscribe(StreamSettings(320, 320, 5, 50))
    loop = asyncio.get_running_loop()
    seq = (await look.after(0)).seq
    for _ in range(4):  # what was sent ahead
        seq = (await look.after(seq)).seq
    began, frames = loop.time(), 0
    while loop.time() - began < 3:
        seq = (await look.after(seq)).seq
        frames += 1
    look.close()
    assert frames <= 3 * 5 + 2


async def test_nobody_looks_and_nothing_is_painted_for_them(opened: Opener) -> None:
    _, _, screen = await opened(MOVING)
    look = screen.subscribe(WANTED)
    await look.after(0)
    look.close()
    await until(lambda: screen._running is None and screen._switching is not None and screen._switching.done())
    received = screen._received
    await asyncio.sleep(0.5)  # half a second of a page that paints all the time
    assert screen._received == received


async def test_size_and_quality_follow_the_most_demanding(opened: Opener) -> None:
    _, _, screen = await opened(MOVING)
    small = screen.subscribe(StreamSettings(320, 320, 10, 30))
    assert (await small.after(0)).width == 320
    large = screen.subscribe(StreamSettings(1280, 1280, 10, 70))

    async def grown() -> bool:
        newest = screen.newest
        return (await small.after(newest.seq if newest else 0)).width == 1280

    await until(grown, what="it grows")
    large.close()

    async def shrunk() -> bool:
        newest = screen.newest
        return (await small.after(newest.seq if newest else 0)).width == 320

    await until(shrunk, what="it shrinks again")
    small.close()


async def test_a_closed_page_ends_every_look(opened: Opener) -> None:
    handle, page_id, screen = await opened(PLAIN)
    look = screen.subscribe(WANTED)
    frame = await look.after(0)
    waiting = asyncio.create_task(look.after(frame.seq))
    await handle.open_page(None, timeout=30)
    await handle.close_page(page_id, timeout=10)
    with pytest.raises(PageNotFound):
        await asyncio.wait_for(waiting, 10)
    with pytest.raises(PageNotFound):
        handle.screen(page_id)


async def test_a_still_of_a_page_that_nobody_watches(opened: Opener, eye: Eye) -> None:
    handle, page_id, screen = await opened(PLAIN)
    frame = await screen.snapshot(320, timeout=10)
    assert frame.width == 320
    assert await eye.sees(frame.jpeg, (200, 0, 0))
    await handle.evaluate(page_id, "document.body.style.background = 'rgb(0,0,220)'", timeout=10)

    async def blue() -> bool:
        return await eye.sees((await screen.snapshot(320, timeout=10)).jpeg, (0, 0, 220))

    await until(blue, what="the next still shows what is there now")


async def test_a_hung_page_is_still_seen_or_says_in_time_that_it_is_not(opened: Opener) -> None:
    handle, page_id, screen = await opened(PLAIN)
    hanging = asyncio.ensure_future(handle.evaluate(page_id, "for (;;) {}", timeout=8))
    await asyncio.sleep(0.3)  # the loop runs by now; it makes no difference if it does not
    loop = asyncio.get_running_loop()
    began = loop.time()
    with contextlib.suppress(BrowserTimeout):
        await screen.snapshot(320, timeout=1.5)
    assert loop.time() - began < 3
    hanging.cancel()


async def test_a_page_with_a_mobile_screen_and_two_pixels_a_point(opened: Opener) -> None:
    _, _, screen = await opened(PLAIN, viewport_width=400, viewport_height=800, device_scale_factor=2.0)
    look = screen.subscribe(StreamSettings(1280, 1280, 10, 60))
    frame = await look.after(0)
    look.close()
    assert (frame.css_width, frame.css_height) == (400, 800)
    assert frame.height > frame.width
