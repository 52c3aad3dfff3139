"""Fixtures of tests with a real Chromium: a service, a browser and a small site."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Playwright

from browser_sessions.chromium.launch import folders
from browser_sessions.chromium.launch.user import browser_user
from browser_sessions.chromium.launcher import PlaywrightLauncher
from browser_sessions.chromium.process import ChromiumProcess
from tests.harness.service import Running, running
from tests.harness.shared import Death, SharedBrowser, SharedPlaywright, SharedService
from tests.harness.sites.plain_site import Site, plain_site

EXECUTABLE = Path(os.environ["TEST_BROWSER_EXECUTABLE"]) if "TEST_BROWSER_EXECUTABLE" in os.environ else None
"""The Chromium to test with, instead of the one that the service would find."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SharedService]:
    shared = SharedService(lambda: tmp_path_factory.mktemp("service"))
    yield shared
    await shared.close()


@pytest_asyncio.fixture(loop_scope="session")
async def service(shared_service: SharedService, request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    """The real service with default settings, in this process, with a real browser and a real database."""
    async with shared_service.lent(request.node) as service:
        yield service


@pytest_asyncio.fixture(loop_scope="session")
async def playwright(shared_playwright: SharedPlaywright, request: pytest.FixtureRequest) -> AsyncIterator[Playwright]:
    """Connects to sessions; the test closes its connections."""
    async with shared_playwright.lent(request.node) as playwright:
        yield playwright


@pytest_asyncio.fixture(loop_scope="session")
async def own_service(tmp_path: Path) -> AsyncIterator[Running]:
    """A service for one test that kills it or needs its counters at zero."""
    async with running(tmp_path / "data") as service:
        yield service


@pytest_asyncio.fixture(loop_scope="session")
async def site() -> AsyncIterator[Site]:
    async with plain_site() as site:
        yield site


@pytest.fixture
def work_dir(tmp_path: Path) -> Iterator[Path]:
    """The work folder that the service would use: elsewhere if the browsers' user cannot access the test's folder."""
    work = folders.work_folder(tmp_path / "work", browser_user())
    yield work
    if not work.is_relative_to(tmp_path):
        shutil.rmtree(work, ignore_errors=True)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter, unlike pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest_asyncio.fixture(loop_scope="session")
async def launcher(
    shared_service: SharedService, shared_browser: SharedBrowser, request: pytest.FixtureRequest
) -> AsyncIterator[PlaywrightLauncher]:
    """A started launcher, in which the test must leave no process, zombie or file. The shared service is closed first,
    because it starts and ends processes too."""
    await shared_service.close()
    async with shared_browser.lent_launcher(request.node) as launcher:
        yield launcher


@pytest.fixture
def deaths() -> list[Death]:
    return []


@pytest_asyncio.fixture(loop_scope="session")
async def own_chromium(launcher: PlaywrightLauncher, deaths: list[Death]) -> ChromiumProcess:
    """A browser for one test that ends it."""
    process = await launcher.launch(lambda process, reason: deaths.append((process.browser_id, reason)))
    assert isinstance(process, ChromiumProcess)
    return process


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SharedBrowser]:
    work_dir = folders.work_folder(tmp_path_factory.mktemp("browser") / "work", browser_user())
    shared = SharedBrowser(work_dir, EXECUTABLE)
    yield shared
    await shared.close()
    shutil.rmtree(work_dir, ignore_errors=True)


@pytest_asyncio.fixture(loop_scope="session")
async def chromium(
    shared_browser: SharedBrowser, deaths: list[Death], request: pytest.FixtureRequest
) -> AsyncIterator[ChromiumProcess]:
    """A running browser without a service, shared with other tests."""
    async with shared_browser.lent(request.node, deaths) as chromium:
        yield chromium
