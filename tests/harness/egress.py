"""A proxy port of `browser_sessions.egress` on this machine, origins that send what a test says, and raw clients."""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from browser_sessions.egress.egress import Egress, EgressPort
from browser_sessions.egress.relay import ClientTls
from browser_sessions.egress.resolver import Lookup, system_lookup
from browser_sessions.egress.rules import EgressPolicy, Refusal, Rules
from browser_sessions.egress.upstream import Upstream
from browser_sessions.egress.usage import Failed
from tests.harness.waiting import PATIENCE_S

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LOOPBACK = EgressPolicy.of_server(allow=Rules.parse(["127.0.0.0/8"]))


@dataclass
class Reports:
    """What the proxy has reported."""

    refusals: list[tuple[str, Refusal]] = field(default_factory=list)
    failures: list[Failed] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)


@dataclass
class Proxy:
    egress: Egress
    port: EgressPort
    reports: Reports

    async def connect(self) -> Client:
        return Client(*await asyncio.open_connection("127.0.0.1", self.port.port))

    async def tunnel(self, host: str, port: int) -> Client:
        client = await self.connect()
        client.send(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        head = await client.head()
        assert head.startswith(b"HTTP/1.1 200 "), head
        return client

    async def get(self, url: str, *, method: str = "GET", headers: str = "") -> tuple[bytes, bytes]:
        """The head and the body of a response to a request on a connection of its own."""
        client = await self.connect()
        client.request(url, method=method, headers=headers + "Connection: close\r\n")
        head = await client.head()
        body = await client.rest()
        await client.close()
        return head, body


@dataclass
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def request(self, url: str, *, method: str = "GET", headers: str = "", body: bytes = b"") -> None:
        host = url.split("/")[2]
        self.send(f"{method} {url} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n".encode() + body)

    async def head(self) -> bytes:
        async with asyncio.timeout(PATIENCE_S):  # pytest's own timeout does not interrupt uvloop
            return await self.reader.readuntil(b"\r\n\r\n")

    async def body(self, length: int) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readexactly(length)

    async def rest(self) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.read()

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            return


@functools.cache
def _system_tls(cert_file: str | None) -> ssl.SSLContext:
    """The default of `Egress`, whose certificates take a twentieth of a second to read."""
    del cert_file
    return ssl.create_default_context()


@asynccontextmanager
async def proxy(
    policy: EgressPolicy = LOOPBACK,
    *,
    upstream: Upstream | None = None,
    max_traffic_bytes: int | None = None,
    lookup: Lookup | None = None,
    own_ports: set[int] | None = None,
    upstream_names: bool = False,
    browser_uid: int | None = None,
    tls: ssl.SSLContext | None = None,
    client_tls: ClientTls | None = None,
) -> AsyncIterator[Proxy]:
    """A port of the session "s1"."""
    reports = Reports()
    egress = Egress(
        own_ports=lambda: own_ports or set(),
        browser_uid=browser_uid,
        on_refused=lambda session_id, refusal: reports.refusals.append((session_id, refusal)),
        on_failed=lambda _, failed: reports.failures.append(failed),
        on_traffic_limit=reports.limits.append,
        upstream_names=upstream_names,
        tls=tls or _system_tls(os.environ.get("SSL_CERT_FILE")),
        lookup=lookup or system_lookup,
    )
    try:
        port = await (egress.for_browser() if client_tls else egress).open()
        port.assign("s1", policy, upstream, max_traffic_bytes, client_tls)
        yield Proxy(egress, port, reports)
    finally:
        await egress.aclose()


@asynccontextmanager
async def origin(talk: Talk, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that does `talk` on each connection and then closes it. Yields its port."""
    talks: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            await talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()
            talks.discard(task)

    server = await asyncio.start_server(one, host, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(talks):
            task.cancel()


async def request_head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def answering(*responses: bytes) -> Talk:
    """One request, one response, on one connection; then it waits for the client to close."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for response in responses:
            await request_head(reader)
            writer.write(response)
        await reader.read()

    return talk


async def reset_or_ended(client: Client) -> bytes | None:
    """What still came; None after a reset."""
    try:
        return await client.rest()
    except ConnectionError:
        return None
