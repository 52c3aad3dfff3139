"""The live view: frames and bytes per second for one, four and ten viewers of an animated page, the delay until a
change is shown, processor time of the server, and the effect of a stalled viewer on others.

The viewers are this process; the service and its Chromium are other processes. All share two cores.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import struct
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
from rich.console import Console
from rich.table import Table
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.harness.service import ADMIN_KEY, Running, serving
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


async def run() -> bool:
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        async with serving(Path(folder) / "data", log_level="warning") as service:
            await _frames(service, console)
            await _delay(service, console)
            return await _stalled(service, console)


async def _frames(service: Running, console: Console) -> None:
    table = Table("viewers", "frames/s each", "MB/s in all", "kB a frame", "page paints/s", "server CPU", "browser CPU")
    for count in VIEWERS:
        session_id, page_id = await _session(service, MOVING)
        async with _viewers(service, session_id, count) as viewers:
            await asyncio.sleep(WARM_UP_S)
            server, browser = _cpu()
            painted = await service.evaluate(session_id, "window.painted", page_id)
            before = [(viewer.frames, viewer.size) for viewer in viewers]
            started_at = time.perf_counter()
            await asyncio.sleep(SECONDS)
            took = time.perf_counter() - started_at
            painted = await service.evaluate(session_id, "window.painted", page_id) - painted
            frames = [viewer.frames - was[0] for viewer, was in zip(viewers, before, strict=True)]
            size = sum(viewer.size - was[1] for viewer, was in zip(viewers, before, strict=True))
            server_after, browser_after = _cpu()
        await service.http.delete(f"/v1/browser/sessions/{session_id}")
        table.add_row(
            str(count),
            f"{statistics.mean(frames) / took:.1f}",
            f"{size / took / 1e6:.2f}",
            f"{size / max(1, sum(frames)) / 1000:.0f}",
            f"{painted / took:.0f}",
            f"{(server_after - server) / took:.0%}",
            f"{(browser_after - browser) / took:.0%}",
        )
    console.print(table)


async def _delay(service: Running, console: Console) -> None:
    """Time from a change in the page, by the page's clock, until a viewer has the frame that shows it."""
    session_id, page_id = await _session(service, STATIC)
    delays: list[float] = []
    async with _viewers(service, session_id, 1) as [viewer]:
        await asyncio.sleep(WARM_UP_S)
        for number in range(1, CHANGES + 1):
            seen = viewer.newest[0]
            script = f"(h.textContent = {number}, document.body.style.background = 'rgb({number * 8},0,0)', Date.now())"
            changed = await service.evaluate(session_id, script, page_id)
            async with asyncio.timeout(5):
                while viewer.newest[0] == seen:
                    viewer.arrived.clear()
                    await viewer.arrived.wait()
            delays.append(viewer.newest[1] * 1000 - changed)
            await asyncio.sleep(0.3)  # the page is static in between, like a page in use
    await service.http.delete(f"/v1/browser/sessions/{session_id}")
    worst = sorted(delays)[int(len(delays) * 0.95)]
    console.print(f"a change is shown after {statistics.median(delays):.0f} ms (median), {worst:.0f} ms (p95)")


async def _stalled(service: Running, console: Console) -> bool:
    session_id, _ = await _session(service, MOVING)
    alone: list[float] = []
    beside: list[float] = []
    for _ in range(ROUNDS):
        for rates, stalled in ((alone, 0), (beside, 1)):
            async with _viewers(service, session_id, 1 + stalled, stalled=stalled) as viewers:
                await asyncio.sleep(WARM_UP_S)
                before, started_at = viewers[0].frames, time.perf_counter()
                await asyncio.sleep(STALLED_SECONDS)
                rates.append((viewers[0].frames - before) / (time.perf_counter() - started_at))
    await service.http.delete(f"/v1/browser/sessions/{session_id}")
    ratio = statistics.median(with_it / without for with_it, without in zip(beside, alone, strict=True))
    met = ratio >= STALLED_GOAL
    console.print(
        f"a healthy viewer beside a stalled one: {statistics.median(beside):.1f} frames/s, alone "
        f"{statistics.median(alone):.1f}: {ratio:.2f} of it (goal {STALLED_GOAL}) {'met' if met else 'MISSED'}"
    )
    return met


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


async def _session(service: Running, html: str) -> tuple[str, str]:
    session_id = (await service.create())["session_id"]
    page_id = await service.first_page(session_id)
    url = "data:text/html," + html.replace("%", "%25").replace("\n", " ")
    path = f"/v1/browser/sessions/{session_id}/pages/{page_id}/navigate"
    (await service.http.post(path, json={"url": url})).raise_for_status()
    return session_id, page_id


def _cpu() -> tuple[float, float]:
    """Processor seconds so far of the service and of all its child processes."""
    me = psutil.Process()
    server = next(child for child in me.children() if "browser_sessions" in " ".join(child.cmdline()))
    others = 0.0
    for child in server.children(recursive=True):
        try:
            others += _seconds(child)
        except psutil.Error:
            continue
    return _seconds(server), others


def _seconds(process: psutil.Process) -> float:
    times: Any = process.cpu_times()
    return float(times.user + times.system)
