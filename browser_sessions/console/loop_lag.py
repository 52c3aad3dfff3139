"""Measures the lag of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

SAMPLE_EVERY_S: Final = 0.1
"""Seconds. Every stall of 100 ms or more is seen; a sample costs microseconds."""


class LoopLag:
    """Calls `observe` with every sample, in seconds."""

    def __init__(self, observe: Callable[[float], None] | None = None) -> None:
        self._observe = observe
        self._worst = 0.0

    def worst(self) -> float:
        """The largest sample since the last call, in seconds."""
        worst, self._worst = self._worst, 0.0
        return worst

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + SAMPLE_EVERY_S
            await asyncio.sleep(SAMPLE_EVERY_S)
            late = max(0.0, loop.time() - due)
            self._worst = max(self._worst, late)
            if self._observe is not None:
                self._observe(late)
