"""One loop a job: it survives a bad turn and reports it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger()


async def every(seconds: float, turn: Callable[[], Awaitable[None]]) -> None:
    """Calls `turn` again `seconds` after it returned, until cancelled. A turn that raises is logged, and the next one
    comes."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await turn()
        except Exception:
            log.exception("loop.turn_failed", turn=getattr(turn, "__qualname__", repr(turn)))


async def finish(*tasks: asyncio.Task[object]) -> None:
    """Cancels the tasks and returns when all have ended."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task
