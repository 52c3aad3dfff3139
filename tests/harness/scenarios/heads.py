"""Heads of 150 MB, connections that say nothing and heads that come a byte at a time: how the server ends each, its
memory, and the latency of `/healthz` measured by a process beside.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil

from browser_sessions.uvicorn_adapter import HEAD_TIMEOUT_S
from tests.harness.scenarios.probe import EVERY_S
from tests.harness.scenarios.probes import probed
from tests.harness.service import Running

BYTES: Final = 150 * 2**20
SILENT: Final = 500
SLOW: Final = 50
ATTACK_S: Final = 5.0
PIECE: Final = 2**16
HELD_GOAL_BYTES: Final = 30 * 2**20
LATENCY_GOAL_S: Final = 0.05
"""99 of 100 probes."""
_HOST: Final = b"Host: 127.0.0.1\r\n"
_UPGRADE: Final = b"GET /v1/browser/connect HTTP/1.1\r\n" + _HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
_CHUNKED: Final = b"POST /v1/browser/sessions HTTP/1.1\r\n" + _HOST + b"Transfer-Encoding: chunked\r\n\r\n"
ENDLESS: Final = {
    "one header": (b"GET / HTTP/1.1\r\n" + _HOST + b"X: ", b"x", 431),
    "one header of an upgrade": (_UPGRADE + b"X: ", b"x", 431),
    "one URL": (b"GET /", b"x", 414),
    "header lines": (b"GET / HTTP/1.1\r\n" + _HOST, b"X: x\r\n", 431),
    "trailer lines": (_CHUNKED + b"0\r\n", b"X: x\r\n", 431),
    "line breaks": (b"", b"\r\n", 431),
    "requests": (b"", b"GET / HTTP/1.1\r\n" + _HOST + b"\r\n", 0),
}
"""By what never ends: how it begins, what is repeated, and the status that ends it (0: none)."""


@dataclass
class Heads:
    """What happened, by the attack's name."""

    ended: dict[str, Counter[str]] = field(default_factory=dict)
    """How connections were ended: by which status, or `closed`."""
    latencies: dict[str, list[float]] = field(default_factory=dict)
    """Seconds of the probes meanwhile."""
    held: dict[str, int] = field(default_factory=dict)
    """The largest increase of the server's memory since `memory_before`, in bytes."""
    memory_before: int = 0
    """Before the first attack."""


async def heads(
    service: Running,
    folder: Path,
    rounds: int,
    *,
    size: int = BYTES,
    seconds: float = ATTACK_S,
    silent: int = SILENT,
    slow: int = SLOW,
) -> Heads:
    """All attacks, one after the other. Those without end are repeated for `seconds`, on one connection at a time."""
    seen = Heads()
    port = urlsplit(service.url).port
    assert port is not None
    for _ in range(rounds):
        for name, (start, repeated, _status) in ENDLESS.items():
            async with _measured(service, folder, name, seen):
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    seen.ended[name][await _endless(port, start, repeated, size)] += 1
        for name, count, attack in (("nothing", silent, _silence), ("a byte a second", slow, _dribble)):
            async with _measured(service, folder, name, seen):
                seen.ended[name].update(await asyncio.gather(*(attack(port) for _ in range(count))))
    return seen


def promised(name: str) -> set[str]:
    """A client that still sends may not see the response before its connection is closed."""
    status = ENDLESS[name][2] if name in ENDLESS else 408
    return {str(status), "closed"} if status else {"closed"}


async def _endless(port: int, start: bytes, repeated: bytes, size: int) -> str:
    piece = repeated * (PIECE // len(repeated))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    reading = asyncio.create_task(_end(reader))
    with contextlib.suppress(ConnectionError):
        writer.write(start)
        for _ in range(size // len(piece)):
            writer.write(piece)
            await writer.drain()
            if reading.done():
                break
    ended = await asyncio.wait_for(reading, HEAD_TIMEOUT_S + 60)
    writer.close()
    return ended


async def _silence(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    ended = await asyncio.wait_for(_end(reader), HEAD_TIMEOUT_S + 60)
    writer.close()
    return ended


async def _dribble(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    reading = asyncio.create_task(_end(reader))
    with contextlib.suppress(ConnectionError):
        for byte in b"GET /healthz HTTP/1.1\r\n" + _HOST * 20:
            writer.write(bytes((byte,)))
            await writer.drain()
            done, _ = await asyncio.wait({reading}, timeout=1)
            if done:
                break
    ended = await reading
    writer.close()
    return ended


async def _end(reader: asyncio.StreamReader) -> str:
    """The status of the last response before the server closes, `closed` without one. Those of requests that are
    complete do not count."""
    answer = b""
    try:
        while piece := await reader.read(PIECE):
            answer = (answer + piece)[-PIECE:]
    except ConnectionError:
        pass
    _, _, last = answer.rpartition(b"HTTP/1.1 ")
    return "closed" if last[:3] in (b"", b"200") else last[:3].decode()


@asynccontextmanager
async def _measured(service: Running, folder: Path, name: str, seen: Heads) -> AsyncIterator[None]:
    """Probes and watches the server's memory."""
    assert service.process is not None
    server = psutil.Process(service.process.pid)
    most = server.memory_info().rss
    seen.memory_before = seen.memory_before or most

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, server.memory_info().rss)
            await asyncio.sleep(EVERY_S)

    async with probed(service, folder / f"{time.monotonic_ns()}.txt") as latencies:
        watching = asyncio.create_task(watch())
        seen.ended.setdefault(name, Counter())
        try:
            yield
        finally:
            watching.cancel()
    seen.held[name] = max(seen.held.get(name, 0), most - seen.memory_before)
    seen.latencies.setdefault(name, []).extend(latencies())
