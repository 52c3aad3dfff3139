"""A moment by which something must be done."""

from __future__ import annotations

import asyncio


class Deadline:
    """`timeout` seconds from now on the event loop's clock, which never jumps."""

    def __init__(self, timeout: float) -> None:
        self._at = asyncio.get_running_loop().time() + timeout

    @property
    def left(self) -> float:
        """Seconds, never negative."""
        return max(self._at - asyncio.get_running_loop().time(), 0.0)
