"""Limits of heads, bodies and connections, over real connections to an application that answers everything."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from browser_sessions import uvicorn_adapter
from browser_sessions.cdp.websocket import ClientSocket
from browser_sessions.connections import Connections
from browser_sessions.gateway.gateway import TAKE_OVER
from browser_sessions.loop_shares import STEPS, Shares
from browser_sessions.uvicorn_adapter import (
    CHUNKS_PER_STEP,
    EARLY_BYTES,
    LIVENESS,
    MAX_HEADERS,
    MAX_LINE_BYTES,
    MAX_PIPELINED,
    PIECE_BYTES,
    Config,
    HttpProtocol,
    TakeOverProtocol,
)
from tests.harness.clients.ws_frames import BROKEN, masked
from tests.harness.waiting import until

ANY = 1_000


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body and answers 200 with its length; accepts WebSockets."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        return
    length, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        length, more = length + len(message["body"]), message["more_body"]
    names = sorted({name.decode() for name, _ in scope["headers"]})
    body = json.dumps({"length": length, "headers": names}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@dataclass
class Served:
    port: int
    state: ServerState
    connections: Connections

    async def ask(self, *pieces: bytes) -> bytes:
        """Everything that the server sends until it closes the connection, for these pieces one after the other."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            async with asyncio.timeout(10):
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


@asynccontextmanager
async def serving(connections: Connections | None = None, application: ASGIApp = app) -> AsyncIterator[Served]:
    config = Config(
        application, connections or Connections(ANY, ANY), Shares(), log_config=None, ws_per_message_deflate=False
    )
    config.load()
    state, loop = ServerState(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: uvicorn_adapter.HttpProtocol(config, state, {}), "127.0.0.1", 0)
    try:
        yield Served(server.sockets[0].getsockname()[1], state, config.connections)
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await server.wait_closed()


def head(*headers: str, target: str = "/", method: str = "GET") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: a.example", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def status_of(answer: bytes) -> int:
    """The status. An error is a problem that closes the connection."""
    top, _, body = answer.partition(b"\r\n\r\n")
    status = int(top.split(b" ", 2)[1])
    if status >= 400:
        assert b"content-type: application/problem+json" in top.lower()
        assert b"connection: close" in top.lower()
        assert json.loads(body)["status"] == status
    return status


LONG = "x" * MAX_LINE_BYTES
HEADS = {
    "short": (head(), 200),
    "as many headers as allowed": (head(*(f"X-{n}: 1" for n in range(MAX_HEADERS - 2))), 200),
    "one header more": (head(*(f"X-{n}: 1" for n in range(MAX_HEADERS - 1))), 431),
    "10,000 headers": (head(*("a:" for _ in range(10_000))), 431),
    "a header as long as allowed": (head("a: " + LONG[1:]), 200),
    "a longer header": (head("a: " + LONG), 431),
    "a longer name of a header": (head(LONG + "x: 1"), 431),
    "a URL as long as allowed": (head(target="/" + LONG[1:]), 200),
    "a longer URL": (head(target="/" + LONG), 414),
    "as much as allowed in all": (head(*("x" * (MAX_LINE_BYTES - 100) + f"{n}: 1" for n in range(4))), 200),
    "more in all": (head(*("x" * (MAX_LINE_BYTES - 10) + f"{n}: 1" for n in range(4))), 431),
    "an absolute target": (head(target="HTTP://A.example/x"), 200),
    "an absolute target elsewhere": (head(target="http://b.example/x"), 400),
    "an absolute target elsewhere, by its user": (head(target="http://a.example@b.example/x"), 400),
    "an absolute target of another scheme": (head(target="ftp://a.example/x"), 400),
    "an authority as target": (head(target="b.example:443", method="CONNECT"), 400),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
}


