"""The downloads of a session, as its owner sees them."""

from __future__ import annotations

from typing import Any

from tests.harness.service import Running
from tests.harness.waiting import until


async def listed_downloads(service: Running, session_id: str) -> list[dict[str, Any]]:
    response = await service.http.get(f"/v1/browser/sessions/{session_id}/downloads")
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["downloads"]
    return found


async def ended_downloads(service: Running, session_id: str, count: int = 1) -> list[dict[str, Any]]:
    """The downloads, once there are `count` and none is under way."""

    async def all_ended() -> list[dict[str, Any]] | None:
        found = await listed_downloads(service, session_id)
        return found if len(found) == count and all(each["state"] != "in_progress" for each in found) else None

    found: list[dict[str, Any]] = await until(all_ended, what=f"{count} downloads have ended")
    return found
