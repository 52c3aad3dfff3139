"""Probes every browser twice a second and kills one that does not respond."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from browser_sessions.background_tasks import every
from browser_sessions.chromium.ports import BrowserProcess
from browser_sessions.domain.errors import BrowserGone, BrowserTimeout
from browser_sessions.domain.session import EndReason
from browser_sessions.pool.browsers.fleet import BrowserSlot, Fleet, Running

PROBE_EVERY_S: Final = 0.5
"""Seconds between the end of one turn and the next. With two misses of a second each, a hung browser is found within
three seconds."""
PROBE_TIMEOUT_S: Final = 1.0
"""Seconds. A healthy browser responds within a millisecond, an overloaded one within a few hundred."""
MISSES: Final = 2
"""Consecutive misses without processor time after which a browser is killed: with the start of another one, five
seconds after it hung."""
MISSES_WHILE_WORKING: Final = 20
"""For a browser that, like its driver, uses processor time between the misses: it is overloaded, not hung, and killing
it would end healthy sessions. After half a minute it counts as hung in a loop."""
CALM_AT: Final = 4
"""Misses after which the busiest page of an overloaded browser is killed, and the next one after two more: up to four
pages before the browser itself is."""
CALM_AGAIN: Final = 2
LATE_S: Final = 0.5
"""Seconds. A probe that timed out this much late says that our own event loop was blocked: the response may be there
unread."""
MEMORY_EVERY: Final = 30
"""Turns between two readings of a browser's memory: each takes milliseconds a process."""


class Supervisor:
    """One loop over all browsers: probes them, measures their memory, retires old ones, keeps one spare."""

    def __init__(self, fleet: Fleet, observe: Callable[[float], None] | None = None) -> None:
        """`observe` is called with the seconds that each response took."""
        self._fleet = fleet
        self._observe = observe
        self._turns = 0

    async def run(self) -> None:
        """Until cancelled."""
        await every(PROBE_EVERY_S, self.turn)

    async def turn(self) -> None:
        self._turns += 1
        running = self._fleet.running
        await asyncio.gather(*(self._probe(slot, process) for slot, process in running))
        if self._turns % MEMORY_EVERY == 0:
            for slot, process in running:
                if isinstance(slot.state, Running):
                    slot.memory_bytes = await process.memory_bytes()
        self._fleet.recycle()
        await self._fleet.ensure_spare()

    async def _probe(self, slot: BrowserSlot, process: BrowserProcess) -> None:
        worked, asked = process.cpu_seconds(), time.perf_counter()
        try:
            await process.probe(timeout=PROBE_TIMEOUT_S)
        except BrowserTimeout:
            working = all(now > before for now, before in zip(process.cpu_seconds(), worked, strict=True))
            held = time.perf_counter() - asked > PROBE_TIMEOUT_S + LATE_S
            slot.missed_probes += 1
            slot.idle_misses = 0 if working or held else slot.idle_misses + 1
            if slot.idle_misses >= MISSES or slot.missed_probes >= MISSES_WHILE_WORKING:
                self._fleet.mark_unresponsive(slot, EndReason.BROWSER_HUNG)
            elif not slot.idle_misses:
                await self._calm(slot, process)
        except BrowserGone:
            self._fleet.mark_unresponsive(slot, EndReason.BROWSER_DIED)
        else:
            slot.missed_probes = slot.idle_misses = 0
            if self._observe is not None:
                self._observe(time.perf_counter() - asked)

    async def _calm(self, slot: BrowserSlot, process: BrowserProcess) -> None:
        """Kills pages that overload a browser."""
        over = slot.missed_probes - CALM_AT
        if over < 0:
            if slot.missed_probes == 1:
                await process.sample_renderers()
        elif over % CALM_AGAIN == 0 and (pid := await process.kill_busiest_renderer()) is not None:
            self._fleet.page_killed(slot, pid)
