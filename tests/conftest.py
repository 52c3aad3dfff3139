"""What every test shares."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from hypothesis import HealthCheck, settings

from tests.service import Running, running

# Two slow cores are shared by browsers and tests: how long an example takes says nothing about the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


@pytest_asyncio.fixture
async def service(tmp_path: Path) -> AsyncIterator[Running]:
    """The real service on its defaults, in this process, with a real browser and a real database."""
    async with running(tmp_path / "data") as service:
        yield service
