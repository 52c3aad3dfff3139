"""The server side of a client's WebSocket, tested against the `websockets` library as an independent client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Close, CloseCode, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from browser_sessions.cdp import websocket
from browser_sessions.cdp.websocket import COPY_BYTES, WRITE_BYTES, ClientSocket, PauseReason
from browser_sessions.loop_shares import STEPS, Shares
from tests.harness.clients.ws_frames import BROKEN, masked
from tests.harness.waiting import until


def peer() -> Any:
    """The reference implementation after its handshake."""
    return ClientProtocol(parse_uri("ws://x/"), state=OPEN, max_size=None)


class Wire(asyncio.Transport):
    """A fake transport that can stop at a chosen byte. It pauses and resumes its protocol as asyncio's transports
    do."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: Any = None
        self.sent = bytearray()
        self.reading = True
        self.closed = self.aborted = False
        self.stuck = False
        """Whether the client has stopped reading."""
        self.waits = 0
        """Bytes not yet read by the client."""
        self.high = WRITE_BYTES
        self._full = False

    def write(self, data: Any) -> None:
        self.sent += data
        if self.stuck:
            self.waits += len(data)
            if self.waits > self.high and not self._full:
                self._full = True
                self.protocol.pause_writing()

    def read_by_client(self, count: int) -> None:
        """The client reads `count` bytes."""
        self.waits = max(self.waits - count, 0)
        if self._full and self.waits <= self.high // 4:
            self._full = False
            self.protocol.resume_writing()

    def read_all(self) -> None:
        """The client reads everything and continues to read."""
        self.stuck = False
        self.read_by_client(self.waits)

    def take(self) -> bytes:
        """What the client receives after this loop iteration."""
        self.protocol._end_iteration()
        taken, self.sent = bytes(self.sent), bytearray()
        return taken

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == WRITE_BYTES

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


