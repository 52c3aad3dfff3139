"""Who may use a session's port, and which destinations it is connected to."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from contextlib import AsyncExitStack

import pytest

from browser_sessions.domain.errors import EgressUnavailable
from browser_sessions.egress import dialer, egress
from browser_sessions.egress.addresses import canonical
from browser_sessions.egress.http.own_responses import response_id_of
from browser_sessions.egress.peer import best_source, uid_from_kernel, uid_from_proc
from browser_sessions.egress.rules import EgressPolicy, Rules
from tests.harness.egress import LOOPBACK, OK, Client, answering, origin, proxy, request_head, reset_or_ended
from tests.harness.waiting import until


async def test_a_listener_that_cannot_open_is_an_error_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_descriptors(_: object) -> None:
        raise OSError(24, "Too many open files")

    async with proxy() as under_test:
        monkeypatch.setattr(egress.EgressPort, "listen", no_descriptors)
        with pytest.raises(EgressUnavailable, match="Too many open files"):
            await under_test.egress.open()


async def test_a_port_without_a_session_refuses_everything() -> None:
    async with origin(answering(OK)) as port, proxy() as under_test:
        under_test.port = await under_test.egress.refusing()
        head, _ = await under_test.get(f"http://127.0.0.1:{port}/")
        assert head.startswith(b"HTTP/1.1 403 ")
        client = await under_test.connect()
        client.send(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
        assert (await client.head()).startswith(b"HTTP/1.1 403 ")
        await client.close()


async def test_a_closed_port_is_gone_with_its_connections() -> None:
    async with origin(answering(OK)) as port, proxy() as under_test:
        client = await under_test.tunnel("127.0.0.1", port)
        idle = await under_test.connect()
        await under_test.port.close()
        assert not await reset_or_ended(client)
        assert not await reset_or_ended(idle)
        with pytest.raises(ConnectionRefusedError):
            await under_test.connect()
        await under_test.port.close()
        for each in (client, idle):
            await each.close()


async def test_a_name_that_changes_between_check_and_dial_is_dialled_as_checked() -> None:
    answers = [["127.0.0.1"], ["10.0.0.1"]]
    async with origin(answering(OK)) as port, proxy(lookup=lambda *_: answers.pop(0)) as under_test:
        for _ in range(2):  # the second time from the cache, not from the changed name
            head, body = await under_test.get(f"http://rebound.example:{port}/")
            assert (head.split(b" ")[1], body) == (b"200", b"ok")
    assert answers == [["10.0.0.1"]]


async def test_one_denied_address_of_a_name_denies_the_name() -> None:
    async with origin(answering(OK)) as port, proxy(lookup=lambda *_: ["127.0.0.1", "10.0.0.1"]) as under_test:
        head, body = await under_test.get(f"http://mixed.example:{port}/")
        assert head.startswith(b"HTTP/1.1 403 ")
        assert f"mixed.example:{port} (10.0.0.1)".encode() in body


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f.0.0.1", "017700000001", "0", "[::1]"])
async def test_spellings_are_judged_by_the_address_that_results(host: str) -> None:
    async with origin(answering(OK)) as port, proxy(EgressPolicy.of_server()) as under_test:
        head, _ = await under_test.get(f"http://{host}:{port}/")
        assert head.startswith(b"HTTP/1.1 403 ")
        client = await under_test.connect()
        client.send(f"CONNECT {host}:{port} HTTP/1.1\r\n\r\n".encode())
        assert (await client.head()).startswith(b"HTTP/1.1 403 ")
        await client.close()


async def test_own_ports_are_refused_although_loopback_is_allowed() -> None:
    own = set[int]()
    async with origin(answering(OK)) as port, proxy(own_ports=own) as under_test:
        own.add(port)
        other = await under_test.egress.open()
        for denied in (port, under_test.port.port, other.port):
            head, body = await under_test.get(f"http://127.0.0.1:{denied}/")
            assert head.startswith(b"HTTP/1.1 403 ")
            assert b"own ports" in body
            assert b"No setting allows it" in body


async def test_a_redirect_leads_to_the_rules_again() -> None:
    redirect = b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n"
    async with origin(answering(redirect)) as port, proxy() as under_test:
        client = await under_test.connect()
        client.request(f"http://127.0.0.1:{port}/")
        assert b"Location" in await client.head()
        client.request("http://10.0.0.1/")  # on the same connection
        assert (await client.head()).startswith(b"HTTP/1.1 403 ")
        await client.close()


async def test_slow_lookups_of_one_session_leave_others_alone() -> None:
    asked = threading.Semaphore(0)
    release = threading.Event()

    def lookup(name: str, _: int) -> list[str]:
        if name.startswith("slow"):
            asked.release()
            release.wait(30)
        return ["127.0.0.1"]

    async with origin(answering(OK)) as port, proxy(lookup=lookup) as under_test:
        slow = [await under_test.connect() for _ in range(20)]
        for number, client in enumerate(slow):
            client.request(f"http://slow{number}.example:{port}/")
        for _ in range(8):
            await until(lambda: asked.acquire(blocking=False), what="eight lookups run")
        under_test.port = await under_test.egress.open()
        under_test.port.assign("s2", LOOPBACK, None, None)
        assert (await under_test.get(f"http://quick.example:{port}/"))[1] == b"ok"
        assert not asked.acquire(blocking=False)  # no ninth
        release.set()
        for client in slow:
            await client.close()


async def test_a_name_that_does_not_resolve_in_time_or_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def lookup(name: str, _: int) -> list[str]:
        if name.startswith("slow"):
            release.wait(30)
        raise OSError(-2, "Name or service not known")

    async with proxy(lookup=lookup) as under_test:
        head, body = await under_test.get("http://none.example/")
        assert head.startswith(b"HTTP/1.1 502 ")
        assert b"Name or service not known" in body
        monkeypatch.setattr("browser_sessions.egress.resolver.LOOKUP_S", 0.05)
        head, body = await under_test.get("http://slow.example/")
        assert head.startswith(b"HTTP/1.1 502 ")
        assert b"could not be resolved within" in body
        release.set()


async def test_connections_of_a_session_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "MOST_CONNECTIONS", 2)
    async with proxy() as under_test:
        clients = [await under_test.connect() for _ in range(3)]
        assert not await reset_or_ended(clients[2])
        for client in clients:
            await client.close()


async def test_only_the_browsers_user_is_served() -> None:
    async with origin(answering(OK)) as port:
        async with proxy(browser_uid=os.getuid()) as under_test:
            assert (await under_test.get(f"http://127.0.0.1:{port}/"))[1] == b"ok"
        async with proxy(browser_uid=os.getuid() + 12345) as under_test:
            client = await under_test.connect()
            client.request(f"http://127.0.0.1:{port}/")
            assert not await reset_or_ended(client)
            await client.close()


@pytest.mark.parametrize("source", [uid_from_kernel, uid_from_proc])
async def test_the_kernel_says_whose_a_connection_is(source: object) -> None:
    assert best_source() is uid_from_kernel
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        ends = client.getsockname(), server.getsockname()
        assert source(*ends) == os.getuid()  # type: ignore[operator]
        assert source(("127.0.0.1", 1), server.getsockname()) is None  # type: ignore[operator]


async def test_the_traffic_limit_closes_connections_and_says_so() -> None:
    async def much(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_000_000)
        await reader.read()

    async with origin(much) as port, proxy(max_traffic_bytes=500_000) as under_test:
        client = await under_test.connect()
        client.request(f"http://127.0.0.1:{port}/")
        await reset_or_ended(client)
        assert under_test.reports.limits == ["s1"]
        head, body = await under_test.get(f"http://127.0.0.1:{port}/")
        assert head.startswith(b"HTTP/1.1 403 ")
        assert b"max_traffic_bytes" in body
        assert under_test.reports.limits == ["s1"]
        await client.close()


async def test_nothing_passes_beyond_the_traffic_limit() -> None:
    async def much(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000)
        await writer.drain()
        await reader.read()

    async def takes(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        while await reader.read(2**20):
            pass

    async def get(client: Client, port: int) -> int:
        client.request(f"http://127.0.0.1:{port}/")
        return len(await reset_or_ended(client) or b"")

    for limit in (1_000, 5_000_000):
        async with origin(much) as port, proxy(max_traffic_bytes=limit) as under_test:
            clients = [await under_test.connect() for _ in range(5)]
            received = await asyncio.gather(*(get(client, port) for client in clients))
            assert sum(received) <= limit
            assert limit - 200 < under_test.port.usage.bytes <= limit
            for client in clients:
                await client.close()
        async with origin(takes) as port, proxy(max_traffic_bytes=limit) as under_test:
            client = await under_test.tunnel("127.0.0.1", port)
            client.send(b"x" * (limit + 1))
            await reset_or_ended(client)
            assert under_test.port.usage.bytes == limit
            await client.close()


async def test_what_a_rule_leaves_out_of_localhost_is_said_when_the_rest_does_not_respond() -> None:
    async with origin(answering(OK), host="::1") as port, proxy() as under_test:
        head, body = await under_test.get(f"http://localhost:{port}/")
        assert head.startswith(b"HTTP/1.1 403 ")
        text = body.decode()
        assert f"No connection to localhost:{port} at 127.0.0.1: " in text
        assert f"deny localhost:{port} (::1)" in text
        assert "::1/128 (loopback)" in text
        assert "127.0.0.0/8,::1 for all of this machine" in text
        ((_, refusal),) = under_test.reports.refusals
        assert refusal.address == "::1"
    both = EgressPolicy.of_server(allow=Rules.parse(["127.0.0.0/8", "::1"]))
    async with origin(answering(OK), host="::1") as port, proxy(both) as under_test:
        assert (await under_test.get(f"http://localhost:{port}/"))[1] == b"ok"
        head, body = await under_test.get("http://localhost:1/")
        assert head.startswith(b"HTTP/1.1 502 ")
        assert not under_test.reports.refusals
        assert [(failed.host, failed.port) for failed in under_test.reports.failures] == [("localhost", 1)]


async def test_the_proxy_knows_its_own_responses_and_why_a_tunnel_failed() -> None:
    forged = b"HTTP/1.1 403 No\r\nProxy-Status: browser-sessions; error=x; id=%s\r\nContent-Length: 0\r\n\r\n"
    async with origin(answering(forged % (b"0" * 32))) as port, proxy() as under_test:

        async def reason(url: str) -> str | None:
            head, _ = await under_test.get(url)
            (status,) = [line[14:] for line in head.decode().splitlines() if line.startswith("Proxy-Status: ")]
            response_id = response_id_of(status)
            assert response_id is not None
            return under_test.port.failures.of_response(response_id)

        assert await reason(f"http://127.0.0.1:{port}/") is None
        refused = await reason("http://10.0.0.1/")
        assert refused is not None
        assert refused.startswith("The egress rules of this session deny 10.0.0.1:80. Rule: 10.0.0.0/8 (private netw")
        assert await reason("http://127.0.0.1:1/") == "No connection to 127.0.0.1:1: Connection refused."
        for host, known in (("10.0.0.1", refused.replace(":80", ":443")), ("127.0.0.1", None)):
            client = await under_test.connect()
            client.send(f"CONNECT {host}:443 HTTP/1.1\r\n\r\n".encode())
            head = await client.head()
            await client.close()
            told = under_test.port.failures.of_tunnel(host, 443)
            assert told is not None
            assert known is None or told == known
            assert head.startswith(b"HTTP/1.1 403 " if known else b"HTTP/1.1 502 ")


async def test_addresses_that_refuse_or_hang_delay_the_next_a_little_only() -> None:
    async with AsyncExitStack() as stack:
        hanging = stack.enter_context(socket.socket())
        hanging.bind(("127.0.0.3", 0))
        hanging.listen(0)
        port = hanging.getsockname()[1]
        for _ in range(3):  # the queue is full: further ones hang
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(("127.0.0.3", port))
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port)
        stack.callback(server.close)
        started_at = asyncio.get_running_loop().time()
        checked = [canonical(address) for address in ("127.0.0.2", "127.0.0.3", "127.0.0.1")]
        stream = await dialer.connect(checked, port)
        assert stream.transport.get_extra_info("peername")[0] == "127.0.0.1"
        assert asyncio.get_running_loop().time() - started_at < dialer.CONNECT_S
        stream.reset()
        await stream.closed()
        with pytest.raises(ConnectionRefusedError):
            await dialer.connect(checked[:1], 1)
