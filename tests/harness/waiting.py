"""Waiting for conditions, never for seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

PATIENCE_S = 30.0
"""Two shared cores: long enough for anything that works, short enough to name what does not."""


async def until(
    condition: Callable[[], Any], *, within: float = PATIENCE_S, what: str = "", every: float = 0.005
) -> Any:
    """What `condition` (plain or async) gives once it is true, asked `every` so many seconds. Fails with `what` when it
    is not `within` seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        if loop.time() >= deadline:
            raise AssertionError(f"not within {within} s: {what or condition}")
        await asyncio.sleep(every)