class Receiver:
    """Records the client's commands."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []
        self.gone = 0

    def command(self, payload: bytes) -> None:
        self.commands.append(payload)

    def client_gone(self) -> None:
        self.gone += 1


@contextmanager
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with asyncio.Runner() as runner:
        runner.run(asyncio.sleep(0))
        made = runner.get_loop()
        asyncio._set_running_loop(made)  # protocols need a running loop; nothing here waits
        try:
            yield made
        finally:
            asyncio._set_running_loop(None)


def reads(wire: Wire) -> bool:
    return wire.reading


def joined() -> tuple[ClientSocket, Wire, Receiver, Any]:
    receiver, wire = Receiver(), Wire()
    side = wire.protocol = ClientSocket(receiver)
    side.connection_made(wire)
    return side, wire, receiver, peer()


def lengths(client: Any, wire: Wire) -> list[tuple[int, int]]:
    """(opcode, length) of the frames that the client receives."""
    client.receive_data(wire.take())
    return [(each.opcode, len(each.data)) for each in client.events_received()]


def timers(running: asyncio.AbstractEventLoop) -> list[float]:
    """Seconds until each timer fires."""
    handles = running._scheduled  # type: ignore[attr-defined]
    return [each.when() - running.time() for each in handles if not each.cancelled()]


def test_pings_get_a_pong_even_between_fragments() -> None:
    with loop():
        side, wire, receiver, client = joined()
        client.send_text(b'{"id"', fin=False)
        client.send_ping(b"a")
        client.send_continuation(b":1}", fin=True)
        side.data_received(b"".join(client.data_to_send()))
        client.receive_data(wire.take())
        assert [(each.opcode, each.data) for each in client.events_received()] == [(Opcode.PONG, b"a")]
        assert receiver.commands == [b'{"id":1}']


def test_closing_is_a_handshake_from_either_side() -> None:
    with loop() as running:
        side, wire, receiver, client = joined()
        client.send_close(CloseCode.GOING_AWAY, "bye")
        side.data_received(b"".join(client.data_to_send()))
        client.receive_data(wire.take())
        assert (client.close_rcvd.code, receiver.gone, wire.closed) == (1001, 1, True)
        side.connection_lost(None)
        assert side.closed.done()
        assert receiver.gone == 1

        side, wire, receiver, client = joined()
        side.close(4000, "the session expired" + "ü" * 100)
        assert receiver.gone == 1
        client.receive_data(wire.take())
        assert client.close_rcvd.code == 4000
        assert client.close_rcvd.reason.startswith("the session expired")
        side.data_received(b"".join(client.data_to_send()))
        assert wire.closed
        assert receiver.commands == []
        side.connection_lost(None)
        assert (side.closed.done(), receiver.gone) == (True, 1)
        assert timers(running) == []


def test_a_close_before_the_transport_is_sent_once_it_is_there() -> None:
    with loop():
        receiver, wire, client = Receiver(), Wire(), peer()
        side = wire.protocol = ClientSocket(receiver)
        side.send(b"dropped")
        side.ping()
        side.close(1011, "the browser crashed")
        side.close(1000, "the session was ended")
        assert receiver.gone == 0
        side.connection_made(wire)
        client.receive_data(wire.take())
        assert (client.close_rcvd, receiver.gone) == (Close(1011, "the browser crashed"), 1)


INVALID_CODES = (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 0xFFFF)


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
def test_a_valid_close_code_is_sent_back(code: int) -> None:
    with loop():
        side, wire, receiver, client = joined()
        side.data_received(masked(8, code.to_bytes(2) + "späť".encode()))
        client.receive_data(wire.take())
        assert (client.close_rcvd, receiver.gone) == (Close(code, ""), 1)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        *BROKEN.values(),
        (masked(2, b"x"), 1003),
        (masked(8, b"x"), 1002),
        *((masked(8, code.to_bytes(2)), 1002) for code in INVALID_CODES),
        (masked(8, b"\x03\xe8\xff"), 1007),
    ],
    ids=[*BROKEN, "binary", "close of one byte", *map(str, INVALID_CODES), "reason"],  # not the bytes: random masks
)
def test_a_protocol_violation_closes_with_a_reason(data: bytes, code: int) -> None:
    with loop():
        side, wire, receiver, client = joined()
        side.data_received(data)
        client.receive_data(wire.take())
        assert client.close_rcvd.code == code
        assert receiver.gone == 1
        for _ in range(1000):
            side.data_received(data * 10)  # later data is not buffered
        assert side._frames.held <= len(data)
        assert wire.take() == b""


@pytest.mark.parametrize("size", [0, 125, 126, COPY_BYTES - 1, COPY_BYTES, 2**20])
def test_a_message_is_one_text_frame(size: int) -> None:
    with loop():
        side, wire, _, client = joined()
        side.send(b"x" * size)
        side.ping()
        assert lengths(client, wire) == [(Opcode.TEXT, size), (Opcode.PING, 0)]


async def test_small_messages_of_one_iteration_are_one_write_in_order() -> None:
    class RecordingWire(Wire):
        def __init__(self) -> None:
            super().__init__()
            self.written: list[int] = []

        def write(self, data: Any) -> None:
            self.written.append(len(data))
            super().write(data)

    side, wire, client = ClientSocket(Receiver()), RecordingWire(), peer()
    wire.protocol = side
    side.connection_made(wire)
    sizes = [1, 2, 3, COPY_BYTES, 4, 5]
    for size in sizes:
        side.send(b"x" * size)
    assert len(wire.written) == 4, "the first one, two joined, and the large one in two parts"
    await asyncio.sleep(0)
    assert len(wire.written) == 5
    side.send(b"x" * 6)
    assert len(wire.written) == 6, "the first message of the next iteration must not wait"
    assert lengths(client, wire) == [(Opcode.TEXT, size) for size in [*sizes, 6]]


async def test_small_messages_of_a_client_that_does_not_read_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "QUEUE_BYTES", 4 * WRITE_BYTES)
    side, wire, receiver, _ = joined()
    wire.stuck = True
    for _ in range(6 * WRITE_BYTES // 1000):
        side.send(b"x" * 1000)
    assert receiver.gone == 0
    await asyncio.sleep(0)
    assert (receiver.gone, side.code) == (1, 1013)


def test_a_large_message_is_not_copied() -> None:
    class RecordingWire(Wire):
        def __init__(self) -> None:
            super().__init__()
            self.written: list[Any] = []

        def write(self, data: Any) -> None:
            self.written.append(data)

    with loop():
        side, wire = ClientSocket(Receiver()), RecordingWire()
        side.connection_made(wire)
        message = b"x" * COPY_BYTES
        side.send(message)
        assert wire.written[1] is message


def test_reasons_to_pause_reading_are_independent() -> None:
    with loop():
        side, wire, _, _ = joined()
        side.pause(PauseReason.BROWSER_FULL, True)
        assert (reads(wire), side.paused) == (False, True)
        side.pause(PauseReason.CONTROL, True)
        side.pause(PauseReason.BROWSER_FULL, False)
        assert (reads(wire), side.paused) == (False, True)
        side.pause(PauseReason.CONTROL, False)
        side.pause(PauseReason.CONTROL, False)
        assert (reads(wire), side.paused) == (True, False)


def test_messages_beyond_the_write_buffer_are_queued_in_order() -> None:
    with loop():
        side, wire, _, client = joined()
        wire.stuck = True
        sizes = [WRITE_BYTES, 10, COPY_BYTES, 3 * WRITE_BYTES, 0, COPY_BYTES]
        for size in sizes:
            side.send(b"x" * size)
        side.ping()
        passed_on = wire.waits
        assert WRITE_BYTES < passed_on < WRITE_BYTES + 100
        assert side.waiting > sum(sizes)
        wire.read_by_client(passed_on)
        assert WRITE_BYTES < wire.waits < 3 * WRITE_BYTES + 2 * COPY_BYTES, "the next message only"
        wire.read_all()
        assert lengths(client, wire) == [*[(Opcode.TEXT, size) for size in sizes], (Opcode.PING, 0)]
        assert side.waiting == 0


def test_a_client_with_a_backlog_is_not_read_until_it_has_caught_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "BACKPRESSURE_BYTES", 2 * WRITE_BYTES)
    with loop():
        side, wire, receiver, client = joined()
        wire.stuck = True
        side.send(b"x" * (WRITE_BYTES + 1))
        assert reads(wire) is True
        side.send(b"x" * WRITE_BYTES)
        assert (reads(wire), side.paused, receiver.gone) == (False, True, 0)
        wire.read_by_client(WRITE_BYTES // 2)
        assert reads(wire) is False
        wire.read_by_client(2 * WRITE_BYTES)
        assert (reads(wire), side.paused) == (True, False)
        wire.read_all()
        assert lengths(client, wire) == [(Opcode.TEXT, WRITE_BYTES + 1), (Opcode.TEXT, WRITE_BYTES)]


def test_the_largest_message_does_not_count_against_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "QUEUE_BYTES", 4 * WRITE_BYTES)
    with loop():
        side, wire, receiver, client = joined()
        wire.stuck = True
        side.send(b"x" * WRITE_BYTES)
        side.send(b"x" * 20 * WRITE_BYTES)
        for _ in range(2):
            side.send(b"x" * WRITE_BYTES)
        assert receiver.gone == 0
        wire.read_all()
        assert lengths(client, wire) == [(Opcode.TEXT, n * WRITE_BYTES) for n in (1, 20, 1, 1)]


def test_a_large_message_that_may_not_be_sent_closes_the_client_instead() -> None:
    with loop():
        side, wire, receiver, client = joined()
        side.may_send = lambda size: False
        side.send(b"x" * WRITE_BYTES)
        side.send(b"x" * (WRITE_BYTES + 1))
        assert [each for each in lengths(client, wire) if each[0] == Opcode.TEXT] == [(Opcode.TEXT, WRITE_BYTES)]
        assert (client.close_rcvd.code, receiver.gone) == (1013, 1)


def test_a_client_that_never_reads_is_closed_and_can_still_read_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "QUEUE_BYTES", 4 * WRITE_BYTES)
    with loop() as running:
        side, wire, receiver, client = joined()
        wire.stuck = True
        sent = 0
        while not receiver.gone:
            side.send(b"x" * WRITE_BYTES)
            sent += 1
            assert sent < 10
        assert sent == 5  # four, plus the largest one
        assert (reads(wire), wire.is_closing()) == (True, False), "its close frame can still be read"
        assert side.waiting < 2 * WRITE_BYTES, "messages that will not be sent must be dropped"
        side.send(b"nothing more")
        side.ping()
        assert [round(each) for each in timers(running)] == [websocket.LINGER_S]
        wire.read_all()
        received = lengths(client, wire)
        assert client.close_rcvd == Close(1013, "the client does not read")
        assert [each for each in received if each[0] != Opcode.CLOSE] == [(Opcode.TEXT, WRITE_BYTES)]
        client_close = b"".join(client.data_to_send())
        side.data_received(client_close)
        assert wire.closed
        side.connection_lost(None)
        assert (receiver.gone, timers(running)) == (1, [])


@pytest.mark.parametrize("spare", range(12))
def test_a_message_is_sent_completely_or_not_at_all(spare: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the socket is full right after a frame header, which is written separately."""
    monkeypatch.setattr(websocket, "QUEUE_BYTES", COPY_BYTES)
    with loop():
        side, wire, receiver, client = joined()
        wire.stuck = True
        first = WRITE_BYTES - 10 - spare  # 10: the header of the first frame
        side.send(b"x" * first)
        while not receiver.gone:
            side.send(b"y" * COPY_BYTES)
        wire.read_all()
        received = lengths(client, wire)
        assert received[:2] == [(Opcode.TEXT, first), (Opcode.TEXT, COPY_BYTES)]
        assert client.close_rcvd.code == 1013


