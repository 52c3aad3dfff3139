"""What differs between the async and the sync client: each function twice. `scripts/gen_sync_client.py` exchanges
their names."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

import anyio

P = ParamSpec("P")
T = TypeVar("T")


async def async_sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


def sync_sleep(seconds: float) -> None:
    time.sleep(seconds)


async def async_blocking(call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """`call` in a thread, because it blocks."""
    return await asyncio.to_thread(call, *args, **options)


def sync_blocking(call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    return call(*args, **options)


async def async_finish(work: Callable[[], Coroutine[Any, Any, object]], *, within: float) -> bool:
    """Runs `work` although the caller is being cancelled, for at most `within` seconds; then raises the cancellation.

    False if the time was not enough. Raises what `work` raises. A task of its own, because asyncio's cancellations
    (the second Ctrl-C, a timeout around it) reach the caller's; the shield is for cancel scopes of anyio, which cancel
    again and again.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        task = asyncio.ensure_future(work())
        while not task.done() and loop.time() < deadline:
            try:
                await asyncio.wait({task}, timeout=deadline - loop.time())
            except asyncio.CancelledError as error:
                cancelled = error
    finished = task.done()
    if not finished:
        task.cancel()
    if cancelled is not None:
        if finished:
            task.exception()  # retrieved, so that asyncio does not log it
        raise cancelled
    if finished:
        task.result()
    return finished


def sync_finish(work: Callable[[], object], *, within: float) -> bool:
    """Runs `work`. The client's own timeouts bound it."""
    work()
    return True
