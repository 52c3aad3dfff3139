"""Bursts of creates over HTTP: with a fake browser where only the service is tested, else with a real one."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest

from browser_sessions.domain.session import EndReason
from tests.harness.fakes.fake_node import node
from tests.harness.scenarios.burst import WAIT_S
from tests.harness.scenarios.burst_callers import all_at_once
from tests.harness.service import serving
from tests.harness.waiting import until

LIMIT = 10


async def test_five_hundred_creates_at_a_limit_of_ten_never_exceed_it_and_leave_nothing(tmp_path: Path) -> None:
    async with node(tmp_path, max_sessions=LIMIT) as service:
        keys = [await service.key() for _ in range(4)]
        most, refusals, served = 0, list[float](), 0

        async def one(number: int) -> None:
            nonlocal most, served
            started_at = time.perf_counter()
            response = await service.client.post(
                "/v1/browser/sessions",
                json={"wait_seconds": random.choice([0, 0, 20])},
                headers=random.choice(keys),
            )
            most = max(most, sum(len(process.contexts) for process in service.launcher.processes))
            if response.status_code == 503:
                assert int(response.headers["Retry-After"]) >= 5
                refusals.append(time.perf_counter() - started_at)
                return
            assert response.status_code == 201, response.text
            served += 1
            await service.pool.end(response.json()["session_id"], EndReason.DELETED)

        creates = [asyncio.create_task(one(number)) for number in range(500)]
        await asyncio.gather(*creates)
        assert 0 < most <= LIMIT
        assert served >= LIMIT
        assert refusals
        assert service.pool.admission.taken == service.pool.admission.waiting == 0
        assert not service.pool.registry.sessions


async def test_five_hundred_creates_whose_callers_disconnect_leave_nothing(tmp_path: Path) -> None:
    async with node(tmp_path, max_sessions=LIMIT) as service:
        headers = await service.key()

        async def create_and_disconnect() -> None:
            creating = asyncio.create_task(
                service.client.post("/v1/browser/sessions", json={"wait_seconds": 20}, headers=headers)
            )
            await asyncio.wait({creating}, timeout=random.uniform(0, 0.05))
            if not creating.cancel():
                await service.pool.end(creating.result().json()["session_id"], EndReason.DELETED)

        for _ in range(10):
            await asyncio.gather(*(create_and_disconnect() for _ in range(50)))
        async with asyncio.timeout(30):
            while service.pool.registry.sessions or service.pool.admission.taken or service.pool.admission.waiting:
                for session in [s for s in service.pool.registry.sessions.values() if s.status == "active"]:
                    # created at the moment of the disconnect
                    await service.pool.end(session.session_id, EndReason.DELETED)
                await asyncio.sleep(0.01)
        assert sum(len(process.contexts) for process in service.launcher.processes) == 0


@pytest.mark.slow
async def test_waiting_creates_of_one_key_are_served_first_come_and_keys_take_turns(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", max_sessions=1) as service:
        assert service.process is not None
        ann, ben, cyd = [await service.key(name=name) for name in ("ann", "ben", "cyd")]
        holder = await service.create()
        callers = [ann] * 12 + [ben] * 3 + [cyd] * 3
        creates = [(key, 4 * WAIT_S) for key in callers]
        port = int(service.url.rpartition(":")[2])
        creating = asyncio.create_task(all_at_once(port, service.process.pid, creates))

        async def all_wait() -> bool:
            pool = (await service.http.get("/v1/browser/pool")).json()
            assert pool["taken"] == 1
            return bool(pool["queue"] == len(callers))

        await until(all_wait, what="all creates are queued", every=0.05)
        refused = await service.http.post("/v1/browser/sessions", json={"wait_seconds": 0})
        assert refused.status_code == 503
        await service.http.delete(f"/v1/browser/sessions/{holder['session_id']}")
        results = await creating
    assert {each.status for each in results} == {201}
    served = [(each.key, each.created_at) for each in sorted(results, key=lambda each: each.answered_at)]
    # The order of arrival is the server's: the system may deliver simultaneous requests in any order.
    arrived = sorted(((each.key, each.created_at) for each in results), key=lambda each: each[1])
    for key in (ann, ben, cyd):
        assert [each for each in served if each[0] == key] == [each for each in arrived if each[0] == key], "first come"
    turns = list(dict.fromkeys(key for key, _ in arrived))
    assert [key for key, _ in served] == turns * 3 + [ann] * 9, "in turn"
