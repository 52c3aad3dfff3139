"""Thumbnails of sessions: at most one capture a second per session; the last one is kept after its end."""

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
MAX_KEPT: Final = 1_000
"""Sessions whose thumbnail is kept in memory, 5 to 100 kB each; those of ended sessions are in the archive too."""
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

    def last(self, session_id: str) -> bytes | None:
        """The last thumbnail of a session, without a new capture."""
        thumbnail = self._newest.get(session_id)
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
            async with self._captures:
                context = live.context
                pages = context.pages() if context is not None else []
                if context is None or not pages:
                    return
                frame = await context.screen(pages[-1].page_id).snapshot(max_width, timeout=CAPTURE_TIMEOUT_S)
                self._keep(session_id, frame.jpeg)
        self._tried_at[session_id] = self._pool.clock.monotonic()
        if len(self._tried_at) > 2 * MAX_KEPT:
            lives = self._pool.registry.lives
            self._tried_at = {known: tried_at for known, tried_at in self._tried_at.items() if known in lives}

    def _keep(self, session_id: str, jpeg: bytes) -> None:
        before = self._newest.get(session_id)
        if len(jpeg) > MAX_KEPT_BYTES or (before is not None and before.jpeg is jpeg):
            return
        self._newest[session_id] = Thumbnail(jpeg, self._pool.clock.monotonic())
        self._newest.move_to_end(session_id)
        if len(self._newest) > MAX_KEPT:
            self._newest.popitem(last=False)


def etag(jpeg: bytes) -> str:
    """An entity tag for `If-None-Match`, equal for equal images."""
    return f'"{hashlib.sha256(jpeg).hexdigest()[:20]}"'
