"""One page's moving picture: one screencast whoever looks, the newest frame wins, and hands go in the same way.

Chromium sends a few frames ahead of our word that one was taken, drops what is painted meanwhile, and never sends what
it dropped: a page that stops moving just then would be shown wrong for ever. So the rate is set by when we give that
word, and when a burst has ended the screencast is begun anew, which sends the page as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from browser_sessions.cdp import Browser, CdpError, Session
from browser_sessions.chromium.input.input_commands import FAR
from browser_sessions.chromium.input.page_input import PageHands
from browser_sessions.chromium.page_session import ask, page_session
from browser_sessions.chromium.ports import Demand, Frame
from browser_sessions.chromium.screencast.screencast_frame import read_frame
from browser_sessions.domain.errors import BrowserSessionsError, BrowserTimeout, PageFailed, PageNotFound

CALL_SECONDS: Final = 5.0
"""Chromium starts and stops a screencast in a millisecond, without the page's help."""
SETTLE_S: Final = 0.15
"""Silence after a burst of frames that ends it: nine frames at 60 a second."""
RETUNE_S: Final = 2.0
"""Between two changes of size or quality: each begins the screencast anew."""
STILL_QUALITY: Final = 50
SMALLEST, LARGEST = 64, 3840
"""Pixels that a picture's side may be asked to have."""
STEP: Final = 64
"""Sizes are rounded up to it: a window that is being resized must not retune each time."""
MOST_FPS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Tuning:
    """What Chromium is told."""

    width: int
    height: int
    quality: int


class ScreenLook:
    """Implements `chromium.ports.Look`."""

    def __init__(self, screen: PageScreen, demand: Demand, *, live: bool) -> None:
        self.live = live
        self.waits = False
        self._screen = screen
        self._demand = demand

    @property
    def demand(self) -> Demand:
        return self._demand

    def change(self, demand: Demand) -> None:
        if demand != self._demand:
            self._demand = demand
            self._screen.retune()

    async def after(self, seq: int) -> Frame:
        screen = self._screen
        while screen.newest is None or screen.newest.seq <= seq:
            screen.check()
            self.waits = True
            screen.give_word()
            try:
                await screen.news.wait()
            finally:
                self.waits = False
        return screen.newest

    def close(self) -> None:
        self._screen.leave(self)


