"""One client's own connection to the browser: what need not be read goes straight through, as it came."""

from __future__ import annotations

import asyncio
import base64
import os
from typing import Final, Protocol, cast
from urllib.parse import urlsplit

from browser_sessions.gateway.frames import CLOSE, PING, PONG, to_browser
from browser_sessions.gateway.message import HEAD_BYTES, must_read
from browser_sessions.model.errors import BrowserGone

CONNECT_TIMEOUT_S: Final = 5.0
"""Loopback and a handshake: a millisecond; a swamped browser was seen to need a second."""
HIGH_WATER_BYTES: Final = 4 * 2**20
"""Commands that wait for the browser to take them; beyond, the client is not read."""

STREAMED_BYTES: Final = 64 * 2**10
"""Messages longer than this go through in pieces. Shorter ones wait for their end, so that a connection can nearly
always be closed between two messages: a close frame cannot stand within one."""


class Reader(Protocol):
    """Who gets what the browser sends."""

    def straight(self, data: bytes, rest: int) -> None:
        """Frames, or a part of one, for the client as they are; `rest` bytes of the last one are still to come."""

    def news(self, payload: bytes) -> None:
        """A message that must be read first."""

    def whole(self, payload: bytes) -> None:
        """Instead of `straight`, for a reader of whole messages: one that need not be read."""

    def upstream_lost(self) -> None: ...

    def upstream_full(self, full: bool) -> None:
        """Whether the browser is behind with what it was sent."""


class Upstream(asyncio.Protocol):
    """Speaks to the browser's debugging port. Made with `connect`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._reader: Reader | None = None
        self._lost = False
        self._whole = False
        self._pieces: list[bytes] = []
        self._have = 0
        self._need = 2
        """Bytes without which nothing more can be told: a large message is put together once, not at every piece."""
        self._passing = 0
        """Bytes of a frame still to come that go straight through."""
        self.shaken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def connect(cls, endpoint: str) -> Upstream:
        """Connects to a ws:// address on loopback. Raises `BrowserGone`."""
        parts = urlsplit(endpoint)
        loop = asyncio.get_running_loop()
        transport: asyncio.Transport | None = None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                transport, upstream = await loop.create_connection(cls, parts.hostname or "", parts.port or 0)
                transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
                key = base64.b64encode(os.urandom(16)).decode()
                transport.write(
                    f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
                    f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
                )
                await upstream.shaken
        except (OSError, TimeoutError) as error:
            if transport is not None:
                transport.abort()
            raise BrowserGone("The browser takes no connection.") from error
        except BaseException:
            if transport is not None:
                transport.abort()
            raise
        return upstream

    def start(self, reader: Reader, *, whole: bool = False) -> None:
        """From now on `reader` gets what comes; nothing was lost before. `whole`: as whole messages, `Reader.whole`."""
        self._reader = reader
        self._whole = whole
        held = b"".join(self._pieces)
        self._pieces.clear()
        if held:
            self._frames(held)
        if self._lost:
            self._end()

    def send(self, payload: bytes) -> None:
        if self._transport is not None:
            self._transport.write(to_browser(payload))

    def pause(self, paused: bool) -> None:
        """Stops or goes on reading: the client is behind."""
        if self._transport is not None and not self._transport.is_closing():
            if paused:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def abort(self) -> None:
        """Ends the connection now: Chromium frees whatever it held."""
        self._reader = None
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio's side --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.shaken.done():
            self.shaken.set_exception(ConnectionResetError("lost before it was open"))
        self._lost = True
        self._end()

    def _end(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.upstream_lost()

    def pause_writing(self) -> None:
        if self._reader is not None:
            self._reader.upstream_full(True)

    def resume_writing(self) -> None:
        if self._reader is not None:
            self._reader.upstream_full(False)

    def data_received(self, data: bytes) -> None:
        if self._reader is None:
            self._pieces.append(data)
            if not self.shaken.done():
                self._handshake()
            return
        if self._passing:
            part = data[: self._passing]
            self._passing -= len(part)
            self._reader.straight(part, self._passing)
            data = data[len(part) :]
        if self._have:
            self._pieces.append(data)
            self._have += len(data)
            if self._have < self._need:
                return
            data = b"".join(self._pieces)
            self._pieces.clear()
        if data:
            self._frames(data)

    def _handshake(self) -> None:
        head, separator, rest = b"".join(self._pieces).partition(b"\r\n\r\n")
        if not separator:
            return
        self._pieces = [rest]
        if b" 101 " in head.split(b"\r\n", 1)[0]:
            self.shaken.set_result(None)
        else:
            self.shaken.set_exception(ConnectionRefusedError(head[:100].decode("latin-1")))

    def _frames(self, data: bytes) -> None:
        """Chromium sends whole text frames, unmasked. Runs of those that need no reading leave as one piece."""
        position = run = 0
        end = len(data)
        self._need = 2
        while end - position >= 2:
            length, start = data[position + 1] & 0x7F, position + 2
            if length == 126:
                if end < start + 2:
                    self._need = 4
                    break
                length, start = int.from_bytes(data[start : start + 2]), start + 2
            elif length == 127:
                if end < start + 8:
                    self._need = 10
                    break
                length, start = int.from_bytes(data[start : start + 8]), start + 8
            after = start + length
            shown = min(after, start + HEAD_BYTES)
            if end < shown:
                self._need = shown - position
                break
            opcode = data[position] & 0x0F
            free = opcode < CLOSE and not must_read(data[start:shown])
            if free and not self._whole and (end >= after or length > STREAMED_BYTES):
                if end < after:
                    self._passing = after - end
                    position = end
                    break
                position = after
                continue
            if end < after:
                self._need = after - position
                break
            self._straight(data[run:position])
            position = run = after
            self._special(opcode, data[start:after], free)
            if self._reader is None:
                return
        self._straight(data[run:position])
        self._have = end - position
        if self._have:
            self._pieces.append(data[position:])

    def _straight(self, data: bytes) -> None:
        if data and self._reader is not None:
            self._reader.straight(data, self._passing)

    def _special(self, opcode: int, payload: bytes, free: bool) -> None:
        if opcode == PING and self._transport is not None:
            self._transport.write(to_browser(payload, PONG))
        elif opcode == CLOSE and self._transport is not None:
            self._transport.close()
        elif opcode < CLOSE and self._reader is not None:
            if free:
                self._reader.whole(payload)
            else:
                self._reader.news(payload)
