"""Chromium itself limits how often a page changes its URL, before any event reaches us."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.service import Running
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

CHANGES = 2_000
WITHIN_TEN_SECONDS = 200
"""Chromium's limit: Blink's `NavigationRateLimiter`."""


@pytest.mark.parametrize("change", ["location.hash = i", "history.replaceState(0, '', '#' + i)"])
async def test_url_changes_of_a_page_are_limited(service: Running, change: str) -> None:
    session_id = (await service.create())["session_id"]
    handle: Any = service.inside.pool.context(session_id)
    changes: list[str] = []
    handle._inner.pages[0].on("framenavigated", lambda frame: changes.append(frame.url))
    await service.evaluate(session_id, f"(() => {{ for (let i = 0; i < {CHANGES}; i++) {change} }})()")
    assert await service.evaluate(session_id, "document.title = 'goes on'") == "goes on"
    await until(lambda: len(changes) >= WITHIN_TEN_SECONDS, what="the allowed changes are reported")
    assert len(changes) < CHANGES / 2
