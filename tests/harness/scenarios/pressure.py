"""Clients that put load on the gateway: one that does not read while its page floods, one that requests large
responses, huge commands."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import psutil
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.harness.clients.raw_cdp import Raw, raw
from tests.harness.paths import ROOT

MIB: Final = 2**20
FLOODS: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "console": (
        ("Runtime.enable",),
        "setInterval(() => { for (let i = 0; i < 10; i++) console.log('x'.repeat(30000)) }, 20)",
    ),
    "network": (
        ("Network.enable",),
        "setInterval(() => { for (let i = 0; i < 20; i++) fetch('data:text/plain,' + 'x'.repeat(20000)) }, 20)",
    ),
    "bindings": (
        ("Runtime.enable", "Runtime.addBinding"),
        "setInterval(() => { for (let i = 0; i < 20; i++) report('x'.repeat(20000)) }, 20)",
    ),
}
"""Domains to enable, and an endless page script that causes 10 to 20 MB of events per second."""
PIECE: Final = MIB
"""Fragment size."""


async def floods(client: Raw, kind: str) -> None:
    """Starts the flood; the client has stopped reading when it returns."""
    _, at_page = await client.page()
    for method in FLOODS[kind][0]:
        await client.call(method, {"name": "report"} if method == "Runtime.addBinding" else {}, at_page)
    started = client.begin("Runtime.evaluate", {"expression": f"void {FLOODS[kind][1]}"}, at_page)[1]
    client.socket.transport.pause_reading()
    await client.socket.send(started)


async def request_much(client: Raw, *, responses: int = 120, size: int = MIB) -> None:
    """Requests `responses` responses of `size` bytes and reads none of them."""
    _, at_page = await client.page()
    client.socket.transport.pause_reading()
    params = {"expression": f"'x'.repeat({size})", "returnByValue": True}
    for _ in range(responses):
        await client.socket.send(client.begin("Runtime.evaluate", params, at_page)[1])


@asynccontextmanager
async def pulling(url: str, *, own_page: bool = False) -> AsyncIterator[None]:
    """Runs a client in a separate process that requests 20 MB repeatedly; it has had two responses when the block
    starts. `own_page`: on a page in a new context instead of the first page."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.harness.clients.blocking_cdp", url, "own" if own_page else "first"),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            for _ in range(2):
                assert await process.stdout.readline() == b"pulled\n"
        yield
        assert process.returncode is None, "the client ended early"
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def round_trips(client: Raw, at_page: str, *, seconds: float, every: float = 0.01) -> list[float]:
    """Seconds that each evaluation of `1 + 1` took, with a pause of `every` seconds in between."""
    took: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        await client.value("1 + 1", at_page)
        took.append(time.perf_counter() - began)
        await asyncio.sleep(every)
    return took


async def steady_round_trips(client: Raw, at_page: str, *, seconds: float, every: float = 0.01) -> list[float]:
    """As `round_trips`, but one begins every `every` seconds, also while others wait: so a stall counts as long as it
    lasts, not as one call."""
    took: list[float] = []

    async def trip() -> None:
        began = time.perf_counter()
        await client.value("1 + 1", at_page)
        took.append(time.perf_counter() - began)

    async with asyncio.TaskGroup() as trips:
        began = time.perf_counter()
        for number in range(int(seconds / every)):
            await asyncio.sleep(began + number * every - time.perf_counter())
            trips.create_task(trip())
    return took


@asynccontextmanager
async def most_memory(process: psutil.Process) -> AsyncIterator[list[int]]:
    """[RSS at the start, highest RSS so far] of a process, in bytes."""
    now = process.memory_info().rss
    seen = [now, now]

    async def sample() -> None:
        while True:
            seen[1] = max(seen[1], process.memory_info().rss)
            await asyncio.sleep(0.02)

    task = asyncio.create_task(sample())
    try:
        yield seen
    finally:
        task.cancel()


# -- huge commands ---------------------------------------------------------------------------------------------------


def one_string(size: int) -> bytes:
    """A command of `size` bytes: an expression that is one long string."""
    head, tail = b'{"id":7001,"method":"Runtime.evaluate","params":{"expression":"\'', b"'.length\"}}"
    return head + b"x" * (size - len(head) - len(tail)) + tail


def many_values(size: int) -> bytes:
    """A command of `size` bytes: an array of small numbers."""
    head, tail = b'{"id":7001,"method":"Runtime.evaluate","params":{"expression":"1","more":[1', b"]}}"
    return head + b",1" * ((size - len(head) - len(tail)) // 2) + tail


def pieces(message: bytes) -> Iterator[str]:
    for start in range(0, len(message), PIECE):
        yield message[start : start + PIECE].decode()


async def close_code_after(url: str, message: bytes, *, fragments: bool) -> int | None:
    """The close code after sending `message`; None if the next command is answered instead."""
    async with connect(url, max_size=None, compression=None, proxy=None, ping_interval=None, close_timeout=5) as socket:
        with contextlib.suppress(ConnectionClosed):
            await socket.send(pieces(message) if fragments else message, text=None if fragments else True)
            await socket.send('{"id":7002,"method":"Browser.getVersion"}')
            while True:
                if json.loads(await socket.recv()).get("id") == 7002:
                    return None
        await socket.wait_closed()
        return socket.close_code


async def result_of(url: str, size: int) -> Any:
    """The result of a command of `size` bytes at a page."""
    async with raw(url) as client:
        _, at_page = await client.page()
        message = one_string(size - len(at_page) - 15)
        response = client.response(7001)
        await client.socket.send(message[:-1] + f',"sessionId":"{at_page}"}}'.encode(), text=True)
        return (await response)["result"]["result"]["value"]
