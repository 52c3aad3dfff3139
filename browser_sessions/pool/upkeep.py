"""What a node does beside its sessions: stores when they were used, removes old records, returns freed memory."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from browser_sessions.background_tasks import every
from browser_sessions.domain.clock import SystemClock
from browser_sessions.domain.errors import StoreUnavailable
from browser_sessions.domain.ports import SessionStore
from browser_sessions.events.session_archive import Archive
from browser_sessions.pool.registry import Registry

log = structlog.get_logger()

ACTIVITY_FLUSH_S: Final = 5.0
"""Seconds between two writes of when sessions were last used. A killed server loses no more than these of a timestamp,
which costs nobody a session: after a restart they are lost either way."""
PURGE_EVERY_S: Final = 600.0
"""Records outlive their retention by ten minutes at most."""
TRIM_EVERY_S: Final = 30.0
"""Between two times that freed memory is returned to the system; it takes a few milliseconds of a thread."""
IDEMPOTENCY_LIFETIME: Final = timedelta(hours=24)
"""docs/api.md: the same key within 24 h gives the same session."""


@dataclass(frozen=True)
class Upkeep:
    registry: Registry
    store: SessionStore
    archive: Archive
    clock: SystemClock
    retention: timedelta

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as loops:
            loops.create_task(every(ACTIVITY_FLUSH_S, self._store_activity))
            loops.create_task(every(PURGE_EVERY_S, self._purge))
            loops.create_task(every(TRIM_EVERY_S, _trim_memory))

    async def _store_activity(self) -> None:
        if jump := self.clock.resync():
            log.warning("clock.jumped", seconds=round(jump, 3), effect="none: deadlines use the monotonic clock")
        try:
            await self.registry.save_late()
            await self.registry.flush_activity()
        except StoreUnavailable as error:
            log.error("store.unavailable", reason=error.detail)

    async def _purge(self) -> None:
        now = self.clock.wall()
        self.registry.forget_before(now - self.retention)
        await self.store.purge(now - self.retention, now - IDEMPOTENCY_LIFETIME)
        await self.archive.purge(now - self.retention)


async def _trim_memory() -> None:
    await asyncio.to_thread(_malloc_trim)


def _malloc_trim() -> None:
    """glibc keeps freed memory: after twenty clients that read nothing had gone, 145 MB for good. Other C libraries
    have no such call."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
