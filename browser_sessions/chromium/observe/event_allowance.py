"""Rate limit for events of pages."""

from __future__ import annotations

from typing import Final

BURST: Final = 200
"""Events of one domain at once: as many as one page load may cause."""
PER_SECOND: Final = 20.0
"""Sustained rate, which a person can still follow. At most 72,000 events an hour."""


class Allowance:
    """Token bucket: `BURST` events, refilled at `PER_SECOND`. Pure; times are seconds on the loop's clock."""

    def __init__(self, now: float) -> None:
        self._left = float(BURST)
        self._at = now

    def take(self, now: float) -> bool:
        """Whether one more event is allowed."""
        self._left = min(float(BURST), self._left + (now - self._at) * PER_SECOND)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
