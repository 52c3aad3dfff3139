"""The frame stream of a real page: shared, always the newest frame, complete after the last change, and stopped with
the last subscription."""

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
from tests.harness.pixels import Colour, PixelReader
from tests.harness.sites.plain_site import BLOCK, Site
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

WANTED = StreamSettings(max_width=640, max_height=640, fps=30, quality=60)
PLAIN = "data:text/html,<body style='margin:0;background:rgb(200,0,0)'>"
MOVING = """data:text/html,<body style='margin:0'><script>let n = 0;
const paint = () => {n = (n + 1) & 255; document.body.style.background = `rgb(0,${n},0)`; requestAnimationFrame(paint)};
paint()</script>"""
MOVING_SLOWLY = MOVING.replace("requestAnimationFrame(paint)", "setTimeout(paint, 100)")


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
async def pixels(process: BrowserProcess, tmp_path: Path) -> PixelReader:
    handle = await process.open_context(SessionSpec(), tmp_path / "pixels", lambda _event: None, timeout=30)
    page_id = handle.pages()[0].page_id
    return PixelReader(lambda script: handle.evaluate(page_id, script, timeout=30))


async def shown(screen: PageScreen, pixels: PixelReader, colour: Colour, *, pause: float = 0.0) -> Frame:
    """The first frame with this colour in the middle, for a viewer that pauses after each frame."""
    subscription = screen.subscribe(WANTED)
    try:
        async with asyncio.timeout(20):
            seq = 0
            while True:
                frame = await subscription.after(seq)
                if await pixels.matches(frame.jpeg, colour):
                    return frame
                seq = frame.seq
                await asyncio.sleep(pause)
    finally:
        subscription.close()


async def test_a_static_page_is_shown_at_once(opened: Opener, pixels: PixelReader) -> None:
    _, page_id, screen = await opened(PLAIN)
    frame = await shown(screen, pixels, (200, 0, 0))
    assert frame.page_id == page_id
    assert (frame.width, frame.height) == jpeg_size(frame.jpeg) == (640, 360)
    assert (frame.css_width, frame.css_height) == (1280, 720)
    assert (frame.scroll_x, frame.scroll_y, frame.scale) == (0, 0, 1)


async def test_a_frame_has_the_scroll_position(opened: Opener) -> None:
    handle, page_id, screen = await opened("data:text/html,<body style='height:5000px;background:rgb(0,0,200)'>")
    await handle.evaluate(page_id, "scrollTo(0, 300)", timeout=10)
    await until(lambda: _scrolled(screen), what="the frame has the scroll position")


async def _scrolled(screen: PageScreen) -> bool:
    return (await screen.snapshot(320, timeout=10)).scroll_y == 300


async def test_a_slow_viewer_gets_the_last_frame_of_a_burst(opened: Opener, pixels: PixelReader) -> None:
    handle, page_id, screen = await opened(PLAIN)
    for round_ in range(2):
        colour = (0, 60 * round_, 250)
        burst = f"""(async () => {{
            for (let i = 0; i < 40; i++) {{
                document.body.style.background = `rgb(${{i}},${{i}},${{i}})`;
                await new Promise(done => setTimeout(done, 4));
            }}
            document.body.style.background = 'rgb{colour}';
        }})()"""
        async with asyncio.TaskGroup() as group:
            group.create_task(shown(screen, pixels, colour, pause=0.1))
            group.create_task(handle.evaluate(page_id, burst, timeout=30))


async def test_subscriptions_share_one_screencast_and_its_frames(opened: Opener) -> None:
    _, _, screen = await opened(MOVING)
    subscriptions = [screen.subscribe(WANTED) for _ in range(5)]
    seen: list[set[int]] = []

    async def watch(subscription: Any) -> set[int]:
        frames: set[int] = set()
        seq = 0
        for _ in range(15):
            seq = (await subscription.after(seq)).seq
            frames.add(seq)
        return frames

    async with asyncio.timeout(30):
        seen = list(await asyncio.gather(*map(watch, subscriptions)))
    assert len(set.union(*seen)) < 5 * 15 / 2
    for subscription in subscriptions:
        subscription.close()


@pytest.mark.slow
async def test_a_stalled_subscription_does_not_delay_others(opened: Opener) -> None:
    _, _, screen = await opened(MOVING)
    stalled, healthy = screen.subscribe(WANTED), screen.subscribe(WANTED)
    await stalled.after(0)
    async with asyncio.timeout(30):
        seq = 0
        for _ in range(30):
            seq = (await healthy.after(seq)).seq
    assert (await stalled.after(1)).seq >= seq, "it must get the newest frame, not the next one"
    stalled.close()
    healthy.close()


