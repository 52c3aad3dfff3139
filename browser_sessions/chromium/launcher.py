"""Launches browsers with one executable, one sandbox setting and one driver, which is replaced when it dies."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from browser_sessions.background_tasks import Background
from browser_sessions.cdp import CdpClosed, CdpError
from browser_sessions.chromium.browser_start import LaunchOptions, start_browser
from browser_sessions.chromium.context.spare_contexts import RunningCreates
from browser_sessions.chromium.driver.driver_endpoint import LocalEndpoint
from browser_sessions.chromium.driver.driver_process import Driver, can_run_driver
from browser_sessions.chromium.driver.playwright_calls import Calls
from browser_sessions.chromium.launch import cleanup, process_group
from browser_sessions.chromium.launch.child import SANDBOX_FAILED
from browser_sessions.chromium.launch.executable import BrowserFound, locate, sandbox_expected
from browser_sessions.chromium.launch.user import BrowserUser, browser_user, can_run, driver_user
from browser_sessions.chromium.ports import BrowserProcess
from browser_sessions.chromium.process import ChromiumProcess, Launched, OnDeath
from browser_sessions.domain.clock import Clock
from browser_sessions.domain.download_ledger import DEFAULT_QUOTA_BYTES
from browser_sessions.domain.errors import NoBrowser, SettingsError
from browser_sessions.egress.egress import Egress, EgressPort

LAUNCH_TRIES: Final = 4
"""A launch is retried with a new driver if the driver died, and without the sandbox if that could not be set up."""
VERIFY_SECONDS: Final = 10.0
"""Timeout of each call that verifies that a page runs in the sandbox; milliseconds on an idle machine."""
CLOSE_SECONDS: Final = 5.0
"""Grace period of each browser at shutdown; usually 50 ms."""
REQUIRE_SANDBOX: Final = "BROWSER_SESSIONS_REQUIRE_SANDBOX"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Started:
    """What each launch needs: the executable, the folder of this run, and where the driver connects to."""

    found: BrowserFound
    run: cleanup.RunFolder
    endpoint: LocalEndpoint


class PlaywrightLauncher:
    """Implements `chromium.ports.BrowserLauncher`.

    After `start`: `sandbox` is whether Chromium's sandbox is used, `sandbox_reason` why not,
    `version` Chromium's version (empty until the first launch), `user` and `driver_user` the users that Chromium and
    Playwright's driver run as, None for our own, `driver_reason` why the driver is root, if it is.
    """

    def __init__(
        self,
        work_dir: Path,
        executable: Path | None,
        require_sandbox: bool,
        clock: Clock,
        file_bytes: int = DEFAULT_QUOTA_BYTES,
        ready_contexts: int = 1,
        egress: Egress | None = None,
        spare_contexts: int = 0,
    ) -> None:
        """`egress` is the proxy of everything that contexts and browsers load; None: they connect directly."""
        self.user: BrowserUser | None = None
        self.driver_user: BrowserUser | None = None
        self.driver_reason = ""
        self.sandbox = False
        self.sandbox_reason = ""
        self.version = ""
        self._work_dir = work_dir
        self._executable = executable
        self._require_sandbox = require_sandbox
        self._clock = clock
        self._file_bytes = file_bytes
        self._ready_contexts = ready_contexts
        self._egress = egress
        self._spare_contexts = spare_contexts
        self._creates = RunningCreates()
        self._refusing: EgressPort | None = None
        self._if_started: Started | None = None
        self._driver: Driver | None = None
        self._driver_lock = asyncio.Lock()
        self._launching: dict[Calls, Driver] = {}
        self._processes: set[ChromiumProcess] = set()
        self._devices: dict[str, dict[str, Any]] = {}
        self._sweeping = Background()
        self._stopping = False
        self._sandbox_verified = False
        """Whether a page has run in the sandbox."""

    def __repr__(self) -> str:
        return f"<PlaywrightLauncher {len(self._processes)} browsers, {len(self._launching)} starting>"

    @property
    def own_ports(self) -> frozenset[int]:
        """TCP ports that it listens on, for the driver."""
        return frozenset() if self._if_started is None else frozenset({self._if_started.endpoint.port})

    @property
    def executable(self) -> Path:
        """After `start`."""
        return self._started.found.executable

    @property
    def _started(self) -> Started:
        assert self._if_started is not None, "start() was called"
        return self._if_started

    @property
    def devices(self) -> dict[str, dict[str, Any]]:
        return self._devices

    async def start(self) -> None:
        found = await asyncio.to_thread(locate, self._executable)
        self.user, self.sandbox, self.sandbox_reason = await _choose_user(found.executable)
        if self._require_sandbox and not self.sandbox:
            raise SettingsError(
                f"{REQUIRE_SANDBOX} is set, but Chromium's sandbox cannot be used here. {self.sandbox_reason}"
            )
        process_group.adopt_orphans()
        for line in await asyncio.to_thread(cleanup.sweep, self._work_dir):
            log.warning("browser.leftovers_swept", found=line)
        endpoint = await LocalEndpoint.open()
        try:
            run = await asyncio.to_thread(cleanup.RunFolder.create, self._work_dir, self.user)
        except OSError as error:
            endpoint.close()
            raise SettingsError(f"The work folder {self._work_dir} cannot be used: {error.strerror}") from error
        self._if_started = Started(found, run, endpoint)
        await self._choose_driver_user(run)
        if self._egress is not None:
            self._refusing = await self._egress.refusing()
        driver = await self._healthy_driver()
        self._devices = {name: dict(values) for name, values in driver.playwright.devices.items()}
        if not self.sandbox:
            log.warning("browser.no_sandbox", reason=self.sandbox_reason)
        if self.driver_reason:
            log.warning("browser.driver_is_root", reason=self.driver_reason)

    async def _choose_driver_user(self, run: cleanup.RunFolder) -> None:
        user = driver_user()
        if user is not None:
            folder = await asyncio.to_thread(run.driver_folder, user)
            if await can_run_driver(folder, user):
                self.driver_user = user
            else:
                self.driver_reason = f"The user {user.name} cannot run Playwright's driver, so it runs as root."
            await asyncio.to_thread(cleanup.remove, folder)

    async def launch(self, on_death: OnDeath) -> BrowserProcess:
        for tries_left in reversed(range(LAUNCH_TRIES)):
            driver = await self._healthy_driver()
            try:
                return await self._launch(driver, on_death)
            except NoBrowser as error:
                if self.sandbox and not self._sandbox_verified and SANDBOX_FAILED in error.detail:
                    self._disable_sandbox(error)
                # retried with a new driver if this one died
                elif driver.alive or self._stopping or tries_left == 0:
                    raise
        raise AssertionError("the last try returns or raises")

    async def stop(self) -> None:
        self._stopping = True
        await asyncio.gather(*(process.close(timeout=CLOSE_SECONDS) for process in tuple(self._processes)))
        async with self._driver_lock:
            if self._driver is not None:
                await self._driver.stop()
        if self._refusing is not None:
            await self._refusing.close()
        await self._sweeping.finished()
        if (started := self._if_started) is not None:
            started.endpoint.close()
            await asyncio.to_thread(cleanup.end_marked, started.run.marker(""))
            await asyncio.to_thread(started.run.remove)
            await asyncio.to_thread(process_group.reap_orphans)

    async def _launch(self, driver: Driver, on_death: OnDeath) -> ChromiumProcess:
        calls = Calls()
        self._launching[calls] = driver
        try:
            started = self._started
            options = LaunchOptions(
                started.found,
                self.user,
                self.sandbox,
                started.run,
                started.endpoint,
                self._clock,
                self._file_bytes,
                self._ready_contexts,
                self._spare_contexts,
                self._creates,
                self._egress,
                None if self._refusing is None else self._refusing.server,
            )
            launched = await start_browser(options, driver, calls)
            if self.sandbox and not self._sandbox_verified:
                await self._verify_sandbox(launched)
        except NoBrowser:
            driver.suspect = True
            raise
        finally:
            del self._launching[calls]
        try:
            process = ChromiumProcess(launched, started=self._clock.monotonic(), on_death=on_death)
        except ProcessLookupError as error:
            await self._discard(launched)
            raise NoBrowser("Chromium exited right after its start.") from error
        self._processes = {each for each in self._processes if not each.cleaned} | {process}
        self.version = process.version
        return process

    async def _healthy_driver(self) -> Driver:
        """The driver for the next launch: the running one if it responds, else a new one. Raises `NoBrowser`."""
        async with self._driver_lock:
            if self._stopping:
                raise NoBrowser("The service is shutting down.")
            driver = self._driver
            if driver is not None and driver.alive:
                if not driver.suspect or await driver.responds():
                    driver.suspect = False
                    return driver
                log.error("browser.driver_hung", pid=driver.pid)
                await driver.stop(timeout=0.0)
            folder = await asyncio.to_thread(self._started.run.driver_folder, self.driver_user)
            self._driver = await Driver.start(folder, self._driver_exited, user=self.driver_user)
            log.info("browser.driver_started", pid=self._driver.pid)
            return self._driver

    def _driver_exited(self, driver: Driver) -> None:
        for calls, used in self._launching.items():
            if used is driver:
                calls.end("Playwright's driver has died.")
        orphans = [process for process in self._processes if process.driver is driver]
        if not self._stopping:
            log.error("browser.driver_died", pid=driver.pid, browsers=len(orphans))
        for process in orphans:
            process.driver_died()
        _ = self._sweeping.run(self._sweep_after(driver, orphans))

    async def _sweep_after(self, driver: Driver, orphans: list[ChromiumProcess]) -> None:
        """Removes the folder of a dead driver once its browsers are gone."""
        for process in orphans:
            await process.wait_cleaned()
        await asyncio.to_thread(shutil.rmtree, driver.folder, ignore_errors=True)

    async def _verify_sandbox(self, launched: Launched) -> None:
        """Opens a page, because only the first renderer shows whether the sandbox works. Raises `NoBrowser`."""
        root, timeout = launched.cdp.root, VERIFY_SECONDS
        try:
            created = await root.call("Target.createTarget", {"url": "about:blank"}, timeout=timeout)
            page = await launched.cdp.page(created["targetId"], timeout=timeout)
            if page is None:
                raise CdpClosed("its page is gone")
            await page.call("Runtime.evaluate", {"expression": "1"}, timeout=timeout)
            await root.call("Target.closeTarget", created, timeout=timeout)
        except (CdpError, CdpClosed, TimeoutError) as error:
            await launched.child.wait(timeout=CLOSE_SECONDS if isinstance(error, CdpClosed) else 0.0)
            reason = launched.child.start_error()
            await self._discard(launched)
            raise NoBrowser(f"Chromium did not start: {reason}.") from None
        self._sandbox_verified = True

    def _disable_sandbox(self, error: NoBrowser) -> None:
        """Raises `SettingsError` if the sandbox is required."""
        self.sandbox, self.sandbox_reason = False, f"{SANDBOX_FAILED} on this system."
        if self._require_sandbox:
            raise SettingsError(f"{REQUIRE_SANDBOX} is set, but {self.sandbox_reason}") from error
        log.warning("browser.no_sandbox", reason=self.sandbox_reason)

    async def _discard(self, launched: Launched) -> None:
        launched.link.close()
        launched.cdp.close()
        await asyncio.to_thread(cleanup.discard, launched.child.pid, launched.folders)
        launched.child.close()
        launched.child.reap()


async def _choose_user(executable: Path) -> tuple[BrowserUser | None, bool, str]:
    """(user that Chromium runs as, None for our own; whether its sandbox is expected to work; if not, why)."""
    user = browser_user()
    if user is not None and not await can_run(executable, user):
        problem = f"The user {user.name} ({user.uid}) cannot run {executable}, so Chromium runs as root"
        return None, False, f"{problem}: install one that all users can run, or run the service as an ordinary user."
    sandbox, reason = sandbox_expected(user)
    return user, sandbox, "" if sandbox else reason
