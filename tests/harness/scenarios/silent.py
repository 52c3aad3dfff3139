"""50 viewers and 20 CDP clients that stop reading: memory buffered for them, the effect on other clients, and that
everything is released afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import psutil
from websockets.asyncio.client import ClientConnection, connect

from tests.harness.clients.live_client import LiveClient, watching
from tests.harness.clients.raw_cdp import Raw, raw
from tests.harness.scenarios.leftovers import contexts_ready, descriptors_of, metric
from tests.harness.service import Running
from tests.harness.sites.moving_page import MOVING
from tests.harness.waiting import until

VIEWERS: Final = 50
CLIENTS: Final = 20
PER_SESSION: Final = 10
"""CDP clients per session; the gateway allows 16."""
RESPONSE_BYTES: Final = 4 * 2**20
RESPONSES: Final = 4
"""Each silent client requests `RESPONSES` times `RESPONSE_BYTES`: in total twice what the gateway buffers."""
WATCH_S: Final = 3.0
ASK_EVERY_S: Final = 0.02
LEAST_FRAMES: Final = 3
FREED_S: Final = 120.0
"""A CDP client that does not read is closed after 30 s, a viewer that does not answer pings after 40 s."""
BOUND_BYTES: Final = CLIENTS * 9 * 2**20 + VIEWERS * 2**20
"""Memory limit: for each CDP client its largest message and its share of what may be buffered for one principal's
clients (`gateway.MAX_PRINCIPAL_BYTES`); for each viewer two frames."""
KEPT_BYTES: Final = 32 * 2**20
"""What the allocator may keep afterwards."""
FRAMES_GOAL: Final = 0.9
"""Minimum share of a healthy viewer's usual frame rate."""
SLOWER_GOAL_S: Final = 0.005
"""Maximum increase of a healthy client's round trip, which is 2 ms."""
_PLAIN: Final[dict[str, Any]] = {"max_size": None, "compression": None, "proxy": None, "ping_interval": None}


@dataclass
class Silent:
    """The server's RSS in bytes; frame rates and round trips (seconds) of the healthy clients."""

    before: int
    most: int = 0
    after: int = 0
    frames_alone: list[float] = field(default_factory=list)
    frames_beside: list[float] = field(default_factory=list)
    trip_alone: list[float] = field(default_factory=list)
    trip_beside: list[float] = field(default_factory=list)
    left: dict[str, float] = field(default_factory=dict)
    """Increase of clients, viewers, descriptors and tasks after all silent clients are gone."""

    @property
    def held(self) -> int:
        """Largest memory increase in bytes."""
        return self.most - self.before

    @property
    def kept(self) -> int:
        """Remaining memory increase in bytes."""
        return self.after - self.before

    @property
    def frames(self) -> float:
        """A healthy viewer's frame rate next to the silent clients, relative to its rate alone."""
        return statistics.median(self.frames_beside) / statistics.median(self.frames_alone)

    @property
    def slower(self) -> float:
        """Increase of a healthy client's round trip next to the silent clients, in seconds."""
        return statistics.median(self.trip_beside) - statistics.median(self.trip_alone)


