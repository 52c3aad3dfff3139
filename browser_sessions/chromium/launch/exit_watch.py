"""Detects the exit of a process within milliseconds, by asking the operating system."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil

POLL_SECONDS: Final = 0.2
"""Poll interval where the system has no pidfd (macOS, Linux before 5.3): a fifth of the second within which an exit
must be noticed."""


class ExitWatch:
    """Calls `on_exit` once, on the event loop, when the process has exited.

    Uses a pidfd on Linux, so a reused pid is never mistaken for this process. Raises `ProcessLookupError` if there is
    no such process.
    """

    def __init__(self, pid: int, on_exit: Callable[[], None]) -> None:
        self.pid = pid
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._done = False
        self._fd: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        try:
            self._fd = os.pidfd_open(pid)
        except ProcessLookupError:
            raise
        except (AttributeError, OSError):
            self._process = self._find(pid)
            self._timer = self._loop.call_later(POLL_SECONDS, self._poll)
        else:
            self._loop.add_reader(self._fd, self._exited)

    @property
    def alive(self) -> bool:
        """Whether the process runs, asked of the system at each call. A zombie does not run."""
        if self._done:
            return False
        if self._fd is not None:
            ready = select.poll()
            ready.register(self._fd, select.POLLIN)
            return not ready.poll(0)
        return self._runs()

    @property
    def exiting(self) -> bool:
        """Whether the process is exiting: its files are closed, so the other ends of its pipes already see end of file,
        but it is not a zombie yet. Linux only, False elsewhere."""
        try:
            return self.alive and not any(Path(f"/proc/{self.pid}/fd").iterdir())
        except OSError:
            return False

    def stop(self) -> None:
        """Stops watching: `on_exit` is not called any more, and `alive` is False from now on."""
        self._done = True
        self._release()

    def _exited(self) -> None:
        if not self._done:
            self._done = True
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
            self._exited()

    def _runs(self) -> bool:
        try:
            return self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    @staticmethod
    def _find(pid: int) -> psutil.Process:
        try:
            return psutil.Process(pid)
        except psutil.NoSuchProcess:
            raise ProcessLookupError(pid) from None
