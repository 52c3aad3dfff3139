"""Which page swamps its browser, and its end, without asking the browser: it does not answer.

What swamps a browser is the messages that it gets, and a renderer's I/O thread sends them: its CPU time tells who
floods. A page that only computes spends none there and swamps nobody (docs/decisions/0005).
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

import psutil

from browser_sessions.chromium.launch import process_group as group

LOUD_S: Final = 0.05
"""CPU seconds of a renderer's I/O thread between two looks below which it is not to blame. In two seconds, a page that
logs without end has 0.3, one that only computes 0.00."""
_RENDERER: Final = "--type=renderer"
_IO_THREAD: Final = "Chrome_ChildIOT"
"""Chromium's `Chrome_ChildIOThread`, which sends what a renderer has for the browser; Linux keeps 15 characters."""
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


class Renderers:
    """The renderers of one process group. A renderer is never of two sessions: contexts share none."""

    def __init__(self, process_group: int) -> None:
        self._group = process_group
        self._before: dict[psutil.Process, float] = {}

    async def look(self) -> None:
        """`end_loudest` counts from here."""
        self._before = await asyncio.to_thread(self._sending_seconds)

    async def end_loudest(self) -> int | None:
        """Kills the renderer that spent most time sending since the last look: its page is crashed, its session lives.
        Its pid, or None when none stands out. Counts as a look."""
        now = await asyncio.to_thread(self._sending_seconds)
        spent = {process: seconds - self._before.get(process, 0.0) for process, seconds in now.items()}
        self._before = now
        loudest = max(spent, key=lambda process: spent[process], default=None)
        if loudest is None or spent[loudest] < LOUD_S:
            return None
        try:
            loudest.kill()  # psutil makes sure that it is no later process of the same pid
        except psutil.Error:
            return None
        return loudest.pid

    def _sending_seconds(self) -> dict[psutil.Process, float]:
        found: dict[psutil.Process, float] = {}
        for pid in group.members(self._group):
            try:
                process = psutil.Process(pid)
                if any(part.startswith(_RENDERER) for part in process.cmdline()):
                    found[process] = _io_thread_seconds(pid)
            except (psutil.Error, OSError):
                continue  # it has just ended
        return found


def _io_thread_seconds(pid: int) -> float:
    """CPU seconds of the renderer's I/O thread so far; 0.0 where the system does not tell (only Linux does)."""
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        if (thread / "comm").read_text().strip() == _IO_THREAD:
            fields = (thread / "stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND  # utime and stime, proc_pid_stat(5)
    return 0.0
