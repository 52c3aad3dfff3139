"""A deadline shared by several calls."""

from __future__ import annotations

import asyncio


def seconds(timeout: float) -> str:
    """In words, rounded: what is left of 30 seconds after some milliseconds is `30 s`."""
    return f"{round(timeout, 1):g} s" if timeout > 0.2 else f"{timeout:.2g} s"


class Deadline:
    """`timeout` seconds from now, on the event loop's monotonic clock."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._at = asyncio.get_running_loop().time() + timeout

    @property
    def left(self) -> float:
        """Remaining seconds, never negative."""
        return max(self._at - asyncio.get_running_loop().time(), 0.0)
