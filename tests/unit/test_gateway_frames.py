"""Frames of both sides in any pieces, with the `websockets` library as the other side: it knows nothing of ours."""

from __future__ import annotations

import asyncio
import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.protocol import OPEN, Protocol
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from browser_sessions.gateway import downstream
from browser_sessions.gateway.downstream import Downstream, Why
from browser_sessions.gateway.frames import MAX_MESSAGE_BYTES, PING, TEXT, ClientFrames, FrameError, to_browser
from browser_sessions.gateway.message import FIRST_OWN_ID, must_read
from browser_sessions.gateway.upstream import Upstream
from tests.service import until

SIZES = st.sampled_from([0, 1, 63, 64, 65, 125, 126, 127, 4000, 65_535, 65_536, 70_000])
"""Around every length at which the head of a frame changes, and `HEAD_BYTES`."""


def peer(kind: type[Protocol]) -> Any:
    """The reference, past its handshake."""
    if kind is ClientProtocol:
        return ClientProtocol(parse_uri("ws://x/"), state=OPEN, max_size=None)
    return ServerProtocol(state=OPEN, max_size=None)


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
def test_what_a_client_sends_is_read_whatever_the_pieces(
    messages: list[tuple[int, list[bytes]]], cuts: list[int]
) -> None:
    client = peer(ClientProtocol)
    for opcode, fragments in messages:
        if opcode == PING:
            client.send_ping(fragments[0])
            continue
        client.send_text(fragments[0], fin=len(fragments) == 1)
        for index, fragment in enumerate(fragments[1:], 2):
            if index == 2:
                client.send_ping(b"between")  # control frames may stand between fragments
            client.send_continuation(fragment, fin=index == len(fragments))
    frames = ClientFrames()
    got = [each for piece in pieces(b"".join(client.data_to_send()), cuts) for each in frames.feed(piece)]
    assert [each for each in got if each != (PING, b"between")] == [(op, b"".join(parts)) for op, parts in messages]
    assert got.count((PING, b"between")) == sum(len(parts) > 1 for _, parts in messages)


