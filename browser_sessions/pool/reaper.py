"""Ends what is due."""

from __future__ import annotations

from typing import Final

from browser_sessions.domain.session import overdue
from browser_sessions.pool.manager import Pool

REAP_EVERY_S: Final = 0.1
"""Looking at a thousand sessions takes a fifth of a millisecond; a session that is due a tenth of a second ago may go
now."""


class Reaper:
    """One loop for all sessions. Looking and ending happen without an await between them: no activity slips in."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def turn(self) -> None:
        for session, reason in overdue(self._pool.registry.sessions.values(), self._pool.clock.monotonic()):
            live = self._pool.registry.lives[session.session_id]
            if self._pool.starter.cancel(live, reason) is None:
                _ = self._pool.ender.begin(live, reason)