def test_a_normal_close_is_sent_after_the_queue() -> None:
    with loop():
        side, wire, receiver, client = joined()
        wire.stuck = True
        for _ in range(3):
            side.send(b"x" * WRITE_BYTES)
        side.close(4000, "the session expired")
        side.send(b"after the close")
        client.send_text(b"{}")
        side.data_received(b"".join(client.data_to_send()))
        assert (receiver.gone, receiver.commands, wire.is_closing()) == (1, [], False)
        wire.read_all()
        received = lengths(client, wire)
        assert received[:3] == [(Opcode.TEXT, WRITE_BYTES)] * 3
        assert len(received) == 4
        assert client.close_rcvd == Close(4000, "the session expired")


def test_a_slow_client_is_not_stalled() -> None:
    with loop() as running:
        side, wire, _, _ = joined()
        now = running.time()
        assert side.stalled_for(now + 100) == 0
        wire.stuck = True
        side.send(b"x" * 2**23)
        assert side.stalled_for(now + 29) >= 28
        wire.read_by_client(1000)
        assert side.stalled_for(now + 31) == 0
        assert side.stalled_for(now + 60) == 29
        wire.read_all()
        assert side.stalled_for(now + 100) == 0


@pytest.mark.parametrize("ending", ["ours", "its own", "too slow"])
async def test_a_client_that_never_sends_its_close_frame_is_aborted(
    ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "LINGER_S" if ending == "too slow" else "CLOSING_S", 0.01)
    side, wire, receiver, client = joined()
    wire.stuck = True
    side.send(b"x" * 2**21)
    if ending == "its own":
        client.send_close(CloseCode.NORMAL_CLOSURE)
        side.data_received(b"".join(client.data_to_send()))
    else:
        side.close(1013 if ending == "too slow" else 1000, "the reason")
    await until(wire.is_aborted, what="the connection is aborted")
    side.connection_lost(None)
    assert (receiver.gone, side.closed.done()) == (1, True)


