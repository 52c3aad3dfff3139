"""Small pictures of sessions: at most one capture a second each, whoever asks, and the last one kept after the end."""

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

FRESH_S: Final = 1.0
"""Younger pictures are not taken again. A capture takes Chromium 5 to 20 ms."""
CAPTURE_S: Final = 1.5
"""A page that paints gives its picture in a few milliseconds; one that does not is shown as it was."""
CAPTURES_AT_ONCE: Final = 4
"""Two hundred cards that come into sight must not take both cores from the pages."""
KEPT: Final = 1_000
"""Sessions whose last picture is kept in memory, of 5 to 100 kB each; those that ended are in the archive too."""
KEPT_BYTES: Final = 2 * 2**20
"""A larger picture (of an 8K viewport) is shown, not kept."""


@dataclass(frozen=True, slots=True)
class Picture:
    jpeg: bytes
    taken: float
    """Monotonic seconds."""


class Pictures:
    """The newest picture of each session, by session id. Looking here is no activity."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._newest: OrderedDict[str, Picture] = OrderedDict()
        self._taking: dict[str, asyncio.Task[None]] = {}
        self._tried: dict[str, float] = {}
        self._captures = asyncio.Semaphore(CAPTURES_AT_ONCE)

    async def thumbnail(self, session_id: str, max_width: int) -> Picture | None:
        """The session's newest page now or a second ago, or as it was last; None when there is no picture (yet)."""
        live = self._pool.registry.lives.get(session_id)
        if live is not None and live.context is not None and not self._is_fresh(session_id):
            taking = self._taking.get(session_id)
            if taking is None:
                taking = self._taking[session_id] = asyncio.create_task(self._take(live, max_width))
                taking.add_done_callback(lambda _: self._taking.pop(session_id, None))
            await asyncio.wait({taking})
        return self._newest.get(session_id)

    def last(self, session_id: str) -> bytes | None:
        """The last picture that anybody saw of a session."""
        picture = self._newest.get(session_id)
        return None if picture is None else picture.jpeg

    def saw(self, session_id: str, frame: Frame) -> None:
        """Somebody was just shown this: it is the newest picture, for nothing."""
        self._keep(session_id, frame.jpeg)

    def _is_fresh(self, session_id: str) -> bool:
        now = self._pool.clock.monotonic()
        picture = self._newest.get(session_id)
        last = max(picture.taken if picture else 0.0, self._tried.get(session_id, 0.0))
        return now - last < FRESH_S

    async def _take(self, live: Live, max_width: int) -> None:
        session_id = live.session.session_id
        with contextlib.suppress(BrowserSessionsError):  # hung, crashed, gone: the one before is shown
            async with self._captures:
                context = live.context
                pages = context.pages() if context is not None else []
                if context is None or not pages:
                    return
                frame = await context.screen(pages[-1].page_id).still(max_width, timeout=CAPTURE_S)
                self._keep(session_id, frame.jpeg)
        self._tried[session_id] = self._pool.clock.monotonic()
        if len(self._tried) > 2 * KEPT:
            lives = self._pool.registry.lives
            self._tried = {known: moment for known, moment in self._tried.items() if known in lives}

    def _keep(self, session_id: str, jpeg: bytes) -> None:
        before = self._newest.get(session_id)
        if len(jpeg) > KEPT_BYTES or (before is not None and before.jpeg is jpeg):
            return
        self._newest[session_id] = Picture(jpeg, self._pool.clock.monotonic())
        self._newest.move_to_end(session_id)
        if len(self._newest) > KEPT:
            self._newest.popitem(last=False)


def etag(jpeg: bytes) -> str:
    """For `If-None-Match`: the same picture has the same one."""
    return f'"{hashlib.sha256(jpeg).hexdigest()[:20]}"'
