"""The clock that is passed to everything that needs the time: monotonic for deadlines, wall time for records."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final, Protocol

JUMP_SECONDS: Final = 0.5
"""A larger difference between the two clocks is a jump of the wall clock, not the drift of a slewed one."""


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""

    def wall(self, at: float | None = None) -> datetime:
        """The UTC time of day at the monotonic moment `at` (default: now)."""


class SystemClock:
    """Wall time is derived from the monotonic clock by a fixed offset, so the times of a record are consistent.

    After the host's clock was set, `resync` corrects the offset; deadlines do not move.
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self, at: float | None = None) -> datetime:
        return datetime.fromtimestamp(self._offset + (time.monotonic() if at is None else at), UTC)

    def resync(self) -> float:
        """Adopts a jump of the host's clock. Returns its size in seconds, 0.0 when there was none."""
        drift = (time.time() - time.monotonic()) - self._offset
        if abs(drift) < JUMP_SECONDS:
            return 0.0
        self._offset += drift
        return drift
