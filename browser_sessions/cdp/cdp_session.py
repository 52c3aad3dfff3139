"""Our own CDP sessions on a browser's pipe."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from browser_sessions.cdp.connection import Connection
from browser_sessions.cdp.errors import SESSION_NOT_FOUND, CdpClosed, CdpError
from browser_sessions.cdp.messages import encode, event_method, read

UNREAD_BYTES: Final = 2**20
"""Longer events of these domains are dropped: they are not displayed, and decoding them would block the event loop."""
_UNREAD: Final = (b"Runtime.", b"Log.", b"Network.", b"Page.javascriptDialog")
_GONE: Final[dict[str, Any]] = {"code": SESSION_NOT_FOUND, "message": "Session with given id not found."}
"""Chromium's own error object."""

OnResponse = Callable[[Mapping[str, Any] | None, Mapping[str, Any] | None], None]
"""Called with the result, or with the error object."""
Handler = Callable[[dict[str, Any]], None]

log = logging.getLogger(__name__)


class Caller:
    """Sends calls on one CDP session and matches their responses by id."""

    def __init__(self, connection: Connection, level: str | None) -> None:
        self.connection = connection
        self._level = level
        """The session's id; None is the root session."""
        self._pending: dict[int, OnResponse] = {}

    def post(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        on_response: OnResponse | None = None,
        *,
        session_id: str | None = None,
    ) -> int:
        """Sends a call of our own on this session or on one below it. `on_response` is called in the order of the pipe,
        and not any more once a client's session is closed. Returns the call's id. Raises `MessageTooLong`,
        `InvalidMessage`."""
        call_id = self.connection.new_id()
        if on_response is not None:
            self._pending[call_id] = on_response
        self.connection.send(encode(call_id, method, params or {}, session_id or self._level))
        return call_id

    async def call(
        self, method: str, params: Mapping[str, Any] | None = None, *, session_id: str | None = None, timeout: float
    ) -> dict[str, Any]:
        """The `result` of one call, within `timeout` seconds. Raises `CdpError`, `CdpClosed`, `TimeoutError`."""
        if self.connection.closed.done():
            raise CdpClosed(self.connection.closed.result())
        result: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

        def on_response(value: Mapping[str, Any] | None, error: Mapping[str, Any] | None) -> None:
            if result.done():
                return
            if value is not None:
                result.set_result(dict(value))
            elif error is not None:
                result.set_exception(CdpError(int(error.get("code", 0)), str(error.get("message", ""))))
            else:
                result.set_exception(CdpClosed(self._reason()))

        call_id = self.post(method, params, on_response, session_id=session_id)
        try:
            async with asyncio.timeout(timeout):
                return await result
        except TimeoutError:
            raise TimeoutError(f"no response to {method} within {timeout:g} s") from None
        finally:
            self._pending.pop(call_id, None)

    def _reason(self) -> str:
        closed = self.connection.closed
        return closed.result() if closed.done() else "the session was closed"

    def _on_response(self, message: Mapping[str, Any]) -> None:
        if "id" not in message:
            log.error("Chromium could not read a command: %s", message.get("error"))
            return
        on_response = self._pending.pop(message["id"], None)
        if on_response is not None:
            error = message.get("error")
            on_response(message.get("result", {}) if error is None else None, error)

    def _fail(self, error: Mapping[str, Any] | None) -> None:
        """Fails pending calls at the end of a session: Chromium sends no responses then."""
        pending, self._pending = self._pending, {}
        for on_response in pending.values():
            on_response(None, error)


class Session(Caller):
    """A session of our own: on the browser (root), a page, or a worker or out-of-process frame of a page."""

    def __init__(self, connection: Connection, session_id: str | None, target_id: str = "") -> None:
        super().__init__(connection, session_id)
        connection.route(session_id, self)
        self.session_id = session_id
        self.target_id = target_id
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the session was detached, or its target or the browser is gone."""
        self._handlers: dict[bytes, list[Handler]] = {}
        self._below: dict[str, Session] = {}

    def __repr__(self) -> str:
        return f"<Session on {self.target_id or 'the browser'}{', closed' if self.closed.done() else ''}>"

    def on(self, method: str, handler: Handler) -> Callable[[], None]:
        """Calls `handler` with the params of every event `method`, in the order of the pipe. Returns a function that
        removes the handler."""
        handlers = self._handlers.setdefault(method.encode(), [])
        handlers.append(handler)

        def off() -> None:
            with contextlib.suppress(ValueError):
                handlers.remove(handler)

        return off

    async def call(
        self, method: str, params: Mapping[str, Any] | None = None, *, session_id: str | None = None, timeout: float
    ) -> dict[str, Any]:
        """As `Caller.call`. Raises `CdpError` after the end of the session, for which Chromium would send no response
        here."""
        if self.closed.done() and not self.connection.closed.done():
            raise CdpError(_GONE["code"], _GONE["message"])
        return await super().call(method, params, session_id=session_id, timeout=timeout)

    def below(self, session_id: str) -> Session | None:
        """The session on a worker or frame that Chromium attached through this one."""
        return self._below.get(session_id)

    def receive(self, message: bytes, _session_id: bytes | None) -> None:
        method = event_method(message)
        if method is None:
            self._on_response(read(message))
            return
        if len(message) > UNREAD_BYTES and method.startswith(_UNREAD):
            return
        handlers = self._handlers.get(method)
        targets = method.startswith(b"Target.") and self.session_id is not None
        if not handlers and not targets:
            return
        params = read(message).get("params", {})
        if method == b"Target.attachedToTarget" and targets:
            child = Session(self.connection, params["sessionId"], params["targetInfo"]["targetId"])
            self._below[params["sessionId"]] = child
        for handler in tuple(handlers or ()):
            try:
                handler(params)
            except Exception:  # the other handlers still get the event
                log.exception("a handler of %s failed", method.decode())
        if method == b"Target.detachedFromTarget" and targets:
            child_gone = self._below.pop(params["sessionId"], None)
            if child_gone is not None:
                child_gone.end()

    def failed(self) -> None:
        """The next messages are handled all the same: everybody needs our own sessions."""

    def lost(self) -> None:
        self.end()

    def full(self, full: bool) -> None:
        """No backpressure: our own calls are few, and all are needed."""

    def end(self) -> None:
        """The session is gone, and those below it: pending calls fail as later ones would."""
        ended = [self]
        for session in ended:  # a page can nest workers without end
            ended += session.end_alone()

    def end_alone(self) -> tuple[Session, ...]:
        """As `end`, but returns the sessions below instead of ending them."""
        if self.closed.done():
            return ()
        below = tuple(self._below.values())
        self.closed.set_result(None)
        if self.session_id is not None:
            self.connection.unroute(self.session_id)
        self._below.clear()
        self._handlers.clear()
        self._fail(None if self.connection.closed.done() else _GONE)
        return below
