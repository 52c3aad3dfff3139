"""Thumbnails of sessions, at most one capture a second per session, and a last picture of each when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from browser_sessions.chromium.ports import Frame
from browser_sessions.domain.errors import BrowserSessionsError
from browser_sessions.pool.live_session import Live
from browser_sessions.pool.manager import Pool

MAX_AGE_S: Final = 1.0
"""Younger thumbnails are reused. A capture takes Chromium 5 to 20 ms."""
CAPTURE_TIMEOUT_S: Final = 1.5
"""A page that paints is captured in a few milliseconds; for one that does not, the previous thumbnail is used."""
MAX_CONCURRENT_CAPTURES: Final = 4
"""Two hundred cards that scroll into view must not take both cores from the pages."""
LAST_WIDTH: Final = 1280
"""Pixels of the picture that is kept after the end: text is legible in it."""
LAST_CAPTURE_TIMEOUT_S: Final = 0.3
"""The longest delay of the end of a session. A page that paints takes 10 to 30 ms."""
MAX_KEPT: Final = 1_000
"""Sessions whose thumbnail is kept in memory, 5 to 100 kB each. After the end it is in the archive only."""
MAX_KEPT_BYTES: Final = 2 * 2**20
"""Larger frames (of an 8K viewport) are not kept as thumbnails."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    jpeg: bytes
    taken: float
    """Monotonic seconds."""


class Thumbnails:
    """The newest thumbnail of each session, by session id. Reading them does not count as activity."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._newest: OrderedDict[str, Thumbnail] = OrderedDict()
        self._capturing: dict[str, asyncio.Task[None]] = {}
        self._tried_at: dict[str, float] = {}
        self._captures = asyncio.Semaphore(MAX_CONCURRENT_CAPTURES)

    async def thumbnail(self, session_id: str, max_width: int) -> Thumbnail | None:
        """Of the session's newest page, at most `MAX_AGE_S` old if it can be captured. None without any thumbnail."""
        live = self._pool.registry.lives.get(session_id)
        if live is not None and live.context is not None and not self._is_fresh(session_id):
            capture = self._capturing.get(session_id)
            if capture is None:
                capture = self._capturing[session_id] = asyncio.create_task(self._capture(live, max_width))
                capture.add_done_callback(lambda _: self._capturing.pop(session_id, None))
            await asyncio.wait({capture})
        return self._newest.get(session_id)

    async def capture_last(self, live: Live) -> None:
        """Captures a session that is about to close, unless its page is blank or unresponsive. Raises nothing."""
        if live.responsive and not is_blank(live):
            with contextlib.suppress(BrowserSessionsError, TimeoutError):  # then the previous thumbnail is kept
                async with asyncio.timeout(LAST_CAPTURE_TIMEOUT_S):
                    await self._snapshot(live, LAST_WIDTH, LAST_CAPTURE_TIMEOUT_S)

    def newest(self, session_id: str) -> Thumbnail | None:
        """The newest thumbnail of a live session, without a new capture."""
        return self._newest.get(session_id)

    def hand_over(self, session_id: str) -> bytes | None:
        """The last picture of a session that has ended, for the archive; it is not kept here any longer."""
        thumbnail = self._newest.pop(session_id, None)
        return None if thumbnail is None else thumbnail.jpeg

    def add(self, session_id: str, frame: Frame) -> None:
        """Uses a frame that was sent to a viewer as thumbnail, which saves a capture."""
        self._keep(session_id, frame.jpeg)

    def _is_fresh(self, session_id: str) -> bool:
        now = self._pool.clock.monotonic()
        thumbnail = self._newest.get(session_id)
        last = max(thumbnail.taken if thumbnail else 0.0, self._tried_at.get(session_id, 0.0))
        return now - last < MAX_AGE_S

    async def _capture(self, live: Live, max_width: int) -> None:
        session_id = live.session.session_id
        with contextlib.suppress(BrowserSessionsError):  # hung, crashed or gone: the previous thumbnail is used
            await self._snapshot(live, max_width, CAPTURE_TIMEOUT_S)
        self._tried_at[session_id] = self._pool.clock.monotonic()
        if len(self._tried_at) > 2 * MAX_KEPT:
            lives = self._pool.registry.lives
            self._tried_at = {known: tried_at for known, tried_at in self._tried_at.items() if known in lives}

    async def _snapshot(self, live: Live, max_width: int, timeout: float) -> None:
        """Raises as `Screen.snapshot`."""
        async with self._captures:
            context = live.context
            pages = context.pages() if context is not None else []
            if context is not None and pages:
                frame = await context.screen(pages[-1].page_id).snapshot(max_width, timeout=timeout)
                self._keep(live.session.session_id, frame.jpeg)

    def _keep(self, session_id: str, jpeg: bytes) -> None:
        before = self._newest.get(session_id)
        if len(jpeg) > MAX_KEPT_BYTES or (before is not None and before.jpeg is jpeg):
            return
        if session_id not in self._pool.registry.lives:
            return  # the archive has its last picture already
        self._newest[session_id] = Thumbnail(jpeg, self._pool.clock.monotonic())
        self._newest.move_to_end(session_id)
        if len(self._newest) > MAX_KEPT:
            self._newest.popitem(last=False)


def is_blank(live: Live) -> bool:
    """Whether there is nothing to see: no page, or one that was never navigated."""
    pages = live.context.pages() if live.context is not None else []
    return not pages or pages[-1].url == "about:blank"


def etag(jpeg: bytes) -> str:
    """An entity tag for `If-None-Match`, equal for equal images."""
    return f'"{hashlib.sha256(jpeg).hexdigest()[:20]}"'
