"""Clients that load one browser: what the service buffers for them, and the round trips of a client of another session.

Measurements that are compared alternate.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Final

import psutil

from scripts.figures import quantile
from tests.harness.bare_chromium import bare_chromium
from tests.harness.clients.raw_cdp import Raw, raw
from tests.harness.scenarios.pressure import (
    FLOODS,
    MIB,
    floods,
    most_memory,
    pulling,
    request_much,
    round_trips,
    steady_round_trips,
)
from tests.harness.service import Running
from tests.harness.waiting import until

MEASURE_S: Final = 3.0
CLOSED_S: Final = 60.0
FLOOD_GOAL: Final = 1.5
"""Median round trip of another session's client beside a client that does not read, divided by that alone, at most."""
HELD_GOAL_BYTES: Final = 64 * MIB
"""Memory that the service may use for one client that does not read."""
PULL_GOAL: Final = 1.5
"""p95 beside a client that requests 20 MB responses, divided by that of both on a bare Chromium's port, at most."""
PAGES: Final = 20
PER_SESSION: Final = 5
RESOURCES: Final = 70
LAG_S: Final = 0.025
"""A bucket of the histogram of event-loop lag; 99 of 100 samples must be within it."""
LAG_GOAL: Final = 0.99


@dataclass
class Pressure:
    """Seconds, bytes and close codes of all rounds."""

    alone: list[float] = field(default_factory=list)
    beside: dict[str, list[float]] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    codes: dict[str, list[int | None]] = field(default_factory=dict)


async def clients_without_reading(service: Running, rounds: int) -> Pressure:
    assert service.process is not None
    process, seen = psutil.Process(service.process.pid), Pressure()
    other_session = await service.create()
    async with raw(other_session["connect_url"]) as client:
        _, at_page = await client.page()
        for _ in range(rounds):
            for kind in (*FLOODS, "responses"):
                seen.alone += await round_trips(client, at_page, seconds=MEASURE_S)
                created = await service.create()
                async with (
                    most_memory(process) as memory,
                    raw(created["connect_url"], close_timeout=0.1) as silent,
                ):
                    await (request_much(silent) if kind == "responses" else floods(silent, kind))
                    trips = await round_trips(client, at_page, seconds=MEASURE_S)
                    seen.beside.setdefault(kind, []).extend(trips)
                    seen.codes.setdefault(kind, []).append(await _close_code(service, created["session_id"], silent))
                    seen.held[kind] = max(seen.held.get(kind, 0), memory[1] - memory[0])
                await service.http.delete(f"/v1/browser/sessions/{created['session_id']}")
                client.frames.clear()
    await service.http.delete(f"/v1/browser/sessions/{other_session['session_id']}")
    return seen


async def _close_code(service: Running, session_id: str, client: Raw) -> int | None:
    async def disconnected() -> bool:
        return bool((await service.details(session_id))["connections"] == 0)

    await until(disconnected, within=CLOSED_S, what="the client is closed", every=0.05)
    client.socket.transport.resume_reading()
    await asyncio.wait_for(client.closed.wait(), 20)
    return client.close_code


async def pull(service: Running, folder: Path, rounds: int) -> tuple[list[float], list[float]]:
    """Round trips beside a client that requests large responses: both on a bare port, both on the service."""
    taken: tuple[list[float], list[float]] = ([], [])
    measured, other = await service.create(), await service.create()
    async with bare_chromium(folder / "profile") as port, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(raw(url)) for url in (port, measured["connect_url"])]
        pages = [await clients[0].attach(await clients[0].new_page()), (await clients[1].page())[1]]
        urls = (port, other["connect_url"])
        for _ in range(rounds):
            for side in (0, 1):
                async with pulling(urls[side], own_page=side == 0):
                    taken[side].extend(await steady_round_trips(clients[side], pages[side], seconds=MEASURE_S))
                clients[side].frames.clear()
    for created in (measured, other):
        await service.http.delete(f"/v1/browser/sessions/{created['session_id']}")
    return taken


# -- pages that load -------------------------------------------------------------------------------------------------


class _Resources(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/page"):
            kind = "text/html"
            body = "".join(f"<script src=/r{n}.js{self.path[5:]}></script>" for n in range(RESOURCES)).encode()
        else:
            kind, body = "text/javascript", b"void 0 //" + b"x" * 4000
        self.send_response(200)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """No log."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        """The browser closed the connection: no traceback."""


@contextmanager
def resources() -> Iterator[str]:
    server = _Server(("127.0.0.1", 0), _Resources)
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def lag_while_loading(service: Running, rounds: int) -> tuple[float, list[float]]:
    """(fraction of lag samples within `LAG_S`, seconds of each round in which `PAGES` pages load concurrently)."""
    created = [await service.create() for _ in range(PAGES // PER_SESSION)]
    pages = [page for each in created for page in await _pages(service, each["session_id"])]
    took = []
    with resources() as url:
        await _load(service, pages, url, 0)
        before = await _lag(service)
        loop = asyncio.get_running_loop()
        for number in range(1, rounds + 1):
            started_at = loop.time()
            await _load(service, pages, url, number)
            took.append(loop.time() - started_at)
        after = await _lag(service)
    for each in created:
        await service.http.delete(f"/v1/browser/sessions/{each['session_id']}")
    return (after[0] - before[0]) / (after[1] - before[1]), took


async def _pages(service: Running, session_id: str) -> list[str]:
    path = f"/v1/browser/sessions/{session_id}/pages"
    for _ in range(PER_SESSION - 1):
        (await service.http.post(path, json={})).raise_for_status()
    return [f"{path}/{each['page_id']}" for each in (await service.http.get(path)).json()["pages"]]


async def _load(service: Running, pages: list[str], url: str, number: int) -> None:
    responses = await asyncio.gather(
        *(service.http.post(f"{page}/navigate", json={"url": f"{url}/page?{number}"}) for page in pages)
    )
    for response in responses:
        response.raise_for_status()


async def _lag(service: Running) -> tuple[float, float]:
    """(samples within `LAG_S`, all samples) since the service started."""
    within = every = 0.0
    for line in (await service.http.get("/metrics")).text.splitlines():
        if line.startswith(f'browser_sessions_loop_lag_seconds_bucket{{le="{LAG_S}"}}'):
            within = float(line.split()[-1])
        elif line.startswith("browser_sessions_loop_lag_seconds_count"):
            every = float(line.split()[-1])
    return within, every


def slower(alone: list[float], beside: list[float], part: float = 0.5) -> float:
    """Ratio of `beside` to `alone` at a quantile."""
    return quantile(beside, part) / quantile(alone, part)


def middle(seconds: list[float]) -> str:
    return f"median {1000 * statistics.median(seconds):.2f} ms, p95 {1000 * quantile(seconds, 0.95):.2f} ms"