async def silence(service: Running, rounds: int) -> Silent:
    """Measures the healthy clients alone and next to the silent ones alternately; the last round waits until the server
    has closed the silent ones."""
    assert service.process is not None
    server = psutil.Process(service.process.pid)
    watched = await _moving(service)
    driven = [await service.create() for _ in range(CLIENTS // PER_SESSION + 1)]
    headers = {"X-API-Key": service.http.headers["X-API-Key"]}
    async with watching(_live(service, watched), headers) as viewer, raw(driven[0]["connect_url"]) as client:
        _, at_page = await client.page()
        await viewer.frame()
        await until(lambda: _alone(service), what="the healthy clients are counted", every=0.2)
        await until(lambda: contexts_ready(service), what="the contexts for the next creates are ready", every=0.2)
        counts = await _counts(service)
        seen = Silent(before=server.memory_info().rss)
        for number in range(rounds):
            await _measure(viewer, client, at_page, seen.frames_alone, seen.trip_alone)
            async with _silent(service, watched, [each["session_id"] for each in driven]):
                watching_memory = asyncio.create_task(_most(server, seen))
                await _measure(viewer, client, at_page, seen.frames_beside, seen.trip_beside)
                if number == rounds - 1:
                    await until(
                        lambda: _alone(service), within=FREED_S, what="the silent clients are closed", every=0.5
                    )
                watching_memory.cancel()
            await until(lambda: _alone(service), within=FREED_S, what="the silent clients are gone", every=0.2)

        async def freed() -> bool:
            now = await _counts(service)
            seen.left = {name: now[name] - counts[name] for name in now if now[name] > counts[name]}
            seen.after = server.memory_info().rss
            return not seen.left and seen.after - seen.before <= KEPT_BYTES

        with contextlib.suppress(AssertionError):  # leftovers are in the report
            await until(freed, within=FREED_S, every=0.5)
    for session_id in [watched, *(each["session_id"] for each in driven)]:
        await service.http.delete(f"/v1/browser/sessions/{session_id}")
    return seen


@asynccontextmanager
async def _silent(service: Running, watched: str, driven: list[str]) -> AsyncIterator[None]:
    """Connects the silent clients, which stop reading. One viewer watches another page: the watched page's viewer limit
    is reached by the others and the healthy one."""
    headers = {"X-API-Key": service.http.headers["X-API-Key"]}
    sockets: list[ClientConnection] = []
    try:
        for number in range(VIEWERS):
            url = _live(service, watched if number else driven[0])
            sockets.append(await connect(url, additional_headers=headers, **_PLAIN))
            sockets[-1].transport.pause_reading()
        for number in range(CLIENTS):
            details = await service.details(driven[1 + number // PER_SESSION])
            socket = await connect(details["connect_url"], **_PLAIN)
            sockets.append(socket)
            await _request_much(socket)
        for session_id in driven[1:]:  # wait until their pages and the browser have done that work
            async with raw((await service.details(session_id))["connect_url"]) as other:
                await other.value("1 + 1", (await other.page())[1])
        yield
    finally:
        for socket in sockets:
            socket.transport.abort()


async def _request_much(socket: ClientConnection) -> None:
    """Requests far more than is buffered for it, and reads none of it."""
    targets = (await _call(socket, 1, "Target.getTargets"))["targetInfos"]
    target_id = next(info["targetId"] for info in targets if info["type"] == "page")
    attached = await _call(socket, 2, "Target.attachToTarget", {"targetId": target_id, "flatten": True})
    socket.transport.pause_reading()
    params = {"expression": f"'x'.repeat({RESPONSE_BYTES})"}
    for number in range(RESPONSES):
        message = {"id": 3 + number, "sessionId": attached["sessionId"], "method": "Runtime.evaluate", "params": params}
        await socket.send(json.dumps(message))


async def _call(socket: ClientConnection, number: int, method: str, params: dict[str, Any] | None = None) -> Any:
    await socket.send(json.dumps({"id": number, "method": method, "params": params or {}}))
    async with asyncio.timeout(FREED_S):
        while (response := json.loads(await socket.recv())).get("id") != number:
            pass
    return response["result"]


async def _measure(viewer: LiveClient, client: Raw, at_page: str, frames: list[float], trips: list[float]) -> None:
    """A healthy viewer's frame rate and a healthy client's median round trip, at the same time."""
    drawn, began = viewer.drawn, time.perf_counter()
    took: list[float] = []
    while time.perf_counter() - began < WATCH_S or viewer.drawn < drawn + LEAST_FRAMES:
        began_trip = time.perf_counter()
        await client.value("1 + 1", at_page)
        took.append(time.perf_counter() - began_trip)
        await asyncio.sleep(ASK_EVERY_S)
    frames.append((viewer.drawn - drawn) / (time.perf_counter() - began))
    trips.append(statistics.median(took))


async def _most(server: psutil.Process, seen: Silent) -> None:
    while True:
        seen.most = max(seen.most, server.memory_info().rss)
        await asyncio.sleep(0.05)


async def _alone(service: Running) -> bool:
    """Whether only the healthy clients are connected."""
    clients = await metric(service.http, "browser_sessions_gateway_clients")
    return clients == await metric(service.http, "browser_sessions_viewers") == 1


async def _counts(service: Running) -> dict[str, float]:
    assert service.process is not None
    return {
        "clients": await metric(service.http, "browser_sessions_gateway_clients"),
        "viewers": await metric(service.http, "browser_sessions_viewers"),
        "tasks": await metric(service.http, "browser_sessions_tasks"),
        "descriptors": await asyncio.to_thread(descriptors_of, service.process),
    }


async def _moving(service: Running) -> str:
    """A session with an animated page."""
    session_id: str = (await service.create())["session_id"]
    page_id = await service.first_page(session_id)
    url = "data:text/html," + MOVING.replace("%", "%25").replace("\n", " ")
    path = f"/v1/browser/sessions/{session_id}/pages/{page_id}/navigate"
    (await service.http.post(path, json={"url": url})).raise_for_status()
    return session_id


def _live(service: Running, session_id: str) -> str:
    return f"{service.url.replace('http', 'ws')}/v1/browser/sessions/{session_id}/live"
