"""Odd frames, bad UTF-8, deep JSON and huge numbers on every WebSocket: no failure, no crash, nothing left behind."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from browser_sessions.api.openapi_document import WEBSOCKETS
from tests.harness.log_lines import json_lines
from tests.harness.scenarios.leftovers import SETTLE_S, metric
from tests.harness.scenarios.odd_messages import ODD_CODES, ROUTES, Odd, listed, randomly
from tests.harness.service import Running, serving
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

FAILED = (
    "websocket.failed",
    "http.failed",
    "task.failed",
    "loop.turn_failed",
    "listener_failed",
    "client_failed",
    "command_failed",
    "was not handled",
    "Exception in ASGI",
    "Invalid UTF-8",
)
"""In the log: a bug, or an error with a traceback for what a client sent."""
KEPT_BYTES = 24 * 2**20
"""What the allocator may keep."""


def test_every_websocket_is_sent_odd_messages() -> None:
    assert set(ROUTES) == set(WEBSOCKETS)


@pytest.mark.parametrize(
    "path",
    [path if path.endswith(("/cdp", "/live")) else pytest.param(path, marks=pytest.mark.slow) for path in ROUTES],
)
async def test_odd_messages_end_at_most_their_own_connection(service: Running, path: str) -> None:
    created, seen = await service.create(), Odd()
    with json_lines("info") as lines:
        await listed(service, path, created, seen)
        await until(lambda: not service.inside.pool.registry.connections(created["session_id"]), what="all are gone")
    assert [failure for failure in FAILED if failure in lines.getvalue()] == []
    assert set(seen.closed) <= ODD_CODES
    assert (await service.get(created["session_id"]))["status"] == "active"
    assert await service.evaluate(created["session_id"], "1 + 1") == 2


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_random_messages_make_nothing_grow(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", log_level="info") as service:
        assert service.process is not None
        server, seen = psutil.Process(service.process.pid), Odd()
        created = await service.create()
        rss, tasks = 0, 0.0
        for seed in range(4):
            for path, creates in ROUTES.items():
                await randomly(service, path, created, seed, 20 if creates else 400, seen)
            await until(lambda: _idle(service), what="all clients are gone", every=0.1)
            if seed == 1:  # what is loaded once has been
                rss, tasks = server.memory_info().rss, await metric(service.http, "browser_sessions_tasks")
        assert server.memory_info().rss - rss < KEPT_BYTES
        await until(lambda: _tasks_at_most(service, tasks + 5), within=SETTLE_S, what="no more tasks", every=0.5)
        assert (await service.get(created["session_id"]))["status"] == "active"
    assert [failure for failure in FAILED if failure in (tmp_path / "server.log").read_text()] == []
    assert seen.sent > 7_000


async def _tasks_at_most(service: Running, most: float) -> bool:
    return await metric(service.http, "browser_sessions_tasks") <= most


async def _idle(service: Running) -> bool:
    clients = await metric(service.http, "browser_sessions_gateway_clients")
    return clients + await metric(service.http, "browser_sessions_viewers") == 0
