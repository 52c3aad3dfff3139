"""Heads and bodies however they arrive."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import Mock

from hypothesis import given, settings
from hypothesis import strategies as st

from browser_sessions.egress.http.framing import Counted
from browser_sessions.egress.stream import WRITE_BUFFER_BYTES, Stream

HEAD = b"GET http://a.example/ HTTP/1.1\r\nA: b\r\n\r\n"


def connected() -> tuple[Stream, Any]:
    stream, transport = Stream(), Mock()
    transport.is_closing.return_value = False
    stream.connection_made(transport)
    return stream, transport


@settings(max_examples=50)
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
