"""How much one viewer can take, from how soon it says that it has drawn a frame. Pure; moments are seconds."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Final

from browser_sessions.chromium.ports import Demand

IN_FLIGHT: Final = 2
"""Frames on the way to a viewer: one that travels while one is drawn. More would only be older when they are seen."""
LOST_S: Final = 2.0
"""A frame that was not told as drawn by then never will be: the viewer could not read it."""
LOOK_EVERY_S: Final = 1.5
"""Between two judgements: two dozen frames at full rate."""
SLOW_S: Final = 0.35
"""From sending to drawn: beyond it a hand that drags something is no longer believed by its eye."""
QUICK_S: Final = 0.12
PATIENCE: Final = 4
"""Quick judgements in a row before more is tried."""
LEVELS: Final = ((70, 1.0), (55, 1.0), (40, 0.75), (30, 0.5))
"""(JPEG quality, part of the width asked for), the best first."""


class Pace:
    """One viewer's. `sent` and `drawn` are told; `may_send` and `demand` answer."""

    def __init__(self, demand: Demand) -> None:
        self.asked = demand
        self._on_the_way: deque[tuple[int, float]] = deque()
        self._took: list[float] = []
        self._judged = 0.0
        self._level = 0
        self._quick = 0

    @property
    def demand(self) -> Demand:
        """What was asked for, at the level that the viewer can take."""
        quality, part = LEVELS[self._level]
        asked = self.asked
        return replace(
            asked,
            quality=min(asked.quality, quality),
            max_width=round(asked.max_width * part),
            max_height=round(asked.max_height * part),
        )

    def may_send(self, now: float) -> bool:
        while self._on_the_way and now - self._on_the_way[0][1] > LOST_S:
            self._took.append(LOST_S)
            self._on_the_way.popleft()
        return len(self._on_the_way) < IN_FLIGHT

    def wait(self, now: float) -> float:
        """Seconds after which `may_send` may say yes though nothing is told."""
        return max(0.0, self._on_the_way[0][1] + LOST_S - now) if self._on_the_way else 0.0

    def sent(self, seq: int, now: float) -> None:
        self._on_the_way.append((seq, now))

    def drawn(self, seq: int, now: float) -> None:
        """It drew frame `seq`, and will not draw what was sent before."""
        while self._on_the_way and self._on_the_way[0][0] <= seq:
            self._took.append(now - self._on_the_way.popleft()[1])

    def restart(self) -> None:
        """Another page: numbers begin anew, and what is on the way is nobody's."""
        self._on_the_way.clear()

    def judge(self, now: float) -> bool:
        """True when the level has changed."""
        if now - self._judged < LOOK_EVERY_S or not self._took:
            return False
        typical = sorted(self._took)[len(self._took) // 2]
        self._took.clear()
        self._judged = now
        before = self._level
        if typical > SLOW_S:
            self._quick = 0
            self._level = min(self._level + 1, len(LEVELS) - 1)
        elif typical < QUICK_S:
            self._quick += 1
            if self._quick >= PATIENCE:
                self._quick = 0
                self._level = max(self._level - 1, 0)
        else:
            self._quick = 0
        return self._level != before
