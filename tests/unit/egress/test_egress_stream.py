"""Heads and bodies however they arrive."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import Mock

from hypothesis import given, settings
from hypothesis import strategies as st

from browser_sessions.egress.http.framing import Chunked, Counted
from browser_sessions.egress.stream import LINES_PER_STEP, WRITE_BUFFER_BYTES, ConnectionEnded, Stream
from browser_sessions.loop_shares import STEPS, Shares
from tests.harness.waiting import until

HEAD = b"GET http://a.example/ HTTP/1.1\r\nA: b\r\n\r\n"


def connected() -> tuple[Stream, Any]:
    stream, transport = Stream(), Mock()
    transport.is_closing.return_value = False
    stream.connection_made(transport)
    return stream, transport


@settings(max_examples=25)
@given(st.lists(st.binary(max_size=30), min_size=1, max_size=4), st.booleans(), st.data())
def test_heads_and_bodies_are_told_apart_in_any_pieces(
    bodies: list[bytes], empty_lines: bool, data: st.DataObject
) -> None:
    async def read() -> None:
        source, _ = connected()
        target, written = connected()
        sent = b"".join((b"\r\n" if empty_lines else b"") + HEAD + body for body in bodies)
        while sent:
            size = data.draw(st.integers(1, len(sent)))
            loop.call_soon(source.data_received, sent[:size])
            sent = sent[size:]
        for body in bodies:
            assert await source.read_head(1000) == HEAD
            counted: list[int] = []

            def count(size: int, counted: list[int] = counted) -> int:
                counted.append(size)
                return size

            await source.pipe(target, Counted(len(body)), count, head=b"head:")
            assert b"".join(call.args[0] for call in written.write.call_args_list) == b"head:" + body
            assert sum(counted) == len(body)
            written.write.reset_mock()

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        runner.run(read())


async def test_a_full_target_pauses_its_source_until_it_has_room() -> None:
    source, reading = connected()
    target, writing = connected()
    writing.set_write_buffer_limits.assert_called_with(high=WRITE_BUFFER_BYTES)
    piped = source.pipe(target, Counted(100), lambda count: count)
    target.pause_writing()
    reading.pause_reading.assert_called_once_with()
    reading.resume_reading.assert_not_called()
    target.resume_writing()
    reading.resume_reading.assert_called_once_with()
    source.data_received(b"x" * 100)
    await piped


async def test_what_nobody_reads_is_limited() -> None:
    source, reading = connected()
    source.data_received(b"x" * 300_000)
    reading.pause_reading.assert_called_once_with()
    await source.read_exactly(290_000)
    reading.resume_reading.assert_called_once_with()


async def test_tiny_chunks_are_passed_on_in_slices_and_not_read_meanwhile() -> None:
    shares = Shares()
    streams = [(connected(), connected()) for _ in range(3)]
    chunk = b"1\r\nx\r\n"
    body = chunk * 20_000 + b"0\r\n\r\n"
    piped = [
        source.pipe(target, Chunked(), lambda count: count, head=b"head:", share=shares.of("a"))
        for (source, _), (target, _) in streams
    ]
    for (source, reading), _ in streams:
        source.data_received(body + b"rest")
        reading.pause_reading.assert_called_once_with()
        reading.resume_reading.assert_not_called()

    def written() -> list[bytes]:
        return [b"".join(call.args[0] for call in writing.write.call_args_list) for _, (_, writing) in streams]

    at_once = LINES_PER_STEP * STEPS * len(chunk)
    assert [len(each) - len(b"head:") for each in written()] == [at_once - len(b"x\r\n"), 0, 0], "one allowance"
    async with asyncio.timeout(60):
        await asyncio.gather(*piped)
    assert written() == [b"head:" + body] * 3
    for (source, _), (_, writing) in streams:
        assert source.unread == b"rest"
        assert max(len(call.args[0]) for call in writing.write.call_args_list) <= at_once + len(b"head:")


async def test_large_chunks_and_other_bodies_pass_at_once() -> None:
    share = Shares().of("a")
    source, reading = connected()
    target, writing = connected()
    for framing, body in ((Chunked(), b"10000\r\n" + b"x" * 65536 + b"\r\n0\r\n\r\n"), (Counted(10**6), b"x" * 10**6)):
        piped = source.pipe(target, framing, lambda count: count, share=share)
        source.data_received(body)
        assert piped.done()
        writing.write.assert_called_with(body)
    reading.pause_reading.assert_not_called()


async def test_a_connection_that_ends_while_its_chunks_wait_ends_the_pipe_after_them() -> None:
    share = Shares().of("a")
    source, _ = connected()
    target, writing = connected()
    piped = source.pipe(target, Chunked(), lambda count: count, share=share)
    source.data_received(b"1\r\nx\r\n" * 20_000)
    source.eof_received()
    assert not piped.done()
    await until(piped.done)
    assert isinstance(piped.exception(), ConnectionEnded), "the body is incomplete"
    assert sum(len(call.args[0]) for call in writing.write.call_args_list) == 6 * 20_000
