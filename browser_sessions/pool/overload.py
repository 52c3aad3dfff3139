"""Load shedding: rejects creates while memory, disk or file descriptors are short, so that live sessions keep theirs.

One loop samples; a create only reads the last sample. Creates are accepted again when the resource is free again.
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
"""Seconds. A node creates at most 20 sessions a second, which need less than the reserve between two samples."""
MEMORY_BYTES: Final = 256 * 2**20
"""Reserve for one second of creates, or one heavy page; below it the kernel's OOM killer is near."""
READY_BYTES: Final = 2 * MEMORY_BYTES
"""Below it no browser keeps a context ready; this comes before creates are rejected."""
DISK_BYTES: Final = 64 * 2**20
"""Reserve: a browser's profile takes 5 to 10 MB, and final records must still be written."""
DESCRIPTORS: Final = 32
"""Reserve for connections, the database and the end of a browser."""
RELEASE: Final = 1.25
"""Hysteresis: creates are accepted again at this multiple of the limit."""
_PROC_FDS: Final = Path("/proc/self/fd")
_CGROUP: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Sample:
    """Free bytes and descriptors; None where the system does not report them."""

    memory_bytes: int | None
    disk_bytes: int | None
    """Of the data folder."""
    descriptors: int | None
    work_disk_bytes: int | None = None
    """Of the work folder, with the profiles, downloads and uploads: often another file system."""


def shortage(sample: Sample, *, short_already: bool = False) -> str:
    """Which resource is short, as a sentence for the caller; empty when none is. Pure."""
    factor = RELEASE if short_already else 1.0
    mega = 2**20
    if sample.memory_bytes is not None and sample.memory_bytes < MEMORY_BYTES * factor:
        return f"The machine is short of memory: {sample.memory_bytes // mega} MB are free."
    if sample.disk_bytes is not None and sample.disk_bytes < DISK_BYTES * factor:
        return f"The disk of the data folder is nearly full: {sample.disk_bytes // mega} MB are free."
    if sample.work_disk_bytes is not None and sample.work_disk_bytes < DISK_BYTES * factor:
        return f"The disk of the work folder is nearly full: {sample.work_disk_bytes // mega} MB are free."
    if sample.descriptors is not None and sample.descriptors < DESCRIPTORS * factor:
        return f"The service is short of file descriptors: {sample.descriptors} are free. Raise the limit (ulimit -Hn)."
    return ""


def spacious(sample: Sample, *, before: bool) -> bool:
    """Whether there is memory for ready contexts. Pure."""
    factor = 1.0 if before else RELEASE
    return sample.memory_bytes is None or sample.memory_bytes >= READY_BYTES * factor


class Shedding:
    """Reports shortages to admission, and to browsers whether there is memory for ready contexts. Measures in a thread,
    because a disk may hang."""

    def __init__(
        self,
        admission: Admission,
        fleet: Fleet,
        data_dir: Path,
        work_dir: Path,
        look: Callable[[Path, Path], Sample] | None = None,
    ) -> None:
        self._admission = admission
        self._fleet = fleet
        self._folders = data_dir, work_dir
        self._look = look or measure
        self._spacious = True

    async def run(self) -> None:
        """Until cancelled."""
        await every(SAMPLE_EVERY_S, self.turn)

    async def turn(self) -> None:
        sample = await asyncio.to_thread(self._look, *self._folders)
        self._spacious = spacious(sample, before=self._spacious)
        self._fleet.keep_ready(self._spacious)
        before = self._admission.shortage
        now = shortage(sample, short_already=bool(before))
        self._admission.report_shortage(now)
        if now and not before:
            log.warning("creates.refused", reason=now)
        elif before and not now:
            log.info("creates.taken_again")


def measure(data_dir: Path, work_dir: Path) -> Sample:
    """The free resources now."""
    return Sample(_memory(), _disk(data_dir), _descriptors(), _disk(work_dir))


def _memory() -> int:
    free = int(psutil.virtual_memory().available)
    try:  # cgroup v2: a container's limit may be lower than the machine's
        limit = int((_CGROUP / "memory.max").read_text())
        stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        used = int((_CGROUP / "memory.current").read_text()) - int(stat["inactive_file"])
    except (OSError, ValueError, KeyError):
        return free
    return min(free, limit - used)


def _disk(folder: Path) -> int | None:
    try:
        free = os.statvfs(folder)
    except OSError:
        return None
    return free.f_bavail * free.f_frsize


def _descriptors() -> int | None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    try:
        return limit - sum(1 for _ in _PROC_FDS.iterdir())
    except FileNotFoundError:  # not Linux
        return limit - psutil.Process().num_fds()
    except OSError:  # no descriptor left to read the folder
        return 0
