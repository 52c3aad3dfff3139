"""Work that goes on when whoever began it has gone: kept, waited for at the end, and heard when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

from browser_sessions.domain.errors import BrowserSessionsError

log = structlog.get_logger()
T = TypeVar("T")


class Background:
    """Tasks of one owner."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def run(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begins `work`. Failures that are no facts of ours are logged, whether or not anybody waits for the task."""
        task = asyncio.create_task(work, name=getattr(work, "__qualname__", None))
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    async def finished(self, *, within: float) -> None:
        """Returns when all have ended, at the latest after so many seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, BrowserSessionsError):
            log.error("task.failed", task=task.get_name(), exc_info=error)
