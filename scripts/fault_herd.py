"""Five hundred creates at once at a limit of ten, on a real server with real browsers: never more than ten, refusals at
once, and five hundred callers who leave leave nothing."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from scripts.soak_left import pool_of
from tests.service import Running, client, until

LIMIT: Final = 10
HERD: Final = 500
WAIT_S: Final = 30
Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Herd:
    most: int = 0
    """Places taken at once, and contexts that the browsers had, whichever was more."""
    served: int = 0
    refusals: list[float] = field(default_factory=list)
    """Seconds that the server took for each, by its own log: five hundred callers in one process are slower than it."""
    other: dict[int, int] = field(default_factory=dict)
    """Answers that are neither, by status."""
    left: dict[str, int] = field(default_factory=dict)


async def herd(service: Running, log: Path) -> Herd:
    """One herd that stays and one that leaves. `log`: the server's, as JSON."""
    seen = Herd()
    watching = asyncio.create_task(_watch(service, seen))
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with client(service.url, service.http.headers["X-API-Key"]) as base:
        headers = dict(base.headers)
    async with httpx.AsyncClient(
        base_url=service.url, headers=headers, timeout=120, limits=limits, trust_env=False
    ) as callers:

        async def stays(line: Line) -> None:
            status, body = await _post(service, line, random.choice([0, 0, WAIT_S]))
            if status == 201:
                seen.served += 1
                await callers.delete(f"/v1/browser/sessions/{body['session_id']}")
            elif status != 503:
                seen.other[status] = seen.other.get(status, 0) + 1

        async def leaves() -> None:
            asking = asyncio.create_task(callers.post("/v1/browser/sessions", json={"wait_seconds": WAIT_S}))
            await asyncio.wait({asking}, timeout=random.uniform(0.0, 1.0))
            if asking.done() and not asking.exception() and asking.result().status_code == 201:
                await callers.delete(f"/v1/browser/sessions/{asking.result().json()['session_id']}")
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

        port = int(service.url.rpartition(":")[2])
        lines = [await asyncio.open_connection("127.0.0.1", port) for _ in range(HERD)]
        await asyncio.gather(*(stays(line) for line in lines))
        for _, writer in lines:
            writer.close()
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


async def _post(service: Running, line: Line, wait_seconds: int) -> tuple[int, dict[str, Any]]:
    """A create as one piece, so that the server waits for no part of it: (status, body)."""
    reader, writer = line
    body = json.dumps({"wait_seconds": wait_seconds})
    writer.write(
        f"POST /v1/browser/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {service.http.headers['X-API-Key']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.partition("content-length:")[2].split("\r\n")[0])
    return int(head.split(" ")[1]), json.loads(await reader.readexactly(length))


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
