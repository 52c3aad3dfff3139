"""A pending call counts as activity: the session does not reach its idle timeout meanwhile."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from browser_sessions.chromium.context.action_queue import Action
from browser_sessions.chromium.context.context import Context
from tests.harness.service import Running
from tests.harness.sites.plain_site import Site
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

IDLE_S = 2.5
WORK_MS = 7500
"""Three times the idle timeout."""
EVALUATE = f"new Promise(done => setTimeout(() => done('done'), {WORK_MS}))"


async def test_a_script_that_runs_longer_than_the_idle_timeout_returns(service: Running) -> None:
    session_id = (await service.create(idle_timeout_seconds=IDLE_S))["session_id"]
    working = asyncio.create_task(service.evaluate(session_id, EVALUATE))
    latest = await _last_activity(service, session_id)
    while not working.done():
        found = await service.get(session_id)
        used = datetime.fromisoformat(found["last_activity"])
        assert found["status"] == "active"
        assert used >= latest, "last_activity must not decrease"
        assert datetime.fromisoformat(found["expires_at"]) - used == timedelta(seconds=IDLE_S)
        latest = used
        await asyncio.sleep(0.25)
    assert await working == "done"
    await until(lambda: _is(service, session_id, "expired"), what="the session expires after the call")
    ended = await service.details(session_id)
    assert ended["end_reason"] == "idle_timeout"
    idle = datetime.fromisoformat(ended["ended_at"]) - datetime.fromisoformat(ended["last_activity"])
    assert idle >= timedelta(seconds=IDLE_S)


async def test_a_navigation_to_a_slow_site_is_activity_until_its_timeout(service: Running, site: Site) -> None:
    session_id = (await service.create(idle_timeout_seconds=IDLE_S))["session_id"]
    page = f"/v1/browser/sessions/{session_id}/pages/{await service.first_page(session_id)}"
    body = {"url": f"{site.url}/hang", "timeout_seconds": WORK_MS / 1000}
    began = datetime.now(UTC)
    response = await service.http.post(f"{page}/navigate", json=body)
    assert response.status_code == 504, response.text
    assert await _last_activity(service, session_id) >= began + 2 * timedelta(seconds=IDLE_S)


@pytest.mark.parametrize("end", ["max_lifetime", "deleted"])
async def test_calls_pending_when_the_session_ends_fail_with_the_end_reason(
    service: Running, site: Site, end: str
) -> None:
    """Including queued ones."""
    limit = {"max_lifetime_seconds": 5.0} if end == "max_lifetime" else {}
    session_id = (await service.create(**limit))["session_id"]
    page_id = await service.first_page(session_id)
    page = f"/v1/browser/sessions/{session_id}/pages/{page_id}"
    script = f"new Promise(done => setTimeout(done, {20_000}))"
    context = service.inside.pool.context(session_id)
    assert isinstance(context, Context)

    def queued(*actions: Action) -> bool:
        return [each.action for each in context._queue_of(page_id)._tickets] == list(actions)

    first = asyncio.create_task(service.http.post(f"{page}/evaluate", json={"expression": script}))
    await until(lambda: queued(Action.READ), what="the script is running, for which the navigation waits")
    navigation = asyncio.create_task(service.http.post(f"{page}/navigate", json={"url": f"{site.url}/hang"}))
    await until(
        lambda: queued(Action.READ, Action.NAVIGATE), what="the navigation is queued, for which the others wait"
    )
    calls = [
        first,
        navigation,
        asyncio.create_task(service.http.get(f"{page}/screenshot")),
        asyncio.create_task(service.http.get(f"{page}/content")),
    ]
    if end == "deleted":
        await until(lambda: len(context._queue_of(page_id)._tickets) == len(calls), what="the others are queued")
        await service.http.delete(f"/v1/browser/sessions/{session_id}")
    responses = await asyncio.gather(*calls)
    status = "expired" if end == "max_lifetime" else "closed"
    for response in responses:
        assert response.status_code == 409, response.text
        assert response.json()["detail"].startswith(f"The session is {status} ({end})"), response.text
        assert response.json()["session_id"] == session_id


async def _last_activity(service: Running, session_id: str) -> datetime:
    return datetime.fromisoformat((await service.get(session_id))["last_activity"])


async def _is(service: Running, session_id: str, status: str) -> bool:
    return bool((await service.get(session_id))["status"] == status)
