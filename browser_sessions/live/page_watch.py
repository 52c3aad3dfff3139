"""Probes the pages of all sessions, and captures those that nobody watches, because their browser may die."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from browser_sessions.background_tasks import every
from browser_sessions.domain.errors import BrowserSessionsError
from browser_sessions.domain.session import SessionStatus
from browser_sessions.live.thumbnails import LAST_WIDTH, Thumbnails, is_blank
from browser_sessions.pool.live_session import Live
from browser_sessions.pool.manager import Pool

TURN_S: Final = 1.0
FIRST_PROBE_S: Final = 3.0
"""After the start of a session: by then most pages have loaded."""
PROBE_EVERY_S: Final = 10.0
"""A probe takes a renderer less than a millisecond; in a list of sessions ten seconds go unnoticed."""
PROBE_AGAIN_S: Final = 2.0
"""After a probe without a response, so that recovery is seen soon."""
PROBE_TIMEOUT_S: Final = 1.5
"""As of `/health`."""
MAX_PROBES: Final = 20
"""Per turn: 200 sessions in ten seconds."""


class PageWatch:
    """Sets `Live.responsive`, and captures at most one unwatched session per turn, which takes about 10 ms."""

    def __init__(self, pool: Pool, thumbnails: Thumbnails) -> None:
        self._pool = pool
        self._thumbnails = thumbnails
        self._due: dict[str, float] = {}
        """Monotonic seconds of the next probe, by session id."""

    async def run(self) -> None:
        """Until cancelled."""
        await every(TURN_S, self.turn)

    async def turn(self) -> None:
        now = self._pool.clock.monotonic()
        active = {
            session_id: live
            for session_id, live in self._pool.registry.lives.items()
            if live.session.status is SessionStatus.ACTIVE
        }
        self._due = {session_id: self._due.get(session_id, now + FIRST_PROBE_S) for session_id in active}
        due = sorted((at, session_id) for session_id, at in self._due.items() if at <= now)[:MAX_PROBES]
        await asyncio.gather(*(self._probe(active[session_id]) for _, session_id in due))
        changed = [active[session_id] for _, session_id in due if self._is_out_of_date(active[session_id])]
        if changed:
            stalest = min(changed, key=self._captured)
            await self._thumbnails.thumbnail(stalest.session.session_id, LAST_WIDTH)

    async def _probe(self, live: Live) -> None:
        context = live.context
        if context is not None:
            with contextlib.suppress(BrowserSessionsError):  # its browser has died, and the session ends
                live.responsive = await context.responsive(timeout=PROBE_TIMEOUT_S)
        pause = PROBE_EVERY_S if live.responsive else PROBE_AGAIN_S
        self._due[live.session.session_id] = self._pool.clock.monotonic() + pause

    def _captured(self, live: Live) -> float:
        """Monotonic seconds of its newest thumbnail; 0 without one."""
        thumbnail = self._thumbnails.newest(live.session.session_id)
        return 0.0 if thumbnail is None else thumbnail.taken

    def _is_out_of_date(self, live: Live) -> bool:
        """Whether nobody watches it, and it was used since its newest thumbnail."""
        unseen = not live.viewers and live.responsive and not is_blank(live)
        return unseen and live.session.last_used(self._pool.clock.monotonic()) > self._captured(live)
