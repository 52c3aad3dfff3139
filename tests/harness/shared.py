"""A service, a browser and a client that tests use one after the other, because starting each takes long.

Each test finds them empty. After a failed test, or when they no longer respond, the next test gets new ones, so that
one failure does not cause another.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
from playwright.async_api import Browser, Playwright, async_playwright

from browser_sessions.chromium.launch import process_group
from browser_sessions.chromium.launch.executable import locate
from browser_sessions.chromium.launcher import PlaywrightLauncher
from browser_sessions.chromium.ports import BrowserProcess, ContextEvent, ContextHandle
from browser_sessions.chromium.process import ChromiumProcess
from browser_sessions.domain.clock import SystemClock
from browser_sessions.domain.errors import BrowserSessionsError
from browser_sessions.domain.session import EndReason
from browser_sessions.domain.session_spec import SessionSpec
from browser_sessions.pool.browsers.fleet import Retiring
from tests.harness.console_page import is_kept
from tests.harness.service import Running, running
from tests.harness.waiting import until

Death = tuple[str, EndReason]
"""Arguments of an `on_death` call: browser id and reason."""
FAILED: Final = pytest.StashKey[bool]()
"""In a test's stash: whether it has failed, set before its fixtures are torn down."""
RESPONSE_S: Final = 10.0
"""A browser that does not respond within this time is replaced."""
KEPT_IDLE: Final = 2
"""Idle browsers kept after a test: the administrator's and one other caller's. The rest are closed."""


class SharedService:
    """The service in this process."""

    def __init__(self, new_folder: Callable[[], Path], **settings: Any) -> None:
        """`settings` are those of `browser_sessions.settings`; `new_folder` creates an empty folder."""
        self._new_folder = new_folder
        self._settings = settings
        self._running: Running | None = None
        self._stack = AsyncExitStack()

    async def take(self) -> Running:
        if self._running is None:
            self._running = await self._stack.enter_async_context(
                running(self._new_folder() / "data", **self._settings)
            )
        return self._running

    @asynccontextmanager
    async def lent(self, test: pytest.Item) -> AsyncIterator[Running]:
        """For one test."""
        yield await self.take()
        await self.give_back(failed=test.stash.get(FAILED, False))

    async def give_back(self, *, failed: bool) -> None:
        """Ends the test's sessions and clients, or the whole service if it failed."""
        if failed or not await self._tidied():
            await self.close()

    async def close(self) -> None:
        self._running = None
        await self._stack.aclose()

    async def _tidied(self) -> bool:
        """Cleans up. False if the service is not fit for the next test."""
        assert self._running is not None
        pool, gateway = self._running.inside.pool, self._running.inside.gateway
        fleet = pool.fleet
        try:
            for session_id in list(pool.registry.sessions):
                await pool.end(session_id, EndReason.DELETED)
            await until(
                lambda: not pool.registry.sessions and not pool.admission.taken and not pool.admission.waiting,
                within=RESPONSE_S,
                what="every session has ended",
            )
            await until(lambda: not gateway._relays, within=RESPONSE_S, what="every client has disconnected")
            idle = sorted(
                (
                    (slot, process)
                    for slot, process in fleet.running
                    if slot.partition is not None and not isinstance(slot.state, Retiring)
                ),
                key=lambda each: each[0].served,
            )
            for slot, process in idle[:-KEPT_IDLE]:
                fleet._retire(slot, process, "its test has ended")
            await until(
                lambda: not any(isinstance(slot.state, Retiring) for slot in fleet.slots),
                within=RESPONSE_S,
                what="every retired browser has ended",
            )
            for _, process in fleet.running:
                await process.probe(timeout=RESPONSE_S)
        except (AssertionError, BrowserSessionsError):
            return False
        return fleet.working and not fleet.failures


class SharedPlaywright:
    """Playwright as a client. Its driver is a process of its own, which takes half a second to start."""

    def __init__(self) -> None:
        self._playwright: Playwright | None = None
        self._stack = AsyncExitStack()

    @asynccontextmanager
    async def lent(self, test: pytest.Item) -> AsyncIterator[Playwright]:
        """For one test, which closes its connections, or fails and closes all."""
        yield await self.take()
        if test.stash.get(FAILED, False):
            await self.close()

    async def take(self) -> Playwright:
        if self._playwright is None:
            self._playwright = await self._stack.enter_async_context(async_playwright())
        return self._playwright

    async def close(self) -> None:
        self._playwright = None
        await self._stack.aclose()


