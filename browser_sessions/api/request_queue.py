"""Slow requests in a queue of their own, so that many at once never hold up those that can be answered at once."""

from __future__ import annotations

import asyncio
from collections import deque


class RequestQueue:
    """First come, first served, one for each iteration of the event loop: everything else that is ready runs in
    between."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def turn(self) -> None:
        """Returns when it is the caller's turn; with nobody else in the queue that is the next iteration."""
        loop = asyncio.get_running_loop()
        mine = loop.create_future()
        self._waiting.append(mine)
        if len(self._waiting) == 1:
            loop.call_soon(self._next, loop)
        await mine

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            first = self._waiting.popleft()
            if not first.done():  # cancelled: its caller has left
                first.set_result(None)
                break
        if self._waiting:
            loop.call_soon(self._next, loop)
