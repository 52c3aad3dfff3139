"""Browsers, renderers and the driver of a running service are killed and stopped. scripts/faults.py does the same a
hundred times and prints the times."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.harness.scenarios.kills import Took, delete_hung, kill_browsers, kill_renderers, stop_browsers, stop_driver
from tests.harness.service import Running, serving

pytestmark = pytest.mark.browser


@pytest_asyncio.fixture(loop_scope="session")
async def service(tmp_path: Path) -> AsyncIterator[Running]:
    async with serving(tmp_path / "data", max_sessions=10) as service:
        yield service


def assert_observed(took: Took, *names: str) -> None:
    """Each fault was observed at some time; scripts/faults.py checks the limits in seconds."""
    assert {name for name, seconds in took.items() if seconds} == set(names)


@pytest.mark.slow
async def test_a_killed_browser_and_renderer_are_reported_in_status_events_and_close_code(service: Running) -> None:
    killed = ("browser killed, in status", "browser killed, in events", "browser killed, client closed")
    assert_observed(await kill_browsers(service, 3), *killed)
    assert_observed(await kill_renderers(service, 3), "renderer killed, in pages", "renderer killed, in events")


@pytest.mark.slow
async def test_stopped_browsers_and_drivers_are_replaced_and_hung_sessions_can_be_deleted(service: Running) -> None:
    assert_observed(await stop_browsers(service, 1), "browser stopped, in status", "browser stopped, replaced")
    assert_observed(await stop_driver(service, 1), "driver stopped, in status", "driver stopped, replaced")
    assert_observed(await delete_hung(service, 2), "hung page, deleted", "hung browser, deleted")
