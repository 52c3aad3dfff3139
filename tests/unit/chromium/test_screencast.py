"""When a page's screencast is started again."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from browser_sessions.cdp import CdpError
from browser_sessions.chromium.ports import StreamSettings
from browser_sessions.chromium.screencast.screencast import PageScreen
from browser_sessions.chromium.screencast.screencast_frame import read_frame
from tests.harness.waiting import until


class FakeSession:
    """Records the methods that are called."""

    def __init__(self) -> None:
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.calls: list[str] = []
        self.failures: list[CdpError] = []
        self.handlers: dict[str, Any] = {}

    def on(self, event: str, handler: Any) -> None:
        self.handlers[event] = handler

    async def call(self, method: str, _: Any = None, *, timeout: float) -> dict[str, Any]:
        self.calls.append(method)
        if self.failures:
            raise self.failures.pop(0)
        return {}

    def frame(self, number: int) -> None:
        seen = dict.fromkeys(("deviceWidth", "deviceHeight", "scrollOffsetX", "scrollOffsetY", "pageScaleFactor"), 1)
        data = base64.b64encode(f"picture {number}".encode()).decode()
        self.handlers["Page.screencastFrame"]({"data": data, "sessionId": number, "metadata": seen})


class FakeBrowser:
    def __init__(self, session: FakeSession) -> None:
        self.closed = session.closed
        self._session = session

    async def page(self, _: str, *, timeout: float) -> FakeSession:
        return self._session


async def test_the_last_frame_of_a_burst_does_not_wait_for_a_change_of_quality() -> None:
    """Two changes of size or quality are two seconds apart; the restart after a burst comes at once."""
    session = FakeSession()
    browser: Any = FakeBrowser(session)
    screen = PageScreen(browser, "page-1")
    subscription = screen.subscribe(StreamSettings(640, 640, 30, 70))
    await until(lambda: "Page.startScreencast" in session.calls)
    subscription.change(StreamSettings(640, 640, 30, 40))
    reading = asyncio.create_task(subscription.after(2))
    await asyncio.sleep(0)
    began = asyncio.get_running_loop().time()
    session.frame(1)
    session.frame(2)
    await until(lambda: session.calls.count("Page.startScreencast") == 2)
    assert asyncio.get_running_loop().time() - began < 1.5
    reading.cancel()
    subscription.close()
    await until(lambda: session.calls.count("Page.stopScreencast") == 2)


async def test_a_page_that_is_not_active_yet_is_tried_again() -> None:
    session = FakeSession()
    session.failures = [CdpError(-32000, "Not attached to an active page")] * 2
    browser: Any = FakeBrowser(session)
    screen = PageScreen(browser, "page-1")
    subscription = screen.subscribe(StreamSettings(640, 640, 30, 70))
    reading = asyncio.create_task(subscription.after(0))
    await until(lambda: session.calls.count("Page.startScreencast") == 3)
    await asyncio.sleep(0)
    session.frame(1)
    assert (await reading).seq == 1
    subscription.close()


def test_a_frame_is_new_if_its_picture_or_its_place_on_the_page_is() -> None:
    seen = {"deviceWidth": 8, "deviceHeight": 6, "scrollOffsetX": 0, "scrollOffsetY": 0, "pageScaleFactor": 1}

    def event(picture: bytes, **changed: int) -> dict[str, Any]:
        return {"data": base64.b64encode(picture).decode(), "metadata": seen | changed}

    first = read_frame(event(b"a"), "page", None)
    assert read_frame(event(b"a", timestamp=9), "page", first) is first
    scrolled = read_frame(event(b"a", scrollOffsetY=300), "page", first)
    assert (scrolled.seq, scrolled.scroll_y) == (2, 300)
    assert read_frame(event(b"b", scrollOffsetY=300), "page", scrolled).seq == 3