async def test_the_frame_rate_is_limited_as_requested(opened: Opener) -> None:
    _, _, screen = await opened(MOVING)
    subscription = screen.subscribe(StreamSettings(320, 320, 5, 50))
    loop = asyncio.get_running_loop()
    seq = (await subscription.after(0)).seq
    for _ in range(4):  # frames sent ahead
        seq = (await subscription.after(seq)).seq
    began, frames = loop.time(), 0
    while loop.time() - began < 1:
        seq = (await subscription.after(seq)).seq
        frames += 1
    subscription.close()
    assert frames <= 5 * (loop.time() - began) + 2


async def test_without_subscriptions_no_frames_are_received(opened: Opener) -> None:
    _, _, screen = await opened(MOVING)
    subscription = screen.subscribe(WANTED)
    await subscription.after(0)
    subscription.close()
    await until(lambda: screen._running is None and screen._switching is not None and screen._switching.done())
    received = screen._received
    await asyncio.sleep(0.5)  # the page repaints all the time
    assert screen._received == received


async def test_size_and_quality_follow_the_most_demanding(opened: Opener) -> None:
    _, _, screen = await opened(MOVING_SLOWLY)
    small = screen.subscribe(StreamSettings(320, 320, 10, 30))
    assert (await small.after(0)).width == 320
    large = screen.subscribe(StreamSettings(1280, 1280, 10, 70))

    async def grown() -> bool:
        newest = screen.newest
        return (await small.after(newest.seq if newest else 0)).width == 1280

    await until(grown, what="frames grow")
    large.close()

    async def shrunk() -> bool:
        newest = screen.newest
        return (await small.after(newest.seq if newest else 0)).width == 320

    await until(shrunk, what="frames shrink again")
    small.close()


async def test_closing_a_page_ends_its_subscriptions(opened: Opener) -> None:
    handle, page_id, screen = await opened(PLAIN)
    subscription = screen.subscribe(WANTED)
    frame = await subscription.after(0)

    async def read(seq: int) -> None:
        while True:
            seq = (await subscription.after(seq)).seq

    waiting = asyncio.create_task(read(frame.seq))
    await handle.open_page(None, timeout=30)
    await handle.close_page(page_id, timeout=10)
    with pytest.raises(PageNotFound):
        await asyncio.wait_for(waiting, 10)
    await until(lambda: page_id not in [page.page_id for page in handle.pages()], what="Chromium reports its end")
    with pytest.raises(PageNotFound):
        handle.screen(page_id)


async def test_a_snapshot_of_an_unwatched_page_is_current(opened: Opener, pixels: PixelReader) -> None:
    handle, page_id, screen = await opened(PLAIN)
    frame = await screen.snapshot(320, timeout=10)
    assert frame.width == 320
    assert await pixels.matches(frame.jpeg, (200, 0, 0))
    await handle.evaluate(page_id, "document.body.style.background = 'rgb(0,0,220)'", timeout=10)

    async def blue() -> bool:
        return await pixels.matches((await screen.snapshot(320, timeout=10)).jpeg, (0, 0, 220))

    await until(blue, what="the next snapshot shows the change")


async def test_a_snapshot_of_a_hung_page_returns_within_its_timeout(opened: Opener, site: Site) -> None:
    handle, page_id, screen = await opened(PLAIN)
    await handle.navigate(page_id, f"{site.url}/blocks", wait_until="load", timeout=10)
    await handle.evaluate(page_id, BLOCK, timeout=10)
    await site.blocked()
    loop = asyncio.get_running_loop()
    began = loop.time()
    with contextlib.suppress(BrowserTimeout):
        await screen.snapshot(320, timeout=1.5)
    assert loop.time() - began < 20


async def test_frames_of_a_page_with_a_device_scale_factor_of_two(opened: Opener) -> None:
    _, _, screen = await opened(PLAIN, viewport_width=400, viewport_height=800, device_scale_factor=2.0)
    subscription = screen.subscribe(StreamSettings(1280, 1280, 10, 60))
    frame = await subscription.after(0)
    subscription.close()
    assert (frame.css_width, frame.css_height) == (400, 800)
    assert frame.height > frame.width
