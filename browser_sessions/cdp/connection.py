"""Routes Chromium's messages to CDP sessions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from browser_sessions.cdp.messages import FIRST_OWN_ID, LAST_ID, session_of
from browser_sessions.cdp.pipe import Pipe

log = logging.getLogger(__name__)


class Receiver(Protocol):
    """One session, or a client's browser session with all sessions below it."""

    def receive(self, message: bytes, session_id: bytes | None) -> None: ...

    def failed(self) -> None:
        """`receive` has raised, which is a bug: its state may be wrong."""

    def lost(self) -> None:
        """The browser is gone."""

    def full(self, full: bool) -> None:
        """Backpressure: whether too many commands wait to be read by the browser."""


class Connection:
    """`closed` is set to the reason when the connection ends. It never fails and must not be cancelled."""

    def __init__(self, lost: Callable[[], None]) -> None:
        """`lost` is called once, when the connection has ended and all receivers have been notified."""
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._lost = lost
        self._pipe = Pipe(self._receive, self._pipe_lost, self._full)
        self._routes: dict[bytes | None, Receiver] = {}
        """By session id; None is the root session."""
        self._last_id = FIRST_OWN_ID

    async def open(self, messages: int, commands: int) -> None:
        """Takes ownership of both descriptors: the one that Chromium writes to, and the one that it reads from."""
        await self._pipe.open(messages, commands)

    def new_id(self) -> int:
        """An id for a call of ours, unique over all sessions, because some responses arrive on another session."""
        self._last_id = self._last_id + 1 if self._last_id < LAST_ID else FIRST_OWN_ID
        return self._last_id

    def send(self, message: bytes) -> None:
        """Raises `MessageTooLong`."""
        self._pipe.send(message)

    def route(self, session_id: str | None, receiver: Receiver) -> None:
        """Routes messages with this session id to `receiver` from now on."""
        self._routes[None if session_id is None else session_id.encode()] = receiver

    def unroute(self, session_id: str) -> None:
        self._routes.pop(session_id.encode(), None)

    def receiver(self, session_id: str) -> Receiver | None:
        return self._routes.get(session_id.encode())

    def close(self) -> None:
        """Closes the pipe, at which the browser exits."""
        self._pipe.close()
        self._end("closed")

    def _receive(self, message: bytes) -> None:
        session_id = session_of(message)
        receiver = self._routes.get(session_id)
        if receiver is None:  # it was sent before Chromium detached the session
            return
        try:
            receiver.receive(message, session_id)
        except Exception:  # the pipe, which all sessions of the browser share, must not end with it
            log.exception("a message on CDP session %s was not handled", session_id)
            asyncio.get_running_loop().call_soon(receiver.failed)

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
