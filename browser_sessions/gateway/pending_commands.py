"""Commands of one client without a response: its session is in use while there is one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from browser_sessions.domain.clock import Clock
from browser_sessions.domain.session import Session


class PendingCommands:
    """Counted by CDP session; None is the client's browser session."""

    def __init__(self, session: Session, clock: Clock) -> None:
        self._session = session
        self._clock = clock
        self._pending: Counter[str | None] = Counter()

    def sent(self, level: str | None) -> None:
        self._session.begin_use(self._clock.monotonic())
        self._pending[level] += 1

    def answered(self, level: str | None) -> None:
        left = self._pending[level] - 1
        if left >= 0:  # negative: the response to a command that is forwarded without being counted
            self._session.end_use(self._clock.monotonic())
        if left > 0:
            self._pending[level] = left
        else:
            del self._pending[level]

    def drop(self, level: str | None) -> None:
        """There will be no more responses on this CDP session."""
        pending = self._pending.pop(level, 0)
        if pending:
            self._session.end_use(self._clock.monotonic(), uses=pending)

    def drop_unless(self, holds: Callable[[str], bool]) -> None:
        """Drops those of CDP sessions that are gone: a detached one, and those attached through it."""
        for level in tuple(self._pending):
            if level is not None and not holds(level):
                self.drop(level)

    def drop_all(self) -> None:
        for level in tuple(self._pending):
            self.drop(level)
