"""A call that has no answer yet is use: the session does not idle out under it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tests.harness.service import Running
from tests.harness.sites.plain_site import Site
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

IDLE_S = 1.0
WORK_MS = 3000
"""Three times the idle timeout."""
EVALUATE = f"new Promise(done => setTimeout(() => done('done'), {WORK_MS}))"


async def test_a_script_that_works_longer_than_the_idle_timeout_gets_its_answer(service: Running) -> None:
    session_id = (await service.create(idle_timeout_seconds=IDLE_S))["session_id"]
    working = asyncio.create_task(service.evaluate(session_id, EVALUATE))
    latest = await _last_activity(service, session_id)
    while not working.done():
        found = await service.get(session_id)
        used = datetime.fromisoformat(found["last_activity"])
        assert found["status"] == "active"
        assert used >= latest, "activity never moves back"
        assert datetime.fromisoformat(found["expires_at"]) - used == timedelta(seconds=IDLE_S)
        latest = used
    assert await working == "done"
    await until(lambda: _is(service, session_id, "expired"), what="it is idle after its answer")
    ended = await service.details(session_id)
    assert ended["end_reason"] == "idle_timeout"
    idle = datetime.fromisoformat(ended["ended_at"]) - datetime.fromisoformat(ended["last_activity"])
    assert idle >= timedelta(seconds=IDLE_S)


async def test_a_navigation_to_a_slow_site_is_use_until_its_own_time_is_over(service: Running, site: Site) -> None:
    session_id = (await service.create(idle_timeout_seconds=IDLE_S))["session_id"]
    page = f"/v1/browser/sessions/{session_id}/pages/{await service.first_page(session_id)}"
    asked = {"url": f"{site.url}/hang", "timeout_seconds": WORK_MS / 1000}
    began = datetime.now(UTC)
    answer = await service.http.post(f"{page}/navigate", json=asked)
    assert answer.status_code == 504, answer.text
    assert await _last_activity(service, session_id) >= began + 2 * timedelta(seconds=IDLE_S)


@pytest.mark.parametrize("end", ["max_lifetime", "deleted"])
async def test_where_the_session_ends_during_calls_every_answer_says_why(
    service: Running, site: Site, end: str
) -> None:
    """Those that wait for their turn too."""
    limit = {"max_lifetime_seconds": 2.0} if end == "max_lifetime" else {}
    session_id = (await service.create(**limit))["session_id"]
    page = f"/v1/browser/sessions/{session_id}/pages/{await service.first_page(session_id)}"
    script = f"new Promise(done => setTimeout(done, {20_000}))"
    calls = [
        asyncio.create_task(service.http.post(f"{page}/evaluate", json={"expression": script})),
        asyncio.create_task(service.http.post(f"{page}/navigate", json={"url": f"{site.url}/hang"})),
        asyncio.create_task(service.http.get(f"{page}/screenshot")),
        asyncio.create_task(service.http.get(f"{page}/content")),
    ]
    if end == "deleted":
        inside = service.inside.pool.registry.sessions[session_id]
        await until(lambda: inside.in_use == len(calls))
        await service.http.delete(f"/v1/browser/sessions/{session_id}")
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*calls)
    status = "expired" if end == "max_lifetime" else "closed"
    for answer in answers:
        assert answer.status_code == 409, answer.text
        assert answer.json()["detail"].startswith(f"The session is {status} ({end})"), answer.text
        assert answer.json()["session_id"] == session_id


async def _last_activity(service: Running, session_id: str) -> datetime:
    return datetime.fromisoformat((await service.get(session_id))["last_activity"])


async def _is(service: Running, session_id: str, status: str) -> bool:
    return bool((await service.get(session_id))["status"] == status)
