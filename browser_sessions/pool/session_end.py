"""Ending a session: no more clients, the context closed, the final record stored."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from browser_sessions.background_tasks import Background
from browser_sessions.domain.clock import Clock
from browser_sessions.domain.session import EndReason, SessionRecord, SessionStatus
from browser_sessions.events.journal import Journal
from browser_sessions.pool.admission import Admission
from browser_sessions.pool.browsers.fleet import Fleet
from browser_sessions.pool.live_session import Ending, Live, Opened
from browser_sessions.pool.registry import Registry
from browser_sessions.pool.session_egress import TOTALS
from browser_sessions.tracing import span

CLOSE_GRACE_S: Final = 0.5
"""Seconds that an end waits for the context to close (it takes 10 to 30 ms) after its record was stored meanwhile. The
session accepts nothing any more either way, and counts against the limits until its context is closed."""
CLOSE_TIMEOUT_S: Final = 10.0
"""Seconds. A context that is not closed by then goes when its browser ends."""


@dataclass(eq=False, repr=False)
class Ender:
    """Ends active sessions, and closes what a failed start has opened."""

    admission: Admission
    registry: Registry
    fleet: Fleet
    journal: Journal
    clock: Clock
    background: Background
    before_close: Callable[[Live], Awaitable[None]] | None = None
    """Awaited before the context closes, unless its browser died: captures the last picture. Short; raises nothing.
    Until then its status is `closing`."""
    traffic: Counter[str] = field(init=False, default_factory=Counter)
    """Of all ended sessions."""

    def begin(self, live: Live, reason: EndReason) -> asyncio.Future[SessionRecord]:
        """The only way out of `active`. When it returns, the status has changed and the session accepts nothing more.

        The future is the final record; it need not be awaited.
        """
        if isinstance(live.state, Ending):
            return live.state.record
        session, opened = live.session, live.opened
        died = reason.status is SessionStatus.CRASHED
        session.move(SessionStatus.CRASHED if died else SessionStatus.CLOSING)
        session.end_reason = reason
        session.ended = self.clock.monotonic()
        live.dismiss(reason)
        record = self.background.run(self._end(live, opened, reason))
        live.state = Ending(opened.slot, opened.process, opened.context, record)
        return record

    async def _end(self, live: Live, opened: Opened, reason: EndReason) -> SessionRecord:
        session = live.session
        with span("session.end", session_id=session.session_id, reason=reason.value):
            died = session.status is SessionStatus.CRASHED
            try:
                if self.before_close is not None and not died:
                    await self.before_close(live)
            finally:
                closing = self.background.run(self.close(opened, session.owner))
            if died:
                return await self.retire(live)
            session.move(reason.status)
            return await self.retire(live, closing)

    async def close(self, opened: Opened, owner: str) -> None:
        """Closes a context, then frees its capacity."""
        try:
            await opened.context.close(timeout=CLOSE_TIMEOUT_S)
        finally:
            self.fleet.give_back(opened.slot)
            self.admission.release(owner)

    async def retire(self, live: Live, closing: asyncio.Task[None] | None = None) -> SessionRecord:
        """Stores the final record, and publishes it once its context is closed."""
        session = live.session
        session.traffic = live.traffic
        self.traffic.update({name: count for name, count in (session.traffic or {}).items() if name in TOTALS})
        record = await self.registry.retire(live)
        if closing is not None:
            await asyncio.wait([closing], timeout=CLOSE_GRACE_S)
        ended = session.created if session.ended is None else session.ended
        was_active = isinstance(live.state, Ending)
        self.journal.publish(
            "session.ended",
            record.session_id,
            record.owner,
            status=record.status.value,
            reason=record.end_reason.value if record.end_reason else None,
            seconds=round(ended - session.created, 3),
            closing_seconds=round(self.clock.monotonic() - ended, 4) if was_active else None,
            bytes_up=session.traffic["bytes_up"] if session.traffic else None,
            bytes_down=session.traffic["bytes_down"] if session.traffic else None,
        )
        return record
