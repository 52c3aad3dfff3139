"""How often somebody may try: a fixed number in a sliding window, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

from browser_sessions.domain.clock import Clock
from browser_sessions.domain.errors import QuotaExceeded

MAX_WATCHED: Final = 10_000
"""Names watched at once, about 5 MB; beyond that the one that was quiet longest is forgotten."""


class Throttle:
    """`attempts` in `window_seconds` for each name."""

    def __init__(self, clock: Clock, *, attempts: int, window_seconds: float, watched: int = MAX_WATCHED) -> None:
        self._clock = clock
        self._attempts = attempts
        self._window = window_seconds
        self._watched = watched
        self._moments: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._moments)

    def attempt(self, name: str) -> None:
        """Counts one attempt now. Raises `QuotaExceeded` when the window is full; that one does not count."""
        now = self._clock.monotonic()
        moments = self._moments.setdefault(name, deque(maxlen=self._attempts))
        self._moments.move_to_end(name)
        if len(self._moments) > self._watched:
            self._moments.popitem(last=False)
        if len(moments) == self._attempts and now - moments[0] < self._window:
            raise QuotaExceeded(
                "Too many attempts to sign in. Wait before the next one.",
                retry_after=self._window - (now - moments[0]),
            )
        moments.append(now)

    def forgive(self, name: str) -> None:
        """Forgets the attempts of `name`: it was right."""
        self._moments.pop(name, None)
