"""A rate limit: a number of attempts in a sliding window, in bounded memory."""

from __future__ import annotations

from collections import deque
from typing import Final

from cachetools import LRUCache

from browser_sessions.domain.clock import Clock
from browser_sessions.domain.errors import QuotaExceeded

MAX_NAMES: Final = 10_000
"""Names tracked at once, about 5 MB; beyond that the least recently used one is dropped."""


class Throttle:
    """Allows `attempts` in `window_seconds` for each name."""

    def __init__(self, clock: Clock, *, attempts: int, window_seconds: float, max_names: int = MAX_NAMES) -> None:
        self._clock = clock
        self._attempts = attempts
        self._window = window_seconds
        self._attempted_at: LRUCache[str, deque[float]] = LRUCache(max_names)

    def __len__(self) -> int:
        return len(self._attempted_at)

    def attempt(self, name: str) -> None:
        """Counts an attempt. Raises `QuotaExceeded` if the window is full; a rejected attempt does not count."""
        now = self._clock.monotonic()
        times = self._attempted_at.setdefault(name, deque(maxlen=self._attempts))
        if len(times) == self._attempts and now - times[0] < self._window:
            raise QuotaExceeded(
                "Too many sign-in attempts. Wait before the next one.",
                retry_after=self._window - (now - times[0]),
            )
        times.append(now)

    def reset(self, name: str) -> None:
        """Drops the attempts of `name` after a success."""
        self._attempted_at.pop(name, None)
