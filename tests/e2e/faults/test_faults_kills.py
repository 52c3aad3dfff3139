"""Browsers, renderers and the driver killed and stopped under a running service. scripts/faults.py does it a hundred
times and prints the figures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness.crowd import promised
from tests.harness.scenarios.kills import Took, delete_hung, kill_browsers, kill_renderers, stop_browsers, stop_driver
from tests.harness.service import Running, serving

pytestmark = pytest.mark.browser


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Running]:
    async with serving(tmp_path / "data", max_sessions=10) as service:
        yield service


def within(took: Took, seconds: float) -> None:
    allowed = promised(seconds)
    late = {name: max(each) for name, each in took.items() if max(each) > allowed}
    assert not late, f"more than {seconds} s: {late}"


@pytest.mark.slow
async def test_a_killed_browser_and_renderer_are_told_in_status_events_and_close_code(service: Running) -> None:
    within(await kill_browsers(service, 3), 1.0)
    within(await kill_renderers(service, 3), 1.0)


@pytest.mark.slow
async def test_what_stands_still_is_replaced_and_can_be_deleted(service: Running) -> None:
    within(await stop_browsers(service, 1), 5.0)
    within(await stop_driver(service, 1), 5.0)
    deleted = await delete_hung(service, 2)
    within({"page": deleted["hung page, deleted"]}, 1.0)
    within({"browser": deleted["hung browser, deleted"]}, 5.0)
