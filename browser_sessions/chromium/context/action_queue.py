"""Actions of one page that disturb each other take turns, in the order in which they came.

Chromium never answers for a picture when the page navigates under it, or has just navigated: it ends at Playwright's
deadline. A second navigation aborts the first, and a navigation destroys what a script was computing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from typing import Final

from browser_sessions.domain.errors import BrowserTimeout


class Action(Enum):
    """What an action does to its page, as far as others mind."""

    READ = "script"
    DRAW = "picture"
    """Screenshots and PDFs: they change the size or the medium of the page."""
    NAVIGATE = "navigation"
    """Until the new document is there."""
    LOAD = "page load"
    """A navigation from then on, until it is as far as its caller wants it. Scripts may run meanwhile."""


_WAITS_FOR: Final[dict[Action, frozenset[Action]]] = {
    Action.READ: frozenset({Action.NAVIGATE}),
    Action.DRAW: frozenset({Action.NAVIGATE, Action.DRAW, Action.LOAD}),
    Action.NAVIGATE: frozenset(Action),
    Action.LOAD: frozenset(),
}
PATIENCE_S: Final[dict[Action, float]] = {Action.DRAW: 3.0, Action.NAVIGATE: 10.0}
"""Seconds after which less is waited for (`_STILL_WAITS_FOR`), at most half of the action's own time.

A document that has been there for three seconds has something to draw, whatever it still loads. Scripts and pictures
take less than ten seconds on a busy machine, and one that hangs must not keep anybody from leaving the page."""
_STILL_WAITS_FOR: Final[dict[Action, frozenset[Action]]] = {
    Action.DRAW: frozenset({Action.NAVIGATE, Action.DRAW}),
    Action.NAVIGATE: frozenset({Action.NAVIGATE, Action.LOAD}),
}


class Turn:
    """The place of one action in the queue of its page."""

    def __init__(self, turns: Turns, action: Action) -> None:
        self.action = action
        self.waits_for = _WAITS_FOR[action]
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns = turns

    def committed(self) -> None:
        """The new document is there: what waits for that may begin."""
        self.action = Action.LOAD
        self._turns.advance()


class Turns:
    """The queue of one page. An action begins once nothing that it waits for is in front of it."""

    def __init__(self) -> None:
        self._queue: list[Turn] = []
        self._ended = False

    def __repr__(self) -> str:
        begun = sum(turn.begun.done() for turn in self._queue)
        return f"<Turns {begun} under way, {len(self._queue) - begun} waiting>"

    @asynccontextmanager
    async def turn(self, action: Action, *, timeout: float) -> AsyncIterator[Turn]:
        """Runs the body when it is its turn. Raises `BrowserTimeout` when that is not within `timeout` seconds."""
        mine = Turn(self, action)
        self._queue.append(mine)
        try:
            self.advance()
            if not mine.begun.done():
                await self._wait(mine, timeout)
            yield mine
        finally:
            mine.begun.cancel()
            self._queue.remove(mine)
            self.advance()

    def advance(self) -> None:
        """Lets begin what may."""
        ahead: set[Action] = set()
        for turn in self._queue:
            if not turn.begun.done() and (self._ended or ahead.isdisjoint(turn.waits_for)):
                turn.begun.set_result(None)
            ahead.add(turn.action)

    def end(self) -> None:
        """The page is gone: whoever waits may go on, and will find that out."""
        self._ended = True
        self.advance()

    async def _wait(self, mine: Turn, timeout: float) -> None:
        patience = min(PATIENCE_S.get(mine.action, timeout), timeout / 2)
        await asyncio.wait({mine.begun}, timeout=patience)
        if not mine.begun.done():
            mine.waits_for = _STILL_WAITS_FOR.get(mine.action, mine.waits_for)
            self.advance()
            await asyncio.wait({mine.begun}, timeout=timeout - patience)
        if not mine.begun.done():
            ahead = next(turn.action for turn in self._queue if turn.action in mine.waits_for)
            raise BrowserTimeout(
                f"The page was busy with an earlier {ahead.value} for {timeout:.3g} s. Wait for that first, or give "
                "this one more time."
            )


__all__ = ["PATIENCE_S", "Action", "Turn", "Turns"]
