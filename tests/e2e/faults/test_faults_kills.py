"""Browsers, renderers and the driver killed and stopped under a running service. scripts/faults.py does it a hundred
times and prints the figures."""

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


def happened(took: Took, *names: str) -> None:
    """Each was told in the end; within how many seconds is what scripts/faults.py holds."""
    assert {name for name, seconds in took.items() if seconds} == set(names)


@pytest.mark.slow
async def test_a_killed_browser_and_renderer_are_told_in_status_events_and_close_code(service: Running) -> None:
    killed = ("browser killed, in status", "browser killed, in events", "browser killed, client closed")
    happened(await kill_browsers(service, 3), *killed)
    happened(await kill_renderers(service, 3), "renderer killed, in pages", "renderer killed, in events")


@pytest.mark.slow
async def test_what_stands_still_is_replaced_and_can_be_deleted(service: Running) -> None:
    happened(await stop_browsers(service, 1), "browser stopped, in status", "browser stopped, replaced")
    happened(await stop_driver(service, 1), "driver stopped, in status", "driver stopped, replaced")
    happened(await delete_hung(service, 2), "hung page, deleted", "hung browser, deleted")
