"""One viewer's hands: passed on one after the other while the wheel is theirs, let go of when it is not."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from browser_sessions.chromium.ports import ContextHandle
from browser_sessions.domain.errors import BrowserSessionsError, InvalidField
from browser_sessions.pool.control_lock import ControlLock

HAND_S: Final = 2.0
"""What a page may take to hear of one movement; after that the next one is tried."""
PAGE_S: Final = 10.0
"""For a page to open."""
HAND_OVER_S: Final = 5.0
"""How long the client waits, once the wheel is given back, for a page that has not taken all of the input yet. Chromium
keeps the order of input, so the client's own still comes after it."""
HANDS_WAITING: Final = 256
"""Movements that wait for a busy page; moves of the mouse take each other's place, so these are keys and clicks."""

_SLOW: Final = frozenset({"navigate", "go", "reload"})

Message = Mapping[str, Any]


class Hands:
    """Implements `pool.control_lock.InputSource`. `problem` tells the viewer what could not be done, `opened` is called
    with the id of a page that they opened."""

    def __init__(
        self,
        control: ControlLock,
        handle: ContextHandle,
        problem: Callable[[str], Awaitable[None]],
        opened: Callable[[str], None],
    ) -> None:
        self._control = control
        self._handle = handle
        self._problem = problem
        self._opened = opened
        self._waiting: deque[tuple[str, Message]] = deque()
        self._touched: set[str] = set()
        """Ids of pages that something was put into since the wheel was taken."""
        self._moved = asyncio.Event()
        self._over = False

    async def add(self, page_id: str, message: Message) -> None:
        """A movement of who holds the wheel. It is checked when its turn comes."""
        self._grip(page_id)
        if self._waiting and _is_move(message) and _is_move(self._waiting[-1][1]):
            self._waiting.pop()
        if len(self._waiting) >= HANDS_WAITING:
            self._waiting.clear()
            await self._problem("The page does not keep up: what your hands did last is forgotten.")
        self._waiting.append((page_id, message))
        self._moved.set()

    async def answer(self, page_id: str, message: Message) -> None:
        """An answer to a dialog, at once: what was put in before may wait for just that."""
        self._grip(page_id)
        await self._handle.screen(page_id).do(message, timeout=HAND_S)

    def control_released(self) -> None:
        """Drops what waits; what is on its way is waited for in `run`."""
        self._waiting.clear()
        self._over = True
        self._moved.set()

    async def run(self) -> None:
        """One movement after the other, in their order."""
        while True:
            if self._waiting:
                page_id, message = self._waiting.popleft()
                try:
                    await self._act(page_id, message)
                except BrowserSessionsError as error:
                    await self._problem(in_words(error))
            elif self._over:
                self._over = False
                await self._hand_over()
            else:
                self._moved.clear()
                await self._moved.wait()

    async def close(self) -> None:
        """The viewer has gone: nothing of theirs stays pressed."""
        self._waiting.clear()
        await self._hand_over()

    def _grip(self, page_id: str) -> None:
        self._control.input_begins(self)
        if page_id:
            self._touched.add(page_id)

    async def _hand_over(self) -> None:
        """Once every page has taken what it was given, the wheel is free, unless it was taken again meanwhile."""
        touched, self._touched = self._touched, set()
        try:
            await asyncio.gather(*(self._release(page_id) for page_id in touched))
        finally:
            if not self._touched:
                self._control.input_done(self)

    async def _release(self, page_id: str) -> None:
        with contextlib.suppress(BrowserSessionsError):  # a page that is gone holds nothing
            await self._handle.screen(page_id).let_go(timeout=HAND_OVER_S)

    async def _act(self, page_id: str, message: Message) -> None:
        kind = message.get("type")
        if kind == "new_page":
            self._opened((await self._handle.open_page(None, timeout=PAGE_S)).page_id)
        elif kind == "close_page":
            await self._handle.close_page(str(message.get("page_id", page_id)), timeout=PAGE_S)
        else:
            await self._handle.screen(page_id).do(message, timeout=PAGE_S if kind in _SLOW else HAND_S)


def in_words(error: BrowserSessionsError) -> str:
    """For a viewer: the field, where it is one, and what would be right."""
    if isinstance(error, InvalidField):
        return f"{'.'.join(map(str, error.loc)) or 'A message'} {error.detail}"
    return error.detail


def _is_move(message: Message) -> bool:
    return message.get("action") == "move" and message.get("type") in ("mouse", "touch")
