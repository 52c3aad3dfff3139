"""How much of what a page says is listened to."""

from __future__ import annotations

from typing import Final

BURST: Final = 200
"""Events of one domain at once: a page load's worth."""
PER_SECOND: Final = 20.0
"""After a burst: what a person can still follow, and 72,000 an hour at the most."""


class Allowance:
    """A bucket of `BURST` events that fills by `PER_SECOND`. Pure; moments are seconds on the loop's clock."""

    def __init__(self, now: float) -> None:
        self._left = float(BURST)
        self._at = now

    def take(self, now: float) -> bool:
        """True when one more may pass."""
        self._left = min(float(BURST), self._left + (now - self._at) * PER_SECOND)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
