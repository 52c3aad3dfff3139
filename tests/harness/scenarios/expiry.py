"""Many sessions reach their idle timeout or maximum lifetime while their list is read: how late each ends, and whether
one ends early."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.harness.service import Running


@dataclass
class Expiries:
    """Seconds; 0 if it did not happen."""

    early: float = 0.0
    """How long before its deadline a session was missing from the list of active ones."""
    listed_late: float = 0.0
    """How long after its deadline a session was still listed as active."""
    late: list[float] = field(default_factory=list)
    """From each session's deadline until its recorded end."""
    wrong: list[dict[str, Any]] = field(default_factory=list)
    """Sessions that did not expire, or whose deadline has changed: listing is not activity."""


async def expiries(service: Running, count: int, first_s: float) -> Expiries:
    """The deadlines are spread over eight seconds, the first `first_s` after the create."""
    seen, gate, due = Expiries(), asyncio.Semaphore(8), dict[str, float]()

    async def create(n: int) -> None:
        limit = {"idle_timeout_seconds" if n % 2 else "max_lifetime_seconds": first_s + n % 8}
        async with gate:
            created = await service.create(**({"idle_timeout_seconds": None} | limit))
        due[created["session_id"]] = _moment(created["expires_at"])

    creating = asyncio.gather(*(create(n) for n in range(count)))
    active, all_created = set[str](), False
    while active or not all_created:
        all_created, requested_at, known = creating.done(), time.time(), dict(due)
        listed = (await service.http.get("/v1/browser/sessions", params={"status": "active", "limit": 500})).json()
        responded_at, active = time.time(), {each["session_id"] for each in listed["sessions"]}
        seen.listed_late = max([seen.listed_late, *(requested_at - due[each] for each in active & known.keys())])
        seen.early = max([seen.early, *(due[each] - responded_at for each in known.keys() - active)])
        await asyncio.sleep(0.1)
    await creating
    for session_id, moment in due.items():
        ended = await service.details(session_id)
        seen.late.append(_moment(ended["ended_at"]) - moment)
        if ended["status"] != "expired" or _moment(ended["expires_at"]) != moment:
            seen.wrong.append(ended)
    return seen


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
