"""Playwright calls that always end: under a deadline, and at once when the browser or the driver is gone.

Playwright's own calls may hang for ever when what is behind them hangs or dies. Here each runs as a task of its own
that nobody has to wait for; what it would have left behind is undone when it ends after all.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from playwright.async_api import Error
from playwright.async_api import TimeoutError as PlaywrightTimeout

from browser_sessions.domain.errors import BrowserGone, BrowserSessionsError, BrowserTimeout, PageFailed
from browser_sessions.domain.limits import TEXT_CHARACTERS

T = TypeVar("T")

UNDO_SECONDS: Final = 2.0
"""How long a caller that failed or was cancelled waits for its undo. Undoing takes 15 ms; what takes longer goes on
without it."""

_CLOSED: Final = ("TargetClosedError",)
_CLOSED_WORDS: Final = (
    "has been closed",
    "Target closed",
    "Page closed",
    "Connection closed",
    "Failed to find context",
)
_METHOD: Final = re.compile(r"^[A-Z]\w*\.\w+: ")
"""`Page.goto: `, with which Playwright begins its messages."""
_NO_MORE_THAN_LATE: Final = re.compile(r"Timeout [\d.]+ms exceeded\.?")
CRASHED: Final = "The page has crashed. Close it and open another."
_CRASHED_WORDS: Final = ("Target crashed", "Page crashed")


class TargetClosed(Exception):
    """What the call spoke to is closed: the page, its context or the browser."""


class PageCrashed(PageFailed):
    """The page's renderer has died."""


class Calls:
    """Runs the Playwright calls of one browser. `end(reason)` fails all that are under way and all that come."""

    def __init__(self) -> None:
        self._gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._left: set[asyncio.Task[Any]] = set()

    @property
    def over(self) -> bool:
        return self._gone.done()

    def end(self, reason: str) -> None:
        """The browser is gone: whoever waits gets `BrowserGone(reason)` now, and what was left running is cancelled."""
        if not self._gone.done():
            self._gone.set_result(reason)
        for task in self._left:
            task.cancel()

    async def __call__(
        self, call: Coroutine[Any, Any, T], *, timeout: float, undo: Callable[[T], Awaitable[object]] | None = None
    ) -> T:
        """The result of `call` within `timeout` seconds.

        Raises `BrowserTimeout`, `BrowserGone`, `TargetClosed`, `PageFailed`. When nobody waits any more (deadline,
        cancellation) a call without `undo` is cancelled; one with `undo` runs on and its late result is given to
        `undo`.
        """
        if self._gone.done():
            call.close()
            raise BrowserGone(self._gone.result())
        task = asyncio.create_task(call)
        try:
            await self._first(task, timeout=max(timeout, 0))
            if task.done():
                return self._result(task)
        except asyncio.CancelledError:
            await self._leave(task, undo)
            raise
        await self._leave(task, undo)
        if self._gone.done():
            raise BrowserGone(self._gone.result())
        raise BrowserTimeout(f"The browser did not answer within {timeout:.3g} s.")

    async def finish(self, work: Coroutine[Any, Any, object]) -> None:
        """Runs an undo to its end, also when the caller is cancelled; waits for it at most `UNDO_SECONDS`."""
        if self._gone.done():
            work.close()
            return
        task = self._run(work)
        await self._first(task, timeout=UNDO_SECONDS)

    def background(self, work: Coroutine[Any, Any, object]) -> None:
        """Runs `work` beside everything else; its errors are nobody's."""
        if self._gone.done():
            work.close()
        else:
            _ = self._run(work)

    async def drain(self) -> None:
        """Waits until nothing is running any more. After `end`."""
        while self._left:
            await asyncio.wait(set(self._left))

    async def _first(self, task: asyncio.Task[Any], *, timeout: float) -> None:
        """Returns when `task` is done, the browser is gone, or the time is up."""
        either: set[asyncio.Future[Any]] = {task, self._gone}
        await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)

    async def _leave(self, task: asyncio.Task[T], undo: Callable[[T], Awaitable[object]] | None) -> None:
        if undo is None or self._gone.done():
            task.cancel()
            self._keep(task)
        else:
            await self.finish(_undo_late(task, undo))

    def _run(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[None]:
        task = asyncio.create_task(_quietly(work))
        task.add_done_callback(lambda _: work.close())  # a task that is cancelled before it begins never gets to it
        self._keep(task)
        return task

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._left.add(task)
        task.add_done_callback(self._forget)
        if self._gone.done():
            task.cancel()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._left.discard(task)
        if not task.cancelled():
            task.exception()  # read, so that asyncio does not report it as never retrieved

    def _result(self, task: asyncio.Task[T]) -> T:
        if task.cancelled():
            raise BrowserGone("The browser went away under the call.")
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
    """What a Playwright error means: `BrowserTimeout`, `TargetClosed`, `PageCrashed` or `PageFailed`."""
    text = plain(error)
    if isinstance(error, PlaywrightTimeout):
        why = "" if _NO_MORE_THAN_LATE.fullmatch(text) else f" ({text})"
        return BrowserTimeout(f"The page did not get that far in its time{why}. Give it more, or wait for less.")
    if any(words in text for words in _CRASHED_WORDS):
        return PageCrashed(CRASHED)
    if type(error).__name__ in _CLOSED or any(words in text for words in _CLOSED_WORDS):
        return TargetClosed(text)
    return PageFailed(text)


def plain(error: Error) -> str:
    """Playwright's message without the method's name, the call log and the stack, clipped to `TEXT_CHARACTERS`."""
    text = error.message.partition("\nCall log:")[0].partition("\n    at ")[0].strip()
    return _METHOD.sub("", text)[:TEXT_CHARACTERS]


async def _undo_late(task: asyncio.Task[T], undo: Callable[[T], Awaitable[object]]) -> None:
    try:
        result = await task
    except (Error, BrowserSessionsError):
        return
    await undo(result)


async def _quietly(work: Coroutine[Any, Any, object]) -> None:
    try:
        await work
    except (Error, BrowserSessionsError, TargetClosed):
        return
