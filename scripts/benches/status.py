"""`status`: the status endpoint compared with a bare FastAPI endpoint of the same model and uvicorn settings, and the
reaper, with one record and with 100,000."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sys
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import structlog
import uvicorn
from fastapi import FastAPI

from browser_sessions.api.models.session_models import BrowserSessionResponse
from browser_sessions.domain.session import EndReason, SessionRecord, SessionStatus
from browser_sessions.domain.session_spec import Isolation
from browser_sessions.loop_shares import Shares
from browser_sessions.pool.reaper import Reaper
from browser_sessions.server import listen, uvicorn_config
from browser_sessions.settings import load as load_settings
from browser_sessions.store import EmbeddedStore
from scripts.benches.http_load import Load, load
from scripts.benches.report import Bench
from scripts.benches.sides import Sides, seconds
from scripts.figures import quantile
from tests.harness.service import ADMIN_KEY, running

GOAL: Final = 1.5
"""Requests per second divided by those of the bare endpoint, at least."""
FLAT_GOAL: Final = 0.95
"""The rate with many records divided by that with one, at least."""
ROUNDS: Final = 15
ROUND_S: Final = 1.5
CONNECTIONS: Final = 8
RECORDS: Final = 100_000
TICKS: Final = 200
TICK_GOAL_MS: Final = 5.0
KEY: Final = {"X-API-Key": ADMIN_KEY}


async def run(bench: Bench) -> None:
    records = 1_000 if bench.quick else RECORDS
    async with Sides() as sides:
        bare = await sides.child(sys.executable, "-m", "scripts.benches.status")
        places = {"bare": (bare, "/v1/browser/sessions/ses_0")}
        for name, stored in (("one", 0), ("many", records)):
            database = sides.folder / name / "data" / "sessions.db"
            await _fill(database, stored)
            if name == "many":
                copy = sides.folder / "tick" / "sessions.db"
                copy.parent.mkdir()
                shutil.copy(database, copy)
            service = await sides.service(name)
            places[name] = (service.url, f"/v1/browser/sessions/{(await service.create())['session_id']}")

        async def rate(url: str, path: str, _: int) -> Load:
            return await load(url, path, KEY, connections=CONNECTIONS, seconds=bench.seconds(ROUND_S))

        measured = {name: partial(rate, *place) for name, place in places.items()}
        loads = await bench.alternate("GET", measured, ROUNDS, warm_up=1)
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
        async with running(sides.folder / "tick") as service:
            await service.create()
            reaper, ticks = Reaper(service.inside.pool), []
            for _ in range(TICKS):
                ticks.append(await seconds(reaper.turn()))
                await asyncio.sleep(0)
    rates = {name: [each.rate for each in found] for name, found in loads.items()}
    compared = "a bare FastAPI endpoint"
    bench.paired("GET status, one record", "/s", rates["one"], compared, rates["bare"], goal=GOAL, at_least=True)
    what = f"GET status, {records:,} records"
    bench.paired(what, "/s", rates["many"], compared, rates["bare"], goal=GOAL, at_least=True)
    bench.paired(what, "/s", rates["many"], "one record", rates["one"], goal=FLAT_GOAL, at_least=True)
    latencies = {name: [took for each in found for took in each.latencies] for name, found in loads.items()}
    bench.durations(f"{what}, {CONNECTIONS} connections", latencies["many"], compared, latencies["bare"])
    tick = 1000 * quantile(ticks, 0.99)
    bench.figure(f"the reaper's tick, {records:,} records", "ms", tick, goal=TICK_GOAL_MS, quantile="p99")


async def _fill(database: Path, records: int) -> None:
    database.parent.mkdir(parents=True)
    store = EmbeddedStore(database)
    await store.open()
    now = datetime.now(UTC)
    ended = SessionRecord(
        session_id="",
        owner="prn_bench",
        owner_name="bench",
        node="bench",
        status=SessionStatus.CLOSED,
        viewport_width=1280,
        viewport_height=720,
        user_agent=None,
        isolation=Isolation.CONTEXT,
        created_at=now,
        last_activity=now,
        expires_at=now,
        ended_at=now,
        end_reason=EndReason.DELETED,
        idle_timeout_seconds=300.0,
        max_lifetime_seconds=3600.0,
        metadata={},
        options={},
        version=1,
    )
    for start in range(0, records, 2_000):
        batch = range(start, min(start + 2_000, records))
        await asyncio.gather(*(store.insert(replace(ended, session_id=f"ses_bench{n}")) for n in batch))
    await store.close()


def bare_app() -> FastAPI:
    """A minimal endpoint: no authentication, no lookup, no store."""
    app = FastAPI()
    now = datetime.now(UTC)

    @app.get("/v1/browser/sessions/{session_id}")
    async def get_browser_session(session_id: str) -> BrowserSessionResponse:
        return BrowserSessionResponse(
            session_id=session_id,
            status="active",
            viewport_width=1280,
            viewport_height=720,
            user_agent=None,
            created_at=now,
            last_activity=now,
            expires_at=now,
        )

    return app


def _serve_bare() -> None:
    listener = listen("127.0.0.1", 0)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn_config(bare_app(), load_settings(), Shares())).run(sockets=[listener])


if __name__ == "__main__":
    _serve_bare()
