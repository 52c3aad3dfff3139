"""Fifty viewers and twenty CDP clients that stop reading: what the server holds for them, what the others notice, and
that all of it is free again."""

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
from tests.harness.scenarios.leftovers import descriptors_of, metric
from tests.harness.service import Running
from tests.harness.sites.moving_page import MOVING
from tests.harness.waiting import until

VIEWERS: Final = 50
CLIENTS: Final = 20
PER_SESSION: Final = 10
"""CDP clients of one session; the gateway takes sixteen."""
ANSWER_BYTES: Final = 4 * 2**20
ANSWERS: Final = 4
"""So many times so much each silent client asks for: all of them together twice what the gateway keeps for them."""
WATCH_S: Final = 3.0
ASK_EVERY_S: Final = 0.02
FREED_S: Final = 60.0
"""A CDP client that takes nothing is closed after 30 s, a viewer that answers no ping after 40."""
BOUND_BYTES: Final = CLIENTS * 9 * 2**20 + VIEWERS * 2**20
"""What the server may hold: of a CDP client its largest message and its part of what may wait for one principal's
clients together (`gateway.MAX_PRINCIPAL_BYTES`); of a viewer two pictures."""
KEPT_BYTES: Final = 32 * 2**20
"""What the allocator may keep of it afterwards."""
FRAMES_GOAL: Final = 0.9
"""Of a healthy viewer's frames a second."""
SLOWER_GOAL_S: Final = 0.005
"""Of a healthy client's round trip of two milliseconds."""
_PLAIN: Final[dict[str, Any]] = {"max_size": None, "compression": None, "proxy": None, "ping_interval": None}


@dataclass
class Silent:
    """Bytes of the server's RSS, frames a second and round trips in seconds of the healthy ones."""

    before: int
    most: int = 0
    after: int = 0
    frames_alone: list[float] = field(default_factory=list)
    frames_beside: list[float] = field(default_factory=list)
    trip_alone: list[float] = field(default_factory=list)
    trip_beside: list[float] = field(default_factory=list)
    left: dict[str, float] = field(default_factory=dict)
    """Clients, viewers, descriptors and tasks more than before, when everybody silent has gone."""

    @property
    def held(self) -> int:
        """Bytes more than before, at the most."""
        return self.most - self.before

    @property
    def kept(self) -> int:
        """Bytes more than before, afterwards."""
        return self.after - self.before

    @property
    def frames(self) -> float:
        """A healthy viewer's frames a second beside the silent ones, as a part of those alone."""
        return statistics.median(self.frames_beside) / statistics.median(self.frames_alone)

    @property
    def slower(self) -> float:
        """A healthy client's round trip beside the silent ones, in seconds more than alone."""
        return statistics.median(self.trip_beside) - statistics.median(self.trip_alone)


