"""kill -9 of the server at random moments under many creates: acknowledged sessions stay known, repeated requests give
one session, and the next server is ready soon."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import psutil

from tests.harness.service import Running, ServerProcess
from tests.harness.waiting import PATIENCE_S

CALLERS: Final = 4


@dataclass
class Storm:
    acknowledged: dict[str, str] = field(default_factory=dict)
    """Idempotency-Key to session."""
    unknown: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    not_lost: list[str] = field(default_factory=list)
    """Sessions of a killed server whose status is not `lost`."""
    ready_after: list[float] = field(default_factory=list)
    gone_after: list[float] = field(default_factory=list)
    """Seconds from the kill until the driver and every Chromium of the server were gone."""
    kept: int = 0
    repeated: int = 0


async def storm(folder: Path, rounds: int) -> Storm:
    (folder / "data").mkdir(parents=True)
    seen, server = Storm(), ServerProcess(folder / "data", max_sessions=40)
    service = await server.start()
    try:
        for number in range(rounds):
            requested: dict[str, str | None] = {}
            callers = [asyncio.create_task(_storm(service, requested)) for _ in range(CALLERS)]
            await asyncio.sleep(random.uniform(0.02, 1.0))  # the moment must be random
            tree = server.tree()[1:]
            began = time.monotonic()
            await server.kill()
            await asyncio.to_thread(psutil.wait_procs, tree, PATIENCE_S)
            seen.gone_after.append(time.monotonic() - began)
            await asyncio.gather(*callers)
            await service.http.aclose()
            service = await server.start()
            seen.ready_after.append(server.ready_after)
            await _check(service, requested, seen, number)
    finally:
        await service.http.aclose()
        await server.stop()
    return seen


async def _storm(service: Running, requested: dict[str, str | None]) -> None:
    """Creates sessions with an Idempotency-Key until the server is gone; ends most of them to free slots."""
    with contextlib.suppress(httpx.TransportError):
        while True:
            key = secrets.token_hex(8)
            requested[key] = None
            response = await service.http.post("/v1/browser/sessions", json={}, headers={"Idempotency-Key": key})
            if response.status_code == 201:
                requested[key] = response.json()["session_id"]
                if random.random() < 0.6:
                    await service.http.delete(f"/v1/browser/sessions/{requested[key]}")
            else:
                del requested[key]
                await asyncio.sleep(0.01)


async def _check(service: Running, requested: dict[str, str | None], seen: Storm, number: int) -> None:
    listed = (await service.http.get("/v1/browser/sessions", params={"limit": 500})).json()["sessions"]
    seen.kept = len(listed)
    for key, session_id in requested.items():
        if session_id is not None:
            seen.acknowledged[key] = session_id
            found = await service.http.get(f"/v1/browser/sessions/{session_id}")
            if found.status_code != 200:
                seen.unknown.append(session_id)
            elif found.json()["status"] not in ("lost", "closed"):
                seen.not_lost.append(f"{session_id} is {found.json()['status']}")
        # Both callers with and without a response repeat the request.
        again = await service.http.post("/v1/browser/sessions", json={}, headers={"Idempotency-Key": key})
        if again.status_code in (200, 201):
            seen.repeated += 1
            first = session_id or again.json()["session_id"]
            third = await service.http.post("/v1/browser/sessions", json={}, headers={"Idempotency-Key": key})
            for found in {again.json()["session_id"], third.json().get("session_id")} - {first}:
                seen.duplicates.append(f"round {number}: {key}: {first}, then {found}")
            if session_id is None:
                await service.http.delete(f"/v1/browser/sessions/{again.json()['session_id']}")
