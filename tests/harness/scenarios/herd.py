"""Five hundred creates at once at a limit of ten, on a real server with real browsers: never more than ten, refusals at
once, and five hundred callers who leave leave nothing."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from tests.harness.scenarios.herd_callers import all_at_once
from tests.harness.scenarios.leftovers import pool_of
from tests.harness.service import Running, client
from tests.harness.waiting import until

LIMIT: Final = 10
HERD: Final = 500
WAIT_S: Final = 30


@dataclass
class Herd:
    most: int = 0
    """Places taken at once, and contexts that the browsers had, whichever was more."""
    served: int = 0
    refusals: list[float] = field(default_factory=list)
    """Seconds that the server took for each, by its own log."""
    told: list[float] = field(default_factory=list)
    """Seconds from the sending of a request to its refusal, as the caller saw it."""
    ran: list[float] = field(default_factory=list)
    """Seconds of processor time that the server's loop had used by then: on a machine with nothing else to do, about
    what the caller would see."""
    other: dict[int, int] = field(default_factory=dict)
    """Answers that are neither, by status."""
    left: dict[str, int] = field(default_factory=dict)


async def herd(service: Running, log: Path) -> Herd:
    """One herd that stays and one that leaves. `log`: the server's, as JSON."""
    assert service.process is not None
    seen = Herd()
    watching = asyncio.create_task(_watch(service, seen))
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with client(service.url, service.http.headers["X-API-Key"]) as base:
        headers = dict(base.headers)
    async with httpx.AsyncClient(
        base_url=service.url, headers=headers, timeout=120, limits=limits, trust_env=False
    ) as callers:

        async def leaves() -> None:
            asking = asyncio.create_task(callers.post("/v1/browser/sessions", json={"wait_seconds": WAIT_S}))
            await asyncio.wait({asking}, timeout=random.uniform(0.0, 1.0))
            if asking.done() and not asking.exception() and asking.result().status_code == 201:
                await callers.delete(f"/v1/browser/sessions/{asking.result().json()['session_id']}")
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

        key = service.http.headers["X-API-Key"]
        asks = [(key, random.choice([0, 0, WAIT_S])) for _ in range(HERD)]
        for ask in await all_at_once(int(service.url.rpartition(":")[2]), service.process.pid, asks):
            if ask.status == 201:
                seen.served += 1
            elif ask.status == 503:
                if not ask.wait_seconds:
                    seen.told.append(ask.took)
                    seen.ran.append(ask.ran)
            else:
                seen.other[ask.status] = seen.other.get(ask.status, 0) + 1
        for _ in range(HERD // 50):
            await asyncio.gather(*(leaves() for _ in range(50)))
    watching.cancel()

    async def nothing() -> bool:
        listed = await service.http.get("/v1/browser/sessions", params={"status": "active", "limit": 500})
        for each in listed.json()["sessions"]:  # made in the very moment of leaving: nobody can tell
            await service.http.delete(f"/v1/browser/sessions/{each['session_id']}")
        pool = await pool_of(service)
        seen.left = {name: pool[name] for name in ("taken", "queue") if pool[name]}
        return not seen.left

    await until(nothing, what="nothing is left of those who left", every=0.2)
    seen.refusals = await asyncio.to_thread(_refusals, log)
    return seen


def _refusals(log: Path) -> list[float]:
    """Seconds of each create that was refused at once, not after it had waited in vain."""
    told = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    asked = [each for each in told if each.get("event") == "http.request" and each.get("method") == "POST"]
    return [each["ms"] / 1000 for each in asked if each["status"] == 503 and each["ms"] < 1000 * WAIT_S]


async def _watch(service: Running, seen: Herd) -> None:
    while True:
        pool = await pool_of(service)
        seen.most = max(seen.most, pool["taken"], sum(each["sessions"] for each in pool["browsers"]))
        await asyncio.sleep(0.02)