def masked(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    return Frame(Opcode(opcode), payload, fin=fin).serialize(mask=True)


BROKEN = {
    "unmasked": (Frame(Opcode.TEXT, b"{}").serialize(mask=False), 1002),
    "reserved bit": (b"\xc1\x80\0\0\0\0", 1002),
    "unknown opcode": (b"\x83\x80\0\0\0\0", 1002),
    "unknown control": (b"\x8b\x80\0\0\0\0", 1002),
    "long ping": (b"\x89\xfe\x00\x7e\0\0\0\0", 1002),
    "ping in fragments": (b"\x09\x80\0\0\0\0", 1002),
    "continuation of nothing": (masked(0, b"x"), 1002),
    "text within a message": (masked(1, b"x", fin=False) + masked(1, b"y"), 1002),
    "too long": (b"\x81\xff" + struct.pack("!Q", MAX_MESSAGE_BYTES + 1), 1009),
    "too long, all bits": (b"\x81\xff" + b"\xff" * 8, 1009),
    "too long in fragments": (masked(1, b"x", fin=False) + b"\x80\xff" + struct.pack("!Q", MAX_MESSAGE_BYTES), 1009),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_frame_is_refused_at_its_head(name: str) -> None:
    data, code = BROKEN[name]
    with pytest.raises(FrameError) as caught:
        list(ClientFrames().feed(data))
    assert caught.value.code == code


def test_a_million_empty_fragments_cost_nothing() -> None:
    frames = ClientFrames()
    assert list(frames.feed(masked(1, b"", fin=False))) == []
    some = masked(0, b"", fin=False) * 1000
    tracemalloc.start()
    try:
        for _ in range(100):
            assert list(frames.feed(some)) == []
        assert tracemalloc.get_traced_memory()[0] < 50_000
    finally:
        tracemalloc.stop()
    assert list(frames.feed(masked(0, b"end"))) == [(TEXT, b"end")]


def test_a_large_message_in_small_pieces_is_put_together_once() -> None:
    """Were it joined at every piece, 8 MB in pieces of 4 KB would move 8 GB."""
    frames, payload = ClientFrames(), b"x" * 2**23
    data = masked(1, payload)
    got = [each for at in range(0, len(data), 4096) for each in frames.feed(data[at : at + 4096])]
    assert got == [(TEXT, payload)]


class Wire(asyncio.Transport):
    """Stands in for the network, which cannot be made to stop at a chosen byte."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.reading = True
        self.closed = self.aborted = False
        self.waits = 0

    def write(self, data: Any) -> None:
        self.sent += data

    def take(self) -> bytes:
        taken, self.sent = bytes(self.sent), bytearray()
        return taken

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return self.waits

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def is_aborted(self) -> bool:
        return self.aborted

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


class Heard:
    """Both sides' listener: keeps everything in its order."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []
        self.to_client = bytearray()
        self.read: list[tuple[int, bytes]] = []
        """(bytes passed on before it, message)"""
        self.wholes: list[bytes] = []
        self.gone = self.lost = self.rest = 0
        self.full: list[bool] = []

    def command(self, payload: bytes) -> None:
        self.commands.append(payload)

    def client_full(self, full: bool) -> None:
        self.full.append(full)

    def client_gone(self) -> None:
        self.gone += 1

    def straight(self, data: bytes, rest: int) -> None:
        self.to_client += data
        self.rest = rest

    def whole(self, payload: bytes) -> None:
        self.wholes.append(payload)

    def news(self, payload: bytes) -> None:
        self.read.append((len(self.to_client), payload))

    def upstream_lost(self) -> None:
        self.lost += 1

    def upstream_full(self, full: bool) -> None:
        self.full.append(full)


@contextmanager
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with asyncio.Runner() as runner:
        runner.run(asyncio.sleep(0))
        made = runner.get_loop()
        asyncio._set_running_loop(made)  # protocols ask for the running loop; nothing here waits
        try:
            yield made
        finally:
            asyncio._set_running_loop(None)


@st.composite
def chromium_messages(draw: st.DrawFn) -> list[bytes]:
    made = []
    for kind in draw(st.lists(st.sampled_from(["answer", "event", "target", "own", "odd"]), min_size=1, max_size=6)):
        filler = b"x" * draw(SIZES)
        made.append(
            {
                "answer": b'{"id":%d,"result":{"v":"%b"}}' % (draw(st.integers(1, 10**9)), filler),
                "event": b'{"method":"Page.loaded","params":{"v":"%b"}}' % filler,
                "target": b'{"method":"Target.attachedToTarget","params":{"v":"%b"}}' % filler,
                "own": b'{"id":%d,"result":{"v":"%b"}}' % (FIRST_OWN_ID + 1, filler),
                "odd": b'{ "v":"%b"}' % filler,
            }[kind]
        )
    return made


def opened() -> tuple[Upstream, Wire]:
    upstream, wire = Upstream(), Wire()
    upstream.connection_made(wire)
    return upstream, wire


@given(chromium_messages(), CUTS, st.booleans(), st.integers(0, 12))
def test_what_chromium_sends_arrives_in_order_whatever_the_pieces(
    messages: list[bytes], cuts: list[int], whole: bool, begin_after: int
) -> None:
    browser = peer(ServerProtocol)
    for message in messages:
        browser.send_text(message)
    data = b"HTTP/1.1 101 Switching\r\nX: y\r\n\r\n" + b"".join(browser.data_to_send())
    with loop():
        upstream, heard = opened()[0], Heard()
        for index, piece in enumerate(pieces(data, cuts)):
            if index >= begin_after and upstream.shaken.done() and upstream._reader is None:
                upstream.start(heard, whole=whole)
            upstream.data_received(piece)
        if upstream._reader is None:
            upstream.start(heard, whole=whole)
    expected_read = [m for m in messages if must_read(m[:64])]
    expected_free = [m for m in messages if not must_read(m[:64])]
    assert [m for _, m in heard.read] == expected_read
    if whole:
        assert heard.wholes == expected_free
        return
    client = peer(ClientProtocol)
    client.receive_data(bytes(heard.to_client))
    assert [cast(Frame, each).data for each in client.events_received()] == expected_free
    # each message that was read came after just those that Chromium sent before it
    for (passed, message), at in zip(heard.read, [i for i, m in enumerate(messages) if must_read(m[:64])], strict=True):
        before = peer(ServerProtocol)
        for earlier in messages[:at]:
            if not must_read(earlier[:64]):
                before.send_text(earlier)
        assert passed == len(b"".join(before.data_to_send())), message[:60]


def test_a_large_answer_streams_through_and_is_not_held() -> None:
    browser = peer(ServerProtocol)
    browser.send_text(b'{"id":1,"result":{"v":"' + b"x" * 2**20 + b'"}}')
    data = b"".join(browser.data_to_send())
    with loop():
        upstream, heard = opened()[0], Heard()
        upstream.start(heard)
        for end in range(256, len(data), 100_000):
            upstream.data_received(data[len(heard.to_client) : end])
            assert len(heard.to_client) == end
            assert heard.rest == len(data) - end


def test_a_ping_of_the_browser_is_answered_and_its_end_is_told() -> None:
    with loop():
        upstream, wire = opened()
        heard, browser = Heard(), peer(ServerProtocol)
        upstream.start(heard)
        browser.send_ping(b"hey")
        upstream.data_received(b"".join(browser.data_to_send()))
        browser.receive_data(wire.take())
        assert [(each.opcode, each.data) for each in browser.events_received()] == [(Opcode.PONG, b"hey")]
        upstream.send(b'{"id":1}')
        browser.receive_data(wire.take())
        assert [each.data for each in browser.events_received()] == [b'{"id":1}']
        browser.send_close(CloseCode.GOING_AWAY)
        upstream.data_received(b"".join(browser.data_to_send()))
        assert wire.closed
        upstream.connection_lost(None)
        assert heard.lost == 1


def test_a_browser_that_left_before_anybody_listened_is_told_of() -> None:
    with loop():
        upstream, heard = opened()[0], Heard()
        upstream.shaken.set_result(None)
        upstream.connection_lost(None)
        upstream.start(heard)
    assert heard.lost == 1


def read(wire: Wire) -> bool:
    return wire.reading


def joined() -> tuple[Downstream, Wire, Heard, Any]:
    heard, wire = Heard(), Wire()
    side = Downstream(heard)
    side.connection_made(wire)
    return side, wire, heard, peer(ClientProtocol)


def test_pings_are_answered_also_between_fragments() -> None:
    with loop():
        side, wire, heard, client = joined()
        client.send_text(b'{"id"', fin=False)
        client.send_ping(b"a")
        client.send_continuation(b":1}", fin=True)
        side.data_received(b"".join(client.data_to_send()))
        client.receive_data(wire.take())
        assert [(each.opcode, each.data) for each in client.events_received()] == [(Opcode.PONG, b"a")]
        assert heard.commands == [b'{"id":1}']


def test_closing_is_a_handshake_from_either_side() -> None:
    with loop() as running:
        side, wire, heard, client = joined()
        client.send_close(CloseCode.GOING_AWAY, "bye")
        side.data_received(b"".join(client.data_to_send()))
        client.receive_data(wire.take())
        assert (client.close_rcvd.code, heard.gone, side.close_code, wire.closed) == (1001, 1, 1001, True)
        side.connection_lost(None)
        assert side.closed.done()
        assert heard.gone == 1

        side, wire, heard, client = joined()
        side.close(4000, "the session expired" + "ü" * 100)
        assert heard.gone == 1
        client.receive_data(wire.take())
        assert client.close_rcvd.code == 4000
        assert client.close_rcvd.reason.startswith("the session expired")
        side.data_received(b"".join(client.data_to_send()))
        assert wire.closed
        assert heard.commands == []
        side.connection_lost(None)
        assert (side.close_code, heard.gone) == (4000, 1)
        assert [each for each in running._scheduled if not each.cancelled()] == []  # type: ignore[attr-defined]


def test_what_is_said_before_the_transport_came_is_said_once_it_is_there() -> None:
    with loop():
        heard, wire, client = Heard(), Wire(), peer(ClientProtocol)
        side = Downstream(heard)
        side.close(1011, "the browser crashed")
        assert heard.gone == 0
        side.connection_made(wire)
        client.receive_data(wire.take())
        assert (client.close_rcvd.code, heard.gone) == (1011, 1)


@pytest.mark.parametrize(("data", "code"), [*BROKEN.values(), (masked(2, b"x"), 1003), (masked(8, b"x"), 1002)])
def test_a_client_that_breaks_the_protocol_hears_why(data: bytes, code: int) -> None:
    with loop():
        side, wire, heard, client = joined()
        side.data_received(data)
        client.receive_data(wire.take())
        assert client.close_rcvd.code == code
        assert heard.gone == 1
        for _ in range(1000):
            side.data_received(data * 10)  # it goes on: nothing of it is kept
        assert side._frames._have <= len(data)
        assert wire.take() == b""


def test_a_client_that_does_not_take_its_answers_is_not_read_and_reasons_do_not_undo_each_other() -> None:
    with loop():
        side, wire, heard, _ = joined()
        side.pause_writing()
        assert read(wire) is False
        assert heard.full == [True]
        side.pause(Why.BROWSER_FULL, True)
        side.resume_writing()
        assert heard.full == [True, False]
        assert read(wire) is False
        side.pause(Why.WHEEL, True)
        side.pause(Why.BROWSER_FULL, False)
        assert read(wire) is False
        side.pause(Why.WHEEL, False)
        assert read(wire) is True
        assert not side.paused


def test_nothing_of_ours_comes_within_a_message_that_streams_through() -> None:
    browser = peer(ServerProtocol)
    browser.send_text(b"x" * 100_000)
    frame = b"".join(browser.data_to_send())
    with loop():
        side, wire, _, client = joined()
        side.straight(frame[:70_000], len(frame) - 70_000)
        side.send(b'{"method":"Target.targetCreated"}')
        side.ping()
        client.send_ping(b"a")
        side.data_received(b"".join(client.data_to_send()))
        assert bytes(wire.sent) == frame[:70_000]
        for _ in range(3):
            side.send(b"y" * downstream.HIGH_WATER_BYTES)
        assert read(wire) is False
        side.straight(frame[70_000:], 0)
        assert read(wire) is True
        client.receive_data(wire.take())
        got = [(each.opcode, len(each.data)) for each in client.events_received()]
        ours = [(Opcode.TEXT, 33), (Opcode.PING, 0), (Opcode.PONG, 1)]
        assert got == [(Opcode.TEXT, 100_000), *ours, *[(Opcode.TEXT, downstream.HIGH_WATER_BYTES)] * 3]


def half_sent() -> tuple[Downstream, Wire, Heard, Any, bytes]:
    """A client that has the first part of a large message. The last is the rest, with another frame after it."""
    browser = peer(ServerProtocol)
    browser.send_text(b"x" * 100_000)
    frame = b"".join(browser.data_to_send())
    browser.send_text(b"nothing more")
    side, wire, heard, client = joined()
    side.straight(frame[:70_000], len(frame) - 70_000)
    return side, wire, heard, client, frame[70_000:] + b"".join(browser.data_to_send())


def test_a_close_within_a_large_message_is_said_after_it() -> None:
    with loop():
        side, wire, heard, client, rest = half_sent()
        side.send(b"said before")
        side.close(4000, "the session expired")
        side.send(b"said after")
        client.send_text(b"{}")
        side.data_received(b"".join(client.data_to_send()))
        assert (heard.gone, heard.commands, wire.aborted) == (0, [], False)
        side.straight(rest[:1000], len(rest) - 1000)
        assert heard.gone == 0
        side.straight(rest[1000:], 0)
        assert (heard.gone, wire.aborted) == (1, False)
        client.receive_data(wire.take())
        got = client.events_received()
        assert [(each.opcode, len(each.data)) for each in got[:2]] == [(Opcode.TEXT, 100_000), (Opcode.TEXT, 11)]
        assert len(got) == 3, "what the browser said later is not passed on"
        assert client.close_rcvd == Close(4000, "the session expired")


@pytest.mark.parametrize("how", ["late", "never", "client gone"])
async def test_a_large_message_without_an_end_is_cut(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(downstream, "FINISH_S", 0.01 if how == "late" else 60)
    side, wire, heard, _, _ = half_sent()
    wire.take()
    side.close(1000, "the session was ended")
    if how == "late":
        await until(wire.is_aborted, what="it is cut")
    elif how == "never":
        side.cut_off()
        assert wire.aborted
    else:
        side.connection_lost(None)
    assert (bytes(wire.sent), heard.gone, side.close_code) == (b"", 1, 1000)
    side.cut_off()
    assert heard.gone == 1


def test_slow_is_not_stalled() -> None:
    with loop() as running:
        side, wire, _, _ = joined()
        now = running.time()
        assert side.stalled_for(now + 100) == 0
        wire.waits = 2**23
        side.pause_writing()
        assert side.stalled_for(now + 29) >= 28
        wire.waits -= 1000
        assert side.stalled_for(now + 31) == 0
        assert side.stalled_for(now + 60) == 29
        side.resume_writing()
        assert side.stalled_for(now + 100) == 0


async def test_a_client_that_never_answers_the_close_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downstream, "CLOSING_S", 0.01)
    for ending in ("ours", "its own"):
        side, wire, _, client = joined()
        wire.waits = 2**23
        if ending == "ours":
            side.close(1013, "the client does not read")
        else:
            client.send_close(CloseCode.NORMAL_CLOSURE)
            side.data_received(b"".join(client.data_to_send()))
        await until(wire.is_aborted, what="it is cut")


def test_frames_to_the_browser_are_what_a_client_must_send() -> None:
    for size in (0, 125, 126, 65_535, 65_536):
        browser = peer(ServerProtocol)
        browser.receive_data(to_browser(b"x" * size))
        assert [each.data for each in browser.events_received()] == [b"x" * size]
