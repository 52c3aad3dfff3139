"""Chromium's remote debugging pipe: NUL-terminated JSON messages, both ways, split and joined here and nowhere else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

from browser_sessions.cdp.errors import MessageTooLong

MAX_COMMAND_BYTES: Final = 96 * 2**20
"""Chromium stops reading its pipe for good after a command of more than 100 MiB (measured with Chromium 156: 99 MB was
answered after 4 s, 105 MB never). Playwright's largest command, 50 MB of uploads as base64, has 67 MB."""
HIGH_WATER_BYTES: Final = 4 * 2**20
"""Commands that wait for the browser; beyond, clients are not read."""
LARGE_BYTES: Final = 64 * 2**10
"""From this length on a copy of a message costs more than a second write."""
NUL: Final = b"\0"


class Pipe:
    """Both ends. `receive` gets every message, `lost` is called once when the browser has closed its end."""

    def __init__(
        self, receive: Callable[[bytes], None], lost: Callable[[], None], full: Callable[[bool], None]
    ) -> None:
        self._receive = receive
        self._lost = lost
        self._full = full
        self._pieces: list[bytes] = []
        """Of a message whose end has not come yet: joined once, not at every piece."""
        self._batch: list[bytes] | None = None
        """Commands of this turn of the loop after its first; None: nothing was sent yet."""
        self._reading: asyncio.ReadTransport | None = None
        self._writing: asyncio.WriteTransport | None = None

    async def open(self, messages: int, commands: int) -> None:
        """Takes over both descriptors: the one that Chromium writes to, and the one that it reads from."""
        loop = asyncio.get_running_loop()
        # uvloop closes the descriptor and then the object that it is given, asyncio only the object. A second close
        # would hit whatever a thread has opened in between.
        closes = isinstance(loop, asyncio.BaseEventLoop)
        reading, _ = await loop.connect_read_pipe(lambda: _Messages(self), os.fdopen(messages, "rb", 0, closefd=closes))
        self._reading = reading
        writing, _ = await loop.connect_write_pipe(
            lambda: _Commands(self), os.fdopen(commands, "wb", 0, closefd=closes)
        )
        self._writing = writing
        self._writing.set_write_buffer_limits(high=HIGH_WATER_BYTES)

    def send(self, message: bytes) -> None:
        """Raises `MessageTooLong`. What is sent after the end goes nowhere."""
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
            asyncio.get_running_loop().call_soon(self._end_turn)
        else:
            self._batch.append(message)

    def close(self) -> None:
        """Closes both ends: Chromium ends when its pipe does. `lost` is not called any more."""
        self._flush()
        self._lost = _nothing
        for transport in (self._reading, self._writing):
            if transport is not None:
                transport.close()

    def _end_turn(self) -> None:
        self._flush()
        self._batch = None

    def _flush(self) -> None:
        """One write for many commands: each write wakes Chromium's reader, which costs more than all the rest of a
        command's way."""
        if self._batch and self._writing is not None and not self._writing.is_closing():
            self._batch.append(b"")
            self._writing.write(NUL.join(self._batch))
            self._batch = []

    def received(self, data: bytes) -> None:
        first, *others = data.split(NUL)
        if not others:
            self._pieces.append(first)
            return
        if self._pieces:
            self._pieces.append(first)
            first = b"".join(self._pieces)
            self._pieces.clear()
        rest = others.pop()
        self._receive(first)
        for message in others:
            self._receive(message)
        if rest:
            self._pieces.append(rest)

    def ended(self) -> None:
        lost, self._lost = self._lost, _nothing
        lost()

    def pressed(self, full: bool) -> None:
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
        self._pipe.pressed(True)

    def resume_writing(self) -> None:
        self._pipe.pressed(False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pipe.ended()


def _nothing() -> None:
    """The end was asked for."""
