"""500 concurrent creates at a limit of ten on a real server with real browsers: never more than ten sessions, immediate
refusals, and no leftovers of 500 callers who disconnect."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from tests.harness.scenarios.burst_callers import all_at_once
from tests.harness.scenarios.leftovers import pool_of
from tests.harness.service import Running, client
from tests.harness.waiting import until

LIMIT: Final = 10
CALLERS: Final = 500
WAIT_S: Final = 30


@dataclass
class Burst:
    most: int = 0
    """The largest number of used slots or of open contexts, whichever was larger."""
    served: int = 0
    refusals: list[float] = field(default_factory=list)
    """Seconds that the server took for each, from its log."""
    latencies: list[float] = field(default_factory=list)
    """Seconds from sending a request to its refusal, measured by the caller."""
    ran: list[float] = field(default_factory=list)
    """Seconds of processor time that the server's loop had used by then: about the latency on an idle machine."""
    other: dict[int, int] = field(default_factory=dict)
    """Counts of other responses by status."""
    left: dict[str, int] = field(default_factory=dict)


async def burst(service: Running, log: Path) -> Burst:
    """One burst of callers that wait and one of callers that disconnect. `log`: the server's log, as JSON."""
    assert service.process is not None
    seen = Burst()
    watching = asyncio.create_task(_watch(service, seen))
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with client(service.url, service.http.headers["X-API-Key"]) as base:
        headers = dict(base.headers)
    async with httpx.AsyncClient(
        base_url=service.url, headers=headers, timeout=120, limits=limits, trust_env=False
    ) as callers:

        async def create_and_disconnect() -> None:
            creating = asyncio.create_task(callers.post("/v1/browser/sessions", json={"wait_seconds": WAIT_S}))
            await asyncio.wait({creating}, timeout=random.uniform(0.0, 1.0))
            if creating.done() and not creating.exception() and creating.result().status_code == 201:
                await callers.delete(f"/v1/browser/sessions/{creating.result().json()['session_id']}")
            creating.cancel()
            await asyncio.gather(creating, return_exceptions=True)

        key = service.http.headers["X-API-Key"]
        creates = [(key, random.choice([0, 0, WAIT_S])) for _ in range(CALLERS)]
        for each in await all_at_once(int(service.url.rpartition(":")[2]), service.process.pid, creates):
            if each.status == 201:
                seen.served += 1
            elif each.status == 503:
                if not each.wait_seconds:
                    seen.latencies.append(each.took)
                    seen.ran.append(each.ran)
            else:
                seen.other[each.status] = seen.other.get(each.status, 0) + 1
        for _ in range(CALLERS // 50):
            await asyncio.gather(*(create_and_disconnect() for _ in range(50)))
    watching.cancel()

    async def no_leftovers() -> bool:
        listed = await service.http.get("/v1/browser/sessions", params={"status": "active", "limit": 500})
        for each in listed.json()["sessions"]:  # created just as the caller disconnected
            await service.http.delete(f"/v1/browser/sessions/{each['session_id']}")
        pool = await pool_of(service)
        seen.left = {name: pool[name] for name in ("taken", "queue") if pool[name]}
        return not seen.left

    await until(no_leftovers, what="callers who disconnected leave no sessions", every=0.2)
    seen.refusals = await asyncio.to_thread(_refusals, log)
    return seen


def _refusals(log: Path) -> list[float]:
    """Seconds of each create that was refused at once rather than after its wait."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    requests = [each for each in lines if each.get("event") == "http.request" and each.get("method") == "POST"]
    return [each["ms"] / 1000 for each in requests if each["status"] == 503 and each["ms"] < 1000 * WAIT_S]


async def _watch(service: Running, seen: Burst) -> None:
    while True:
        pool = await pool_of(service)
        seen.most = max(seen.most, pool["taken"], sum(each["sessions"] for each in pool["browsers"]))
        await asyncio.sleep(0.02)
