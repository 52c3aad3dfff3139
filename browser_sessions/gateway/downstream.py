"""The client's side of a relay, on the transport that the HTTP server handed over."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol, cast

from browser_sessions.gateway.frames import CLOSE, PING, PONG, TEXT, ClientFrames, FrameError, close, to_client

HIGH_WATER_BYTES: Final = 8 * 2**20
"""Bytes that wait for the client to read them; beyond, the browser is not read for it."""
CLOSING_S: Final = 2.0
"""How long a client may take to answer a close before the connection is cut."""


class Listener(Protocol):
    """Who gets what the client sends."""

    def command(self, payload: bytes) -> None: ...

    def client_full(self, full: bool) -> None:
        """Whether the client is behind with reading."""

    def client_gone(self) -> None:
        """Called once, however the connection ended."""


class Downstream(asyncio.Protocol):
    """Frames in, frames out; answers pings, closes with a code and a reason."""

    def __init__(self, listener: Listener) -> None:
        loop = asyncio.get_running_loop()
        self.heard = loop.time()
        """When the client last sent anything, on the loop's clock."""
        self.full_since: float | None = None
        """Since when the client has been behind with reading."""
        self.paused = False
        """Whether we do not read the client: then its silence says nothing."""
        self.closed: asyncio.Future[None] = loop.create_future()
        self.close_code: int | None = None
        self._listener = listener
        self._frames = ClientFrames()
        self._transport: asyncio.Transport | None = None
        self._loop = loop

    def send(self, payload: bytes) -> None:
        """A whole message, as one text frame."""
        self.straight(to_client(payload))

    def straight(self, data: bytes) -> None:
        """Frames that are made already, or a part of one."""
        if self._transport is not None and self.close_code is None:
            self._transport.write(data)

    def ping(self) -> None:
        self.straight(to_client(b"", PING))

    def pause(self, paused: bool) -> None:
        """Stops or goes on reading: the browser is behind, or somebody has the wheel."""
        if self._transport is None or self._transport.is_closing():
            return
        self.paused = paused
        self.heard = self._loop.time()
        if paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def close(self, code: int, reason: str) -> None:
        """Says why, then ends the connection once the client has answered, at the latest after `CLOSING_S`."""
        if self._transport is None or self.close_code is not None:
            return
        self._transport.write(to_client(close(code, reason), CLOSE))
        self.close_code = code
        self._listener.client_gone()
        if self.full_since is not None:
            self._transport.abort()  # it does not read: it would never come to the close frame
            return
        self._transport.resume_reading()
        self._loop.call_later(CLOSING_S, self._transport.abort)

    def shutdown(self) -> None:
        """uvicorn stops."""
        self.close(1001, "the server is going down")

    # -- asyncio's side --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.close_code is None:
            self.close_code = 1006
            self._listener.client_gone()
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self.full_since = self._loop.time()
        self._listener.client_full(True)

    def resume_writing(self) -> None:
        self.full_since = None
        self._listener.client_full(False)

    def data_received(self, data: bytes) -> None:
        self.heard = self._loop.time()
        try:
            for opcode, payload in self._frames.feed(data):
                if opcode == TEXT:
                    if self.close_code is None:
                        self._listener.command(payload)
                elif opcode == PING:
                    self.straight(to_client(payload, PONG))
                elif opcode == CLOSE:
                    self._closed_by_client(payload)
                    return
                elif opcode != PONG:
                    self.close(1003, "CDP is text")
        except FrameError as error:
            self.close(error.code, error.reason)

    def _closed_by_client(self, payload: bytes) -> None:
        assert self._transport is not None
        if self.close_code is None:
            self._transport.write(to_client(payload[:2], CLOSE))
            self.close_code = int.from_bytes(payload[:2]) if len(payload) >= 2 else 1005
            self._listener.client_gone()
        self._transport.close()
