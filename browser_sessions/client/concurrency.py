"""What differs between the async and the sync client: each function twice. `scripts/gen_sync_client.py` exchanges
their names."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

import anyio

from browser_sessions.client.errors import ClientError

BEGIN_S: Final = 2.0
"""A create takes well under a second. One that waits in the queue is given up: the service undoes it then."""
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


async def async_begin(
    work: Callable[[], Coroutine[Any, Any, T]], undo: Callable[[T], Coroutine[Any, Any, object]], *, within: float
) -> T:
    """The result of `work`. If the caller is cancelled meanwhile, its result is undone, which the caller never gets to
    know: `work` has `BEGIN_S` for it."""
    task = asyncio.ensure_future(work())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await async_finish(partial(_undone, task, undo), within=within)
        raise


async def _undone(task: asyncio.Future[T], undo: Callable[[T], Coroutine[Any, Any, object]]) -> None:
    await asyncio.wait({task}, timeout=BEGIN_S)
    task.cancel()
    await asyncio.wait({task})
    with suppress(ClientError, asyncio.CancelledError):
        await undo(task.result())


def sync_begin(work: Callable[[], T], undo: Callable[[T], object], *, within: float) -> T:
    """The result of `work`."""
    return work()


def sync_finish(work: Callable[[], object], *, within: float) -> bool:
    """Runs `work`. The client's own timeouts bound it."""
    work()
    return True
