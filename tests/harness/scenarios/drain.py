"""SIGTERM at random moments under load: time until unready, sessions still created, exit time, leftovers."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import psutil

from browser_sessions.chromium.launch.folders import work_folder
from browser_sessions.chromium.launch.user import browser_user
from tests.harness.service import ADMIN_KEY, Running, ServerProcess, client

DRAIN_S: Final = 2.0
LOAD: Final = 4
"""Concurrent callers that create sessions without a pause, and end most of them."""
GONE_S: Final = 30.0
"""Limit for the server's processes to end after it."""


@dataclass
class Drain:
    """One round. Seconds, counted from the signal."""

    unready_after: float
    late_creates: int
    """Sessions that were requested after readiness was 503 and still created."""
    exit_after: float
    exit_code: int
    left: list[str] = field(default_factory=list)


async def drain_round(
    folder: Path, *, number: signal.Signals, drain_s: float = DRAIN_S, to_group: bool = False, twice: bool = False
) -> Drain:
    """Starts a server, loads it and signals it at a random moment. `to_group`: signal the process group, as Ctrl-C
    does."""
    (folder / "data").mkdir(parents=True)
    server = ServerProcess(folder / "data", drain_seconds=drain_s, max_sessions=12)
    service = await server.start()
    tree: dict[int, psutil.Process] = {}
    signalled = asyncio.Event()
    unready_at: list[float] = []
    callers = [asyncio.create_task(_load(service, signalled, unready_at)) for _ in range(LOAD)]
    try:
        await service.create()
        await asyncio.sleep(random.uniform(0.0, 0.6))  # the moment must be random
        tree = {each.pid: each for each in server.tree()}
        send = os.killpg if to_group else os.kill
        async with client(server.url, ADMIN_KEY) as prober:
            await prober.get("/readyz")  # connect first: the listening socket closes during the drain
            began = time.monotonic()
            send(server.pid, number)
            signalled.set()
            while (await prober.get("/readyz")).status_code != 503:
                pass
            unready_at.append(time.monotonic())
            tree |= {each.pid: each for each in server.tree()}
            if twice:
                send(server.pid, number)
        assert server.process is not None
        code = await asyncio.wait_for(server.process.wait(), drain_s + 30)
        took = time.monotonic() - began
        late = sum(await asyncio.gather(*callers))
        return Drain(unready_at[0] - began, late, took, code, await asyncio.to_thread(_left, folder / "data", tree))
    finally:
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        await service.http.aclose()
        await server.kill()


async def _load(service: Running, signalled: asyncio.Event, unready_at: list[float]) -> int:
    """The number of sessions created from requests sent after the service was unready."""
    late = 0
    try:
        while True:
            sent_at = time.monotonic()
            response = await service.http.post("/v1/browser/sessions", json={"wait_seconds": random.choice([0, 1])})
            if response.status_code == 201:
                late += bool(unready_at) and sent_at > unready_at[0]
                if random.random() < 0.7:
                    await service.http.delete(f"/v1/browser/sessions/{response.json()['session_id']}")
            elif signalled.is_set():
                await asyncio.sleep(0.02)
            else:
                await asyncio.sleep(0.005)
    except httpx.TransportError:
        return late


def _left(data_dir: Path, tree: dict[int, psutil.Process]) -> list[str]:
    """Remaining processes and folders of the server."""
    deadline = time.monotonic() + GONE_S
    alive = list(tree.values())
    while alive and time.monotonic() < deadline:
        _, alive = psutil.wait_procs(alive, timeout=0.1)
        alive = [each for each in alive if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    work = work_folder(data_dir / "work", browser_user())
    folders = [str(each.relative_to(work)) for pattern in ("run-*", "sessions/*") for each in work.glob(pattern)]
    return [f"process {each.pid}" for each in alive] + folders
