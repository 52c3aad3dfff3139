"""Requests in turn, so that many at once never hold up what can be done at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from browser_sessions.pool.fair_queue import FairQueue

LONG_S: Final = 0.005
"""What takes longer is followed by a pause."""
PAUSE: Final = 3
"""Times as long as what came before. uvloop counts a delay from the beginning of the iteration, hence one more."""


class RequestQueue:
    """One for each iteration of the event loop, those of all holders in turn: everything else that is ready runs in
    between. A holder is a principal, or an address whose principal is not known."""

    def __init__(self, *, pauses: bool = False) -> None:
        """`pauses`: after one that takes long, so that many of them leave time for others."""
        self._pauses = pauses
        self._waiting: FairQueue[Callable[[], None]] = FairQueue()
        self._busy = False
        self._began = 0.0

    def run(self, holder: str, begin: Callable[[], None]) -> None:
        """Calls `begin` when it is its turn, with nobody else in the queue at once. What it calls soon is its work."""
        if self._busy:
            self._waiting.add(holder, begin)
        else:
            self._busy = True
            self._now()
            begin()
            asyncio.get_running_loop().call_soon(self._next)

    async def turn(self, holder: str) -> None:
        """Returns when it is the caller's turn. What the caller does before it awaits something is its work."""
        mine = asyncio.get_running_loop().create_future()
        self.run(holder, lambda: None if mine.done() else mine.set_result(None))  # done: its caller has left
        await mine

    def _now(self) -> None:
        self._began = time.perf_counter()

    def _next(self) -> None:
        if self._pauses and (took := time.perf_counter() - self._began) > LONG_S:
            asyncio.get_running_loop().call_later(PAUSE * took, self._go_on)
        else:
            self._go_on()

    def _go_on(self) -> None:
        if (begin := self._waiting.next()) is None:
            self._busy = False
        else:
            loop = asyncio.get_running_loop()
            loop.call_soon(self._now)  # right before what `begin` calls soon
            begin()
            loop.call_soon(self._next)
