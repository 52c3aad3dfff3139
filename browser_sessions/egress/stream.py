"""A TCP connection whose heads are read by a coroutine and whose bodies go into another one without."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
import sys
from collections.abc import Callable
from typing import Final, cast

from browser_sessions.egress.http.framing import Framing, Malformed
from browser_sessions.egress.usage import Count
from browser_sessions.loop_shares import Share

WRITE_BUFFER_BYTES: Final = 256 * 1024
"""A stream that has more to write pauses the one that feeds it, of which one read (256 KiB) may still come: 512 KiB."""
_UNREAD_BYTES: Final = 256 * 1024
"""What is kept of a stream that nobody reads before it is paused; no head is longer."""
LINES_PER_STEP: Final = 16
"""Lines between chunks whose reading takes as long as a step of `loop_shares`."""
_KEEPALIVE_S: Final = 45
"""As Chromium's own connections: for NATs, and against origins that have vanished."""
_HEAD_END: Final = re.compile(rb"\n\r?\n")
_RESET: Final = struct.pack("ii", 1, 0)


class ConnectionEnded(Exception):
    """The peer closed or reset the connection before what was to come had come."""


class HeadTooLarge(Exception):
    """No end of the head within the limit."""


class HeadTooSlow(Exception):
    """No end of the head in time."""


class Stream(asyncio.Protocol):
    """One side of a relayed connection."""

    transport: asyncio.Transport

    def __init__(self, on_connected: Callable[[Stream], None] | None = None, *, tls: bool = False) -> None:
        self.loop = asyncio.get_running_loop()
        """Kept: before Python 3.12, each question for it is a system call."""
        self.unread = b""
        self.ended = False
        """No more bytes will come."""
        self.lost = False
        """Nothing can be written either."""
        self.full = False
        """Enough is waiting to be written."""
        self.on_event: Callable[[], None] | None = None
        """Called when bytes or the end come that no pipe takes, and when the connection is lost."""
        self.pipe_out: Pipe | None = None
        self.pipe_in: Pipe | None = None
        self._on_connected = on_connected
        self._tls = tls
        self._reading = True
        self._more: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._closed: asyncio.Future[None] | None = None

    async def read_head(self, limit: int, within: float | None = None) -> bytes:
        """Up to the first empty line, which is included; empty lines before it are dropped.

        `within` seconds of its first byte. Raises `ConnectionEnded`, `HeadTooLarge`, `HeadTooSlow`.
        """
        deadline: float | None = None
        searched = 0
        while True:
            if not searched:
                self.unread = self.unread.lstrip(b"\r\n")
            if self.unread:
                if end := _HEAD_END.search(self.unread, max(0, searched - 2), limit):
                    return self._taken(end.end())
                searched = len(self.unread)
                if searched >= limit:
                    raise HeadTooLarge
                if within is not None and deadline is None:
                    deadline = self.loop.time() + within
            if deadline is None:
                await self._wait()
                continue
            try:
                async with asyncio.timeout_at(deadline):
                    await self._wait()
            except TimeoutError:
                raise HeadTooSlow from None

    async def read_exactly(self, count: int) -> bytes:
        """Raises `ConnectionEnded`."""
        while len(self.unread) < count:
            await self._wait()
        return self._taken(count)

    def pipe(
        self,
        target: Stream | None,
        framing: Framing,
        count: Count,
        *,
        head: bytes = b"",
        share: Share | None = None,
    ) -> asyncio.Future[None]:
        """Passes on what `framing` takes, from now on and without a copy. None as `target` discards it.

        `head` is written (not counted) before it, together with what has come of the body: one packet, where it fits.
        `share`: in which chunks are read; not needed where there are none.
        The future fails with `ConnectionEnded` if either side ends first or `count` lets less through (this stream is
        reset then), with `Malformed` as `framing` does.
        """
        return Pipe(self, target, framing, count, share).start(head)

    async def start_tls(self, tls: ssl.SSLContext, *, server_hostname: str | None = None) -> None:
        """From now on the bytes are those inside TLS; as the server, if there is no `server_hostname`.

        Raises `OSError`, and `ConnectionEnded` if the peer has sent something already.
        """
        if self.unread or self.ended:
            raise ConnectionEnded
        loop, server_side = asyncio.get_running_loop(), server_hostname is None
        self._tls = True
        try:
            transport = await loop.start_tls(
                self.transport, self, tls, server_side=server_side, server_hostname=server_hostname
            )
            if transport is None:
                raise ConnectionResetError
        except BaseException:
            self.transport.abort()
            self.connection_lost(None)  # a failed handshake does not report it
            raise
        self.transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)

    def write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    async def drained(self) -> None:
        """Returns when there is room for more, or the connection is lost."""
        if self.full and not self.lost:
            self._drained = self.loop.create_future()
            await self._drained

    def write_eof(self) -> None:
        """Not over TLS, where a connection cannot be half open."""
        if not self.transport.is_closing() and self.transport.can_write_eof():
            self.transport.write_eof()

    def close(self) -> None:
        """Once everything is written."""
        self.transport.close()

    async def closed(self) -> None:
        """Returns when everything is written and the connection is gone."""
        if not self.lost:
            self._closed = self.loop.create_future()
            await self._closed

    def reset(self) -> None:
        """At once, so that the peer does not take it for a proper end."""
        if self.lost:
            return
        if not self.transport.is_closing():  # else its descriptor may be another's already
            raw = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def keep_alive(self) -> None:
        """The kernel notices when the peer has vanished."""
        raw = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):
            if hasattr(socket, option):
                raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), _KEEPALIVE_S)

    def update_reading(self) -> None:
        """Reads on if there is room for what would come."""
        pipe = self.pipe_out
        should = len(self.unread) < _UNREAD_BYTES if pipe is None else pipe.takes_more
        if should != self._reading and not self.ended and not self.transport.is_closing():
            self._reading = should
            if should:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        if self._on_connected is not None:
            self._on_connected(self)

    def data_received(self, data: bytes) -> None:
        if self.pipe_out is not None:
            self.pipe_out.feed(data)
            return
        self.unread += data
        self.update_reading()
        _set(self._more)
        self._notify()

    def eof_received(self) -> bool:
        self.ended = True
        if self.pipe_out is not None:
            self.pipe_out.end()
        else:
            _set(self._more)
            self._notify()
        return not self._tls  # a TLS connection cannot be half open

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = self.lost = True
        for pipe in (self.pipe_out, self.pipe_in):
            if pipe is not None:
                pipe.finish(ConnectionEnded())
        for waiter in (self._more, self._drained, self._closed):
            _set(waiter)
        self._notify()

    def pause_writing(self) -> None:
        self.full = True
        if self.pipe_in is not None:
            self.pipe_in.source.update_reading()

    def resume_writing(self) -> None:
        self.full = False
        if self.pipe_in is not None:
            self.pipe_in.source.update_reading()
        _set(self._drained)

    def _taken(self, count: int) -> bytes:
        taken, self.unread = self.unread[:count], self.unread[count:]
        self.update_reading()
        return taken

    async def _wait(self) -> None:
        if self.ended:
            raise ConnectionEnded
        self._more = self.loop.create_future()
        await self._more

    def _notify(self) -> None:
        if self.on_event is not None:
            self.on_event()


