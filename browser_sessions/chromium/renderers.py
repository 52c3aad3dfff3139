"""Which page swamps its browser, and its end, without asking the browser: it does not answer.

What swamps a browser is what it is told: a page that sends all the time spends its processor time in the kernel. One
that only computes spends none there and swamps nobody (docs/decisions/0005).
"""

from __future__ import annotations

import asyncio
from typing import Final

import psutil

from browser_sessions.chromium.launch import process_group as group

LOUD_S: Final = 0.05
"""Seconds in the kernel between two looks below which a renderer is not to blame."""
_RENDERER: Final = "--type=renderer"


class Renderers:
    """The renderers of one process group. A renderer is never of two sessions: contexts share none."""

    def __init__(self, process_group: int) -> None:
        self._group = process_group
        self._before: dict[psutil.Process, float] = {}

    async def look(self) -> None:
        """What is told later is told from now on."""
        self._before = await asyncio.to_thread(self._kernel_seconds)

    async def end_loudest(self) -> int | None:
        """Kills the renderer that spent most time in the kernel since the last look: its page is crashed, its session
        lives. Its pid, or None when none stands out. Counts as a look."""
        now = await asyncio.to_thread(self._kernel_seconds)
        spent = {process: seconds - self._before.get(process, seconds) for process, seconds in now.items()}
        self._before = now
        loudest = max(spent, key=lambda process: spent[process], default=None)
        if loudest is None or spent[loudest] < LOUD_S:
            return None
        try:
            loudest.kill()  # psutil makes sure that it is no later process of the same pid
        except psutil.Error:
            return None
        return loudest.pid

    def _kernel_seconds(self) -> dict[psutil.Process, float]:
        found: dict[psutil.Process, float] = {}
        for pid in group.members(self._group):
            try:
                process = psutil.Process(pid)
                if any(part.startswith(_RENDERER) for part in process.cmdline()):
                    found[process] = process.cpu_times().system
            except psutil.Error:
                continue
        return found
