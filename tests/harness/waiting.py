"""Waits for conditions instead of sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

PATIENCE_S = 60.0
"""Default timeout: what takes a second may take many on a busy machine, and only a failure lasts this long."""
RARELY_S = 0.05
"""Conditions that take long are evaluated as rarely as this, because many ask a service or look at all processes."""


async def until(
    condition: Callable[[], Any], *, within: float = PATIENCE_S, what: str = "", every: float = 0.005
) -> Any:
    """The value of `condition` (plain or async) once it is true; evaluated `every` given seconds, and more rarely the
    longer it takes. Fails with `what` after `within` seconds."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        waited = loop.time() - began
        if waited >= within:
            raise AssertionError(f"not within {within} s: {what or condition}")
        await asyncio.sleep(max(every, min(waited / 10, RARELY_S)))
