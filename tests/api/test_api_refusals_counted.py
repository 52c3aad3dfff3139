"""Every kind of refused create is counted once, and the metric and the pool's state agree."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from browser_sessions.domain.principal import Role
from browser_sessions.domain.session import EndReason
from browser_sessions.settings import Settings
from tests.harness.fakes.fake_browser import no_browser
from tests.harness.fakes.fake_node import ADMIN_KEY, Node, node

ADMIN = {"X-API-Key": ADMIN_KEY}


@pytest_asyncio.fixture
async def service(tmp_path: Path) -> AsyncIterator[Node]:
    async with node(tmp_path, max_sessions=1) as running:
        yield running


async def create(service: Node, *, wait_seconds: float = 0, headers: dict[str, str] = ADMIN) -> httpx.Response:
    return await service.client.post("/v1/browser/sessions", json={"wait_seconds": wait_seconds}, headers=headers)


async def counted(service: Node) -> tuple[dict[str, int], int]:
    """Refusals by kind in the metric, without zeros, and the pool's total."""
    scraped = (await service.client.get("/metrics")).text
    by_reason = re.findall(r'^browser_sessions_refused_total\{reason="([^"]+)"\} (\S+)$', scraped, re.MULTILINE)
    pool = (await service.client.get("/v1/browser/pool", headers=ADMIN)).json()
    return {reason: int(float(count)) for reason, count in by_reason if float(count)}, pool["refused_total"]


async def until_queued(service: Node) -> None:
    async with asyncio.timeout(5):
        while not service.pool.admission.waiting:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)


async def full(service: Node) -> httpx.Response:
    assert (await create(service)).status_code == 201
    return await create(service)


async def full_with_a_key_that_may_be_a_repeat(service: Node) -> httpx.Response:
    assert (await create(service)).status_code == 201
    return await create(service, headers=ADMIN | {"Idempotency-Key": "once"})


async def quota(service: Node) -> httpx.Response:
    service.pool.admission.quotas = {Role.ADMIN: 1}
    return await full(service)


async def draining(service: Node) -> httpx.Response:
    service.pool.drain()
    return await create(service)


async def drained_in_the_queue(service: Node) -> httpx.Response:
    assert (await create(service)).status_code == 201
    waiting = asyncio.create_task(create(service, wait_seconds=30))
    await until_queued(service)
    service.pool.drain()
    return await waiting


async def drained_while_it_starts(service: Node) -> httpx.Response:
    service.launcher.gate.clear()
    starting = asyncio.create_task(create(service))
    async with asyncio.timeout(5):
        while not service.pool.admission.taken:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)
    service.pool.drain()
    return await starting


async def shortage(service: Node) -> httpx.Response:
    service.pool.admission.report_shortage("The machine is short of memory.")
    return await create(service)


async def queue_timeout(service: Node) -> httpx.Response:
    assert (await create(service)).status_code == 201
    return await create(service, wait_seconds=0.05)


async def no_browser_starts(service: Node) -> httpx.Response:
    service.launcher.launch_error = no_browser()
    return await create(service)


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (full, "pool-full"),
        (full_with_a_key_that_may_be_a_repeat, "pool-full"),
        (quota, "quota-exceeded"),
        (draining, "draining"),
        (drained_in_the_queue, "draining"),
        (drained_while_it_starts, "draining"),
        (shortage, "overloaded"),
        (queue_timeout, "pool-full"),
        (no_browser_starts, "no-browser"),
    ],
)
async def test_a_refusal_is_counted_once_in_metric_and_pool_state(service: Node, refused: object, reason: str) -> None:
    assert callable(refused)
    response = await refused(service)
    assert response.json()["type"] == f"urn:browser-sessions:problem:{reason}"
    assert await counted(service) == ({reason: 1}, 1)


async def test_refusals_are_summed_by_kind_without_successful_creates(service: Node) -> None:
    made = (await create(service)).json()["session_id"]
    for _ in range(3):
        await create(service)
    await service.pool.end(made, EndReason.DELETED)
    await shortage(service)
    assert await counted(service) == ({"pool-full": 3, "overloaded": 1}, 4)


async def test_a_client_that_asks_for_every_slot_leaves_others_their_share(tmp_path: Path) -> None:
    async with node(tmp_path, max_sessions=8) as service:
        service.pool.admission.quotas = Settings(max_sessions=8).session_quotas
        greedy, other = await service.key(), await service.key()
        asked = await asyncio.gather(*(create(service, headers=greedy) for _ in range(8)))
        assert Counter(each.status_code for each in asked) == {201: 6, 429: 2}
        waiting = [asyncio.create_task(create(service, headers=greedy, wait_seconds=30)) for _ in range(8)]
        await until_queued(service)
        assert [(await create(service, headers=other)).status_code for _ in range(2)] == [201, 201]
        assert (await create(service, headers=other)).status_code == 503
        for each in waiting:
            each.cancel()
        await asyncio.wait(waiting)
