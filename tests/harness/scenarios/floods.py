"""What costs the service time for each of its bytes, sent as fast as it is read, while a process beside asks for
`/healthz`: one such connection held up the service for ten seconds once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tests.harness.clients.ws_frames import masked
from tests.harness.egress import origin, request_head
from tests.harness.scenarios.probes import probed
from tests.harness.service import Running
from tests.harness.waiting import until

WITHIN_S: Final = 60.0
CHUNKS: Final = b"1\r\nx\r\n" * 40_000


@dataclass
class Flood:
    sent: int = 0
    """Bytes."""
    latencies: list[float] = field(default_factory=list)
    """Seconds of the probes meanwhile."""


Attack = Callable[[Running, dict[str, Any], Flood], Coroutine[Any, Any, None]]
"""Called with a session; goes on until it is cancelled."""


async def flooded(service: Running, folder: Path, attack: Attack, *, probes: int) -> Flood:
    """The attack goes on until `probes` probes have ended."""
    seen, session = Flood(), await service.create()
    async with probed(service, folder / f"{attack.__name__}.txt") as latencies:
        before = len(latencies())
        attacking = asyncio.create_task(attack(service, session, seen))
        try:
            await until(
                lambda: attacking.done() or len(latencies()) >= before + probes,
                within=WITHIN_S,
                what=f"{probes} probes have ended",
                every=0.05,
            )
            seen.latencies = latencies()[before:]
            assert not attacking.done(), "the attack has ended by itself"
        finally:
            attacking.cancel()
            await asyncio.wait({attacking})
    await service.http.delete(f"/v1/browser/sessions/{session['session_id']}")
    return seen


async def commands(service: Running, session: dict[str, Any], seen: Flood) -> None:
    block = masked(1, b'{"id":1,"method":"X.y"}') * 4000
    await _at_once(8, service, _upgrade_to(session["connect_url"]), block, seen, upgrade=True)


async def input_of_viewers(service: Running, session: dict[str, Any], seen: Flood) -> None:
    block = masked(1, b'{"type":"mouse"}') * 4000
    await _at_once(8, service, _upgrade_to(session["live_url"]), block, seen, upgrade=True)


async def bodies(service: Running, _session: dict[str, Any], seen: Flood) -> None:
    start = (
        b"POST /v1/auth/token HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    )
    await _at_once(20, service, start, CHUNKS, seen)


async def chunks_of_an_origin(service: Running, session: dict[str, Any], seen: Flood) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b" /chunks " not in await request_head(reader):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi")
            return
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(CHUNKS)
            await writer.drain()
            seen.sent += len(CHUNKS)

    async with origin(talk) as site:
        page = await service.first_page(session["session_id"])
        path = f"/v1/browser/sessions/{session['session_id']}/pages/{page}/navigate"
        response = await service.http.post(path, json={"url": f"http://127.0.0.1:{site}/"})
        assert response.status_code == 200, response.text
        read = "for (let i = 0; i < 6; i++) fetch('/chunks').then(r => r.body.pipeTo(new WritableStream()))"
        await service.evaluate(session["session_id"], f"{read}; 1")
        await asyncio.Event().wait()


ATTACKS: Final[tuple[Attack, ...]] = (commands, input_of_viewers, bodies, chunks_of_an_origin)


async def _at_once(
    count: int, service: Running, start: bytes, block: bytes, seen: Flood, *, upgrade: bool = False
) -> None:
    port = urlsplit(service.url).port
    assert port is not None
    await asyncio.gather(*(_flood(port, start, block, seen, upgrade=upgrade) for _ in range(count)))


async def _flood(port: int, start: bytes, block: bytes, seen: Flood, *, upgrade: bool) -> None:
    """Sends `block` again and again, on a new connection when the service closes one."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        reading = None
        try:
            writer.write(start)
            if upgrade:
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            reading = asyncio.create_task(_drain(reader))
            while True:
                writer.write(block)
                await writer.drain()
                seen.sent += len(block)
        except ConnectionError:
            pass
        finally:
            if reading is not None:
                reading.cancel()
            writer.transport.abort()


async def _drain(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(2**16):
            pass


def _upgrade_to(url: str) -> bytes:
    parts = urlsplit(url)
    return (
        f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()
