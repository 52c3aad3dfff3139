"""`live`: frames and bytes per second for one, four and ten viewers of an animated page, the delay until a
change is shown, processor time of the server, and the effect of a stalled viewer on others.

The viewers are this process; the service and its Chromium are other processes. All share two cores.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import struct
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from scripts.benches.report import Bench
from scripts.benches.sides import Sides, cpu_of, end, seconds
from scripts.figures import quantile
from tests.harness.service import ADMIN_KEY, Running
from tests.harness.sites.moving_page import MOVING

VIEWERS: Final = (1, 4, 10)
SECONDS: Final = 6.0
"""Duration of each round after `WARM_UP_S`."""
WARM_UP_S: Final = 1.5
ROUNDS: Final = 7
"""Rounds with a stalled viewer, alternating with as many without."""
STALLED_SECONDS: Final = 4.0
STALLED_GOAL: Final = 0.9
"""Frame rate of a healthy viewer beside a stalled one, divided by its rate alone."""
CHANGES: Final = 30
WIDTH: Final = 1280

STATIC: Final = "<body style='margin:0;background:rgb(0,0,0)'><h1 id=h style='color:white'>0</h1>"


@dataclass(eq=False)
class Viewer:
    """Acknowledges each frame immediately, unless it stalls: then it does not even read."""

    socket: ClientConnection
    stalls: bool = False
    frames: int = 0
    size: int = 0
    newest: tuple[int, float] = (0, 0.0)
    """(number, time of arrival) of the newest frame."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def watch(self) -> None:
        try:
            async for data in self.socket:
                if isinstance(data, str):
                    continue
                (length,) = struct.unpack_from(">I", data)
                seq = json.loads(data[4 : 4 + length])["seq"]
                if self.stalls:
                    await asyncio.Event().wait()
                self.frames += 1
                self.size += len(data)
                self.newest = (seq, time.time())
                self.arrived.set()
                await self.socket.send(f'{{"type":"ack","seq":{seq}}}')
        except ConnectionClosed:
            return


async def run(bench: Bench) -> None:
    async with Sides() as sides:
        service = await sides.service()
        for count in bench.track("frames", VIEWERS):
            await _frames(bench, service, count)
        await _delay(bench, service)
        await _stalled(bench, service)


async def _frames(bench: Bench, service: Running, count: int) -> None:
    session, page_id = await _session(service, MOVING)
    session_id = session["session_id"]
    async with _viewers(service, session_id, count) as viewers:
        await asyncio.sleep(WARM_UP_S)
        server, browser = _cpu(service)
        painted = await service.evaluate(session_id, "window.painted", page_id)
        before = [(viewer.frames, viewer.size) for viewer in viewers]
        took = await seconds(asyncio.sleep(bench.seconds(SECONDS)))
        painted = await service.evaluate(session_id, "window.painted", page_id) - painted
        frames = [viewer.frames - was[0] for viewer, was in zip(viewers, before, strict=True)]
        size = sum(viewer.size - was[1] for viewer, was in zip(viewers, before, strict=True))
        server_after, browser_after = _cpu(service)
    await end(service, session)
    who = f"{count} viewer{'s' if count > 1 else ''}"
    paints = "paints of the page"
    bench.figure(f"frames to each of {who}", "/s", statistics.mean(frames) / took, painted / took, paints)
    bench.figure(f"data, {who}", "MB/s", size / took / 1e6)
    bench.figure(f"a frame, {who}", "kB", size / max(1, sum(frames)) / 1000)
    bench.figure(f"processor time of the server, {who}", "% of a core", 100 * (server_after - server) / took)
    bench.figure(f"processor time of the browser, {who}", "% of a core", 100 * (browser_after - browser) / took)


async def _delay(bench: Bench, service: Running) -> None:
    """Time from a change in the page, by the page's clock, until a viewer has the frame that shows it."""
    session, page_id = await _session(service, STATIC)
    delays: list[float] = []
    async with _viewers(service, session["session_id"], 1) as [viewer]:
        await asyncio.sleep(WARM_UP_S)
        for number in bench.track("changes", range(1, bench.rounds(CHANGES) + 1)):
            seen = viewer.newest[0]
            script = f"(h.textContent = {number}, document.body.style.background = 'rgb({number * 8},0,0)', Date.now())"
            changed = await service.evaluate(session["session_id"], script, page_id)
            async with asyncio.timeout(5):
                while viewer.newest[0] == seen:
                    viewer.arrived.clear()
                    await viewer.arrived.wait()
            delays.append(viewer.newest[1] * 1000 - changed)
            await asyncio.sleep(0.3)  # the page is static in between, like a page in use
    await end(service, session)
    what = "a change until a viewer has its frame"
    bench.figure(what, "ms", statistics.median(delays), quantile="median")
    bench.figure(what, "ms", quantile(delays, 0.95), quantile="p95")


async def _stalled(bench: Bench, service: Running) -> None:
    session, _ = await _session(service, MOVING)

    async def rate(stalled: int, _: int) -> float:
        async with _viewers(service, session["session_id"], 1 + stalled, stalled=stalled) as viewers:
            await asyncio.sleep(WARM_UP_S)
            before = viewers[0].frames
            took = await seconds(asyncio.sleep(bench.seconds(STALLED_SECONDS)))
            return (viewers[0].frames - before) / took

    measured = {"alone": partial(rate, 0), "beside": partial(rate, 1)}
    rates = await bench.alternate("a stalled viewer", measured, ROUNDS, warm_up=0)
    await end(service, session)
    what = "frames to a viewer beside a stalled one"
    bench.paired(what, "/s", rates["beside"], "alone", rates["alone"], goal=STALLED_GOAL, at_least=True)


class _viewers(AsyncExitStack):  # noqa: N801 - used as a function
    """`count` viewers of one session; the last `stalled` of them stall."""

    def __init__(self, service: Running, session_id: str, count: int, *, stalled: int = 0) -> None:
        super().__init__()
        self._url = f"{service.url.replace('http', 'ws')}/v1/browser/sessions/{session_id}/live?max_width={WIDTH}"
        self._count, self._stalled = count, stalled

    async def __aenter__(self) -> list[Viewer]:  # type: ignore[override]
        await super().__aenter__()
        viewers: list[Viewer] = []
        for number in range(self._count):
            socket = await self.enter_async_context(
                connect(
                    self._url,
                    additional_headers={"X-API-Key": ADMIN_KEY},
                    max_size=None,
                    compression=None,
                    proxy=None,
                    close_timeout=0.2,
                )
            )
            viewer = Viewer(socket, stalls=number >= self._count - self._stalled)
            viewers.append(viewer)
            self.push_async_callback(_cancelled, asyncio.create_task(viewer.watch()))
        return viewers


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _session(service: Running, html: str) -> tuple[dict[str, Any], str]:
    session = await service.create()
    page_id = await service.first_page(session["session_id"])
    url = "data:text/html," + html.replace("%", "%25").replace("\n", " ")
    path = f"/v1/browser/sessions/{session['session_id']}/pages/{page_id}/navigate"
    (await service.http.post(path, json={"url": url})).raise_for_status()
    return session, page_id


def _cpu(service: Running) -> tuple[float, float]:
    """Processor seconds so far of the service and of all its child processes."""
    server, *others = service.own_process.tree()
    return cpu_of([server]), cpu_of(others)
