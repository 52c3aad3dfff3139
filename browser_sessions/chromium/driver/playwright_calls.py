"""Playwright calls that always end: at their deadline, or at once when the browser or the driver dies.

Playwright's own calls can hang for ever when the browser or the driver hangs or dies. Here each runs as a task of its
own that can be abandoned; if it still succeeds later, its effect is undone.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from playwright.async_api import Error
from playwright.async_api import TimeoutError as PlaywrightTimeout

from browser_sessions.chromium.deadline import seconds
from browser_sessions.domain.errors import BrowserGone, BrowserSessionsError, BrowserTimeout, PageFailed
from browser_sessions.domain.limits import TEXT_CHARACTERS
from browser_sessions.domain.urls import without_passwords

T = TypeVar("T")

UNDO_SECONDS: Final = 2.0
"""How long a failed or cancelled caller waits for its undo, which takes 15 ms. A slower one goes on in the
background."""

_CLOSED: Final = ("TargetClosedError",)
_CLOSED_MESSAGES: Final = (
    "has been closed",
    "Connection closed",
    "Target closed",
    "Page closed",
    "Failed to find context",
)
_METHOD: Final = re.compile(r"^[A-Z]\w*\.\w+: ")
"""Prefix of Playwright's messages, such as `Page.goto: `."""
_TIMEOUT_ONLY: Final = re.compile(r"Timeout [\d.]+ms exceeded\.?")
CRASHED: Final = "The page has crashed. Close it and open another."
_CRASHED_MESSAGES: Final = ("Target crashed", "Page crashed")
PLAYWRIGHTS_MESSAGES: Final = (*_CLOSED, *_CLOSED_MESSAGES[:2], *_CRASHED_MESSAGES, "ms exceeded", "Call log:")
"""Those of Playwright itself; a test looks for them in the installed version."""


class TargetClosed(Exception):
    """The page, its context or the browser is closed."""


class NoResponse(BrowserTimeout):
    """A call was abandoned at its deadline, after `timeout` seconds."""

    def __init__(self, timeout: float) -> None:
        super().__init__(f"The browser did not respond within {seconds(timeout)}.")


class PageCrashed(PageFailed):
    """The page's renderer has died."""


class Calls:
    """Runs the Playwright calls of one browser. `end(reason)` fails all running and all later calls."""

    def __init__(self) -> None:
        self._gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[Any]] = set()
        """Abandoned calls and background work that still run."""

    def end(self, reason: str) -> None:
        """The browser is gone: waiting callers get `BrowserGone(reason)`, all other tasks are cancelled."""
        if not self._gone.done():
            self._gone.set_result(reason)
        for task in self._tasks:
            task.cancel()

    async def __call__(
        self, call: Coroutine[Any, Any, T], *, timeout: float, undo: Callable[[T], Awaitable[object]] | None = None
    ) -> T:
        """The result of `call` within `timeout` seconds.

        Raises `BrowserTimeout`, `BrowserGone`, `TargetClosed`, `PageFailed`. At the deadline or on cancellation, a call
        without `undo` is cancelled; one with `undo` continues in the background, and `undo` gets its late result.
        """
        if self._gone.done():
            call.close()
            raise BrowserGone(self._gone.result())
        task = asyncio.create_task(call)
        try:
            await self._wait(task, timeout=max(timeout, 0))
            if task.done():
                return self._result(task)
        except asyncio.CancelledError:
            await self._abandon(task, undo)
            raise
        await self._abandon(task, undo)
        if self._gone.done():
            raise BrowserGone(self._gone.result())
        raise NoResponse(timeout)

    async def finish(self, work: Coroutine[Any, Any, object]) -> None:
        """Runs an undo to completion even if the caller is cancelled. Waits for it at most `UNDO_SECONDS`."""
        if self._gone.done():
            work.close()
            return
        task = self._run(work)
        await self._wait(task, timeout=UNDO_SECONDS)

    def background(self, work: Coroutine[Any, Any, object]) -> None:
        """Runs `work` in a background task. Its errors are ignored."""
        if self._gone.done():
            work.close()
        else:
            _ = self._run(work)

    async def drain(self) -> None:
        """Waits until no task runs any more. Call it after `end`."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _wait(self, task: asyncio.Task[Any], *, timeout: float) -> None:
        """Returns when `task` is done, the browser is gone, or after `timeout` seconds."""
        either: set[asyncio.Future[Any]] = {task, self._gone}
        await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)

    async def _abandon(self, task: asyncio.Task[T], undo: Callable[[T], Awaitable[object]] | None) -> None:
        if undo is None or self._gone.done():
            task.cancel()
            self._track(task)
        else:
            await self.finish(_undo_late(task, undo))

    def _run(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[None]:
        task = asyncio.create_task(_ignore_errors(work))
        task.add_done_callback(lambda _: work.close())  # a task that is cancelled before it starts never awaits it
        self._track(task)
        return task

    def _track(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._untrack)
        if self._gone.done():
            task.cancel()

    def _untrack(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # so that asyncio does not report it as never retrieved

    def _result(self, task: asyncio.Task[T]) -> T:
        if task.cancelled():
            raise BrowserGone("The browser closed during the call.")
        error = task.exception()
        if error is None:
            return task.result()
        if isinstance(error, Error):
            raise self._translate(error) from None
        raise error

    def _translate(self, error: Error) -> Exception:
        if self._gone.done():
            return BrowserGone(self._gone.result())
        return translate(error)


def translate(error: Error) -> Exception:
    """The exception for a Playwright error: `BrowserTimeout`, `TargetClosed`, `PageCrashed` or `PageFailed`."""
    text = without_passwords(plain(error))
    if isinstance(error, PlaywrightTimeout):
        detail = "" if _TIMEOUT_ONLY.fullmatch(text) else f" ({text})"
        return BrowserTimeout(
            f"The page did not reach the requested state in time{detail}. Allow more time or wait for an earlier state."
        )
    if any(message in text for message in _CRASHED_MESSAGES):
        return PageCrashed(CRASHED)
    if type(error).__name__ in _CLOSED or any(message in text for message in _CLOSED_MESSAGES):
        return TargetClosed(text)
    return PageFailed(text)


def plain(error: Error) -> str:
    """Playwright's message without method name, call log and stack, truncated to `TEXT_CHARACTERS`."""
    text = error.message.partition("\nCall log:")[0].partition("\n    at ")[0].strip()
    return _METHOD.sub("", text)[:TEXT_CHARACTERS]


async def _undo_late(task: asyncio.Task[T], undo: Callable[[T], Awaitable[object]]) -> None:
    try:
        result = await task
    except (Error, BrowserSessionsError):
        return
    await undo(result)


async def _ignore_errors(work: Coroutine[Any, Any, object]) -> None:
    try:
        await work
    except (Error, BrowserSessionsError, TargetClosed):
        return
