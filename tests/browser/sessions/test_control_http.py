"""Actions over HTTP while somebody else has control."""

from __future__ import annotations

import asyncio

import pytest

from tests.harness.service import Running
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

SESSIONS = "/v1/browser/sessions"


async def test_actions_of_others_wait_for_the_control_lock_within_their_timeouts(service: Running) -> None:
    """The owner's wait while an admin has control; the admin's do not."""
    async with service.caller(await service.key("client", name="owner")) as owner:
        session_id = (await owner.post(SESSIONS, json={})).json()["session_id"]
        page = f"{SESSIONS}/{session_id}/pages/{await service.first_page(session_id)}"
        control = service.inside.pool.registry.live(session_id).control
        await service.http.post(f"{SESSIONS}/{session_id}/control", json={"action": "take"})

        for path, body in (("navigate", {"url": "about:blank"}), ("evaluate", {"expression": "document.title = 1"})):
            refused = await owner.post(f"{page}/{path}", json={**body, "timeout_seconds": 0.2})
            assert (refused.status_code, refused.json()["type"].rpartition(":")[2]) == (409, "conflict")
            assert refused.json()["detail"].startswith("admin has control, and did not release it within 0.2 s.")
        for path in ("screenshot", "content", "pdf"):
            assert (await owner.get(f"{page}/{path}")).status_code == 200, path
        assert await service.evaluate(session_id, "document.title") == "", "the holder's own, and before the owner's"

        calls = [
            owner.post(f"{page}/navigate", json={"url": "data:text/html,<title>owner's</title>"}),
            owner.post(f"{page}/evaluate", json={"expression": "2"}),
            owner.post(f"{SESSIONS}/{session_id}/pages"),
            owner.delete(page),
        ]
        waiting = [asyncio.ensure_future(call) for call in calls[:3]]
        await until(lambda: control.waiting == 3, what="the actions wait")
        assert not any(each.done() for each in waiting)
        await service.http.post(f"{SESSIONS}/{session_id}/control", json={"action": "release"})
        assert [each.status_code for each in await asyncio.gather(*waiting)] == [200, 200, 201]

        await service.http.post(f"{SESSIONS}/{session_id}/control", json={"action": "take"})
        closing = asyncio.ensure_future(calls[3])
        await until(lambda: control.waiting == 1, what="the action waits")
        ended = await service.http.delete(f"{SESSIONS}/{session_id}")
        assert ended.status_code < 300
        assert (await closing).json()["detail"].startswith("The session is closed")
