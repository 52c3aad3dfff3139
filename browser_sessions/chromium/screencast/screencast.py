"""One page's screencast, shared by all subscribers, and its input.

Chromium sends a few frames ahead of the acks, drops what is painted meanwhile and never sends it later: if the page
stops changing at that moment, the last frame is outdated. So the acks set the frame rate, and after a burst of frames
the screencast is restarted, which sends the current state of the page.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from browser_sessions.background_tasks import Background
from browser_sessions.cdp import Browser, CdpError, Session
from browser_sessions.chromium.input import page_reads
from browser_sessions.chromium.input.file_choosers import FileChoosers
from browser_sessions.chromium.input.input_commands import UNBOUNDED
from browser_sessions.chromium.input.page_input import PageInput
from browser_sessions.chromium.page_session import call, page_session
from browser_sessions.chromium.ports import ChooserListener, FileChooser, Frame, StreamSettings
from browser_sessions.chromium.screencast.screencast_frame import read_frame
from browser_sessions.domain.errors import BrowserSessionsError, BrowserTimeout, PageFailed, PageNotFound

CALL_SECONDS: Final = 5.0
"""Chromium starts and stops a screencast in a millisecond, without involving the page."""
SETTLE_S: Final = 0.15
"""Pause after which a burst of frames has ended: nine frames at 60 a second."""
RECONFIGURE_S: Final = 2.0
"""Minimum time between two changes of size or quality, each of which restarts the screencast."""
INACTIVE: Final = "Not attached to an active page"
"""Chromium's error while a page that has just been opened or is navigating changes its process."""
INACTIVE_S: Final = 2.0
"""How long to try again then, every tenth of a second."""
STILL_QUALITY: Final = 50
SMALLEST, LARGEST = 64, 3840
"""Limits of width and height in pixels."""
STEP: Final = 64
"""Sizes are rounded up to a multiple, so that resizing a window does not reconfigure at each step."""
MAX_FPS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters of `Page.startScreencast`."""

    width: int
    height: int
    quality: int


class ScreenSubscription:
    """Implements `chromium.ports.FrameSubscription`."""

    def __init__(self, screen: PageScreen, settings: StreamSettings, *, live: bool) -> None:
        self.live = live
        self.waiting = False
        self._screen = screen
        self._settings = settings

    @property
    def settings(self) -> StreamSettings:
        return self._settings

    def change(self, settings: StreamSettings) -> None:
        if settings != self._settings:
            self._settings = settings
            self._screen.reconfigure()

    async def after(self, seq: int) -> Frame:
        screen = self._screen
        while screen.newest is None or screen.newest.seq <= seq:
            screen.check()
            self.waiting = True
            screen.ack()
            try:
                await screen.changed.wait()
            finally:
                self.waiting = False
        return screen.newest

    def close(self) -> None:
        self._screen.unsubscribe(self)


class PageScreen:
    """Implements `chromium.ports.Screen`."""

    def __init__(self, cdp: Browser, page_id: str) -> None:
        self.newest: Frame | None = None
        self.changed = asyncio.Event()
        """Set, and replaced, when a frame arrives or the screencast fails."""
        self._cdp = cdp
        self._page_id = page_id
        self._loop = asyncio.get_running_loop()
        self._subscriptions: set[ScreenSubscription] = set()
        self._session: Session | None = None
        self._running: Parameters | None = None
        self._restart = False
        self._woken = asyncio.Event()
        self._started_at = 0.0
        self._switching: asyncio.Task[None] | None = None
        self._failure: BrowserSessionsError | None = None
        self._unacked: deque[int] = deque()
        self._acked_at = 0.0
        self._acks = Background()
        self._ack_timer: asyncio.TimerHandle | None = None
        self._settle_timer: asyncio.TimerHandle | None = None
        self._burst = 0
        self._received = 0
        self._input = PageInput(self._attached)
        self._choosers = FileChoosers(self._attached)

    def __repr__(self) -> str:
        return f"<PageScreen {self._page_id} {self._running} {len(self._subscriptions)} subscriptions>"

    # -- subscriptions ---------------------------------------------------------------------------------------------

    def subscribe(self, settings: StreamSettings) -> ScreenSubscription:
        return self._subscribe(settings, live=True)

    async def snapshot(self, max_width: int, *, timeout: float) -> Frame:
        live = any(subscription.live for subscription in self._subscriptions)
        if self._running is not None and self.newest is not None and live:
            return self.newest
        before = self._received
        subscription = self._subscribe(StreamSettings(max_width, max_width, 1.0, STILL_QUALITY), live=False)
        try:
            async with asyncio.timeout(timeout):
                while self._received == before or self.newest is None:
                    self.check()
                    await self.changed.wait()
        except TimeoutError:
            raise BrowserTimeout(f"The page sent no frame within {timeout:g} s.") from None
        finally:
            subscription.close()
        return self.newest

    def _subscribe(self, settings: StreamSettings, *, live: bool) -> ScreenSubscription:
        subscription = ScreenSubscription(self, settings, live=live)
        self._subscriptions.add(subscription)
        self._failure = None
        self.reconfigure()
        return subscription

    def unsubscribe(self, subscription: ScreenSubscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.discard(subscription)
            self.reconfigure()

    def check(self) -> None:
        """Raises the error that has stopped the screencast, if any."""
        if self._failure is not None:
            raise self._failure

    # -- input -----------------------------------------------------------------------------------------------------

    async def dispatch_input(self, message: Mapping[str, Any], *, timeout: float) -> None:
        shown = self.newest
        width, height = (shown.css_width, shown.css_height) if shown else (UNBOUNDED, UNBOUNDED)
        await self._input.dispatch(message, width, height, timeout=timeout)

    async def selected_text(self, *, timeout: float) -> str:
        return await page_reads.selected_text(await self._attached(timeout), self._page_id, timeout=timeout)

    async def open_picker(self, *, timeout: float) -> dict[str, Any] | None:
        return await page_reads.open_picker(await self._attached(timeout), self._page_id, timeout=timeout)

    async def choose(self, choice: Any, *, timeout: float) -> None:
        await page_reads.choose(await self._attached(timeout), self._page_id, choice, timeout=timeout)

    async def watch_choosers(self, listener: ChooserListener, *, timeout: float) -> Callable[[], None]:
        return await self._choosers.watch(listener, timeout=timeout)

    async def choose_files(self, chooser: FileChooser, paths: Sequence[str], *, timeout: float) -> None:
        await self._choosers.choose(chooser, paths, timeout=timeout)

    async def release_input(self, *, timeout: float) -> None:
        await self._input.release(timeout=timeout)

    # -- the screencast --------------------------------------------------------------------------------------------

    def reconfigure(self) -> None:
        """Adapts the screencast after a change of the subscriptions, or restarts it."""
        self._woken.set()
        if self._switching is None or self._switching.done():
            self._switching = asyncio.create_task(self._switch(), name="screencast")

    def _wanted(self) -> Parameters | None:
        if not self._subscriptions:
            return None
        settings = [subscription.settings for subscription in self._subscriptions]
        return Parameters(
            _rounded(max(each.max_width for each in settings)),
            _rounded(max(each.max_height for each in settings)),
            min(max(1, *(each.quality for each in settings)), 100),
        )

    async def _switch(self) -> None:
        """Starts, restarts or stops the screencast until it is as wanted."""
        until = self._loop.time() + INACTIVE_S
        while True:
            try:
                return await self._adapt()
            except CdpError as error:
                if INACTIVE not in error.message or self._loop.time() >= until:
                    return self._fail(PageFailed(f"The page cannot be shown: {error.message}"))
                self._running = None
                await asyncio.sleep(INACTIVE_S / 20)
            except BrowserSessionsError as error:
                return self._fail(error)

    async def _adapt(self) -> None:
        while (wanted := self._wanted()) != self._running or self._restart:
            if wanted is not None and self._running is not None and not self._restart:
                delay = self._started_at + RECONFIGURE_S - self._loop.time()
                if delay > 0:
                    self._woken.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(delay):
                            await self._woken.wait()
                    continue
            self._restart = False
            session = await self._attached(CALL_SECONDS)
            if self._running is not None:
                self._running = None
                self._reset()
                await call(session, "Page.stopScreencast", timeout=CALL_SECONDS)
            if wanted is not None:
                await self._start(session, wanted)

    async def _start(self, session: Session, wanted: Parameters) -> None:
        self._started_at = self._loop.time()
        self._running = wanted
        params = {
            "format": "jpeg",
            "quality": wanted.quality,
            "maxWidth": wanted.width,
            "maxHeight": wanted.height,
        }
        await call(session, "Page.startScreencast", params, timeout=CALL_SECONDS)

    async def _attached(self, timeout: float) -> Session:
        session = self._session
        if session is None or session.closed.done():
            session = await page_session(self._cdp, self._page_id, timeout=timeout)
            if self._session is not session:
                self._session = session
                session.on("Page.screencastFrame", self._on_frame)
                session.closed.add_done_callback(lambda _: self._fail(PageNotFound("", self._page_id)))
        return session

    def _fail(self, error: BrowserSessionsError) -> None:
        self._failure = error
        self._running = None
        self._reset()
        self._notify()

    def _reset(self) -> None:
        self._unacked.clear()
        self._burst = 0
        for timer in (self._ack_timer, self._settle_timer):
            if timer is not None:
                timer.cancel()
        self._ack_timer = self._settle_timer = None

    def _on_frame(self, params: dict[str, Any]) -> None:
        if self._running is None:
            return  # sent before Chromium received the stop
        self.newest = read_frame(params, self._page_id, self.newest)
        self._received += 1
        self._burst += 1
        self._unacked.append(params["sessionId"])
        if self._settle_timer is not None:
            self._settle_timer.cancel()
        self._settle_timer = self._loop.call_later(SETTLE_S, self._settle)
        self._notify()
        self.ack()

    def ack(self) -> None:
        """Acks a frame once a subscriber needs the next one and the frame interval has passed."""
        waiting = any(subscription.waiting for subscription in self._subscriptions)
        if not self._unacked or self._ack_timer is not None or not waiting:
            return
        fps = min(max(0.1, *(subscription.settings.fps for subscription in self._subscriptions)), MAX_FPS)
        delay = self._acked_at + 1 / fps - self._loop.time()
        if delay > 0:
            self._ack_timer = self._loop.call_later(delay, self._ack_due)
            return
        self._acked_at = self._loop.time()
        frame = self._unacked.popleft()
        if self._session is not None:
            _ = self._acks.run(_send_ack(self._session, frame))
        if self._unacked:
            self._ack_timer = self._loop.call_later(1 / fps, self._ack_due)

    def _ack_due(self) -> None:
        self._ack_timer = None
        self.ack()

    def _settle(self) -> None:
        """A burst has ended: if it had several frames, restarts the screencast, because the last one may be
        outdated."""
        self._settle_timer = None
        if self._unacked:  # no subscriber needs a frame now
            self._settle_timer = self._loop.call_later(SETTLE_S, self._settle)
            return
        if self._burst > 1:
            self._restart = True
            self.reconfigure()
        self._burst = 0

    def _notify(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


async def _send_ack(session: Session, frame: int) -> None:
    with contextlib.suppress(CdpError, BrowserSessionsError):
        await call(session, "Page.screencastFrameAck", {"sessionId": frame}, timeout=CALL_SECONDS)


def _rounded(pixels: int) -> int:
    return min(max(-(-pixels // STEP) * STEP, SMALLEST), LARGEST)