@pytest.mark.parametrize("pieces", [1, 7], ids=["in one piece", "in pieces"])
@pytest.mark.parametrize(("sent", "status"), HEADS.values(), ids=HEADS.keys())
async def test_a_head_beyond_a_limit_is_refused_with_a_problem(sent: bytes, status: int, pieces: int) -> None:
    step = len(sent) // pieces + 1
    async with serving() as served:
        answer = await served.ask(*(sent[at : at + step] for at in range(0, len(sent), step)))
    assert status_of(answer) == status


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"GET / HTTP/1.1\r\nHost: a.example\r\nX: ", b"x" * 65_536),
        (b"GET / HTTP/1.1\r\nHost: a.example\r\n", b"X: x\r\n" * 10_000),
        (b"GET /", b"x" * 65_536),
        (b"", b"\r\n" * 32_768),
        (b"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"x" * 65_536),
        (b"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: x\r\n" * 10_000),
        (b"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 65_536),
    ],
    ids=["header", "headers", "URL", "line breaks", "trailer", "trailers", "chunk extension"],
)
async def test_what_never_ends_is_cut_off(start: bytes, more: bytes) -> None:
    async with serving() as served:
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(start)
        sent = 0
        try:
            async with asyncio.timeout(10):
                while sent < 100 * 2**20:
                    writer.write(more)
                    await writer.drain()
                    sent += len(more)
        except ConnectionError:
            pass
        writer.close()
    assert sent < 30 * 2**20, "besides what the sockets hold"


async def test_trailers_do_not_join_the_headers() -> None:
    sent = head("Transfer-Encoding: chunked", method="POST") + b"1\r\nx\r\n0\r\nX-Api-Key: stolen\r\n\r\n"
    async with serving() as served:
        at = sent.index(b"0\r\nX-Api")
        answer = await served.ask(sent[:at], sent[at:])
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {
        "length": 1,
        "headers": ["connection", "host", "transfer-encoding"],
    }


async def test_a_long_queue_of_requests_on_one_connection_is_cut_off() -> None:
    one = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
    async with serving() as served:
        few = await served.ask(one * (MAX_PIPELINED // 2) + head())
        many = await served.ask(one * (2 * MAX_PIPELINED) + head())
    assert few.count(b"200 OK") == MAX_PIPELINED // 2 + 1
    assert many.count(b"200 OK") < MAX_PIPELINED
    assert b" 400 " not in many, "it would pass for the response to another request"


class _Slow:
    """An application whose responses keep the loop busy, and that counts them."""

    def __init__(self) -> None:
        self.began = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.began += 1
        began = time.perf_counter()
        while time.perf_counter() - began < 0.002:
            pass
        await app(scope, receive, send)


@pytest.mark.parametrize("target", ["/", "/websocket"])
async def test_a_new_connection_is_served_while_hundreds_send_requests(target: str) -> None:
    """An iteration of the loop accepts few connections, and must not last as long as hundreds of requests."""
    slow, began = _Slow(), [0]

    async def beside() -> None:
        while True:
            await asyncio.sleep(0)
            began.append(slow.began)

    async with serving(application=slow) as served:
        busy = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(200)]
        counting = asyncio.create_task(beside())
        for _, writer in busy:
            writer.write(UPGRADE % b"" if target == "/websocket" else head())
        assert status_of(await served.ask(head(target=LIVENESS))) == 200
        alive_after = slow.began
        await until(lambda: slow.began == len(busy) + 1)
        counting.cancel()
        for _, writer in busy:
            writer.close()
    assert max(later - earlier for earlier, later in pairwise(began)) == 1
    assert alive_after < len(busy), "the liveness request has turns of its own"


@pytest.mark.parametrize("requests", [3, 2 * MAX_PIPELINED], ids=["lost", "refused"])
async def test_the_application_learns_that_a_client_with_requests_in_the_queue_is_gone(requests: int) -> None:
    """Otherwise an event stream would last for ever, and each response to nobody would be two tracebacks in the log."""
    one, waiting, left = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", 0, 0

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal waiting, left
        waiting += 1
        while (await receive())["type"] != "http.disconnect":
            pass
        left += 1

    async with serving(application=stream) as served:
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(one)
        await until(lambda: waiting == 1)
        writer.write(one * (requests - 1))
        await writer.drain()
        await until(lambda: left or any(getattr(each, "pipeline", ()) for each in served.state.connections))
        for connection in tuple(served.state.connections):
            connection.transport.abort()  # as a write shows: nothing is read while requests wait
        await until(lambda: left == 1, what="the application is not told")
        writer.close()


# -- time --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn_adapter, "HEAD_TIMEOUT_S", 0.2)
    monkeypatch.setattr(uvicorn_adapter, "BODY_TIMEOUT_S", 0.2)
    monkeypatch.setattr(uvicorn_adapter, "BODY_BYTES", 10)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", None),
        (b"\r\n", None),
        (b"GET / HT", 408),
        (b"GET / HTTP/1.1\r\nHost: a.example\r\n", 408),
        (head("Content-Length: 9", method="POST") + b"few", 408),
        (head("Transfer-Encoding: chunked", method="POST") + b"3\r\nfew\r\n", 408),
    ],
    ids=["nothing", "line break", "half a line", "half a head", "half a body", "half a chunked body"],
)
async def test_what_stays_incomplete_is_timed_out(sent: bytes, status: int | None) -> None:
    async with serving() as served:
        answer = await served.ask(sent)
    assert answer == b"" if status is None else status_of(answer) == status


