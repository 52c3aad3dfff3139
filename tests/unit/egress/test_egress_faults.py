"""Origins and browsers that misbehave, and what the proxy does then."""

from __future__ import annotations

import asyncio
import socket

import pytest

from browser_sessions.egress import relay
from tests.harness.egress import OK, answering, origin, proxy, request_head, reset_or_ended
from tests.harness.waiting import until


async def test_a_client_that_does_not_read_stops_the_origin() -> None:
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await request_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000

    async with origin(endless) as port, proxy() as under_test:
        raw = socket.create_connection(("127.0.0.1", under_test.port.port))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        raw.sendall(f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\n\r\n".encode())
        before = -1

        def stalled() -> bool:
            nonlocal before
            same, before = sent == before, sent
            return same and sent > 0

        await until(stalled, every=0.2, what="the origin waits")
        assert sent < 30_000_000  # the kernel's buffers take most of it
        raw.close()


async def test_a_coding_that_is_none_does_not_keep_a_response_open() -> None:
    identity = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok"
    async with origin(answering(identity, OK)) as port, proxy() as under_test:
        client = await under_test.connect()
        for _ in range(2):  # on one connection
            client.request(f"http://127.0.0.1:{port}/")
            assert (await client.head()).startswith(b"HTTP/1.1 200 ")
            assert await client.body(2) == b"ok"
        await client.close()


async def test_a_client_that_closes_its_half_gets_its_response() -> None:
    seen = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        assert await reader.read() == b""  # the origin sees the half close
        seen.set()
        writer.write(OK)

    async with origin(late) as port, proxy() as under_test:
        client = await under_test.connect()
        client.request(f"http://127.0.0.1:{port}/")
        client.writer.write_eof()
        assert (await client.rest()).endswith(b"ok")
        assert seen.is_set()
        await client.close()


async def test_an_origin_that_closes_its_half_still_gets_bytes() -> None:
    rest = asyncio.get_running_loop().create_future()

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")
        writer.write_eof()
        rest.set_result(await reader.read())

    async with origin(half) as port, proxy() as under_test:
        client = await under_test.tunnel("127.0.0.1", port)
        assert await client.rest() == b"bye"
        client.send(b"still here")
        client.writer.write_eof()
        assert await rest == b"still here"
        await client.close()


async def test_a_half_closed_tunnel_ends_when_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "HALF_CLOSED_S", 0.05)

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()
        await asyncio.Event().wait()

    async with origin(silent) as port, proxy() as under_test:
        client = await under_test.tunnel("127.0.0.1", port)
        client.writer.write_eof()
        assert not await reset_or_ended(client)
        await client.close()


async def test_chunked_both_ways_then_another_request() -> None:
    bodies: list[bytes] = []
    chunked = b"5\r\nhello\r\n0\r\n\r\n"

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await request_head(reader)
            bodies.append(await reader.readexactly(len(chunked)))
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for byte in chunked:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)

    async with origin(talk) as port, proxy() as under_test:
        client = await under_test.connect()
        for _ in range(2):
            client.request(
                f"http://127.0.0.1:{port}/", method="POST", headers="Transfer-Encoding: chunked\r\n", body=chunked
            )
            await client.head()
            assert await client.body(len(chunked)) == chunked
        assert bodies == [chunked, chunked]
        assert under_test.port.usage.connections == 1
        await client.close()


@pytest.mark.parametrize(
    ("method", "response"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ],
)
async def test_responses_without_a_body(method: str, response: bytes) -> None:
    async with origin(answering(response, OK)) as port, proxy() as under_test:
        client = await under_test.connect()
        client.request(f"http://127.0.0.1:{port}/", method=method)
        assert await client.head() == response
        client.request(f"http://127.0.0.1:{port}/")
        assert await client.head() + await client.body(2) == OK
        assert under_test.port.usage.connections == 1
        await client.close()


async def test_interim_responses_are_passed_on() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await request_head(reader)
        assert b"Expect: 100-continue" in head
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
        assert await reader.readexactly(4) == b"body"
        writer.write(OK)

    async with origin(talk) as port, proxy() as under_test:
        client = await under_test.connect()
        client.request(
            f"http://127.0.0.1:{port}/", method="POST", headers="Expect: 100-continue\r\nContent-Length: 4\r\n"
        )
        assert b" 103 " in await client.head()
        assert b" 100 " in await client.head()
        client.send(b"body")
        assert await client.head() + await client.body(2) == OK
        await client.close()


