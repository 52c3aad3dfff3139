"""The console's read model: all sessions, what changed since the last turn, and an hour of history. From memory."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from cachetools import FIFOCache

from browser_sessions.background_tasks import every
from browser_sessions.console.loop_lag import LoopLag
from browser_sessions.domain.event_types import ROW_FIELDS
from browser_sessions.domain.ports import SessionQuery
from browser_sessions.domain.session import FINAL, SessionRecord
from browser_sessions.domain.session_view import SessionView
from browser_sessions.events.journal import Event
from browser_sessions.pool.manager import Pool

LOOK_EVERY_S: Final = 1.0
"""Seconds between two comparisons of all sessions: 200 that all changed take two milliseconds."""
AT_ONCE: Final = 50
"""Sessions compared before the event loop runs other tasks."""
POOL_EVERY: Final = 2
"""Turns between two comparisons of the pool's state."""
POINT_EVERY_S: Final = 10.0
POINTS: Final = 360
"""An hour of points."""
ENDED_SHOWN: Final = 500
"""Newest ended sessions in the overview."""
LAST_SEEN: Final = 2_000
"""Ended sessions whose last title and URL are kept, as many as the registry keeps in memory: about 2 MB."""
_ALWAYS_MOVES: Final = frozenset({"age_seconds"})

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Point:
    """The node at one moment. `refused` counts since the start; `loop_lag_ms` is the largest since the last point."""

    at: datetime
    active: int
    queue: int
    refused: int
    memory_bytes: int
    loop_lag_ms: float
    browsers: int


class Overview:
    """Views, history, and the events that keep consoles up to date."""

    def __init__(self, pool: Pool, lag: LoopLag) -> None:
        self.history: deque[Point] = deque(maxlen=POINTS)
        self._pool = pool
        self._lag = lag
        self._published: dict[str, Row] = {}
        self._published_pool: dict[str, Any] = {}
        self._seen: FIFOCache[str, tuple[str, str, int]] = FIFOCache(LAST_SEEN)
        """(title, URL, number of pages) of ended sessions."""
        self._went: dict[str, tuple[str, str]] = {}
        """(title, URL) of a live session's last navigation, for one that ends before the next turn."""
        self._looks = 0
        pool.journal.sinks.append(self._happened)

    async def views(self, owner: str | None) -> list[SessionView]:
        """Live sessions, then the newest ended ones, each newest first, of one owner or of all. Raises
        `StoreUnavailable`."""
        lives, clock = self._pool.registry.lives, self._pool.clock
        views = [live.view(clock) for live in list(lives.values()) if owner is None or live.session.owner == owner]
        views.sort(key=lambda view: (view.record.created_at, view.record.session_id), reverse=True)
        ended = await self._pool.registry.list(SessionQuery(owner=owner, statuses=FINAL, limit=ENDED_SHOWN))
        return views + [self._ended(record) for record in ended if record.session_id not in lives]

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as loops:
            loops.create_task(every(LOOK_EVERY_S, self.look))
            loops.create_task(every(POINT_EVERY_S, self.point))

    async def look(self) -> None:
        """Publishes what changed since the last turn."""
        self._looks += 1
        lives = self._pool.registry.lives
        for place, (session_id, live) in enumerate(list(lives.items())):
            if place % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            if session_id not in lives:
                continue
            row = live.view(self._pool.clock).pick(ROW_FIELDS)
            before = self._published.get(session_id)
            self._published[session_id] = row
            if live.session.status.final:
                continue
            # The first time all fields: a page may show what it read before this turn.
            changed = {name: value for name, value in row.items() if before is None or value != before[name]}
            if changed:
                self._pool.journal.publish("session.updated", session_id, live.session.owner, **changed)
        if self._looks % POOL_EVERY == 0:
            self._look_at_pool()

    async def point(self) -> None:
        """Adds one point to the history."""
        state = self._pool.report.snapshot()
        self.history.append(
            Point(
                at=self._pool.clock.wall(),
                active=state.taken,
                queue=state.queue,
                refused=state.refused_total,
                memory_bytes=sum(browser.memory_bytes or 0 for browser in state.browsers),
                loop_lag_ms=round(self._lag.worst() * 1000, 1),
                browsers=len(state.browsers),
            )
        )

    def _look_at_pool(self) -> None:
        state = asdict(self._pool.report.snapshot())
        lasting = state | {
            "browsers": [
                {name: value for name, value in browser.items() if name not in _ALWAYS_MOVES}
                for browser in state["browsers"]
            ]
        }
        if lasting != self._published_pool:
            self._published_pool = lasting
            self._pool.journal.publish("pool.updated", **state)

    def _ended(self, record: SessionRecord) -> SessionView:
        title, url, pages = self._seen.get(record.session_id, ("", "", 0))
        return SessionView.of_ended(record, title, url, pages)

    def _happened(self, event: Event) -> None:
        """Keeps the last title and URL of a session."""
        if event.session_id is None:
            return
        live = self._pool.registry.lives.get(event.session_id)
        if event.kind == "page.navigated" and live is not None and not live.session.status.final:
            self._went[event.session_id] = (event.data["title"], event.data["url"])
        elif event.kind == "session.ended":
            row = self._published.pop(event.session_id, None)
            went = self._went.pop(event.session_id, None)
            if row is not None and row["url"]:
                self._seen[event.session_id] = (row["title"], row["url"], row["page_count"])
            elif went is not None:
                self._seen[event.session_id] = (*went, 1)
