"""Shutdown of a server process with viewers and event streams."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.harness.clients.live_client import watching
from tests.harness.clients.sse import stream
from tests.harness.service import ADMIN_KEY, ServerProcess

pytestmark = pytest.mark.browser

SESSIONS = "/v1/browser/sessions"


async def test_sigterm_closes_viewers_and_event_streams_with_the_reason_and_exits_in_time(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    server = ServerProcess(tmp_path / "data", drain_seconds=1)
    service = await server.start()
    try:
        session_id = (await service.create())["session_id"]
        url = f"{service.url.replace('http', 'ws')}{SESSIONS}/{session_id}/live"
        async with (
            watching(url, {"X-API-Key": ADMIN_KEY}) as viewer,
            stream(service.http, "/v1/browser/events") as everything,
            stream(service.http, f"{SESSIONS}/{session_id}/events") as one,
        ):
            await viewer.frame()
            began = time.monotonic()
            stopping = asyncio.create_task(server.stop())
            assert (await viewer.end())[0] == 1001
            assert (await one.to_end())[-1]["data"]["reason"] == "drained"
            assert any(event["type"] == "session.ended" for event in await everything.to_end())
            assert await stopping == 0
            assert time.monotonic() - began < 1 + 30
        assert (tmp_path / "data" / "archive" / f"{session_id}.json.gz").exists()
        assert (tmp_path / "data" / "archive" / f"{session_id}.jpg").exists()
    finally:
        await server.kill()
        await service.http.aclose()
