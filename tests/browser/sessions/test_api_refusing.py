"""A full pool refuses before it looks at anything else, and only who would be refused anyway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from browser_sessions.domain.errors import PoolFull
from tests.harness.service import Running, running
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

URL = "/v1/browser/sessions"
JSON = {"Content-Type": "application/json"}


@pytest_asyncio.fixture(loop_scope="session")
async def full(tmp_path: Path) -> AsyncIterator[Running]:
    """A service with one place, which is taken."""
    async with running(tmp_path, max_sessions=1) as service:
        await service.create()
        yield service


@pytest.mark.parametrize(
    "body",
    ["", "{}", '{"viewport_width": 800}', '{"wait_seconds": 0}', '{"wait_seconds": 0.0}', '{"viewport_width": "wide"}'],
)
async def test_a_full_pool_refuses_whatever_is_asked_of_it(full: Running, body: str) -> None:
    answer = await full.http.post(URL, content=body, headers=JSON)
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:browser-sessions:problem:pool-full")
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["X-Request-ID"]
    assert +full.inside.pool.admission.refused == {PoolFull: 1}


@pytest.mark.parametrize("body", ['{"wait_seconds": 30}', '{"wait\\u005fseconds": 30}'])
async def test_who_may_wait_waits(full: Running, body: str) -> None:
    asking = asyncio.create_task(full.http.post(URL, content=body, headers=JSON))
    await until(lambda: full.inside.pool.admission.waiting == 1, what="it stands in the line")
    (first,) = (await full.http.get(URL, params={"status": "active"})).json()["sessions"]
    await full.http.delete(f"{URL}/{first['session_id']}")
    assert (await asking).status_code == 201


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ("{", JSON, 422),
        ("[]", JSON, 422),
        ('{"wait_seconds": "long"}', JSON, 422),
        ("{}", {**JSON, "X-API-Key": "bs_wrong"}, 401),
        ("{}", {**JSON, "Idempotency-Key": "x" * 256}, 422),
    ],
    ids=["no JSON", "no object", "no number", "wrong key", "bad Idempotency-Key"],
)
async def test_what_may_not_be_refused_unseen_goes_the_ordinary_way(
    full: Running, body: str, headers: dict[str, str], status: int
) -> None:
    assert (await full.http.post(URL, content=body, headers=headers)).status_code == status
    assert not +full.inside.pool.admission.refused


async def test_a_quota_of_ones_own_is_told_as_such(tmp_path: Path) -> None:
    async with running(tmp_path, max_sessions=3, max_sessions_per_principal=1) as service:
        await service.create()
        assert (await service.http.post(URL, json={})).status_code == 429
        async with service.caller(await service.key()) as other:
            assert (await other.post(URL, json={})).status_code == 201