@pytest.mark.usefixtures("impatient")
async def test_a_later_request_is_timed_out_too_and_an_idle_connection_is_not() -> None:
    async with serving() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.4)
        writer.write(b"GET / HT")
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
    assert status_of(answer[answer.index(b"HTTP/1.1 ") :]) == 408


@pytest.mark.usefixtures("impatient")
async def test_a_body_that_keeps_coming_may_take_longer() -> None:
    async with serving() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(head("Content-Length: 200", method="POST"))
        for _ in range(20):
            writer.write(b"x" * 10)
            await asyncio.sleep(0.05)
        answer = await reader.read()
        writer.close()
    assert status_of(answer) == 200


# -- connections -------------------------------------------------------------------------------------------------------

UPGRADE = (
    b"GET /%s HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def test_connections_beyond_the_limit_get_a_503_and_closed_ones_do_not_count() -> None:
    async with serving(Connections(2, ANY)) as served:
        held = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(2)]
        held[1][1].write(UPGRADE % b"")
        assert (await held[1][0].readline()).startswith(b"HTTP/1.1 101 ")
        answer = await served.ask()
        assert status_of(answer) == 503
        assert b"\r\nRetry-After: " in answer
        for _, writer in held:
            writer.close()
        await until(lambda: not served.connections.count, what="closed connections do not count")
        assert status_of(await served.ask(head())) == 200


async def test_an_upgrade_may_have_as_long_a_head_as_any_request() -> None:
    async with serving() as served:
        for target, status in ((LONG[1:-1].encode(), b"101"), (LONG.encode(), b"414")):
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(UPGRADE % target)
            async with asyncio.timeout(10):
                assert (await reader.readline()).split()[1] == status
            writer.close()


