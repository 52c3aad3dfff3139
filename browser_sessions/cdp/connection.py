"""Routes what comes through a Chromium's pipe to the CDP session that it belongs to."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Protocol

from browser_sessions.cdp.messages import FIRST_OWN_ID, LAST_ID, session_of
from browser_sessions.cdp.pipe import Pipe


class Receiver(Protocol):
    """One session, or a client's browser session with all that is below it."""

    def receive(self, message: bytes, session_id: bytes | None) -> None: ...

    def lost(self) -> None:
        """The browser is gone."""

    def full(self, full: bool) -> None:
        """Whether the browser is behind with reading commands."""


class Connection:
    """`closed` gets the reason of the end, once; it never fails and must not be cancelled."""

    def __init__(self, lost: Callable[[], None]) -> None:
        """`lost` is called once, when the connection has ended and all receivers know."""
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._lost = lost
        self._pipe = Pipe(self._receive, self._pipe_lost, self._full)
        self._routes: dict[bytes | None, Receiver] = {}
        """By session id; None: the browser's root."""
        self._ids = itertools.cycle(range(FIRST_OWN_ID, LAST_ID))

    async def open(self, messages: int, commands: int) -> None:
        """Takes the pipe's descriptors over: the one that Chromium writes to, and the one that it reads from."""
        await self._pipe.open(messages, commands)

    def new_id(self) -> int:
        """For a call of ours: one count for all sessions, some of which get answers to what another one has asked."""
        return next(self._ids)

    def send(self, message: bytes) -> None:
        """Raises `MessageTooLong`."""
        self._pipe.send(message)

    def route(self, session_id: str | None, receiver: Receiver) -> None:
        """What carries this session's id goes to `receiver` from now on."""
        self._routes[None if session_id is None else session_id.encode()] = receiver

    def unroute(self, session_id: str) -> None:
        self._routes.pop(session_id.encode(), None)

    def receiver(self, session_id: str) -> Receiver | None:
        return self._routes.get(session_id.encode())

    def close(self) -> None:
        """Closes the pipe, which ends the browser."""
        self._pipe.close()
        self._end("closed")

    def _receive(self, message: bytes) -> None:
        session_id = session_of(message)
        receiver = self._routes.get(session_id)
        if receiver is not None:  # else it was sent before Chromium heard of the session's end
            receiver.receive(message, session_id)

    def _full(self, full: bool) -> None:
        for receiver in set(self._routes.values()):
            receiver.full(full)

    def _pipe_lost(self) -> None:
        self._pipe.close()
        self._end("the browser closed its pipe")

    def _end(self, reason: str) -> None:
        if self.closed.done():
            return
        self.closed.set_result(reason)
        for receiver in set(self._routes.values()):
            receiver.lost()
        self._routes.clear()
        self._lost()
