"""Flow control of one viewer: adapts frame quality and size to its ack latency. Times in seconds."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Final

from browser_sessions.chromium.ports import StreamSettings

MAX_IN_FLIGHT: Final = 2
"""Unacknowledged frames: one in transit while one is drawn. More would only be outdated when drawn."""
ACK_TIMEOUT_S: Final = 2.0
"""After this a frame counts as lost: the viewer could not decode it."""
ADJUST_EVERY_S: Final = 1.5
"""Interval of adjustments: about 45 frames at full rate."""
SLOW_S: Final = 0.35
"""Ack latency above which dragging feels detached from the pointer."""
FAST_S: Final = 0.12
UPGRADE_AFTER: Final = 4
"""Consecutive fast intervals before the next better level is tried."""
LEVELS: Final = ((70, 1.0), (55, 1.0), (40, 0.75), (30, 0.5))
"""(JPEG quality, fraction of the requested size), best first."""


class FlowControl:
    """Of one viewer."""

    def __init__(self, requested: StreamSettings) -> None:
        self.requested = requested
        self._in_flight: deque[tuple[int, float]] = deque()
        self._latencies: list[float] = []
        self._adjusted_at = 0.0
        self._level = 0
        self._fast_intervals = 0

    @property
    def current(self) -> StreamSettings:
        """The requested settings, reduced to the viewer's level."""
        quality, fraction = LEVELS[self._level]
        requested = self.requested
        return replace(
            requested,
            quality=min(requested.quality, quality),
            max_width=round(requested.max_width * fraction),
            max_height=round(requested.max_height * fraction),
        )

    def may_send(self, now: float) -> bool:
        while self._in_flight and now - self._in_flight[0][1] > ACK_TIMEOUT_S:
            self._latencies.append(ACK_TIMEOUT_S)
            self._in_flight.popleft()
        return len(self._in_flight) < MAX_IN_FLIGHT

    def until_timeout(self, now: float) -> float:
        """Seconds until the oldest unacknowledged frame counts as lost."""
        return max(0.0, self._in_flight[0][1] + ACK_TIMEOUT_S - now) if self._in_flight else 0.0

    def sent(self, seq: int, now: float) -> None:
        self._in_flight.append((seq, now))

    def acked(self, seq: int, now: float) -> None:
        """An ack of frame `seq` and of all frames before it."""
        while self._in_flight and self._in_flight[0][0] <= seq:
            self._latencies.append(now - self._in_flight.popleft()[1])

    def reset(self) -> None:
        """For another page, whose sequence numbers start again."""
        self._in_flight.clear()

    def adjust(self, now: float) -> bool:
        """Adjusts the level once per interval. True if it has changed."""
        if now - self._adjusted_at < ADJUST_EVERY_S or not self._latencies:
            return False
        median = sorted(self._latencies)[len(self._latencies) // 2]
        self._latencies.clear()
        self._adjusted_at = now
        before = self._level
        if median > SLOW_S:
            self._fast_intervals = 0
            self._level = min(self._level + 1, len(LEVELS) - 1)
        elif median < FAST_S:
            self._fast_intervals += 1
            if self._fast_intervals >= UPGRADE_AFTER:
                self._fast_intervals = 0
                self._level = max(self._level - 1, 0)
        else:
            self._fast_intervals = 0
        return self._level != before
