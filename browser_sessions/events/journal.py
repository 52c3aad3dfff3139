"""The journal: numbered events in bounded rings, readable from any position that is still kept.

Readers hold a position, not a buffer: a slow one costs nothing and is notified that it missed events.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from browser_sessions.domain.clock import Clock
from browser_sessions.domain.event_types import EVENTS
from browser_sessions.domain.text import clipped
from browser_sessions.domain.urls import without_passwords

SESSION_EVENTS: Final = 500
"""Events kept for each session: the last minutes of a busy page, at most about 150 kB."""
SESSION_UPDATES: Final = 60
"""A minute's worth of transient events (`EventType.transient`), which would push everything else out of the history."""
NODE_EVENTS: Final = 5_000
"""Events kept for streams of all sessions: about a minute of 100 busy ones."""


@dataclass(frozen=True, slots=True)
class Event:
    """`seq` counts over the whole node, so that one position is valid in every stream."""

    seq: int
    at: datetime
    kind: str
    session_id: str | None
    owner: str | None
    data: dict[str, Any]


def clip(value: Any) -> Any:
    """As `clipped`, without passwords of addresses, also inside lists and mappings."""
    if isinstance(value, str):
        return clipped(without_passwords(value))
    if isinstance(value, dict):
        return {str(clip(key)): clip(item) for key, item in list(value.items())[:50]}
    if isinstance(value, list | tuple):
        return [clip(item) for item in value[:50]]
    return value


class Journal:
    """Written with `publish`, read with `since` and `news`; all on the event loop."""

    def __init__(self, clock: Clock) -> None:
        self.boot = secrets.token_hex(4)
        """Distinguishes positions of this run from those of an earlier one."""
        self.newest = 0
        self.sinks: list[Callable[[Event], None]] = []
        """Called with every event: log and metrics are derived from the same events."""
        self.clock = clock
        self._all: deque[Event] = deque(maxlen=NODE_EVENTS)
        self._by_session: dict[str, deque[Event]] = {}
        self._updates: dict[str, deque[Event]] = {}
        """Transient events by session."""
        self._news = asyncio.Event()
        self.closed = False
        """True once nothing more will be published: readers end."""

    def publish(self, kind: str, session_id: str | None = None, owner: str | None = None, /, **data: Any) -> Event:
        self.newest += 1
        event = Event(self.newest, self.clock.wall(), kind, session_id, owner, clip(data))
        self._all.append(event)
        if session_id is not None:
            if kind in _PASSING:
                self._updates.setdefault(session_id, deque(maxlen=SESSION_UPDATES)).append(event)
            else:
                self._by_session.setdefault(session_id, deque(maxlen=SESSION_EVENTS)).append(event)
        self._wake()
        for sink in self.sinks:
            sink(event)
        return event

    def since(self, seq: int, *, session_id: str | None = None, owner: str | None = None) -> tuple[list[Event], bool]:
        """Events after `seq`, oldest first, of a session, an owner or all, and whether earlier ones were dropped."""
        if session_id is None:
            return _after(self._all, seq, owner)
        story, story_missed = _after(self._by_session.get(session_id, _NONE), seq, owner)
        updates, updates_missed = _after(self._updates.get(session_id, _NONE), seq, owner)
        if updates:
            story = sorted(story + updates, key=lambda event: event.seq)
        return story, story_missed or updates_missed

    async def news(self, seq: int) -> None:
        """Returns when an event newer than `seq` is there, or the journal is closed."""
        while self.newest <= seq and not self.closed:
            await self._news.wait()

    def of(self, session_id: str) -> list[Event]:
        """The events kept of one session, oldest first, without transient ones."""
        return list(self._by_session.get(session_id, ()))

    def forget(self, session_id: str) -> None:
        self._by_session.pop(session_id, None)
        self._updates.pop(session_id, None)

    def close(self) -> None:
        """Wakes all readers: nothing more will be published."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


_PASSING: Final = frozenset(name for name, known in EVENTS.items() if known.transient)
_NONE: Final[deque[Event]] = deque(maxlen=1)


def _after(ring: deque[Event], seq: int, owner: str | None) -> tuple[list[Event], bool]:
    missed = len(ring) == ring.maxlen and ring[0].seq > seq + 1
    fresh: list[Event] = []
    for event in reversed(ring):
        if event.seq <= seq:
            break
        if owner is None or event.owner == owner:
            fresh.append(event)
    fresh.reverse()
    return fresh, missed