class PageScreen:
    """Implements `chromium.ports.Screen`."""

    def __init__(self, cdp: Browser, page_id: str) -> None:
        self.newest: Frame | None = None
        self.news = asyncio.Event()
        self._cdp = cdp
        self._page_id = page_id
        self._loop = asyncio.get_running_loop()
        self._looks: set[ScreenLook] = set()
        self._session: Session | None = None
        self._running: Tuning | None = None
        self._anew = False
        self._tuned = 0.0
        self._switching: asyncio.Task[None] | None = None
        self._failure: BrowserSessionsError | None = None
        self._untaken: deque[int] = deque()
        """Frames that Chromium waits for our word on."""
        self._word_given = 0.0
        self._telling: set[asyncio.Task[None]] = set()
        self._word_timer: asyncio.TimerHandle | None = None
        self._settle_timer: asyncio.TimerHandle | None = None
        self._burst = 0
        self._received = 0
        self._hands = PageHands(self._attached)

    def __repr__(self) -> str:
        return f"<PageScreen {self._page_id} {self._running} {len(self._looks)} looks>"

    # -- looking ---------------------------------------------------------------------------------------------------

    def look(self, demand: Demand) -> ScreenLook:
        return self._look(demand, live=True)

    async def still(self, max_width: int, *, timeout: float) -> Frame:
        if self._running is not None and self.newest is not None and any(look.live for look in self._looks):
            return self.newest
        before = self._received
        look = self._look(Demand(max_width, max_width, 1.0, STILL_QUALITY), live=False)
        try:
            async with asyncio.timeout(timeout):
                while self._received == before or self.newest is None:
                    self.check()
                    await self.news.wait()
        except TimeoutError:
            raise BrowserTimeout(f"The page gave no picture within {timeout:g} s.") from None
        finally:
            look.close()
        return self.newest

    def _look(self, demand: Demand, *, live: bool) -> ScreenLook:
        look = ScreenLook(self, demand, live=live)
        self._looks.add(look)
        self._failure = None
        self.retune()
        return look

    def leave(self, look: ScreenLook) -> None:
        if look in self._looks:
            self._looks.discard(look)
            self.retune()

    def check(self) -> None:
        """Raises what keeps this page from being seen."""
        if self._failure is not None:
            raise self._failure

    # -- hands -----------------------------------------------------------------------------------------------------

    async def do(self, message: Mapping[str, Any], *, timeout: float) -> None:
        shown = self.newest
        width, height = (shown.css_width, shown.css_height) if shown else (FAR, FAR)
        await self._hands.do(message, width, height, timeout=timeout)

    async def let_go(self, *, timeout: float) -> None:
        await self._hands.let_go(timeout=timeout)

    # -- the screencast --------------------------------------------------------------------------------------------

    def retune(self) -> None:
        """Looks came, went, or want something else."""
        if self._switching is None or self._switching.done():
            self._switching = asyncio.create_task(self._switch(), name="screencast")

    def _wanted(self) -> Tuning | None:
        if not self._looks:
            return None
        demands = [look.demand for look in self._looks]
        return Tuning(
            _rounded(max(demand.max_width for demand in demands)),
            _rounded(max(demand.max_height for demand in demands)),
            min(max(1, *(demand.quality for demand in demands)), 100),
        )

    async def _switch(self) -> None:
        """Brings Chromium to what is wanted, until it is."""
        try:
            while (wanted := self._wanted()) != self._running or self._anew:
                if wanted is not None and self._running is not None and not self._anew:
                    early = self._tuned + RETUNE_S - self._loop.time()
                    if early > 0:
                        await asyncio.sleep(early)
                        continue
                self._anew = False
                session = await self._attached(CALL_SECONDS)
                if self._running is not None:
                    self._running = None
                    self._quiet()
                    await ask(session, "Page.stopScreencast", timeout=CALL_SECONDS)
                if wanted is not None:
                    await self._start(session, wanted)
        except CdpError as error:
            self._fail(PageFailed(f"The page cannot be shown: {error.message}"))
        except BrowserSessionsError as error:
            self._fail(error)

    async def _start(self, session: Session, wanted: Tuning) -> None:
        self._tuned = self._loop.time()
        self._running = wanted
        params = {
            "format": "jpeg",
            "quality": wanted.quality,
            "maxWidth": wanted.width,
            "maxHeight": wanted.height,
        }
        await ask(session, "Page.startScreencast", params, timeout=CALL_SECONDS)

    async def _attached(self, timeout: float) -> Session:
        session = self._session
        if session is None or session.closed.done():
            session = await page_session(self._cdp, self._page_id, timeout=timeout)
            if self._session is not session:
                self._session = session
                session.on("Page.screencastFrame", self._framed)
                session.closed.add_done_callback(lambda _: self._fail(PageNotFound("", self._page_id)))
        return session

    def _fail(self, error: BrowserSessionsError) -> None:
        self._failure = error
        self._running = None
        self._quiet()
        self._wake()

    def _quiet(self) -> None:
        self._untaken.clear()
        self._burst = 0
        for timer in (self._word_timer, self._settle_timer):
            if timer is not None:
                timer.cancel()
        self._word_timer = self._settle_timer = None

    def _framed(self, params: dict[str, Any]) -> None:
        if self._running is None:
            return  # sent before it heard of the stop
        self.newest = read_frame(params, self._page_id, self.newest)
        self._received += 1
        self._burst += 1
        self._untaken.append(params["sessionId"])
        if self._settle_timer is not None:
            self._settle_timer.cancel()
        self._settle_timer = self._loop.call_later(SETTLE_S, self._settle)
        self._wake()
        self.give_word()

    def give_word(self) -> None:
        """Tells Chromium that a frame was taken, when somebody waits for another and its time has come."""
        if not self._untaken or self._word_timer is not None or not any(look.waits for look in self._looks):
            return
        fps = min(max(0.1, *(look.demand.fps for look in self._looks)), MOST_FPS)
        early = self._word_given + 1 / fps - self._loop.time()
        if early > 0:
            self._word_timer = self._loop.call_later(early, self._word_is_due)
            return
        self._word_given = self._loop.time()
        frame = self._untaken.popleft()
        if self._session is not None:
            task = asyncio.create_task(_tell(self._session, frame))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)
        if self._untaken:
            self._word_timer = self._loop.call_later(1 / fps, self._word_is_due)

    def _word_is_due(self) -> None:
        self._word_timer = None
        self.give_word()

    def _settle(self) -> None:
        """Nothing has come for a moment. After more than one frame, what came last may not be what is there."""
        self._settle_timer = None
        if self._untaken:  # nobody waits: there is nobody to show it to
            self._settle_timer = self._loop.call_later(SETTLE_S, self._settle)
            return
        if self._burst > 1:
            self._anew = True
            self.retune()
        self._burst = 0

    def _wake(self) -> None:
        news, self.news = self.news, asyncio.Event()
        news.set()


async def _tell(session: Session, frame: int) -> None:
    with contextlib.suppress(CdpError, BrowserSessionsError):
        await ask(session, "Page.screencastFrameAck", {"sessionId": frame}, timeout=CALL_SECONDS)


def _rounded(pixels: int) -> int:
    return min(max(-(-pixels // STEP) * STEP, SMALLEST), LARGEST)
