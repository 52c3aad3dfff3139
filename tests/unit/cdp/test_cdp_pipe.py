"""Messages on Chromium's pipe: arbitrary chunks and lengths, and the end of the pipe."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from browser_sessions.cdp import pipe as pipe_module
from browser_sessions.cdp.errors import MessageTooLong
from browser_sessions.cdp.pipe import HIGH_WATER_BYTES, LARGE_BYTES, Pipe
from tests.harness.waiting import until


class Ends:
    """A pipe, the messages received through it, and Chromium's two descriptors."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.lost = 0
        self.full: list[bool] = []
        self.pipe = Pipe(self.received.append, self._lost, self.full.append)
        self.their_messages = self.their_commands = -1

    def _lost(self) -> None:
        self.lost += 1

    async def open(self) -> None:
        messages, self.their_messages = os.pipe()
        self.their_commands, commands = os.pipe()
        os.set_blocking(self.their_commands, False)
        await self.pipe.open(messages, commands)

    def take(self) -> bytes:
        """Everything that Chromium can read now."""
        taken = b""
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self.their_commands, 2**20):
                taken += piece
        return taken

    def close_end(self, descriptor: str) -> None:
        """Chromium closes one of its ends."""
        os.close(getattr(self, descriptor))
        setattr(self, descriptor, -1)


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    made = Ends()
    await made.open()
    yield made
    made.pipe.close()
    for descriptor in (made.their_messages, made.their_commands):
        if descriptor >= 0:
            os.close(descriptor)
    await asyncio.sleep(0)
    await asyncio.sleep(0)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_its_descriptors_are_closed_once(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """A second close could close a file that another thread has opened since."""
    closed_before: list[int] = []

    class Watched(io.FileIO):
        def __init__(self, descriptor: int, mode: str, _buffering: int, *, closefd: bool) -> None:
            super().__init__(descriptor, mode, closefd=closefd)
            self._closes = closefd

        def close(self) -> None:
            if self._closes and not self.closed and not is_open(self.fileno()):
                closed_before.append(self.fileno())
            super().close()

    async def run() -> None:
        ends = Ends()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fdopen", Watched)
            messages, their_messages = os.pipe()
            their_commands, commands = os.pipe()
            await ends.pipe.open(messages, commands)
        ends.pipe.close()
        await until(lambda: not is_open(messages) and not is_open(commands), what="both are closed")
        await asyncio.sleep(0)
        os.close(their_messages)
        os.close(their_commands)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(run())
    gc.collect()
    assert closed_before == []


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    for start, end in pairwise(places):
        yield data[start:end]


MESSAGE = st.binary(max_size=20).map(lambda data: data.replace(b"\0", b"x"))


@given(st.lists(MESSAGE, max_size=8), MESSAGE, st.lists(st.integers(0, 400), max_size=20))
def test_messages_are_split_correctly_whatever_their_chunks(
    messages: list[bytes], unfinished: bytes, cuts: list[int]
) -> None:
    ends = Ends()
    for piece in pieces(b"".join(message + b"\0" for message in messages) + unfinished, cuts):
        ends.pipe.received(piece)
    assert ends.received == messages
    ends.pipe.received(b"\0")
    assert ends.received == [*messages, unfinished]


def test_a_large_message_in_small_chunks_is_joined_once() -> None:
    """Joining at every chunk would copy 512 GB for 64 MB in chunks of 4 KB."""
    ends, piece = Ends(), b"x" * 4096
    started = time.process_time()
    for _ in range(16_384):
        ends.pipe.received(piece)
    assert ends.received == []
    ends.pipe.received(b"\0{}\0")
    assert [len(message) for message in ends.received] == [2**26, 2]
    assert not ends.pipe._incomplete
    assert time.process_time() - started < 5


@pytest.mark.parametrize("size", [0, 1, LARGE_BYTES - 1, LARGE_BYTES, 3 * 2**20])
async def test_commands_end_with_one_nul(ends: Ends, size: int) -> None:
    ends.pipe.send(b"x" * size)
    ends.pipe.send(b"{}")
    taken = b""

    def whole() -> bool:
        nonlocal taken
        taken += ends.take()
        return taken.count(b"\0") == 2

    await until(whole, what="both commands have arrived")
    assert taken == b"x" * size + b"\0{}\0"


async def test_many_commands_of_one_iteration_keep_their_order(ends: Ends) -> None:
    commands = [b"first", b"second", b"x" * LARGE_BYTES, b"fourth", b"y" * LARGE_BYTES, b"sixth", b"seventh"]
    for command in commands:
        ends.pipe.send(command)
    await asyncio.sleep(0)
    ends.pipe.send(b"of the next iteration")
    taken = b""

    def whole() -> bool:
        nonlocal taken
        taken += ends.take()
        return taken.count(b"\0") == len(commands) + 1

    await until(whole, what="all commands have arrived")
    assert taken.split(b"\0") == [*commands, b"of the next iteration", b""]


async def test_what_was_sent_before_the_end_is_written(ends: Ends) -> None:
    for command in (b"first", b"second"):
        ends.pipe.send(command)
    ends.pipe.close()
    assert await until(ends.take, what="both commands") == b"first\0second\0"


async def test_messages_are_read_from_the_descriptor(ends: Ends) -> None:
    os.write(ends.their_messages, b'{"id":1}\0{"id":2}\0{"id"')
    await until(lambda: len(ends.received) == 2, what="two messages")
    os.write(ends.their_messages, b":3}\0")
    await until(lambda: ends.received == [b'{"id":1}', b'{"id":2}', b'{"id":3}'], what="the third")


async def test_a_command_that_is_too_long_for_chromium_is_not_sent(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe_module, "MAX_COMMAND_BYTES", 10)
    with pytest.raises(MessageTooLong):
        ends.pipe.send(b"x" * 11)
    ends.pipe.send(b"y" * 10)
    assert await until(ends.take, what="the shorter command") == b"y" * 10 + b"\0"


async def test_it_signals_the_start_and_end_of_backpressure(ends: Ends) -> None:
    ends.pipe.send(b"x" * (HIGH_WATER_BYTES + 2**20))
    assert ends.full == [True]

    def read() -> bool:
        ends.take()
        return ends.full == [True, False]

    await until(read, what="the pipe is drained")


@pytest.mark.parametrize("first", ["their_messages", "their_commands"])
async def test_the_end_is_reported_once_whichever_direction_closes_first(ends: Ends, first: str) -> None:
    ends.close_end(first)
    if first == "their_commands":
        ends.pipe.send(b"{}")
    await until(lambda: ends.lost == 1, what="the end is reported")
    ends.close_end("their_commands" if first == "their_messages" else "their_messages")
    writing = ends.pipe._writing
    assert writing is not None
    await until(writing.is_closing, what="the other end is noticed too")
    ends.pipe.send(b"{}")
    ends.pipe.close()
    await asyncio.sleep(0)
    assert ends.lost == 1


async def test_messages_before_the_end_are_read_and_an_unfinished_one_is_not(ends: Ends) -> None:
    os.write(ends.their_messages, b'{"id":1}\0{"id"')
    ends.close_end("their_messages")
    await until(lambda: ends.lost == 1, what="the end is reported")
    assert ends.received == [b'{"id":1}']


async def test_closing_is_not_reported_and_closes_both_ends_for_chromium(ends: Ends) -> None:
    ends.pipe.close()
    ends.pipe.send(b"{}")
    ends.pipe.close()

    def closed() -> bool:
        try:
            return os.read(ends.their_commands, 10) == b""
        except BlockingIOError:
            return False

    await until(closed, what="Chromium reads its end")
    with pytest.raises(BrokenPipeError):
        os.write(ends.their_messages, b"{}\0")
    assert ends.lost == 0
