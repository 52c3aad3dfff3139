"""WebSocket frames in arbitrary chunks, tested against the `websockets` library as an independent peer."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from browser_sessions.cdp.websocket_frames import (
    CLOSE,
    CONTINUATION,
    MAX_CONTROL_BYTES,
    PING,
    TEXT,
    ClientFrames,
    FrameError,
    close,
    head,
)
from tests.harness.clients.ws_frames import BROKEN, masked

SIZES = st.sampled_from([0, 1, 125, 126, 127, 4000, 65_535, 65_536, 70_000])
"""Around every payload length at which the frame header changes."""


FRAGMENT = (CONTINUATION, b"")
"""For one that does not complete its message."""


def peer() -> Any:
    """The reference implementation after its handshake."""
    return ClientProtocol(parse_uri("ws://x/"), state=OPEN, max_size=None)


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """`data` cut at the given places."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    for start, end in pairwise(places):
        yield data[start:end]


CUTS = st.lists(st.integers(min_value=0, max_value=2**20), max_size=12)


@st.composite
def client_messages(draw: st.DrawFn) -> list[tuple[int, list[bytes]]]:
    """(opcode, fragments); control frames have one."""
    made: list[tuple[int, list[bytes]]] = []
    for kind in draw(st.lists(st.sampled_from([TEXT, PING]), min_size=1, max_size=5)):
        if kind == PING:
            made.append((PING, [b"p" * draw(st.integers(0, 125))]))
        else:
            made.append((TEXT, [b"t" * size for size in draw(st.lists(SIZES, min_size=1, max_size=3))]))
    return made


@given(client_messages(), CUTS)
def test_frames_are_parsed_whatever_their_chunks(messages: list[tuple[int, list[bytes]]], cuts: list[int]) -> None:
    client = peer()
    for opcode, fragments in messages:
        if opcode == PING:
            client.send_ping(fragments[0])
            continue
        client.send_text(fragments[0], fin=len(fragments) == 1)
        for index, fragment in enumerate(fragments[1:], 2):
            if index == 2:
                client.send_ping(b"between")  # control frames may come between fragments
            client.send_continuation(fragment, fin=index == len(fragments))
    frames = ClientFrames()
    received = [
        each
        for piece in pieces(b"".join(client.data_to_send()), cuts)
        for each in frames.feed(piece)
        if each != FRAGMENT
    ]
    assert [each for each in received if each != (PING, b"between")] == [
        (op, b"".join(parts)) for op, parts in messages
    ]
    assert received.count((PING, b"between")) == sum(len(parts) > 1 for _, parts in messages)


@pytest.mark.parametrize("name", BROKEN)
def test_an_invalid_frame_is_rejected_by_its_header(name: str) -> None:
    data, code = BROKEN[name]
    with pytest.raises(FrameError) as caught:
        list(ClientFrames().feed(data))
    assert caught.value.code == code


def test_many_empty_fragments_use_no_memory() -> None:
    frames = ClientFrames()
    assert list(frames.feed(masked(1, b"", fin=False))) == [FRAGMENT]
    some = masked(0, b"", fin=False) * 1000
    tracemalloc.start()
    try:
        for _ in range(20):  # a reference to each would be 160 KB
            assert sum(each == FRAGMENT for each in frames.feed(some)) == 1000
        assert tracemalloc.get_traced_memory()[0] < 50_000
    finally:
        tracemalloc.stop()
    assert list(frames.feed(masked(0, b"end"))) == [(TEXT, b"end")]


def test_a_message_in_chunks_of_one_byte_uses_little_more_memory_than_its_length() -> None:
    frames, payload = ClientFrames(), b"x" * 50_000
    data = masked(1, payload)
    tracemalloc.start()
    try:
        for at in range(len(data) - 1):
            assert list(frames.feed(data[at : at + 1])) == []
        assert tracemalloc.get_traced_memory()[1] < 2 * len(data)
    finally:
        tracemalloc.stop()
    assert list(frames.feed(data[-1:])) == [(TEXT, payload)]


def test_a_large_message_in_small_chunks_is_joined_once() -> None:
    """Joining at every chunk would copy 8 GB for 8 MB in chunks of 4 KB."""
    frames, payload = ClientFrames(), b"x" * 2**23
    data = masked(1, payload)
    received = [each for at in range(0, len(data), 4096) for each in frames.feed(data[at : at + 4096])]
    assert received == [(TEXT, payload)]


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_message_to_a_client_is_one_valid_frame(size: int) -> None:
    client = peer()
    client.receive_data(head(TEXT, size) + b"x" * size)
    assert [(each.opcode, each.data, each.fin) for each in client.events_received()] == [
        (Opcode.TEXT, b"x" * size, True)
    ]


@pytest.mark.parametrize("reason", ["", "the session expired", "x" * 200, "\u00fc" * 200, "a" + "\U0001f600" * 50])
def test_a_close_reason_is_truncated_to_fit(reason: str) -> None:
    client, payload = peer(), close(4000, reason)
    assert len(payload) <= MAX_CONTROL_BYTES
    client.receive_data(head(CLOSE, len(payload)) + payload)
    assert client.close_rcvd.code == 4000
    assert reason.startswith(client.close_rcvd.reason)
    assert len(client.close_rcvd.reason.encode()) > min(len(reason.encode()), MAX_CONTROL_BYTES - 2) - 4