@pytest.mark.parametrize("late", [False, True])
async def test_a_surplus_response_closes_and_is_not_passed_on(late: bool) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(OK if late else OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        if late:
            await reached.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await reader.read()

    reached = asyncio.Event()
    async with origin(talk) as port, proxy() as under_test:
        client = await under_test.connect()
        client.request(f"http://127.0.0.1:{port}/")
        assert await client.head() + await client.body(2) == OK
        reached.set()
        assert await client.rest() == b""
        await client.close()


async def test_an_origin_that_is_gone_when_idle_takes_the_connection_along() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(OK)

    async with origin(once) as port, proxy() as under_test:
        client = await under_test.connect()
        client.request(f"http://127.0.0.1:{port}/")
        assert await client.rest() == OK  # a browser sends its next request on a new connection
        await client.close()


async def test_an_origin_that_ends_a_reused_connection_ends_the_browsers_so_that_it_tries_again() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(OK)
        await request_head(reader)

    async with origin(once) as port, proxy() as under_test:
        client = await under_test.connect()
        client.request(f"http://127.0.0.1:{port}/")
        assert await client.head() + await client.body(2) == OK
        client.request(f"http://127.0.0.1:{port}/")
        assert await client.rest() == b""
        await client.close()


async def test_an_origin_that_closes_without_a_response() -> None:
    async def gone(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await request_head(reader)

    async with origin(gone) as port, proxy() as under_test:
        head, body = await under_test.get(f"http://127.0.0.1:{port}/")
        assert head.startswith(b"HTTP/1.1 502 ")
        assert b"without a response" in body


@pytest.mark.parametrize(
    "response",
    [
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 300_000,
    ],
    ids=["no-http", "101-unasked", "407", "two-lengths", "no-length", "head-too-large"],
)
async def test_responses_that_are_not_passed_on_end_their_origins_connection(response: bytes) -> None:
    async with origin(answering(response)) as port, proxy() as under_test:
        client = await under_test.connect()
        for _ in range(2):
            client.request(f"http://127.0.0.1:{port}/")
            head = await client.head()
            assert head.startswith(b"HTTP/1.1 502 ")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            assert b"No connection" in await client.body(length)
        assert under_test.port.usage.connections == 2
        await client.close()


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
    ],
    ids=["length", "chunked"],
)
async def test_a_body_that_breaks_off_is_no_proper_end(response: bytes) -> None:
    async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(response)

    async with origin(breaks) as port, proxy() as under_test:
        client = await under_test.connect()
        client.request(f"http://127.0.0.1:{port}/")
        assert await reset_or_ended(client) is None
        await client.close()


async def test_a_body_until_the_end_is_reset_with_its_origin() -> None:
    async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nab")
        await writer.drain()
        await received.wait()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    received = asyncio.Event()
    async with origin(resets) as port, proxy() as under_test:
        client = await under_test.connect()
        client.request(f"http://127.0.0.1:{port}/")
        await client.head()
        assert await client.body(2) == b"ab"
        received.set()
        assert await reset_or_ended(client) is None
        await client.close()


async def test_chunks_that_are_none_reset_the_connection() -> None:
    bad = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n"
    async with origin(answering(bad)) as port, proxy() as under_test:
        client = await under_test.connect()
        client.request(f"http://127.0.0.1:{port}/")
        assert await reset_or_ended(client) is None
        await client.close()


@pytest.mark.parametrize("denied", [False, True])
async def test_an_early_response_arrives_although_the_body_does_not_end(denied: bool) -> None:
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
        await reader.read()

    async with origin(early) as port, proxy() as under_test:
        client = await under_test.connect()
        url = "http://10.0.0.1/" if denied else f"http://127.0.0.1:{port}/"
        client.request(url, method="POST", headers="Content-Length: 5000000\r\n", body=b"x" * 1_000_000)
        assert (await client.head()).split(b" ")[1] == (b"403" if denied else b"413")
        client.send(b"x" * 100_000)
        await client.rest()
        await client.close()


async def test_an_upgrade_becomes_a_tunnel() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert b"Upgrade: websocket" in await request_head(reader)
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst")
        while data := await reader.read(100):
            writer.write(data)

    async with origin(echo) as port, proxy() as under_test:
        client = await under_test.connect()
        client.request(f"http://127.0.0.1:{port}/", headers="Connection: Upgrade\r\nUpgrade: websocket\r\n")
        assert b" 101 " in await client.head()
        assert await client.body(5) == b"first"
        client.send(b"\x81\x00")
        assert await client.body(2) == b"\x81\x00"
        await client.close()


async def test_heads_are_limited_in_size_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "HEAD_S", 0.05)
    async with proxy() as under_test:
        large = await under_test.connect()
        large.send(b"GET http://127.0.0.1/ HTTP/1.1\r\nA: " + b"b" * 70_000)
        assert (await large.head()).startswith(b"HTTP/1.1 431 ")
        slow = await under_test.connect()
        slow.send(b"GET http://127.0.0.1/ HTTP/1.1\r\n")
        assert not await reset_or_ended(slow)
        no_http = await under_test.connect()
        no_http.send(b"\x16\x03\x01\r\n\r\n")
        assert (await no_http.head()).startswith(b"HTTP/1.1 400 ")
        for client in (large, slow, no_http):
            await client.close()
