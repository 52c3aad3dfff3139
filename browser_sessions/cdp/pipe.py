"""Chromium's remote debugging pipe: NUL-terminated JSON messages in both directions."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

from browser_sessions.cdp.errors import MessageTooLong

MAX_COMMAND_BYTES: Final = 96 * 2**20
"""Chromium stops reading its pipe for good after a command of more than 100 MiB (measured with Chromium 156: response
to 99 MB after 4 s, to 105 MB never). Playwright's largest command, 50 MB of uploads as base64, has 67 MB."""
HIGH_WATER_BYTES: Final = 4 * 2**20
"""Unsent commands above which clients are not read (backpressure)."""
LARGE_BYTES: Final = 64 * 2**10
"""From this length, copying a message costs more than a second write."""
NUL: Final = b"\0"


class Pipe:
    """Our ends of the pipe. `receive` is called with every message, `lost` once when the browser has closed its end,
    `full` when backpressure starts and stops."""

    def __init__(
        self, receive: Callable[[bytes], None], lost: Callable[[], None], full: Callable[[bool], None]
    ) -> None:
        self._receive = receive
        self._lost = lost
        self._full = full
        self._incomplete = bytearray()
        """A message whose end has not come. One block: the allocator would keep many small ones for a while."""
        self._batch: list[bytes] | None = None
        """Further commands of this iteration of the loop after the first; None if there was none yet."""
        self._reading: asyncio.ReadTransport | None = None
        self._writing: asyncio.WriteTransport | None = None

    async def open(self, messages: int, commands: int) -> None:
        """Takes ownership of both descriptors: the one that Chromium writes to, and the one that it reads from."""
        loop = asyncio.get_running_loop()
        # uvloop closes the descriptor and then the file object, asyncio only the object. A second close could hit a
        # descriptor that a thread has opened in between.
        closes = isinstance(loop, asyncio.BaseEventLoop)
        reading, _ = await loop.connect_read_pipe(lambda: _Messages(self), os.fdopen(messages, "rb", 0, closefd=closes))
        self._reading = reading
        writing, _ = await loop.connect_write_pipe(
            lambda: _Commands(self), os.fdopen(commands, "wb", 0, closefd=closes)
        )
        self._writing = writing
        self._writing.set_write_buffer_limits(high=HIGH_WATER_BYTES)

    def send(self, message: bytes) -> None:
        """Raises `MessageTooLong`. Drops the message if the pipe is closed."""
        if len(message) > MAX_COMMAND_BYTES:
            raise MessageTooLong
        if self._writing is None or self._writing.is_closing():
            return
        if len(message) >= LARGE_BYTES:
            self._flush()
            self._writing.write(message)
            self._writing.write(NUL)
        elif self._batch is None:
            self._writing.write(message + NUL)
            self._batch = []
            asyncio.get_running_loop().call_soon(self._end_iteration)
        else:
            self._batch.append(message)

    def close(self) -> None:
        """Closes both ends, at which Chromium exits. `lost` is not called any more."""
        self._flush()
        self._lost = _nothing
        for transport in (self._reading, self._writing):
            if transport is not None:
                transport.close()

    def _end_iteration(self) -> None:
        self._flush()
        self._batch = None

    def _flush(self) -> None:
        """Writes many commands at once: each write wakes Chromium's reader, which costs more than all else."""
        if self._batch and self._writing is not None and not self._writing.is_closing():
            self._batch.append(b"")
            self._writing.write(NUL.join(self._batch))
            self._batch = []

    def received(self, data: bytes) -> None:
        first, *others = data.split(NUL)
        if not others:
            self._incomplete += first
            return
        if self._incomplete:
            self._incomplete += first
            first = bytes(self._incomplete)
            self._incomplete.clear()
        rest = others.pop()
        self._receive(first)
        for message in others:
            self._receive(message)
        self._incomplete += rest

    def ended(self) -> None:
        lost, self._lost = self._lost, _nothing
        lost()

    def backpressure(self, full: bool) -> None:
        self._full(full)


class _Messages(asyncio.Protocol):
    """The end that Chromium writes to."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def data_received(self, data: bytes) -> None:
        self._pipe.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pipe.ended()


class _Commands(asyncio.Protocol):
    """The end that Chromium reads from."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def pause_writing(self) -> None:
        self._pipe.backpressure(True)

    def resume_writing(self) -> None:
        self._pipe.backpressure(False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pipe.ended()


def _nothing() -> None:
    pass
