"""The status endpoint compared with a bare FastAPI endpoint of the same model: same uvicorn settings, same run."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx
import uvicorn
from fastapi import FastAPI
from rich.console import Console
from rich.table import Table

from browser_sessions.api.models.session_models import BrowserSessionResponse
from browser_sessions.domain.session import EndReason, SessionRecord, SessionStatus
from browser_sessions.domain.session_spec import Isolation
from browser_sessions.loop_shares import Shares
from browser_sessions.server import listen, uvicorn_config
from browser_sessions.settings import load as load_settings
from browser_sessions.store import EmbeddedStore
from scripts.bench_load import Load, load
from tests.harness.service import ADMIN_KEY, ServerProcess

GOAL: Final = 1.5
"""Requests per second divided by those of the bare endpoint, at least."""
ROUNDS: Final = 7
ROUND_S: Final = 1.5
CONNECTIONS: Final = 8
ROOT: Final = Path(__file__).resolve().parent.parent
STORED: Final = (1, 5_000)


async def run() -> bool:
    console, met = Console(), True
    table = Table("records", "requests/s", "bare", "ratio", "p99 ms", "bare p99 ms", title="status endpoint")
    for records in STORED:
        ours, bare = await _compare(records)
        ratio = statistics.median(a.rate / b.rate for a, b in zip(ours, bare, strict=True))
        met &= ratio >= GOAL
        table.add_row(
            str(records),
            f"{statistics.median(r.rate for r in ours):.0f}",
            f"{statistics.median(r.rate for r in bare):.0f}",
            f"{ratio:.2f}",
            f"{statistics.median(r.percentile(0.99) for r in ours) * 1000:.2f}",
            f"{statistics.median(r.percentile(0.99) for r in bare) * 1000:.2f}",
        )
    console.print(table, f"goal: ratio at least {GOAL}: {'met' if met else 'missed'}")
    return met


async def _compare(records: int) -> tuple[list[Load], list[Load]]:
    ours: list[Load] = []
    bare: list[Load] = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        await _fill(data / "sessions.db", records - 1)
        server = ServerProcess(data, log_level="warning")
        service = await server.start()
        try:
            async with _bare_server() as bare_url:
                created = await service.create()
                path = f"/v1/browser/sessions/{created['session_id']}"
                for _ in range(ROUNDS):
                    for results, url, where, headers in (
                        (ours, service.url, path, {"X-API-Key": ADMIN_KEY}),
                        (bare, bare_url, "/v1/browser/sessions/ses_0", {"X-API-Key": ADMIN_KEY}),
                    ):
                        results.append(await load(url, where, headers, connections=CONNECTIONS, seconds=ROUND_S))
        finally:
            await service.http.aclose()
            await server.stop()
    return ours[1:], bare[1:]  # the first round warms both


async def _fill(database: Path, records: int) -> None:
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
    for start in range(0, records, 200):
        batch = range(start, min(start + 200, records))
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


@contextlib.asynccontextmanager
async def _bare_server() -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "scripts.bench_status",
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        url = (await process.stdout.readline()).decode().strip()
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            await http.get("/v1/browser/sessions/ses_0")
        yield url
    finally:
        process.terminate()
        await process.wait()


def _serve_bare() -> None:
    listener = listen("127.0.0.1", 0)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn_config(bare_app(), load_settings(), Shares())).run(sockets=[listener])


if __name__ == "__main__":
    _serve_bare()
