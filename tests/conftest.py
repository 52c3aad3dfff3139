"""What every test shares."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings

from browser_sessions.chromium.launch import cleanup, folders
from tests.harness.service import Running, running

# Two slow cores are shared by browsers and tests: how long an example takes says nothing about the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


@pytest.fixture(scope="session", autouse=True)
def state_swept() -> Iterator[None]:
    """As root, work folders are not in the tests' own folders: what tests have left by killing servers goes at the end.
    Runs that live, somebody else's too, are left alone."""
    yield
    for work in folders.STATE.glob("*") if os.geteuid() == 0 else ():
        cleanup.sweep(work)
        if not list(work.glob("run-*")):
            shutil.rmtree(work / "sessions", ignore_errors=True)
            folders.remove_if_empty(work)


@pytest_asyncio.fixture
async def service(tmp_path: Path) -> AsyncIterator[Running]:
    """The real service on its defaults, in this process, with a real browser and a real database."""
    async with running(tmp_path / "data") as service:
        yield service
