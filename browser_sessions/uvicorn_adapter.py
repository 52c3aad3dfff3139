"""The one module that knows the inside of uvicorn and its WebSocket library: two protocol classes, with the limits of
heads and connections, and the server's signal handling.

None of it is uvicorn's public interface: pyproject.toml has an upper bound, and tests/unit/test_library_insides.py
names what is missing when another version has it no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Final, cast

import structlog
import uvicorn
from httptools import HttpParserUpgrade
from starlette.types import ASGIApp, Scope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets import http11
from websockets.http11 import Request
from websockets.http11 import Response as HandshakeResponse

from browser_sessions.api.errors import PROBLEM_JSON, Kind, problem_response
from browser_sessions.api.middleware.edge import holder
from browser_sessions.api.request_queue import RequestQueue
from browser_sessions.connections import Connections
from browser_sessions.domain.errors import RETRY_AFTER_SECONDS
from browser_sessions.gateway.gateway import TAKE_OVER
from browser_sessions.loop_shares import Share, Shares

log = structlog.get_logger()

MAX_LINE_BYTES: Final = 16 * 2**10
"""Of a URL and of a header: twice what most servers and proxies accept, for one-line connections whose options are in
their URL."""
MAX_HEAD_BYTES: Final = 64 * 2**10
MAX_HEADERS: Final = 100
HEAD_TIMEOUT_S: Final = 10.0
"""Seconds from the connection, or from the first bytes of a later request, to the end of the head: slow networks take
one or two."""
BODY_TIMEOUT_S: Final = 30.0
BODY_BYTES: Final = 64 * 2**10
"""In each `BODY_TIMEOUT_S`, at least so much of a body must come, or its end: 2 KiB a second."""
UNREAD_TIMEOUT_S: Final = 60.0
"""How long a client may read nothing of a response. Twice what a client of the gateway has, whose messages take memory
of others; event streams send a heartbeat more often, so this finds their dead readers too."""
EARLY_BYTES: Final = 64 * 2**10
"""Of frames that a client sends before its handshake has its response; then we stop reading."""
MAX_PIPELINED: Final = 10
"""Requests that wait on one connection until earlier ones have their response. No browser sends any, and all of them
are read at once."""
LIVENESS: Final = "/healthz"
"""Has turns of its own: whoever looks whether the service lives may have the address of those that keep it busy."""
PIECE_BYTES: Final = 4096
"""Of what may have chunks, parsed at once: 700 chunks of a byte take the parser 0.8 ms."""
CHUNKS_PER_STEP: Final = 8
"""Chunks whose parsing takes as long as a step of `loop_shares`."""
LINGER_S: Final = 1.0
LINGER_BYTES: Final = 2**20
"""What is read, and thrown away, from a client that was refused while it still sends."""

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_IN_LOWER_CASE: Final = frozenset({b"get ", b"put "})
"""Methods of `/json/…` as some tools write them."""

_H2C: Final = re.compile(rb"\r\nupgrade:[ \t]*h2c[ \t]*(?=\r\n|\Z)", re.IGNORECASE)
"""The offer of HTTP/2 with which Java's client begins each request to an http: address. It may be ignored (RFC 9110,
section 7.8), but the parser takes what follows for the other protocol."""

_BAD_REQUEST: Final = Kind(400, "bad-request", "Bad request")
_TIMED_OUT: Final = Kind(408, "request-timeout", "Request too slow")
_URL_TOO_LONG: Final = Kind(414, "url-too-long", "URL too long")
_HEADERS_TOO_LARGE: Final = Kind(431, "headers-too-large", "Request headers too large")
_TOO_MANY: Final = Kind(503, "too-many-connections", "Too many connections")
_HEAD_TOO_LARGE: Final = (_HEADERS_TOO_LARGE, f"The URL and the headers are longer than {MAX_HEAD_BYTES // 1024} KiB.")

_NOTHING, _HEAD, _BODY = range(3)
"""What the next bytes of a connection belong to. No enum: each look-up of a member would cost the status route 1 %."""

http11.MAX_LINE_LENGTH = MAX_LINE_BYTES + 1024  # it parses heads again, which have passed our limits
http11.MAX_NUM_HEADERS = MAX_HEADERS


class Config(uvicorn.Config):
    """Runs the protocols of this module, which have `connections`, `shares` and the turns of requests in common."""

    def __init__(self, app: ASGIApp, connections: Connections, shares: Shares, **options: Any) -> None:
        super().__init__(app, http=HttpProtocol, ws=TakeOverProtocol, **options)
        self.connections = connections
        self.shares = shares
        self.requests = RequestQueue()


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
        for number in SIGNALS:
            loop.add_signal_handler(number, self.signalled)
        try:
            yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn then skips the end of the lifespan, which logs a traceback
            await self.lifespan.shutdown()


class _Refused(Exception):
    """Stops the parser: the request gets the response in `HttpProtocol._refusal`."""


class _Flow(FlowControl):
    """Does not read on while something that was read has not been parsed."""

    held = False

    def hold(self, held: bool) -> None:
        self.held = held
        if self._transport.is_closing():
            return
        if held:
            self._transport.pause_reading()
        elif not self.read_paused:
            self._transport.resume_reading()

    def resume_reading(self) -> None:
        super().resume_reading()
        if self.held:
            self.hold(True)


class HttpProtocol(HttpToolsProtocol):
    """Limits the size and the time of a request's head, the time of its body, and the number of connections: the parser
    has no limits. Refuses with problems, as the application does, what is beyond them and what is no HTTP.

    For tools that write `get /json/version`: Chromium accepts that, and a strict parser does not. Ignores offers of
    HTTP/2. Only the beginning of a request is changed: any other data may be the middle of a body.

    A request in one piece, which nearly all are, costs some comparisons; timers start for requests in pieces only.
    Chunked bodies are parsed within the share that their sender has of the loop. Requests begin one by one, those of
    all addresses in turn: the loop accepts few connections in an iteration, which must not last as long as hundreds of
    requests.
    """

    url = b""
    _part = _NOTHING
    _fed = 0
    """Bytes since the head began or, in a body, since its last data."""
    _body_bytes = 0
    """Of the body, since its timer was started."""
    _timer: asyncio.TimerHandle | None = None
    _refusal: tuple[Kind, str] | None = None
    _refused = False
    _discarded = 0
    _chunk = b""
    """What the parser reads now."""
    _unparsed = b""
    _unchunked = PIECE_BYTES
    """Bytes that may be parsed at once: the rest of a body of known length has no chunks."""
    _chunks = 0
    _share: Share | None = None
    _answered: RequestResponseCycle | None = None
    """The request that the application has: uvicorn knows the last one only."""

    # -- connection ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow: _Flow = _Flow(transport)
        _limit_unread(transport)
        if _config(self).connections.open(transport, _address(self)):
            self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self._head_timed_out)
        else:
            self._refuse(_TOO_MANY, "This service has too many open connections, in all or from this address.")

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._unparsed = b""
        self._give_up()
        _config(self).connections.close(self.transport)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._discarded += len(data)
            if self._discarded > LINGER_BYTES:
                self.transport.abort()
            return
        if not self._part:
            if data[:4] in _IN_LOWER_CASE:
                data = data[:4].upper() + data[4:]
            if b"h2c" in data:
                head, end, body = data.partition(b"\r\n\r\n")
                data = _H2C.sub(b"", head) + end + body
        if len(data) <= self._unchunked and not self._unparsed:
            self._parse(data)
            return
        self._unparsed += data
        self._share = _config(self).shares.of(f"http {self._holder}")
        if not self._share.run(self._parse_some):
            self.flow.hold(True)

    @property
    def _holder(self) -> str:
        return holder(cast(Scope, self.scope) if self._part else {"client": self.client})

    def _parse_some(self, steps: int) -> int:
        """`loop_shares.Work`"""
        while self._unparsed and not (self._refused or self.transport.is_closing()):
            if steps <= 0:
                return 0
            size = self._unchunked or PIECE_BYTES
            piece, self._unparsed = self._unparsed[:size], self._unparsed[size:]
            self._chunks = 0
            self._parse(piece)
            steps -= self._chunks // CHUNKS_PER_STEP
        if self.flow.held:
            self.flow.hold(False)
        self._unparsed = b""
        return max(1, steps)

    def _parse(self, data: bytes) -> None:
        self._fed += len(data)
        self._chunk = data
        super().data_received(data)
        self._chunk = b""
        if (self._fed or self._part) and not self._refused:
            self._incomplete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        path: str = cycle.scope["path"]
        whose = path if path == LIVENESS else _address(self)
        _config(self).requests.run(whose, partial(self._start, cycle, app))

    def _start(self, cycle: RequestResponseCycle, app: Any) -> None:
        if not self.transport.is_closing():
            self._answered = cycle
            super()._start_asgi_task(cycle, app)

    def _give_up(self) -> None:
        """Nothing can be written any more: the application is to know."""
        if self._answered is not None and not self._answered.response_complete:
            self._answered.disconnected = True
            self._answered.message_event.set()

    def handle_websocket_upgrade(self) -> None:
        """uvicorn drops the frames that came with the request."""
        super().handle_websocket_upgrade()
        upgrade = sys.exception()
        assert isinstance(upgrade, HttpParserUpgrade)
        frames, self._unparsed = self._chunk[upgrade.args[0] :] + self._unparsed, b""
        if self.flow.held:
            self.flow.hold(False)
        if frames and not self.transport.is_closing():
            cast(asyncio.Protocol, self.transport.get_protocol()).data_received(frames)

    # -- parser ----------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._part = _HEAD
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """As uvicorn's, with a limit. Also called for trailers, which nobody reads."""
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        headers = self.headers
        headers.append((name, value))
        if len(headers) > MAX_HEADERS:
            self._refusal = (_HEADERS_TOO_LARGE, f"The request has more than {MAX_HEADERS} headers.")
            raise _Refused

    def on_headers_complete(self) -> None:
        if self._timer is not None:
            self._stop_timer()
        if self._fed > MAX_LINE_BYTES:  # else no part of it can be too long
            self._refusal = _too_long(self.url, self.headers)
        if self.url[:1] != b"/" and _is_foreign(self.url, self.headers):
            self._refusal = (_BAD_REQUEST, "The request target names another host than the Host header.")
        if len(self.pipeline) >= MAX_PIPELINED:
            self._refusal = (_BAD_REQUEST, f"More than {MAX_PIPELINED} requests wait on this connection.")
        if self._refusal is not None:
            raise _Refused
        super().on_headers_complete()
        self._part = _BODY
        self._fed = 0
        self._unchunked = next((int(value) for name, value in self.headers if name == b"content-length"), 0)
        if not self.parser.should_upgrade():
            self.headers = []  # trailers do not join the headers

    def on_body(self, body: bytes) -> None:
        self._fed = 0
        self._chunks += 1
        self._unchunked = max(0, self._unchunked - len(body))
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._timer is not None:
            self._stop_timer()
        self._part = _NOTHING
        self._fed = 0
        self._unchunked = PIECE_BYTES
        super().on_message_complete()

    # -- limits ----------------------------------------------------------------------------------------------------

    def _incomplete(self) -> None:
        """The request continues in data to come. Line breaks before it are read as a part of it."""
        if self._part != _BODY:
            if self._fed > MAX_HEAD_BYTES or len(self.url) > MAX_LINE_BYTES:
                self._refuse(*(_too_long(self.url, ()) or _HEAD_TOO_LARGE))
            elif self._timer is None:
                self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self._head_timed_out)
        elif self._fed > MAX_HEAD_BYTES:  # of trailers, or around the chunks of the body
            self._refuse(*_HEAD_TOO_LARGE)
        elif self._timer is None:
            self._body_bytes = 0
            self._timer = self.loop.call_later(BODY_TIMEOUT_S, self._body_timed_out)

    def _head_timed_out(self) -> None:
        if self._part == _NOTHING:
            self.transport.close()
        else:
            self._refuse(_TIMED_OUT, f"The request's head was not complete within {HEAD_TIMEOUT_S:g} seconds.")

    def _body_timed_out(self) -> None:
        """Bodies may take longer while they come at some speed, or while it is we who do not read."""
        if self._body_bytes >= BODY_BYTES or self.flow.read_paused or self.flow.held:
            self._body_bytes = 0
            self._timer = self.loop.call_later(BODY_TIMEOUT_S, self._body_timed_out)
        else:
            self._refuse(
                _TIMED_OUT, f"Less than {BODY_BYTES // 1024} KiB of the body came within {BODY_TIMEOUT_S:g} seconds."
            )

    def send_400_response(self, msg: str) -> None:
        """uvicorn calls it when the parser has failed or was stopped."""
        self._refuse(*(self._refusal or (_BAD_REQUEST, msg)))

    def _refuse(self, kind: Kind, detail: str) -> None:
        """Responds if that is possible and ends the connection. What the client still sends is discarded for a moment:
        it would not see the response if the connection was closed at once."""
        self._refused = True
        self._stop_timer()
        log.info("http.refused", status=kind.status, detail=detail, client=_address(self))
        last: RequestResponseCycle | None = self.cycle
        unanswered = last is not None and not last.response_complete
        queued = unanswered and (self._part != _BODY or bool(self.pipeline))
        if last is not None and unanswered:
            if not queued and not last.response_started:
                self.transport.write(_response(kind, detail))
            last.disconnected = True
            last.message_event.set()
        else:
            self.transport.write(_response(kind, detail))
        if kind is _TOO_MANY or queued:  # a response would pass for that of an earlier request
            self.pipeline.clear()
            self._give_up()
            self.transport.close()
        else:
            self.transport.write_eof()
            self.loop.call_later(LINGER_S, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _too_long(url: bytes, headers: Iterable[tuple[bytes, bytes]]) -> tuple[Kind, str] | None:
    """Why a head is refused for its size, if it is."""
    if len(url) > MAX_LINE_BYTES:
        return _URL_TOO_LONG, f"The URL is longer than {MAX_LINE_BYTES // 1024} KiB."
    sizes = [len(name) + len(value) for name, value in headers]
    if max(sizes, default=0) > MAX_LINE_BYTES:
        return _HEADERS_TOO_LARGE, f"A header is longer than {MAX_LINE_BYTES // 1024} KiB."
    return _HEAD_TOO_LARGE if len(url) + sum(sizes) + 4 * len(sizes) > MAX_HEAD_BYTES else None


def _is_foreign(target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a request target in absolute form (RFC 9112, section 3.2.2) is for another host than the Host header,
    which is the one that the application checks."""
    scheme, separator, rest = target.partition(b"://")
    host = b"".join(value for name, value in headers if name == b"host")
    authority = re.split(rb"[/?#]", rest, maxsplit=1)[0]
    return bool(separator) and (scheme.lower() not in (b"http", b"https") or authority.lower() != host.lower())


def _response(kind: Kind, detail: str) -> bytes:
    body = _problem(kind, detail)
    retry = f"Retry-After: {RETRY_AFTER_SECONDS:g}\r\n" if kind.status == 503 else ""
    head = (
        f"HTTP/1.1 {kind.status} {kind.title}\r\nContent-Type: {PROBLEM_JSON}\r\nContent-Length: {len(body)}\r\n"
        f"{retry}Connection: close\r\n\r\n"
    )
    return head.encode() + body


def _problem(kind: Kind, detail: str) -> bytes:
    return bytes(problem_response(kind, detail).body)


def _limit_unread(transport: asyncio.Transport) -> None:
    """Lets the kernel (Linux) end a connection whose peer takes nothing of what waits for it, also after our close."""
    connection = transport.get_extra_info("socket")
    if hasattr(socket, "TCP_USER_TIMEOUT") and connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNREAD_TIMEOUT_S * 1000))


def _address(protocol: HttpProtocol | TakeOverProtocol) -> str:
    return protocol.client[0] if protocol.client else ""


def _config(protocol: HttpProtocol | TakeOverProtocol) -> Config:
    assert isinstance(protocol.config, Config)
    return protocol.config


class TakeOverProtocol(WebSocketsSansIOProtocol):
    """Does the handshake, and hands the connection over when the application calls the extension `TAKE_OVER`.

    Frames that come before the handshake has its response wait for it: uvicorn would respond to them first, and what it
    has read would be lost to a successor. Later ones are parsed within the share that their sender has of the loop, and
    no more while messages wait for the application."""

    _early = b""
    _successor: Any = None
    _unparsed = b""
    _head = b""
    """Of a frame whose length has not come completely."""
    _frame_bytes = 0
    """Of a frame that has begun, to come."""
    _waits = False
    """Whether `_parse` will be called in a later turn."""
    _share: Share | None = None

    def data_received(self, data: bytes) -> None:
        if not self.handshake_initiated:
            super().data_received(data)
            return
        if self.handshake_complete and not self._early:
            self._unparsed, self._head = self._unparsed + self._head + data, b""
            self._go_on()
            return
        self._early += data
        if len(self._early) > EARLY_BYTES:
            self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        _config(self).connections.close(self.transport)
        self._unparsed = b""
        super().connection_lost(exc)

    def _go_on(self) -> None:
        if not self._waits and (self.queue.empty() or self.close_sent):
            if self._share is None:
                self._share = _config(self).shares.of(f"http {holder(cast(Scope, self.scope))}")
            self._waits = not self._share.run(self._parse)
        if self._unparsed and not self.transport.is_closing():
            self.transport.pause_reading()

    def _parse(self, steps: int) -> int:
        """`loop_shares.Work`: a step a frame."""
        self._waits = False
        if self.transport.is_closing():
            self._unparsed = b""
        if not self._unparsed or not (self.queue.empty() or self.close_sent):
            return steps  # `receive` goes on
        end, frames = self._first(steps)
        data, self._unparsed = self._unparsed[:end], self._unparsed[end:]
        if frames < steps:
            self._head, self._unparsed = self._unparsed, b""
        if data:
            super().data_received(data)
        if self._unparsed:
            self._waits = True
            return 0
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()
        return max(1, steps - frames)

    def _first(self, most: int) -> tuple[int, int]:
        """The length of the first `most` frames in `_unparsed` together, or of as many as there are, and their number.
        The last may be incomplete, but has its length."""
        data, end, frames = self._unparsed, self._frame_bytes, 0
        while frames < most and len(data) >= end + 2:
            size, start = data[end + 1] & 0x7F, end + 2
            if size >= 126:
                start += 2 if size == 126 else 8
                if len(data) < start:
                    break
                size = int.from_bytes(data[end + 2 : start])
            end, frames = start + 4 + size, frames + 1
        self._frame_bytes = max(0, end - len(data))
        return min(end, len(data)), frames

    async def run_asgi(self) -> None:
        await _config(self).requests.turn(_address(self))
        await super().run_asgi()

    async def receive(self) -> Any:
        message = await super().receive()
        if self._unparsed:
            self._go_on()
        return message

    def handle_connect(self, event: Request) -> None:
        refuse = self.conn.reject

        def reject(status: int, text: str) -> HandshakeResponse:
            response = refuse(status, text)
            response.body = _problem(_BAD_REQUEST, text.strip())
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
        if message["type"] == "websocket.accept" and self._early:
            self.loop.call_soon(self._deliver_early)  # a successor takes over before
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True
        if self._unparsed:
            self._go_on()  # the client's close is among it, after ours

    def send_receive_event_to_app(self) -> None:
        """uvicorn logs a client's invalid UTF-8 as an error with a traceback, so clients could fill the log."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.frames = []
                self.conn.send_close(1007)
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    def handle_parser_exception(self) -> None:
        """After a violation of the protocol, uvicorn takes what the application sends for a bug of the application."""
        super().handle_parser_exception()
        self.disconnected = True

    def keepalive_timeout(self) -> None:
        """The same after a ping without response."""
        super().keepalive_timeout()
        self.disconnected = True

    def _deliver_early(self) -> None:
        early, self._early = self._early, b""
        if not self.transport.is_closing():
            self.transport.resume_reading()
            (self if self._successor is None else self._successor).data_received(early)

    def take_over(self, successor: Any) -> None:
        """Hands the transport to `successor`, right after `websocket.accept` was sent and before any other await.

        uvicorn keeps it in its list of connections: it calls `successor.shutdown` when it stops, until
        `successor.closed` is done.
        """
        self.stop_keepalive()
        self.connections.discard(self)
        self.connections.add(successor)

        def closed(_: object) -> None:
            self.connections.discard(successor)
            _config(self).connections.close(self.transport)

        successor.closed.add_done_callback(closed)
        self._successor = successor
        self.transport.set_protocol(successor)
        successor.connection_made(self.transport)