def test_a_lost_connection_is_reported_once_and_nothing_is_kept() -> None:
    with loop() as running:
        side, wire, receiver, _ = joined()
        wire.stuck = True
        for _ in range(3):
            side.send(b"x" * WRITE_BYTES)
        wire.waits = 0
        side.connection_lost(ConnectionResetError())
        side.close(1000, "too late")
        side.send(b"{}")
        assert (receiver.gone, side.closed.done(), side.waiting, timers(running)) == (1, True, 0, [])


def test_shutdown_closes_with_1001() -> None:
    with loop():
        side, wire, receiver, client = joined()
        side.shutdown()
        client.receive_data(wire.take())
        assert (client.close_rcvd.code, receiver.gone) == (1001, 1)


FLOODS = {
    "commands": (b"".join(masked(1, b"%d" % number) for number in range(1000)), 1000),
    "pings": (masked(9, b"") * 1000, 0),
    "pongs": (masked(10, b"") * 1000, 0),
    "fragments": (masked(1, b"", fin=False) + masked(0, b"", fin=False) * 1000 + masked(0, b"x"), 1),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_is_handled_in_slices_and_not_read_meanwhile(name: str) -> None:
    flood, commands = FLOODS[name]
    receiver, wire, share = Receiver(), Wire(), Shares().of("a")
    side = wire.protocol = ClientSocket(receiver, share=share)
    side.connection_made(wire)
    side.data_received(flood)
    assert len(receiver.commands) <= STEPS
    assert len(wire.sent) <= STEPS * 2, "pongs of two bytes"
    assert not reads(wire)
    assert side.paused, "its silence does not count"
    seen = [len(receiver.commands)]
    async with asyncio.timeout(30):
        while not wire.reading:
            await asyncio.sleep(0)
            seen.append(len(receiver.commands))
    assert max(after - before for before, after in pairwise(seen)) <= STEPS
    assert len(receiver.commands) == commands
    if name == "commands":
        assert receiver.commands == [b"%d" % number for number in range(1000)]


async def test_clients_of_one_principal_have_one_share_and_others_their_own() -> None:
    shares = Shares()
    sides = []
    for holder in ("a", "a", "b"):
        wire, receiver = Wire(), Receiver()
        side = wire.protocol = ClientSocket(receiver, share=shares.of(holder))
        side.connection_made(wire)
        sides.append((side, wire, receiver))
    flood = masked(1, b"{}") * 1000
    sides[0][0].data_received(flood)
    for side, _, _ in sides[1:]:
        side.data_received(masked(1, b"{}") * 10)
    assert [wire.reading for _, wire, _ in sides] == [False, False, True]
    assert [len(receiver.commands) for _, _, receiver in sides] == [STEPS, 0, 10]
    async with asyncio.timeout(30):
        await until(lambda: reads(sides[1][1]))
    assert not reads(sides[0][1]), "they take turns"


async def test_a_flooding_client_that_is_closed_is_not_read_until_its_flood_is_over() -> None:
    receiver, wire, share = Receiver(), Wire(), Shares().of("a")
    side = wire.protocol = ClientSocket(receiver, share=share)
    side.connection_made(wire)
    side.data_received(masked(1, b"{}") * 1000 + masked(8, b""))
    side.close(1000, "")
    assert not wire.reading
    handled = len(receiver.commands)
    async with asyncio.timeout(30):
        await until(lambda: wire.closed)
    assert len(receiver.commands) == handled


async def test_an_error_in_a_later_turn_ends_the_connection() -> None:
    class Failing(Receiver):
        def command(self, payload: bytes) -> None:
            super().command(payload)
            if len(self.commands) > STEPS:
                raise ValueError

    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    wire = Wire()
    side = wire.protocol = ClientSocket(Failing(), share=Shares().of("a"))
    side.connection_made(wire)
    side.data_received(masked(1, b"{}") * 1000)
    async with asyncio.timeout(30):
        await until(lambda: wire.aborted)
    assert [type(each) for each in reported] == [ValueError]
