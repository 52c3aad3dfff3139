"""The client's side of a relay, on the transport that the HTTP server handed over."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Final, Protocol, cast

from browser_sessions.gateway.frames import CLOSE, PING, PONG, TEXT, ClientFrames, FrameError, close, to_client

HIGH_WATER_BYTES: Final = 8 * 2**20
"""Bytes that wait for the client to read them; beyond, the browser is not read for it."""
CLOSING_S: Final = 2.0
"""How long a client may take to answer a close before the connection is cut."""
FINISH_S: Final = 2.0
"""How long the rest of a message that is on its way may take before a close is said after it: 100 MB over a local
network, 2 MB over a thin line."""


class Why(Enum):
    """Why the client is not read for now. Reading goes on when no reason is left."""

    CLIENT_FULL = "it does not take what waits for it: who asks without listening is not asked on"
    BROWSER_FULL = "the browser is behind with its commands"
    WHEEL = "somebody else drives, and much waits already"


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
        """Since when the client has been behind with reading, without taking a byte."""
        self.closed: asyncio.Future[None] = loop.create_future()
        self.close_code: int | None = None
        self._listener = listener
        self._frames = ClientFrames()
        self._paused: set[Why] = set()
        self._waits = 0
        """Bytes that waited for the client when last looked at."""
        self._rest = 0
        """Bytes still to come of a message that goes straight through."""
        self._waiting = bytearray()
        """Frames of ours that wait for its end."""
        self._last: tuple[int, str] | None = None
        """How it is to be closed, once the message that is on its way has come to its end."""
        self._late: tuple[int, str] | None = None
        """How it was closed before the transport came."""
        self._broken = False
        """It has sent what is no WebSocket: nothing after that means anything."""
        self._cut: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._loop = loop

    def send(self, payload: bytes) -> None:
        """A whole message, as one text frame."""
        self._say(to_client(payload))

    def straight(self, data: bytes, rest: int) -> None:
        """Frames that are made already; `rest` bytes of the last one follow, and nothing else may come before them."""
        if self._transport is None:
            return
        if self.close_code is not None:
            self._finish(data)
            return
        self._transport.write(data)
        self._rest = rest
        if self._waiting and not rest:
            waiting, self._waiting = self._waiting, bytearray()
            self._transport.write(bytes(waiting))
            self.pause(Why.CLIENT_FULL, self.full_since is not None)

    def ping(self) -> None:
        self._say(to_client(b"", PING))

    def _say(self, frame: bytes) -> None:
        """A frame of our own: after the message that is on its way, never within it."""
        if self._transport is None or self.close_code is not None:
            return
        if not self._rest:
            self._transport.write(frame)
            return
        self._waiting += frame
        if len(self._waiting) > HIGH_WATER_BYTES:
            self.pause(Why.CLIENT_FULL, True)

    @property
    def paused(self) -> bool:
        """Whether we do not read the client: then its silence says nothing."""
        return bool(self._paused)

    def pause(self, why: Why, paused: bool) -> None:
        """Stops reading the client for a reason, or takes the reason away."""
        before = self.paused
        if paused:
            self._paused.add(why)
        else:
            self._paused.discard(why)
        if self.paused is before or self._transport is None or self._transport.is_closing():
            return
        self.heard = self._loop.time()
        if self.paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def stalled_for(self, now: float) -> float:
        """Seconds for which the client has taken nothing of what waits for it; 0 while little waits. Slow is not
        stalled: a large answer over a thin line may take minutes. Looked at once a second."""
        if self.full_since is None or self._transport is None:
            return 0.0
        waits = self._transport.get_write_buffer_size()
        if waits < self._waits:
            self.full_since = now
        self._waits = waits
        return now - self.full_since

    def close(self, code: int, reason: str) -> None:
        """Says why, then ends the connection once the client has answered, at the latest after `CLOSING_S`. In the
        middle of a large message nothing can be said: its rest comes first, or the connection is cut after `FINISH_S`,
        or when it is `cut_off`. The listener is not told before."""
        if self.close_code is not None:
            return
        if self._transport is None:
            self._late = self._late or (code, reason)
            return
        self.close_code = code
        self._last = code, reason
        if self._rest:
            self._cut = self._loop.call_later(FINISH_S, self.cut_off)
        else:
            self._say_last()

    def cut_off(self) -> None:
        """The rest of a message that is on its way will not come."""
        if self._last is not None and self._transport is not None:
            self._last = None
            self._transport.abort()
            self._listener.client_gone()

    def _finish(self, data: bytes) -> None:
        """The rest of the last message; what came after it is not for the client any more."""
        if self._last is None or self._transport is None:
            return
        rest = data[: self._rest]
        self._rest -= len(rest)
        self._transport.write(rest)
        if not self._rest:
            self._transport.write(bytes(self._waiting))
            self._waiting.clear()
            self._say_last()

    def _say_last(self) -> None:
        assert self._transport is not None
        assert self._last is not None
        code_and_reason, self._last = self._last, None
        self._transport.write(to_client(close(*code_and_reason), CLOSE))
        self._listener.client_gone()
        if not self._transport.is_closing():
            self._transport.resume_reading()
        self._cut_soon()

    def shutdown(self) -> None:
        """uvicorn stops."""
        self.close(1001, "the server is going down")

    # -- asyncio's side --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        if self._late is not None:
            self.close(*self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.close_code is None:
            self.close_code = 1006
            self._listener.client_gone()
        elif self._last is not None:
            self._last = None
            self._listener.client_gone()
        if self._cut is not None:
            self._cut.cancel()
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self.full_since = self._loop.time()
        self._waits = 0
        self.pause(Why.CLIENT_FULL, True)
        self._listener.client_full(True)

    def resume_writing(self) -> None:
        self.full_since = None
        self.pause(Why.CLIENT_FULL, False)
        self._listener.client_full(False)

    def data_received(self, data: bytes) -> None:
        self.heard = self._loop.time()
        if self._broken:
            return
        try:
            for opcode, payload in self._frames.feed(data):
                if opcode == TEXT:
                    if self.close_code is None:
                        self._listener.command(payload)
                elif opcode == PING:
                    self._say(to_client(payload, PONG))
                elif opcode == CLOSE:
                    self._closed_by_client(payload)
                    return
                elif opcode != PONG:
                    self.close(1003, "CDP is text")
        except FrameError as error:
            self._broken = True
            self.close(error.code, error.reason)

    def _closed_by_client(self, payload: bytes) -> None:
        assert self._transport is not None
        if self.close_code is None:
            if len(payload) == 1:
                raise FrameError(1002, "a close code has two bytes")
            if not self._rest:
                self._transport.write(to_client(payload[:2], CLOSE))
            self.close_code = int.from_bytes(payload[:2]) if payload else 1005
            self._listener.client_gone()
            self._cut_soon()  # it may never read what waits for it
        self._transport.close()

    def _cut_soon(self) -> None:
        assert self._transport is not None
        if self._cut is not None:
            self._cut.cancel()
        self._cut = self._loop.call_later(CLOSING_S, self._transport.abort)