class SharedOperator:
    """An operator's browser for the console, driven by Playwright directly."""

    def __init__(self, playwright: SharedPlaywright) -> None:
        self._playwright = playwright
        self._browser: Browser | None = None

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[Browser]:
        """For one test."""
        if self._browser is None or not self._browser.is_connected():
            playwright = await self._playwright.take()
            executable = locate(None).executable
            self._browser = await playwright.chromium.launch(executable_path=executable, chromium_sandbox=False)
        yield self._browser
        for context in self._browser.contexts:
            if not is_kept(context):
                await context.close()

    async def close(self) -> None:
        browser, self._browser = self._browser, None
        if browser is not None:
            await browser.close()


class SharedBrowser:
    """A launcher with one browser, or with those of a test."""

    def __init__(self, work_dir: Path, executable: Path | None) -> None:
        self._work_dir = work_dir
        self._executable = executable
        self._launcher: PlaywrightLauncher | None = None
        self._process: ChromiumProcess | None = None
        self._opened: list[ContextHandle] = []
        self._deaths: list[Death] = []

    @asynccontextmanager
    async def lent(self, test: pytest.Item, deaths: list[Death]) -> AsyncIterator[ChromiumProcess]:
        """For one test; the browser's end is reported in `deaths`."""
        yield await self.take(deaths)
        await self.give_back(failed=test.stash.get(FAILED, False))

    async def take(self, deaths: list[Death]) -> ChromiumProcess:
        self._deaths = deaths
        if self._process is None:
            process = await (await self._started()).launch(self._died)
            assert isinstance(process, ChromiumProcess)
            self._process = self._recorded(process)
        return self._process

    @asynccontextmanager
    async def lent_launcher(self, test: pytest.Item) -> AsyncIterator[PlaywrightLauncher]:
        """For one test, without a browser. Closes the test's browsers; nothing else of it may be left."""
        launcher = await self._started()
        await self._end_browsers(launcher)
        await launcher._healthy_driver()  # a test before may have ended it
        before = self._left(launcher)
        yield launcher
        if test.stash.get(FAILED, False):
            await self.close()
        else:
            await self._end_browsers(launcher)
            await until(lambda: self._left(launcher) <= before, what="no process and no file is left behind")

    async def _started(self) -> PlaywrightLauncher:
        if self._launcher is None:
            self._launcher = PlaywrightLauncher(self._work_dir, self._executable, False, SystemClock())
            await self._launcher.start()
        return self._launcher

    async def _end_browsers(self, launcher: PlaywrightLauncher) -> None:
        self._process = None
        self._opened.clear()
        for process in launcher._processes:
            await process.close(timeout=RESPONSE_S)
        await launcher._sweeping.finished()

    def _left(self, launcher: PlaywrightLauncher) -> set[int | str]:
        """Our descendants and the launcher's files. The driver, which a test may have ended, has the number 0 and the
        folder "driver"."""
        driver = launcher._driver
        assert driver is not None
        process_group.reap_orphans()  # as after the end of a browser: some exit late
        processes = {child.pid for child in psutil.Process().children(recursive=True)}
        files = {os.fspath(path.relative_to(self._work_dir)) for path in self._work_dir.rglob("*")}
        return {0 if pid == driver.pid else pid for pid in processes} | {
            file.replace(driver.folder.name, "driver") for file in files
        }

    async def give_back(self, *, failed: bool) -> None:
        if failed or not await self._tidied():
            await self.close()

    async def close(self) -> None:
        launcher, self._launcher, self._process = self._launcher, None, None
        self._opened.clear()
        if launcher is not None:
            await launcher.stop()
            assert list(self._work_dir.iterdir()) == [], "folders were left behind"

    def _died(self, process: BrowserProcess, reason: EndReason) -> None:
        self._deaths.append((process.browser_id, reason))

    def _recorded(self, process: ChromiumProcess) -> ChromiumProcess:
        """Records the contexts that it opens, to close them after the test."""
        open_context = process.open_context

        async def recorded(
            spec: SessionSpec, folder: Path, on_event: Callable[[ContextEvent], None], **options: Any
        ) -> ContextHandle:
            self._opened.append(handle := await open_context(spec, folder, on_event, **options))
            return handle

        process.open_context = recorded  # type: ignore[method-assign]
        return process

    async def _tidied(self) -> bool:
        process, opened = self._process, self._opened[:]
        self._opened.clear()
        if process is None or not process.alive:
            return False
        with contextlib.suppress(BrowserSessionsError):
            for handle in opened:
                await handle.close(timeout=RESPONSE_S)
            await process.probe(timeout=RESPONSE_S)
            return process.context_count == 0
        return False
