"""A herd of creates over HTTP: with a fake browser where only the service is looked at, else with a real one."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest

from browser_sessions.domain.session import EndReason
from tests.harness.fakes.fake_node import node
from tests.harness.scenarios.herd import WAIT_S
from tests.harness.scenarios.herd_callers import all_at_once
from tests.harness.service import serving
from tests.harness.waiting import until

LIMIT = 10


async def test_five_hundred_creates_at_a_limit_of_ten_never_exceed_it_and_leave_nothing(tmp_path: Path) -> None:
    async with node(tmp_path, max_sessions=LIMIT) as service:
        keys = [await service.key() for _ in range(4)]
        most, refusals, served = 0, list[float](), 0

        async def one(number: int) -> None:
            nonlocal most, served
            began = time.perf_counter()
            answer = await service.client.post(
                "/v1/browser/sessions",
                json={"wait_seconds": random.choice([0, 0, 20])},
                headers=random.choice(keys),
            )
            most = max(most, sum(len(process.contexts) for process in service.launcher.processes))
            if answer.status_code == 503:
                assert int(answer.headers["Retry-After"]) >= 5
                refusals.append(time.perf_counter() - began)
                return
            assert answer.status_code == 201, answer.text
            served += 1
            await service.pool.end(answer.json()["session_id"], EndReason.DELETED)

        creates = [asyncio.create_task(one(number)) for number in range(500)]
        await asyncio.gather(*creates)
        assert 0 < most <= LIMIT
        assert served >= LIMIT
        assert refusals
        assert service.pool.admission.taken == service.pool.admission.waiting == 0
        assert not service.pool.registry.sessions


async def test_five_hundred_callers_who_leave_leave_nothing(tmp_path: Path) -> None:
    async with node(tmp_path, max_sessions=LIMIT) as service:
        headers = await service.key()

        async def leaves() -> None:
            asking = asyncio.create_task(
                service.client.post("/v1/browser/sessions", json={"wait_seconds": 20}, headers=headers)
            )
            await asyncio.wait({asking}, timeout=random.uniform(0, 0.05))
            if not asking.cancel():
                await service.pool.end(asking.result().json()["session_id"], EndReason.DELETED)

        for _ in range(10):
            await asyncio.gather(*(leaves() for _ in range(50)))
        async with asyncio.timeout(30):
            while service.pool.registry.sessions or service.pool.admission.taken or service.pool.admission.waiting:
                for session in [s for s in service.pool.registry.sessions.values() if s.status == "active"]:
                    await service.pool.end(session.session_id, EndReason.DELETED)  # made in the moment of leaving
                await asyncio.sleep(0.01)
        assert sum(len(process.contexts) for process in service.launcher.processes) == 0


@pytest.mark.slow
async def test_who_waits_is_served_in_the_order_of_asking_and_in_turn_with_others(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", max_sessions=1) as service:
        assert service.process is not None
        ann, ben, cyd = [await service.key(name=name) for name in ("ann", "ben", "cyd")]
        holds = await service.create()
        herd = [ann] * 12 + [ben] * 3 + [cyd] * 3
        asks = [(key, 4 * WAIT_S) for key in herd]
        port = int(service.url.rpartition(":")[2])
        asking = asyncio.create_task(all_at_once(port, service.process.pid, asks))

        async def all_wait() -> bool:
            pool = (await service.http.get("/v1/browser/pool")).json()
            assert pool["taken"] == 1
            return bool(pool["queue"] == len(herd))

        await until(all_wait, what="the herd stands in line", every=0.05)
        refused = await service.http.post("/v1/browser/sessions", json={"wait_seconds": 0})
        assert refused.status_code == 503
        await service.http.delete(f"/v1/browser/sessions/{holds['session_id']}")
        told = await asking
    assert {ask.status for ask in told} == {201}
    served = [(ask.key, ask.created_at) for ask in sorted(told, key=lambda ask: ask.answered)]
    # The order of asking is the server's: of what comes in one moment, the system may hand it one before the other.
    asked = sorted(((ask.key, ask.created_at) for ask in told), key=lambda ask: ask[1])
    for key in (ann, ben, cyd):
        assert [ask for ask in served if ask[0] == key] == [ask for ask in asked if ask[0] == key], "first come"
    in_turn = list(dict.fromkeys(key for key, _ in asked))
    assert [key for key, _ in served] == in_turn * 3 + [ann] * 9, "in turn"
