"""Fixtures and hooks of all tests."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
from asyncio import constants
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
import structlog
from hypothesis import HealthCheck, settings
from playwright.async_api import Browser

from browser_sessions.chromium.launch import cleanup, folders
from tests.harness.paths import TESTS
from tests.harness.service import devtools
from tests.harness.shared import FAILED, SharedOperator, SharedPlaywright

# Browsers and tests share two slow cores, so the duration of an example is no property of the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

# Debug mode records a stack with each callback; whole ones take twice the time.
constants.DEBUG_STACK_DEPTH = 1  # type: ignore[misc]

# By default structlog shows each frame's variables in colour, which takes seconds for one exception.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)


SHARED_LOOP: Final = tuple(TESTS / name for name in ("browser", "e2e"))
"""Tests in these folders run in the session's event loop, because they share a service and browsers."""


SLOW_TO_COLLECT: Final = TESTS / "api" / "test_schemathesis.py"
"""Its cases are generated when it is collected, which takes longer than the collection of all other tests. No file
takes longer to run either."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if collection_path == SLOW_TO_COLLECT and config.option.markexpr == "not slow" else None


LONGEST_FIRST: Final = (
    SLOW_TO_COLLECT,
    TESTS / "browser" / "gateway" / "test_windows.py",
    TESTS / "e2e" / "test_benches.py",
    TESTS / "unit" / "gateway" / "test_gateway_isolation.py",
    *(TESTS / "browser" / "chromium" / f"test_browser_{name}.py" for name in ("ready", "faults", "launcher")),
    TESTS / "e2e",
    TESTS / "browser",
)
"""Files and folders whose tests take longest: the processes of a run then end at about the same time. Before the others
that share a service come those that close it."""


@functools.cache
def rank(path: Path) -> int:
    """The place of a file in the run. Cached, because 4,000 tests ask and comparing paths is slow."""
    return next((n for n, each in enumerate(LONGEST_FIRST) if path.is_relative_to(each)), len(LONGEST_FIRST))


@functools.cache
def in_shared_loop(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in SHARED_LOOP)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: rank(item.path))
    for item in items:
        if in_shared_loop(item.path) and isinstance(item, pytest.Function) and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            if "plain_loop" not in item.fixturenames:
                item.fixturenames.insert(0, "plain_loop")


@pytest.fixture(scope="session", autouse=True)
def shared_devtools(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp()
    devtools.folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "devtools"
    devtools.folder.mkdir(exist_ok=True)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def plain_loop() -> None:
    """Turns off asyncio's debug mode, which doubles the load of a service in this loop; unit tests keep it on."""
    asyncio.get_running_loop().set_debug(False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_playwright() -> AsyncIterator[SharedPlaywright]:
    shared = SharedPlaywright()
    yield shared
    await shared.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_operator(shared_playwright: SharedPlaywright) -> AsyncIterator[SharedOperator]:
    shared = SharedOperator(shared_playwright)
    yield shared
    await shared.close()


@pytest_asyncio.fixture(loop_scope="session")
async def operator(shared_operator: SharedOperator) -> AsyncIterator[Browser]:
    """The browser in which an operator opens the console."""
    async with shared_operator.lent() as browser:
        yield browser


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture(scope="session", autouse=True)
def state_swept() -> Iterator[None]:
    """Removes work folders that killed servers left behind: as root they are outside the tests' temporary folders.
    Runs that are still alive, including other users', are skipped."""
    yield
    for work in folders.STATE.glob("*") if os.geteuid() == 0 else ():
        with contextlib.suppress(FileNotFoundError):  # the other process of this run removes it at the same time
            cleanup.sweep(work)
            if not list(work.glob("run-*")):
                shutil.rmtree(work / "sessions", ignore_errors=True)
                folders.remove_if_empty(work)
