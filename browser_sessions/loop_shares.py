"""Shares of the event loop: what others can cause without end is done in slices, so that it holds up nothing else.

A holder is a principal, or an address whose principal is not known. Its work is done at once within its allowance, and
beyond that in slices: one at a time, those of all holders in turn, with pauses as long as the slices between them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias
from weakref import WeakValueDictionary

STEPS: Final = 64
"""Of a slice, and at most of an allowance. A step is about 10 µs of Python: a refused CDP command, or
`egress.stream.LINES_PER_STEP` chunks. A command that is passed on takes some 40 µs, so a slice takes 0.6 to 3 ms."""
STEPS_PER_S: Final = 5000
"""By which an allowance grows. A busy Playwright client sends some hundred commands a second."""
PAUSE_S: Final = 0.001
"""Between slices, besides the time that the last one took."""

Work: TypeAlias = Callable[[int], int]
"""Does about so many steps. Returns how many are left; none if there is more to do."""


class Shares:
    """One for a loop: its slices, and the allowances of its holders."""

    def __init__(self) -> None:
        self._by_holder: WeakValueDictionary[str, Share] = WeakValueDictionary()
        self._round: deque[Share] = deque()
        """Holders with work beyond their allowance."""

    def of(self, holder: str) -> Share:
        """To be kept while the holder has connections: an allowance lasts as long as its share."""
        share = self._by_holder.get(holder)
        if share is None:
            share = self._by_holder[holder] = Share(self)
        return share

    def add(self, share: Share) -> None:
        """Gives `share` slices until it has no more work."""
        if share in self._round:
            return
        self._round.append(share)
        if len(self._round) == 1:
            share.loop.call_later(PAUSE_S, self._turn)

    def _turn(self) -> None:
        share, began = self._round[0], time.perf_counter()
        try:
            share.slice()
        finally:
            self._round.popleft()
            if share.waiting:
                self._round.append(share)
            if self._round:  # uvloop counts a delay from the beginning of the turn, hence twice the time
                share.loop.call_later(2 * (time.perf_counter() - began) + PAUSE_S, self._turn)


class Share:
    """One holder's. Made by `Shares.of`."""

    def __init__(self, shares: Shares) -> None:
        self.loop = asyncio.get_running_loop()
        self.waiting: deque[Work] = deque()
        """Work that is not done."""
        self._shares = shares
        self._steps: float = STEPS
        """The allowance; less than nothing after a large step."""
        self._as_of = self.loop.time()

    def run(self, work: Work) -> bool:
        """Does `work` as far as the allowance goes, and the rest in later turns. Returns whether it is all done."""
        if not self.waiting:
            now = self.loop.time()
            steps = min(STEPS, self._steps + (now - self._as_of) * STEPS_PER_S)
            self._steps, self._as_of = steps, now
            if (whole := int(steps)) > 0:
                left = work(whole)
                self._steps = max(steps - whole + left, -STEPS)
                if left > 0:
                    return True
        self.waiting.append(work)
        self._shares.add(self)
        return False

    async def finish(self, work: Work) -> None:
        """As `run`, and returns when it is all done."""
        done = self.loop.create_future()

        def some(steps: int) -> int:
            left = work(steps)
            if left > 0 and not done.done():
                done.set_result(None)
            return left

        if not self.run(some):
            await done

    def slice(self) -> None:
        """The work of one slice: of each connection in turn."""
        left = STEPS
        while left > 0 and self.waiting:
            work = self.waiting.popleft()
            left = work(left)
            if left <= 0:
                self.waiting.append(work)
