"""A deadline shared by several calls."""

from __future__ import annotations

import asyncio


class Deadline:
    """`timeout` seconds from now, on the event loop's monotonic clock."""

    def __init__(self, timeout: float) -> None:
        self._at = asyncio.get_running_loop().time() + timeout

    @property
    def left(self) -> float:
        """Remaining seconds, never negative."""
        return max(self._at - asyncio.get_running_loop().time(), 0.0)
