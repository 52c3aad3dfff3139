"""Time is passed in. Deadlines use the monotonic clock, records the wall clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final, Protocol

JUMP_SECONDS: Final = 0.5
"""A difference between the two clocks beyond this is a jump of the wall clock, not the drift of a slewed one."""


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""

    def wall(self, at: float | None = None) -> datetime:
        """The UTC time of day at the monotonic moment `at` (default: now)."""


class SystemClock:
    """Both clocks, tied together once, so that times of one record never contradict each other.

    When the host's clock is set, `follow` ties them anew: deadlines do not move, and what is shown is right by the new
    clock.
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self, at: float | None = None) -> datetime:
        return datetime.fromtimestamp(self._offset + (time.monotonic() if at is None else at), UTC)

    def follow(self) -> float:
        """Ties the clocks anew after a jump; returns its size in seconds, 0.0 when there was none."""
        drift = (time.time() - time.monotonic()) - self._offset
        if abs(drift) < JUMP_SECONDS:
            return 0.0
        self._offset += drift
        return drift
