"""The one module that knows the inside of uvicorn and its WebSocket library: two protocol classes and the server's
signal handling.

None of it is uvicorn's public interface: pyproject.toml has an upper bound, and tests/unit/test_library_insides.py
names what is missing when another version has it no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
from collections.abc import Iterator
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.http11 import Response as HandshakeResponse

from browser_sessions.api.errors import PROBLEM_JSON, Kind, problem_response
from browser_sessions.gateway.gateway import TAKE_OVER

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_IN_LOWER_CASE: Final = frozenset({b"get ", b"put "})
"""Methods of `/json/…` as some tools write them."""

_H2C: Final = re.compile(rb"\r\nupgrade:[ \t]*h2c[ \t]*(?=\r\n|\Z)", re.IGNORECASE)
"""The offer of HTTP/2 with which Java's client begins each request to an http: address. It may be ignored (RFC 9110,
section 7.8), but the parser takes what follows for the other protocol."""


class Server(uvicorn.Server):
    """Calls `signalled` for every SIGTERM and Ctrl-C, and stops when `exit` or `exit_now` is called."""

    def signalled(self) -> None:
        """To be overridden: uvicorn itself would stop at once."""
        self.exit()

    def exit(self) -> None:
        """Stops after the requests under way, within the configured time."""
        self.should_exit = True

    def exit_now(self) -> None:
        """Stops without waiting for requests under way."""
        self.force_exit = True
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.signalled)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn then skips the end of the lifespan, which logs a traceback
            await self.lifespan.shutdown()


class AnyCaseProtocol(HttpToolsProtocol):
    """For tools that write `get /json/version`: Chromium accepts that, and a strict parser does not. Ignores offers of
    HTTP/2. Refuses what is no HTTP with a problem, as the application does.

    Only the beginning of a request is changed: any other data may be the middle of a body.
    """

    _between_requests = True

    def data_received(self, data: bytes) -> None:
        if self._between_requests:
            if data[:4] in _IN_LOWER_CASE:
                data = data[:4].upper() + data[4:]
            if b"h2c" in data:
                head, end, body = data.partition(b"\r\n\r\n")
                data = _H2C.sub(b"", head) + end + body
        super().data_received(data)

    def on_message_begin(self) -> None:
        self._between_requests = False
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._between_requests = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        body = _bad_request(msg)
        head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: {PROBLEM_JSON}\r\nContent-Length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        self.transport.close()


def _bad_request(detail: str) -> bytes:
    return bytes(problem_response(Kind(400, "bad-request", "Bad request"), detail).body)


class TakeOverProtocol(WebSocketsSansIOProtocol):
    """Does the handshake, and hands the connection over when the application calls the extension `TAKE_OVER`."""

    def handle_connect(self, event: Request) -> None:
        refuse = self.conn.reject

        def reject(status: int, text: str) -> HandshakeResponse:
            response = refuse(status, text)
            response.body = _bad_request(text.strip())
            del response.headers["Content-Type"], response.headers["Content-Length"]
            response.headers["Content-Type"], response.headers["Content-Length"] = PROBLEM_JSON, str(len(response.body))
            return response

        self.conn.reject = reject  # type: ignore[method-assign]
        super().handle_connect(event)
        self.conn.reject = refuse  # type: ignore[method-assign]
        scope: Any = getattr(self, "scope", None)
        if scope is not None:  # none where the handshake itself was refused
            scope["extensions"][TAKE_OVER] = self.take_over

    async def send(self, message: Any) -> None:
        """A refusal completes the handshake too: uvicorn does not note it, and logs an error."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True

    def take_over(self, successor: Any) -> None:
        """Hands the transport to `successor`, right after `websocket.accept` was sent and before any other await.

        uvicorn keeps it in its list of connections: it calls `successor.shutdown` when it stops, until
        `successor.closed` is done.
        """
        self.stop_keepalive()
        self.connections.discard(self)
        self.connections.add(successor)
        successor.closed.add_done_callback(lambda _: self.connections.discard(successor))
        self.transport.set_protocol(successor)
        successor.connection_made(self.transport)