async def test_sending_to_a_websocket_that_broke_the_protocol_is_no_bug() -> None:
    ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        try:
            await send({"type": "websocket.send", "text": "what you asked for"})
        except Exception as error:  # noqa: BLE001 - the test looks at it
            ended.set_result(error)
        else:
            ended.set_result(None)

    async with serving(application=late) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(UPGRADE % b"")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        writer.write(BROKEN["reserved bit"][0])
        async with asyncio.timeout(10):
            assert isinstance(await ended, OSError), "as for any other client that is gone"
        writer.close()


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends the first two texts back, after a handshake that takes some iterations of the loop."""
    await receive()
    for _ in range(3):
        await asyncio.sleep(0)
    await send({"type": "websocket.accept"})
    for _ in range(2):
        await send({"type": "websocket.send", "text": (await receive())["text"]})


class _Commands:
    """The listener of a `ClientSocket`, which sends everything back."""

    def __init__(self) -> None:
        self.socket = ClientSocket(self)

    def command(self, payload: bytes) -> None:
        self.socket.send(payload)

    def client_gone(self) -> None:
        """Nothing to clean up."""


async def taken_over(scope: Scope, receive: Receive, send: Send) -> None:
    commands = _Commands()
    await receive()
    for _ in range(3):
        await asyncio.sleep(0)
    await send({"type": "websocket.accept"})
    scope["extensions"][TAKE_OVER](commands.socket)
    await commands.socket.closed


@pytest.mark.parametrize("application", [echo, taken_over])
@pytest.mark.parametrize("apart", [False, True])
async def test_frames_that_come_before_the_handshake_has_its_response_are_not_lost(
    application: ASGIApp, apart: bool
) -> None:
    """In one piece with the request, or after it."""
    long = b"y" * (2 * EARLY_BYTES)
    first, second = masked(1, b"first"), masked(1, long)
    async with serving(application=application) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        for piece in (UPGRADE % b"", first, second) if apart else (UPGRADE % b"" + first + second,):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            assert await reader.readexactly(7) == b"\x81\x05first"
            assert await reader.readexactly(10 + len(long)) == b"\x81\x7f" + len(long).to_bytes(8) + long
        writer.close()
        await until(lambda: not served.state.connections, what="the connection has ended")


@pytest.mark.parametrize("size", [2**25, 2**22])
async def test_a_client_that_does_not_read_its_response_is_disconnected(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the rest of the response fits into our buffers, and we have closed the connection."""
    monkeypatch.setattr(uvicorn_adapter, "UNREAD_TIMEOUT_S", 0.5)

    async def large(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
        await send({"type": "http.response.body", "body": b"x" * size})

    async with serving(application=large) as served:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", served.port))
        client.sendall(head())
        await until(lambda: served.connections.count == 1, what="the connection is open")
        await until(lambda: not served.connections.count, what="the connection is closed")
        client.close()
        answer = await served.ask(head())
        assert len(answer.partition(b"\r\n\r\n")[2]) == size, "one that reads gets all of it"


@pytest.mark.parametrize(
    ("addresses", "accepted"),
    [
        (["192.0.2.1"] * 4, 2),
        (["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"], 2),
        (["2001:db8::1", "2001:db8::2", "2001:db8::3"], 2),
        (["2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:2::1"], 3),
        (["127.0.0.1"] * 4, 4),
        (["::1"] * 4, 4),
        (["10.0.0.9"] * 4, 4),
        ([""] * 4, 4),
    ],
)
def test_the_limit_of_an_address_is_not_for_loopback_and_proxies(addresses: list[str], accepted: int) -> None:
    connections = Connections(ANY, 2, ["10.0.0.0/8"])
    opened = [number for number, address in enumerate(addresses) if connections.open(number, address)]
    assert len(opened) == accepted == connections.count
    for number in range(len(addresses)):
        connections.close(number)
    assert (connections.count, len(connections._by_origin)) == (0, 0)
    assert connections.open("again", addresses[0])


async def test_chunks_of_a_byte_are_parsed_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many connections send them: they have one address."""
    parse, parsed, most = HttpProtocol.on_body, 0, 0
    loop = asyncio.get_running_loop()

    def on_body(protocol: HttpProtocol, body: bytes) -> None:
        nonlocal parsed
        parsed += 1
        parse(protocol, body)

    def turn() -> None:
        nonlocal parsed, most
        most, parsed = max(most, parsed), 0
        loop.call_soon(turn)

    monkeypatch.setattr(HttpProtocol, "on_body", on_body)
    sent = head("Transfer-Encoding: chunked", method="POST") + b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n"
    async with serving() as served:
        loop.call_soon(turn)
        answers = await asyncio.gather(*(served.ask(sent) for _ in range(5)))
    assert [status_of(answer) for answer in answers] == [200] * 5
    assert [json.loads(answer.partition(b"\r\n\r\n")[2])["length"] for answer in answers] == [20_000] * 5
    a_piece = PIECE_BYTES // 6 + 1
    assert most <= 5 * a_piece + 2 * (a_piece + STEPS * CHUNKS_PER_STEP), "first pieces, the allowance and a slice"


async def test_a_large_body_with_a_length_is_parsed_as_it_comes() -> None:
    size = 5_000_000
    async with serving() as served:
        answer = await served.ask(head(f"Content-Length: {size}", method="POST") + b"x" * size)
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["length"] == size


@pytest.mark.parametrize("size", [1, 7, 4096, 300_000])
async def test_messages_of_a_websocket_come_in_slices_and_in_order(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    parse, parsed, most = TakeOverProtocol.handle_text, 0, 0
    loop = asyncio.get_running_loop()
    count = 400 if size < 4096 else 5_000
    received: list[str] = []

    def handle_text(protocol: TakeOverProtocol, event: object) -> None:
        nonlocal parsed
        parsed += 1
        parse(protocol, event)  # type: ignore[arg-type]

    def turn() -> None:
        nonlocal parsed, most
        most, parsed = max(most, parsed), 0
        loop.call_soon(turn)

    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            received.append(message["text"])
        await send({"type": "websocket.close", "code": 1000})

    monkeypatch.setattr(TakeOverProtocol, "handle_text", handle_text)
    texts = [f"{number}" + "x" * (number % 300) for number in range(count)]
    frames = b"".join(masked(1, text.encode()) for text in texts) + masked(8, b"\x03\xe8")
    async with serving(application=reading) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(UPGRADE % b"")
        await reader.readuntil(b"\r\n\r\n")
        loop.call_soon(turn)
        for at in range(0, len(frames), size):
            writer.write(frames[at : at + size])
            if at % 100 == 0:
                await asyncio.sleep(0)
        async with asyncio.timeout(60):
            await reader.read()
        writer.close()
    assert received == texts
    assert most <= 3 * STEPS, "the allowance, a slice, and what the allowance has grown by"
