"""Opens a session's context: ready with one page, or nothing is left of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from playwright.async_api import BrowserContext

from browser_sessions.browser import actions
from browser_sessions.browser.calls import TargetClosed
from browser_sessions.browser.context import Context, EventListener, remove
from browser_sessions.browser.deadline import Deadline
from browser_sessions.browser.host import Host
from browser_sessions.browser.options import context_options, refusal
from browser_sessions.browser.pages import identify
from browser_sessions.model.errors import BrowserGone, BrowserTimeout, PageFailed, Unavailable
from browser_sessions.model.spec import SessionSpec


async def open_context(
    host: Host, spec: SessionSpec, folder: Path, on_event: EventListener, *, timeout: float
) -> Context:
    """A context with one open page, ready; see `BrowserProcess.open_context`."""
    deadline, calls = Deadline(timeout), host.calls
    start_url = None if spec.start_url is None else actions.check_address(spec.start_url, ("body", "start_url"))
    options = context_options(spec)
    making = asyncio.create_task(_make(folder))
    undo = AsyncExitStack()
    try:
        async with _turn(host.births, deadline):
            before = await host.context_ids()
            inner = await calls(host.browser.new_context(**options), timeout=deadline.left, undo=BrowserContext.close)
            undo.push_async_callback(inner.close)
            after = await host.context_ids()
        if spec.permissions:
            await calls(inner.grant_permissions(list(spec.permissions)), timeout=deadline.left)
        page = await calls(inner.new_page(), timeout=deadline.left)
        # Sound only in this order: what was there before is none of ours, and ours is there after.
        born = frozenset() if before is None or after is None else after - before
        known = host.registry.pages(next(iter(born))) if len(born) == 1 else []
        if len(known) == 1:
            context_id, page_id = known[0].context_id, known[0].target_id
        else:  # a client made a context of its own at the same moment: ask the page itself, which takes longer
            context_id, page_id = await identify(calls, page, timeout=deadline.left)
        await making
        context = Context(host, inner, context_id, folder, on_event)
        undo.callback(context.forget)
        await context.downloads.allow(context_id, True, timeout=deadline.left)
        context.follow(page, page_id)
        if start_url is not None:
            await actions.goto(host, page, page_id, start_url, wait_until="commit", timeout=deadline.left)
    except BaseException as error:
        await calls.finish(undo.aclose())
        await asyncio.shield(_unmake(making, folder))
        if isinstance(error, TargetClosed):
            raise BrowserGone("The browser or the page went away while the session was starting.") from None
        if isinstance(error, PageFailed):
            raise refusal(error.detail, spec) or error from None
        raise
    return context


@asynccontextmanager
async def _turn(lock: asyncio.Lock, deadline: Deadline) -> AsyncIterator[None]:
    """Holds `lock`. Raises `BrowserTimeout` when it is not free by the deadline."""
    try:
        async with asyncio.timeout(deadline.left):
            await lock.acquire()
    except TimeoutError:
        raise BrowserTimeout("The browser is busy: others of its contexts are still being made.") from None
    try:
        yield
    finally:
        lock.release()


async def _make(folder: Path) -> None:
    try:
        await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"The session's folder could not be made: {error.strerror}. Is the disk full?") from error


async def _unmake(making: asyncio.Task[None], folder: Path) -> None:
    with contextlib.suppress(Unavailable):
        await making
    await remove(folder)
