"""What tests with a real Chromium share: a launcher with its work folder, a small site, and waiting for conditions."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from browser_sessions.chromium.launch import folders
from browser_sessions.chromium.launch.user import browser_user
from browser_sessions.chromium.launcher import PlaywrightLauncher
from browser_sessions.chromium.ports import BrowserProcess
from browser_sessions.domain.clock import SystemClock
from tests.harness.sites.plain_site import Death, Site
from tests.harness.waiting import until

EXECUTABLE = Path(os.environ["TEST_BROWSER_EXECUTABLE"]) if "TEST_BROWSER_EXECUTABLE" in os.environ else None
"""The Chromium to test with, where it is not to be the one that the service would find."""


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    server = await asyncio.start_server(site.answer, "127.0.0.1", 0)
    site.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield site
    server.close()
    for writer in tuple(site.open):
        writer.transport.abort()
    await until(lambda: not site.open)
    await server.wait_closed()


@pytest.fixture
def work_dir(tmp_path: Path) -> Iterator[Path]:
    """Where the service would keep it: elsewhere, when the browsers' user cannot reach the test's folder."""
    work = folders.work_folder(tmp_path / "work", browser_user())
    yield work
    if not work.is_relative_to(tmp_path):
        shutil.rmtree(work, ignore_errors=True)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
async def launcher(work_dir: Path) -> AsyncIterator[PlaywrightLauncher]:
    """A started launcher. When the test is over, nothing may be left: no process, zombie or file in its work folder."""
    launcher = PlaywrightLauncher(work_dir, EXECUTABLE, False, SystemClock())
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    await launcher.start()
    yield launcher
    await launcher.stop()
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    assert left == [], "processes were left behind"
    assert list(work_dir.iterdir()) == [], "folders were left behind"


@pytest.fixture
def deaths() -> list[Death]:
    """What `on_death` has told: (browser id, reason)."""
    return []


@pytest.fixture
async def chromium(launcher: PlaywrightLauncher, deaths: list[Death]) -> BrowserProcess:
    """One running browser; the launcher's end is its end."""
    return await launcher.launch(lambda process, reason: deaths.append((process.browser_id, reason)))
