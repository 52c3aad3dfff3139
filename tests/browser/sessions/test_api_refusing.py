"""A full pool refuses creates early, without reading the request fully, if they would be refused anyway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from browser_sessions.domain.errors import PoolFull
from tests.harness.service import Running
from tests.harness.shared import SharedService
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

URL = "/v1/browser/sessions"
JSON = {"Content-Type": "application/json"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def one_slot(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SharedService]:
    shared = SharedService(lambda: tmp_path_factory.mktemp("full"), max_sessions=1)
    yield shared
    await shared.close()


@pytest_asyncio.fixture(loop_scope="session")
async def full(one_slot: SharedService, request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    """A service with one browser slot, which is in use."""
    async with one_slot.lent(request.node) as service:
        service.inside.pool.admission.refused.clear()
        await service.create()
        yield service


async def test_a_full_pool_refuses_any_create_that_does_not_wait(full: Running) -> None:
    refused = full.inside.pool.admission.refused
    for count, body in enumerate(
        (
            "",
            "{}",
            '{"viewport_width": 800}',
            '{"wait_seconds": 0}',
            '{"wait_seconds": 0.0}',
            '{"viewport_width": "wide"}',
        ),
        1,
    ):
        response = await full.http.post(URL, content=body, headers=JSON)
        assert (response.status_code, response.json()["type"]) == (503, "urn:browser-sessions:problem:pool-full"), body
        assert int(response.headers["Retry-After"]) >= 1
        assert response.headers["X-Request-ID"]
        assert +refused == {PoolFull: count}


@pytest.mark.parametrize("body", ['{"wait_seconds": 30}', '{"wait\\u005fseconds": 30}'])
async def test_a_create_with_wait_seconds_is_queued(full: Running, body: str) -> None:
    creating = asyncio.create_task(full.http.post(URL, content=body, headers=JSON))
    await until(lambda: full.inside.pool.admission.waiting == 1, what="the create is queued")
    (first,) = (await full.http.get(URL, params={"status": "active"})).json()["sessions"]
    await full.http.delete(f"{URL}/{first['session_id']}")
    assert (await creating).status_code == 201


async def test_invalid_requests_to_a_full_pool_get_their_own_error(full: Running) -> None:
    for body, headers, status in (
        ("{", JSON, 422),
        ("[]", JSON, 422),
        ('{"wait_seconds": "long"}', JSON, 422),
        ("{}", {**JSON, "X-API-Key": "bs_wrong"}, 401),
        ("{}", {**JSON, "Idempotency-Key": "x" * 256}, 422),
    ):
        assert (await full.http.post(URL, content=body, headers=headers)).status_code == status, (body, headers)
        assert not +full.inside.pool.admission.refused
