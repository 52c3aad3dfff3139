"""Refuses creates early while the machine runs short of something, so that the sessions there are keep what they need.

One loop samples; a create only reads what the last sample said. What is short may be taken by others on the machine:
when it comes back, creates are taken again, without a restart.
"""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import structlog

from browser_sessions.background_tasks import every
from browser_sessions.pool.admission import Admission
from browser_sessions.pool.browsers.fleet import Fleet

log = structlog.get_logger()

SAMPLE_EVERY_S: Final = 1.0
"""A node creates at most twenty sessions a second: between two samples they take less than what is kept free."""
MEMORY_BYTES: Final = 256 * 2**20
"""Kept free: a burst of a second, or one heavy page. Below it the kernel begins to choose whom to kill."""
READY_BYTES: Final = 2 * MEMORY_BYTES
"""Below it no browser keeps a context ready, before any create is refused."""
DISK_BYTES: Final = 64 * 2**20
"""Kept free: a browser's profile takes 5 to 10 MB, and ends of sessions must still be written."""
DESCRIPTORS: Final = 32
"""Kept free: those who are connected, the database and the end of a browser need some."""
RELEASE: Final = 1.25
"""Taken again at this much more than the limit: a node on the edge must not say yes and no by turns."""
_PROC_FDS: Final = Path("/proc/self/fd")
_CGROUP: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Sample:
    """What is free: bytes and descriptors; None where the system does not say."""

    memory_bytes: int | None
    disk_bytes: int | None
    descriptors: int | None


def shortage(sample: Sample, *, short_already: bool = False) -> str:
    """What there is too little of, as a sentence for the caller; empty when there is enough. Pure."""
    factor = RELEASE if short_already else 1.0
    mega = 2**20
    if sample.memory_bytes is not None and sample.memory_bytes < MEMORY_BYTES * factor:
        return f"The machine is short of memory: {sample.memory_bytes // mega} MB are free."
    if sample.disk_bytes is not None and sample.disk_bytes < DISK_BYTES * factor:
        return f"The disk of the data folder is nearly full: {sample.disk_bytes // mega} MB are free."
    if sample.descriptors is not None and sample.descriptors < DESCRIPTORS * factor:
        return f"The service is short of file descriptors: {sample.descriptors} are free. Raise the limit (ulimit -n)."
    return ""


def spacious(sample: Sample, *, before: bool) -> bool:
    """Whether there is memory for contexts that are only ready. Pure."""
    factor = 1.0 if before else RELEASE
    return sample.memory_bytes is None or sample.memory_bytes >= READY_BYTES * factor


class Shedding:
    """Tells admission what the machine is short of, and browsers whether there is memory for contexts that are only
    ready. Measuring runs in a thread, because a disk may hang."""

    def __init__(
        self, admission: Admission, fleet: Fleet, data_dir: Path, look: Callable[[Path], Sample] | None = None
    ) -> None:
        self._admission = admission
        self._fleet = fleet
        self._data_dir = data_dir
        self._look = look or measure
        self._spacious = True

    async def run(self) -> None:
        """Until cancelled."""
        await every(SAMPLE_EVERY_S, self.turn)

    async def turn(self) -> None:
        sample = await asyncio.to_thread(self._look, self._data_dir)
        self._spacious = spacious(sample, before=self._spacious)
        self._fleet.keep_ready(self._spacious)
        before = self._admission.shortage
        now = shortage(sample, short_already=bool(before))
        self._admission.report_shortage(now)
        if now and not before:
            log.warning("creates.refused", reason=now)
        elif before and not now:
            log.info("creates.taken_again")


def measure(data_dir: Path) -> Sample:
    """What is free now."""
    return Sample(_memory(), _disk(data_dir), _descriptors())


def _memory() -> int:
    free = int(psutil.virtual_memory().available)
    try:  # cgroup v2, where a container's own limit may be nearer than the machine's
        limit = int((_CGROUP / "memory.max").read_text())
        stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        used = int((_CGROUP / "memory.current").read_text()) - int(stat["inactive_file"])
    except (OSError, ValueError, KeyError):
        return free
    return min(free, limit - used)


def _disk(data_dir: Path) -> int | None:
    try:
        told = os.statvfs(data_dir)
    except OSError:
        return None
    return told.f_bavail * told.f_frsize


def _descriptors() -> int | None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    try:
        return limit - sum(1 for _ in _PROC_FDS.iterdir())
    except FileNotFoundError:  # not Linux
        return limit - psutil.Process().num_fds()
    except OSError:  # none left even for looking
        return 0
