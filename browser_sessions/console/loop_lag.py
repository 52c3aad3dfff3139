"""How late the event loop runs: what everything else on it has to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

SAMPLE_EVERY_S: Final = 0.1
"""Ten looks a second: a stall of 100 ms or more is always seen, and looking costs microseconds."""


class LoopLag:
    """One sampler. `observe` is told every sample in seconds; `worst` is the largest since it was last asked."""

    def __init__(self, observe: Callable[[float], None] | None = None) -> None:
        self._observe = observe
        self._worst = 0.0

    def worst(self) -> float:
        """Seconds; asking starts anew."""
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
