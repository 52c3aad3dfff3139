"""The relay with real sockets on loopback: what a browser sends, and what origins do."""

from __future__ import annotations

import asyncio

import pytest

from tests.harness.egress import OK, answering, origin, proxy, request_head


async def test_a_get_reaches_the_origin_as_without_a_proxy() -> None:
    heads: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await request_head(reader))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    async with origin(talk) as port, proxy() as under_test:
        client = await under_test.connect()
        client.request(
            f"http://127.0.0.1:{port}/a?b",
            headers="Proxy-Connection: keep-alive\r\nAccept: */*\r\nProxy-Authorization: Basic eA==\r\n",
        )
        assert await client.head() == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
        assert await client.body(5) == b"hello"
        assert heads == [
            f"GET /a?b HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: keep-alive\r\nAccept: */*\r\n\r\n".encode()
        ]
        await client.close()


async def test_a_tunnel_carries_bytes_both_ways() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)

    async with origin(talk) as port, proxy() as under_test:
        client = await under_test.tunnel("127.0.0.1", port)
        client.send(b"x" * 1_000_000)
        assert await client.body(1_000_000) == b"x" * 1_000_000
        client.writer.write_eof()
        assert await client.rest() == b""
        await client.close()
    usage = under_test.port.usage
    assert (usage.bytes_up, usage.bytes_down, usage.connections) == (1_000_000, 1_000_000, 1)


async def test_keep_alive_to_another_host() -> None:
    async with (
        origin(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")) as first,
        origin(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb")) as second,
        proxy() as under_test,
    ):
        client = await under_test.connect()
        for port, body in ((first, b"a"), (second, b"b")):
            client.request(f"http://127.0.0.1:{port}/")
            await client.head()
            assert await client.body(1) == body
        await client.close()


async def test_a_denied_destination_is_a_page_that_names_rule_and_setting() -> None:
    async with proxy() as under_test:
        head, body = await under_test.get("http://10.0.0.1/")
        assert head.startswith(b"HTTP/1.1 403 ")
        assert b"10.0.0.0/8 (private network)" in body
        assert b"add 10.0.0.1:80 to BROWSER_SESSIONS_EGRESS_ALLOW" in body
        assert [(session, refusal.address) for session, refusal in under_test.reports.refusals] == [("s1", "10.0.0.1")]


@pytest.mark.parametrize(("interim", "status"), [(16, b"200"), (17, b"502")])
async def test_interim_responses_are_passed_on_up_to_a_limit(interim: int, status: bytes) -> None:
    async with origin(answering(b"HTTP/1.1 103 Early Hints\r\n\r\n" * interim + OK)) as port, proxy() as under_test:
        client = await under_test.connect()
        client.request(f"http://127.0.0.1:{port}/")
        heads = [await client.head() for _ in range(17)]
        assert [each[9:12] for each in heads] == [b"103"] * 16 + [status]
        await client.close()


@pytest.mark.parametrize(("lines", "status"), [(990, b"200"), (1001, b"502")])
async def test_heads_have_a_limit_of_lines(lines: int, status: bytes) -> None:
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + b"a:b\r\n" * lines + b"\r\n"
    async with origin(answering(response)) as port, proxy() as under_test:
        head, _ = await under_test.get(f"http://127.0.0.1:{port}/")
        assert head[9:12] == status
