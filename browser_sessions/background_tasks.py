"""Work that nobody awaits where it begins: tasks of one owner, and loops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import structlog

from browser_sessions.domain.errors import BrowserSessionsError

log = structlog.get_logger()
T = TypeVar("T")


class Background:
    """Tasks of one owner: kept until they end, awaited or cancelled together, and logged by name when they fail."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def run(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Starts `work`. An error that is none of ours is logged, whether or not anybody awaits the task."""
        task = asyncio.create_task(work, name=getattr(work, "__qualname__", None))
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def cancel(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()

    async def finished(self, *, within: float | None = None) -> None:
        """Returns when all have ended, at the latest after `within` seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, BrowserSessionsError):
            log.error("task.failed", task=task.get_name(), exc_info=error)


async def every(seconds: float, turn: Callable[[], Awaitable[None]]) -> None:
    """Calls `turn` again `seconds` after it returned, until cancelled. A turn that raises is logged, and the next one
    comes."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await turn()
        except Exception:
            log.exception("loop.turn_failed", turn=getattr(turn, "__qualname__", repr(turn)))
