"""A queue per page that serialises actions which would disturb each other, in order of arrival.

Chromium never responds to a screenshot command if the page navigates meanwhile or has just navigated: it fails at
Playwright's deadline. A second navigation aborts the first, and a navigation destroys a script's execution context.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from typing import Final

from browser_sessions.chromium.deadline import seconds
from browser_sessions.chromium.driver.playwright_calls import TargetClosed
from browser_sessions.domain.errors import BrowserTimeout


class Action(Enum):
    """Kinds of actions, by how they affect others on the same page."""

    READ = "script"
    DRAW = "picture"
    """Screenshots and PDFs: they change the size or the medium of the page."""
    NAVIGATE = "navigation"
    """A navigation until its document is committed."""
    LOAD = "page load"
    """A committed navigation until it reaches the requested state. Scripts may run meanwhile."""


_WAITS_FOR: Final[dict[Action, frozenset[Action]]] = {
    Action.READ: frozenset({Action.NAVIGATE}),
    Action.DRAW: frozenset({Action.NAVIGATE, Action.DRAW, Action.LOAD}),
    Action.NAVIGATE: frozenset(Action),
    Action.LOAD: frozenset(),
}
RELAX_AFTER_S: Final[dict[Action, float]] = {Action.DRAW: 3.0, Action.NAVIGATE: 10.0}
"""Seconds (at most half of the action's timeout) after which an action only waits for those in `_RELAXED_WAITS_FOR`.

A document can be drawn three seconds after its commit, whatever it still loads. Scripts and screenshots take less than
ten seconds on a busy machine, and one that hangs must not block navigation away from the page."""
_RELAXED_WAITS_FOR: Final[dict[Action, frozenset[Action]]] = {
    Action.DRAW: frozenset({Action.NAVIGATE, Action.DRAW}),
    Action.NAVIGATE: frozenset({Action.NAVIGATE, Action.LOAD}),
}


class Ticket:
    """One action in the queue of its page."""

    def __init__(self, queue: ActionQueue, action: Action) -> None:
        self.action = action
        self.waits_for = _WAITS_FOR[action]
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue = queue

    def committed(self) -> None:
        """The navigation has committed its document: starts the actions that waited for it."""
        self.action = Action.LOAD
        self._queue.advance()


class ActionQueue:
    """The queue of one page. An action starts when no action that it waits for is ahead of it."""

    def __init__(self) -> None:
        self._tickets: list[Ticket] = []
        self._closed = False

    def __repr__(self) -> str:
        running = sum(ticket.started.done() for ticket in self._tickets)
        return f"<ActionQueue {running} running, {len(self._tickets) - running} waiting>"

    @asynccontextmanager
    async def enter(self, action: Action, *, timeout: float) -> AsyncIterator[Ticket]:
        """Runs the body when the action may start. Raises `BrowserTimeout` after `timeout` seconds of waiting, and
        `TargetClosed` when the queue is closed before."""
        ticket = Ticket(self, action)
        self._tickets.append(ticket)
        try:
            self.advance()
            if not ticket.started.done():
                await self._wait(ticket, timeout)
            if self._closed:
                raise TargetClosed
            yield ticket
        finally:
            ticket.started.cancel()
            self._tickets.remove(ticket)
            self.advance()

    def advance(self) -> None:
        """Starts the actions that may run now."""
        ahead: set[Action] = set()
        for ticket in self._tickets:
            if not ticket.started.done() and (self._closed or ahead.isdisjoint(ticket.waits_for)):
                ticket.started.set_result(None)
            ahead.add(ticket.action)

    def close(self) -> None:
        """The page is gone or about to go: no other action starts, though the page may still respond."""
        self._closed = True
        self.advance()

    async def _wait(self, ticket: Ticket, timeout: float) -> None:
        relax_after = min(RELAX_AFTER_S.get(ticket.action, timeout), timeout / 2)
        await asyncio.wait({ticket.started}, timeout=relax_after)
        if not ticket.started.done():
            ticket.waits_for = _RELAXED_WAITS_FOR.get(ticket.action, ticket.waits_for)
            self.advance()
            await asyncio.wait({ticket.started}, timeout=timeout - relax_after)
        if not ticket.started.done():
            ahead = next(each.action for each in self._tickets if each.action in ticket.waits_for)
            raise BrowserTimeout(
                f"The page was busy with an earlier {ahead.value} for {seconds(timeout)}. Wait until that has "
                "finished, or allow more time."
            )


__all__ = ["RELAX_AFTER_S", "Action", "ActionQueue", "Ticket"]
