"""Finds and kills the renderer that overloads its browser, without CDP, to which an overloaded browser does not
respond.

A browser is overloaded by the messages that it receives. A renderer sends them on its I/O thread, whose CPU time shows
which one floods the browser. A page that only computes uses none there and does not slow down the browser
(docs/decisions/0005).
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

import psutil

from browser_sessions.chromium.launch import process_group as group

BUSY_S: Final = 0.05
"""CPU seconds of a renderer's I/O thread between two samples, below which the renderer is not the cause. In two seconds
a page that logs in a loop uses 0.3, one that only computes 0.00."""
_RENDERER: Final = "--type=renderer"
_IO_THREAD: Final = "Chrome_ChildIOT"
"""Chromium's `Chrome_ChildIOThread`, which sends a renderer's messages to the browser. Linux keeps 15 characters."""
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


class Renderers:
    """The renderers of one process group. Contexts, and so sessions, never share a renderer."""

    def __init__(self, process_group: int) -> None:
        self._group = process_group
        self._sampled: dict[psutil.Process, float] = {}

    async def sample(self) -> None:
        """Starts the period over which `kill_busiest` compares the renderers."""
        self._sampled = await asyncio.to_thread(self._io_seconds)

    async def kill_busiest(self) -> int | None:
        """Kills the renderer whose I/O thread was busiest since the last sample: its page crashes, its session goes on.
        Takes a new sample. Returns the pid, or None if no renderer was busy."""
        now = await asyncio.to_thread(self._io_seconds)
        spent = {process: seconds - self._sampled.get(process, 0.0) for process, seconds in now.items()}
        self._sampled = now
        busiest = max(spent, key=lambda process: spent[process], default=None)
        if busiest is None or spent[busiest] < BUSY_S:
            return None
        try:
            busiest.kill()  # psutil checks that the pid was not reused
        except psutil.Error:
            return None
        return busiest.pid

    def _io_seconds(self) -> dict[psutil.Process, float]:
        found: dict[psutil.Process, float] = {}
        for pid in group.members(self._group):
            try:
                process = psutil.Process(pid)
                if any(part.startswith(_RENDERER) for part in process.cmdline()):
                    found[process] = _io_thread_seconds(pid)
            except (psutil.Error, OSError):
                continue  # it has just exited
        return found


def _io_thread_seconds(pid: int) -> float:
    """CPU seconds that the renderer's I/O thread has used; 0.0 if unknown (not on Linux)."""
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        if (thread / "comm").read_text().strip() == _IO_THREAD:
            fields = (thread / "stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND  # utime and stime, proc_pid_stat(5)
    return 0.0
