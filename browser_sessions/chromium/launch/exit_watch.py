"""Knows of a process's end within milliseconds, and asks the system, not a library, whether it lives."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil

POLL_SECONDS: Final = 0.2
"""How often to look where the system has no pidfd (macOS, Linux before 5.3): a fifth of the second that an end may go
unnoticed."""


class ExitWatch:
    """Watches one process and calls `on_exit` once, on the event loop, when it has ended.

    On Linux through a pidfd, which names this very process: a later one with the same pid is never mistaken for it.
    Raises `ProcessLookupError` when there is no such process.
    """

    def __init__(self, pid: int, on_exit: Callable[[], None]) -> None:
        self.pid = pid
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._over = False
        self._fd: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        try:
            self._fd = os.pidfd_open(pid)
        except ProcessLookupError:
            raise
        except (AttributeError, OSError):
            self._process = self._look_up(pid)
            self._timer = self._loop.call_later(POLL_SECONDS, self._poll)
        else:
            self._loop.add_reader(self._fd, self._ended)

    @property
    def alive(self) -> bool:
        """True while the process runs, as the system says now. A zombie does not run."""
        if self._over:
            return False
        if self._fd is not None:
            ready = select.poll()
            ready.register(self._fd, select.POLLIN)
            return not ready.poll(0)
        return self._runs()

    @property
    def letting_go(self) -> bool:
        """True when the process has closed its files already: those at the other end of its pipes know of its death
        before the system calls it one. Linux tells; elsewhere always False."""
        try:
            return self.alive and not any(Path(f"/proc/{self.pid}/fd").iterdir())
        except OSError:
            return False

    def stop(self) -> None:
        """Watches no more: `on_exit` will not be called, and `alive` is False from now on."""
        self._over = True
        self._release()

    def _ended(self) -> None:
        if not self._over:
            self._over = True
            self._release()
            self._on_exit()

    def _release(self) -> None:
        if self._fd is not None:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _poll(self) -> None:
        if self._runs():
            self._timer = self._loop.call_later(POLL_SECONDS, self._poll)
        else:
            self._ended()

    def _runs(self) -> bool:
        try:
            return self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    @staticmethod
    def _look_up(pid: int) -> psutil.Process:
        try:
            return psutil.Process(pid)
        except psutil.NoSuchProcess:
            raise ProcessLookupError(pid) from None