async def silence(service: Running, rounds: int) -> Silent:
    """Measures the healthy ones alone and beside the silent ones in turns; in the last round waits until the server has
    closed the silent ones by itself."""
    assert service.process is not None
    server = psutil.Process(service.process.pid)
    watched = await _moving(service)
    driven = [await service.create() for _ in range(CLIENTS // PER_SESSION + 1)]
    headers = {"X-API-Key": service.http.headers["X-API-Key"]}
    async with watching(_live(service, watched), headers) as viewer, raw(driven[0]["connect_url"]) as client:
        _, at_page = await client.page()
        await viewer.frame()
        await until(lambda: _alone(service), what="the healthy ones are counted", every=0.2)
        counts = await _counts(service)
        seen = Silent(before=server.memory_info().rss)
        for number in range(rounds):
            await _measure(viewer, client, at_page, seen.frames_alone, seen.trip_alone)
            async with _silent(service, watched, [each["session_id"] for each in driven]):
                watching_memory = asyncio.create_task(_most(server, seen))
                await _measure(viewer, client, at_page, seen.frames_beside, seen.trip_beside)
                if number == rounds - 1:
                    await until(lambda: _alone(service), within=FREED_S, what="silent ones are closed", every=0.5)
                watching_memory.cancel()
            await until(lambda: _alone(service), within=FREED_S, what="the silent ones have gone", every=0.2)

        async def freed() -> bool:
            now = await _counts(service)
            seen.left = {name: now[name] - counts[name] for name in now if now[name] > counts[name]}
            seen.after = server.memory_info().rss
            return not seen.left and seen.after - seen.before <= KEPT_BYTES

        with contextlib.suppress(AssertionError):  # what is left is in the report
            await until(freed, within=FREED_S, every=0.5)
    for session_id in [watched, *(each["session_id"] for each in driven)]:
        await service.http.delete(f"/v1/browser/sessions/{session_id}")
    return seen


@asynccontextmanager
async def _silent(service: Running, watched: str, driven: list[str]) -> AsyncIterator[None]:
    """Everybody silent: connected, and reading nothing any more. The page that is watched has room for all but one of
    the viewers beside the healthy one."""
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
            await _ask_much(socket)
        for session_id in driven[1:]:  # until their pages and the browser have done that work
            async with raw((await service.details(session_id))["connect_url"]) as other:
                await other.value("1 + 1", (await other.page())[1])
        yield
    finally:
        for socket in sockets:
            socket.transport.abort()


async def _ask_much(socket: ClientConnection) -> None:
    """Asks for much more than anybody keeps for it, and takes none of it."""
    targets = (await _call(socket, 1, "Target.getTargets"))["targetInfos"]
    target_id = next(info["targetId"] for info in targets if info["type"] == "page")
    attached = await _call(socket, 2, "Target.attachToTarget", {"targetId": target_id, "flatten": True})
    socket.transport.pause_reading()
    asked = {"expression": f"'x'.repeat({ANSWER_BYTES})"}
    for number in range(ANSWERS):
        message = {"id": 3 + number, "sessionId": attached["sessionId"], "method": "Runtime.evaluate", "params": asked}
        await socket.send(json.dumps(message))


async def _call(socket: ClientConnection, number: int, method: str, params: dict[str, Any] | None = None) -> Any:
    await socket.send(json.dumps({"id": number, "method": method, "params": params or {}}))
    async with asyncio.timeout(FREED_S):
        while (answer := json.loads(await socket.recv())).get("id") != number:
            pass
    return answer["result"]


async def _measure(viewer: LiveClient, client: Raw, at_page: str, frames: list[float], trips: list[float]) -> None:
    """A healthy viewer's frames a second, and meanwhile a healthy client's median round trip."""
    drawn, began = viewer.drawn, time.perf_counter()
    took: list[float] = []
    while time.perf_counter() - began < WATCH_S:
        asked = time.perf_counter()
        await client.value("1 + 1", at_page)
        took.append(time.perf_counter() - asked)
        await asyncio.sleep(ASK_EVERY_S)
    frames.append((viewer.drawn - drawn) / (time.perf_counter() - began))
    trips.append(statistics.median(took))


async def _most(server: psutil.Process, seen: Silent) -> None:
    while True:
        seen.most = max(seen.most, server.memory_info().rss)
        await asyncio.sleep(0.05)


async def _alone(service: Running) -> bool:
    """Only the healthy ones are there."""
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
    """A session with a page that moves all the time."""
    session_id: str = (await service.create())["session_id"]
    page_id = await service.first_page(session_id)
    url = "data:text/html," + MOVING.replace("%", "%25").replace("\n", " ")
    path = f"/v1/browser/sessions/{session_id}/pages/{page_id}/navigate"
    (await service.http.post(path, json={"url": url})).raise_for_status()
    return session_id


def _live(service: Running, session_id: str) -> str:
    return f"{service.url.replace('http', 'ws')}/v1/browser/sessions/{session_id}/live"
