"""What costs the service time for each of its bytes, sent as fast as it is read, while a process beside asks for
`/healthz`: one such connection held up the service for ten seconds once."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.harness.clients.ws_frames import masked
from tests.harness.egress import origin, request_head
from tests.harness.paths import ROOT
from tests.harness.service import Running, serving
from tests.harness.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SECONDS = 3.0
MOST_S = 2.0
"""For each probe, however busy the machine is."""
CHUNKS = b"1\r\nx\r\n" * 40_000


@asynccontextmanager
async def probed(service: Running, file: Path) -> AsyncIterator[Callable[[], list[float]]]:
    """Asks for `/healthz` all the time. Yields a function that returns the latencies so far, in seconds."""
    command = (sys.executable, "-m", "tests.harness.scenarios.heads", service.url, str(file))
    probe = await asyncio.create_subprocess_exec(*command, cwd=ROOT)

    def latencies() -> list[float]:
        return [float(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]

    try:
        await until(lambda: file.exists() and len(latencies()) > 3, what="the probe has begun", every=0.05)
        yield latencies
    finally:
        probe.kill()
        await probe.wait()


async def flood(port: int, start: bytes, block: bytes, *, upgrade: bool = False) -> int:
    """Sends `block` again and again. Returns the bytes sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent = 0
    writer.write(start)
    if upgrade:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    reading = asyncio.create_task(drain(reader))
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(SECONDS):
            while True:
                writer.write(block)
                await writer.drain()
                sent += len(block)
    reading.cancel()
    writer.transport.abort()
    return sent


async def drain(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(2**16):
            pass


def upgrade_to(url: str) -> bytes:
    parts = urlsplit(url)
    return (
        f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


async def commands(service: Running, session: dict[str, Any], port: int) -> int:
    block = masked(1, b'{"id":1,"method":"X.y"}') * 4000
    start = upgrade_to(session["connect_url"])
    return sum(await asyncio.gather(*(flood(port, start, block, upgrade=True) for _ in range(8))))


async def input_of_viewers(service: Running, session: dict[str, Any], port: int) -> int:
    block = masked(1, b'{"type":"mouse"}') * 4000
    start = upgrade_to(session["live_url"])
    return sum(await asyncio.gather(*(flood(port, start, block, upgrade=True) for _ in range(8))))


async def bodies(service: Running, session: dict[str, Any], port: int) -> int:
    start = (
        b"POST /v1/auth/token HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    )
    return sum(await asyncio.gather(*(flood(port, start, CHUNKS) for _ in range(20))))


async def chunks_of_an_origin(service: Running, session: dict[str, Any], port: int) -> int:
    sent = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        if b" /chunks " not in await request_head(reader):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi")
            return
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(CHUNKS)
            await writer.drain()
            sent += len(CHUNKS)

    async with origin(talk) as site:
        page = await service.first_page(session["session_id"])
        path = f"/v1/browser/sessions/{session['session_id']}/pages/{page}/navigate"
        response = await service.http.post(path, json={"url": f"http://127.0.0.1:{site}/"})
        assert response.status_code == 200, response.text
        read = "for (let i = 0; i < 6; i++) fetch('/chunks').then(r => r.body.pipeTo(new WritableStream()))"
        await service.evaluate(session["session_id"], f"{read}; 1")
        await asyncio.sleep(SECONDS)
    return sent


@pytest.mark.timeout(300)
async def test_no_flood_of_small_messages_stops_the_service(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", log_level="warning") as service:
        port = urlsplit(service.url).port
        assert port is not None
        for attack in (commands, input_of_viewers, bodies, chunks_of_an_origin):
            session = await service.create()
            async with probed(service, tmp_path / attack.__name__) as latencies:
                before = len(latencies())
                assert await attack(service, session, port) > 100_000, attack.__name__
                meanwhile = latencies()[before:]
            assert len(meanwhile) > 3, attack.__name__
            assert max(meanwhile) < MOST_S, (attack.__name__, max(meanwhile))
            await service.http.delete(f"/v1/browser/sessions/{session['session_id']}")
