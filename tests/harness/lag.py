"""Measures the event loop's lag, which limits how punctual the service can be on this machine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

TICK_S: Final = 0.02


@dataclass
class Lag:
    most: float = 0.0
    """The longest delay of a `TICK_S` sleep so far, in seconds."""


@asynccontextmanager
async def measured_lag() -> AsyncIterator[Lag]:
    lag, loop = Lag(), asyncio.get_running_loop()

    async def tick() -> None:
        while True:
            began = loop.time()
            await asyncio.sleep(TICK_S)
            lag.most = max(lag.most, loop.time() - began - TICK_S)

    ticking = asyncio.create_task(tick())
    try:
        yield lag
    finally:
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking
