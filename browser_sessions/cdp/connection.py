"""A raw CDP client over one WebSocket: calls, events, and a truthful end.

The wire format is that of https://chromedevtools.github.io/devtools-protocol/: JSON objects, answers matched to calls
by `id`, events without one, `sessionId` on whatever belongs to an attached target (flat mode).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from typing import Any, Final

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

MAX_MESSAGE_BYTES: Final = 256 * 2**20
"""The gateway's own limit of a message: what may pass there may be read here."""
SAID_BYTES: Final = 2**20
"""What a page says or throws at greater length is not read: nobody shows it, and decoding it would hold up the loop."""
_SAID: Final = tuple(
    b'{"method":"%s' % prefix for prefix in (b"Runtime.", b"Log.", b"Network.", b"Page.javascriptDialog")
)
SESSION_NOT_FOUND: Final = -32001
"""Chromium's code for a call on a session that it does not know."""
CLOSE_SECONDS: Final = 0.5
"""How long a closing handshake may take: loopback answers in a millisecond, a stopped browser never."""

Listener = Callable[[dict[str, Any], str | None], None]
"""Called on the event loop with an event's `params` and its `sessionId`."""

log = logging.getLogger(__name__)


class CdpError(Exception):
    """Chromium answered a call with an error object."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message


class CdpClosed(Exception):
    """The connection has ended, or never began; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Connection:
    """One CDP connection. Made with `Connection.open`; lives until either side closes it.

    `closed` is a future that gets the reason of the end, once; it never fails and must not be cancelled.
    """

    def __init__(self, socket: ClientConnection) -> None:
        loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[str] = loop.create_future()
        self._socket = socket
        self._pending: dict[int, tuple[asyncio.Future[dict[str, Any]], str | None]] = {}
        """By call id: the answer, and the session it is asked on."""
        self._listeners: dict[str, list[Listener]] = {}
        self._last_id = 0
        self._reader = loop.create_task(self._read(), name="cdp-reader")

    def __repr__(self) -> str:
        state = f"closed: {self.closed.result()}" if self.closed.done() else "open"
        return f"<Connection {state}, {len(self._pending)} calls pending>"

    @classmethod
    async def open(cls, url: str, *, timeout: float) -> Connection:
        """Connects to a ws:// address within `timeout` seconds. Raises `CdpClosed`, `TimeoutError`."""
        try:
            async with asyncio.timeout(timeout):
                socket = await connect(
                    url,
                    max_size=MAX_MESSAGE_BYTES,
                    compression=None,  # loopback: deflate costs more than it saves
                    open_timeout=None,  # the deadline above is the one
                    ping_interval=None,  # callers probe with calls, which reach further than a ping
                    close_timeout=CLOSE_SECONDS,
                    proxy=None,  # a proxy of the environment is not for loopback
                    user_agent_header=None,
                )
        except (OSError, WebSocketException) as error:
            if isinstance(error, TimeoutError):
                raise
            raise CdpClosed(f"could not connect: {error}") from error
        return cls(socket)

    def on(self, method: str, listener: Listener) -> Callable[[], None]:
        """Calls `listener` for every event `method`, in the order of the wire. Returns what takes it away again."""
        self._listeners.setdefault(method, []).append(listener)

        def off() -> None:
            with contextlib.suppress(KeyError, ValueError):
                self._listeners[method].remove(listener)

        return off

    async def call(
        self, method: str, params: dict[str, Any] | None = None, *, session_id: str | None = None, timeout: float
    ) -> dict[str, Any]:
        """The `result` of one call, within `timeout` seconds. Raises `CdpError`, `CdpClosed`, `TimeoutError`."""
        if self.closed.done():
            raise CdpClosed(self.closed.result())
        self._last_id += 1
        call_id = self._last_id
        message: dict[str, Any] = {"id": call_id, "method": method}
        if params is not None:
            message["params"] = params
        if session_id is not None:
            message["sessionId"] = session_id
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._pending[call_id] = answer, session_id
        try:
            async with asyncio.timeout(timeout):
                await self._socket.send(orjson.dumps(message).decode())
                result = await answer
        except TimeoutError:
            raise TimeoutError(f"{method} was not answered within {timeout:g} s") from None
        except ConnectionClosed as end:
            raise CdpClosed(str(end)) from end
        finally:
            self._pending.pop(call_id, None)
            if not answer.cancel() and not answer.cancelled():
                answer.exception()  # read, so that asyncio does not report it as never retrieved
        return result

    async def close(self) -> None:
        """Ends the connection and waits for its end, at most `CLOSE_SECONDS` for the other side's part in it."""
        await self._socket.close()
        await asyncio.wait({self._reader})

    async def _read(self) -> None:
        reason = "closed"
        try:
            while True:
                frame = await self._socket.recv(decode=False)
                if len(frame) <= SAID_BYTES or not frame.startswith(_SAID):
                    self._dispatch(frame)
        except ConnectionClosed as end:
            reason = str(end)
        except BaseException as error:
            reason = f"reader failed: {error!r}"
            raise
        finally:
            self._finish(reason)

    def _finish(self, reason: str) -> None:
        if not self.closed.done():
            self.closed.set_result(reason)
        for answer, _ in self._pending.values():
            if not answer.done():
                answer.set_exception(CdpClosed(reason))
        self._listeners.clear()

    def _session_gone(self, session_id: str | None) -> None:
        """Chromium does not answer what was asked on a session that has gone: this gives the answer later calls get."""
        for answer, asked_on in self._pending.values():
            if asked_on is not None and asked_on == session_id and not answer.done():
                answer.set_exception(CdpError(SESSION_NOT_FOUND, "Session with given id not found."))

    def _dispatch(self, frame: bytes) -> None:
        message = _decode(frame)
        call_id = message.get("id")
        if call_id is None:
            params, session_id = message.get("params", {}), message.get("sessionId")
            for listener in tuple(self._listeners.get(message.get("method", ""), ())):
                try:
                    listener(params, session_id)
                except Exception:  # one bad listener must not end the connection of all others
                    log.exception("a listener of %s failed", message.get("method"))
            if message.get("method") == "Target.detachedFromTarget":
                self._session_gone(params.get("sessionId"))
            return
        answer, _ = self._pending.get(call_id, (None, None))
        if answer is None or answer.done():
            return
        error = message.get("error")
        if error is None:
            answer.set_result(message.get("result", {}))
        else:
            answer.set_exception(CdpError(int(error.get("code", 0)), str(error.get("message", ""))))


def _decode(frame: bytes) -> dict[str, Any]:
    """A page's string may hold half a character, which Chromium passes on as an escape that orjson refuses."""
    try:
        message: dict[str, Any] = orjson.loads(frame)
    except orjson.JSONDecodeError:
        message = json.loads(frame)
    return message