class Pipe:
    """A body on its way from one stream to another."""

    __slots__ = ("_count", "_framing", "_head", "_share", "_unread", "finished", "source", "target")

    def __init__(
        self,
        source: Stream,
        target: Stream | None,
        framing: Framing,
        count: Count,
        share: Share | None,
    ) -> None:
        self.source = source
        self.target = target
        self.finished: asyncio.Future[None] = source.loop.create_future()
        self._framing = framing
        self._count = count
        self._share = share if framing.has_lines else None
        self._head = b""
        """To be written before the body."""
        self._unread = b""
        """What has come and waits for the share."""

    @property
    def takes_more(self) -> bool:
        return not self._unread and (self.target is None or not self.target.full)

    def start(self, head: bytes) -> asyncio.Future[None]:
        source, target = self.source, self.target
        source.pipe_out = self
        if target is not None:
            target.pipe_in = self
        unread, source.unread = source.unread, b""
        if target is not None and target.lost:
            self.finish(ConnectionEnded(), unread)
        elif self._framing.done:
            if target is not None and head:
                target.transport.write(head)
            self.finish(unread=unread)
        else:
            if unread:
                self._head = head
                self.feed(unread)
            elif target is not None and head:
                target.transport.write(head)
            if source.ended and not self.finished.done():
                self.end()
        source.update_reading()
        return self.finished

    def feed(self, data: bytes) -> None:
        self._unread += data
        if self._share is None:
            self._pass_on(sys.maxsize)
        elif not self._share.run(self._pass_on):
            self.source.update_reading()

    def _pass_on(self, steps: int) -> int:
        """`loop_shares.Work`"""
        if self.finished.done():
            return steps
        framing, data, lines = self._framing, self._unread, self._framing.lines
        try:
            taken = framing.take(data, lines + steps * LINES_PER_STEP)
        except Malformed as error:
            self.finish(error)
            return steps
        passed = self._count(taken)
        if self.target is not None:
            body = data if passed == len(data) else data[:passed]
            self.target.transport.write(self._head + body if self._head else body)
            self._head = b""
        if passed < taken:
            self._unread = b""
            self.source.reset()
            self.finish(ConnectionEnded())
        elif framing.done:
            self.finish(unread=data[taken:])
        elif taken < len(data):
            self._unread = data[taken:]
            return 0
        else:
            self._unread = b""
            if self._share is not None:
                self.source.update_reading()
                if self.source.ended:
                    self.end()
        return max(1, steps - (framing.lines - lines) // LINES_PER_STEP)

    def end(self) -> None:
        """The source has no more."""
        if self._unread:
            return  # `_pass_on` comes to it
        self.finish(None if self._framing.ends_with_connection else ConnectionEnded())

    def finish(self, error: Exception | None = None, unread: bytes = b"") -> None:
        self.source.pipe_out = None
        if self.target is not None:
            self.target.pipe_in = None
        self.source.unread = unread
        self.source.update_reading()
        if not self.finished.done():
            if error is None:
                self.finished.set_result(None)
            else:
                self.finished.set_exception(error)
                self.finished.exception()  # seen: whoever does not await a pipe learns of it from the other side


def _set(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
