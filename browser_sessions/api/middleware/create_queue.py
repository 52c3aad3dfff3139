"""Who has time lets the others by: one of them a turn of the event loop, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque


class SlowLane:
    """Between two who pass here the loop serves whoever else is ready: what can be answered at once never stands
    behind more than one of them."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def turn(self) -> None:
        """Returns when it is one's turn, which is soon when nobody else waits."""
        loop = asyncio.get_running_loop()
        mine = loop.create_future()
        self._waiting.append(mine)
        if len(self._waiting) == 1:
            loop.call_soon(self._next, loop)
        await mine

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            first = self._waiting.popleft()
            if not first.done():  # who has left needs no turn
                first.set_result(None)
                break
        if self._waiting:
            loop.call_soon(self._next, loop)
