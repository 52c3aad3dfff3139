"""Asks every browser twice a second whether it still answers; kills the one that twice did not."""

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
"""Between the end of one turn and the next: with two misses of a second each, three seconds at the most."""
PROBE_TIMEOUT_S: Final = 1.0
"""A healthy browser answers in a millisecond, a swamped one in a few hundred."""
MISSES: Final = 2
"""One miss in which it did nothing may be chance; after two in a row a browser is killed: with the start of another,
five seconds after it hung."""
MISSES_WHILE_WORKING: Final = 20
"""For one that, like its driver, used the processor between the misses: it is swamped, as on a machine with more to do
than it can, and killing it would end sessions that are well. What works for half a minute without an answer is hung in
a loop."""
CALM_AT: Final = 4
"""So many misses into it, the page that gives a swamped browser most to do is ended, and another two misses later the
next: one page is less than all the sessions of a browser. Four of them are over before it would be taken for hung."""
CALM_AGAIN: Final = 2
LATE_S: Final = 0.5
"""When the time-out itself came later than this, our own loop was held: what was missed may lie unread, and the driver
may wait for us to read it."""
MEMORY_EVERY: Final = 30
"""Turns between two readings of a browser's memory: reading it costs milliseconds a process."""


class Supervisor:
    """One loop over all browsers: probe, weigh, recycle, keep one spare."""

    def __init__(self, fleet: Fleet, observe: Callable[[float], None] | None = None) -> None:
        """`observe` is told how many seconds each answer took."""
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
        """Ends pages that swamp a browser."""
        over = slot.missed_probes - CALM_AT
        if over < 0:
            if slot.missed_probes == 1:
                await process.sample_renderers()
        elif over % CALM_AGAIN == 0 and (pid := await process.kill_busiest_renderer()) is not None:
            self._fleet.page_killed(slot, pid)
