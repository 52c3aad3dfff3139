"""One Chromium process group while it runs: its contexts, its health, its certain end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from playwright.async_api import Browser, CDPSession

from browser_sessions.browser import group, leftovers
from browser_sessions.browser.attach import Attachments
from browser_sessions.browser.calls import Calls, TargetClosed
from browser_sessions.browser.download_events import DownloadEvents
from browser_sessions.browser.driver import Driver
from browser_sessions.browser.host import Host
from browser_sessions.browser.opening import open_context
from browser_sessions.browser.renderers import Renderers
from browser_sessions.browser.targets import TargetRegistry
from browser_sessions.browser.watch import ExitWatch
from browser_sessions.cdp import CdpClosed, CdpError, Connection
from browser_sessions.model.clock import Clock
from browser_sessions.model.errors import BrowserGone, BrowserSessionsError, BrowserTimeout
from browser_sessions.model.ports import BrowserProcess, ContextEvent, ContextHandle, WindowKeeper
from browser_sessions.model.session import EndReason
from browser_sessions.model.spec import SessionSpec

OnDeath = Callable[[BrowserProcess, EndReason], None]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Launched:
    """Everything that a launch has found out about its browser."""

    browser_id: str
    pid: int
    process_group: int
    endpoint: str
    browser: Browser
    session: CDPSession
    """A browser-level CDP session through Playwright's driver."""
    connection: Connection
    registry: TargetRegistry
    calls: Calls
    driver: Driver
    clock: Clock
    download_bytes: int
    folders: tuple[Path, ...]
    """Removed when the browser is gone."""


class ChromiumProcess:
    """Implements `model.ports.BrowserProcess`."""

    def __init__(self, launched: Launched, *, started: float, on_death: OnDeath) -> None:
        self.browser_id = launched.browser_id
        self.pid = launched.pid
        self.process_group = launched.process_group
        self.version = launched.browser.version
        self.endpoint = launched.endpoint
        self.started = started
        self.driver = launched.driver
        self._browser = launched.browser
        self._session = launched.session
        self._connection = launched.connection
        self._registry = launched.registry
        self._calls = launched.calls
        self._folders = launched.folders
        self._on_death = on_death
        self._asked = False
        self._cleaning: asyncio.Task[None] | None = None
        self._attachments = Attachments(launched.endpoint)
        self._downloads = DownloadEvents(self._connection, self._registry, self._attachments)
        self._host = Host(
            browser=self._browser,
            calls=self._calls,
            connection=self._connection,
            registry=self._registry,
            attachments=self._attachments,
            downloads=self._downloads,
            clock=launched.clock,
            download_bytes=launched.download_bytes,
            alive=lambda: self.alive,
        )
        self._renderers = Renderers(self.process_group)
        self._watch = ExitWatch(self.pid, self._exited)

    def __repr__(self) -> str:
        return f"<ChromiumProcess {self.browser_id} pid {self.pid} {'alive' if self.alive else 'gone'}>"

    @property
    def alive(self) -> bool:
        return self._cleaning is None and self._watch.alive

    @property
    def cleaned(self) -> bool:
        """True when it has ended and nothing is left of it."""
        return self._cleaning is not None and self._cleaning.done()

    async def open_context(
        self, spec: SessionSpec, folder: Path, on_event: Callable[[ContextEvent], None], *, timeout: float
    ) -> ContextHandle:
        if not self.alive:
            raise BrowserGone("The browser has ended.")
        return await open_context(self._host, spec, folder, on_event, timeout=timeout)

    async def _ask_driver(self, timeout: float) -> None:
        """A coroutine of its own, so that a probe that is cancelled before it begins leaves no call that nobody
        awaits."""
        await self._calls(self._session.send("Browser.getVersion"), timeout=timeout)

    async def probe(self, *, timeout: float) -> None:
        """Asks on our own connection and, at the same time, through Playwright's driver: sessions need both."""
        direct, through_driver = await asyncio.gather(
            self._connection.call("Browser.getVersion", timeout=timeout),
            self._ask_driver(timeout),
            return_exceptions=True,
        )
        for answer in (direct, through_driver):
            if isinstance(answer, (CdpClosed, CdpError, BrowserGone, TargetClosed)) or not self.alive:
                raise BrowserGone("The browser has ended.")
        if isinstance(direct, TimeoutError):
            raise BrowserTimeout(f"The browser did not answer a probe within {timeout:g} s.")
        if isinstance(through_driver, BrowserTimeout):
            self.driver.suspect = True
            raise BrowserTimeout(f"Playwright's driver did not answer a probe within {timeout:g} s.")
        for answer in (direct, through_driver):
            if isinstance(answer, BaseException):
                raise answer
        self._registry.touch()

    def keep_windows(self, keeper: WindowKeeper | None) -> None:
        self.driver.windows.keep(self.process_group, keeper)

    @property
    def windows_kept(self) -> bool:
        return self.driver.windows.held

    def cpu_seconds(self) -> tuple[float, ...]:
        return group.cpu_seconds(self.pid), group.cpu_seconds(self.driver.pid)

    async def look_at_pages(self) -> None:
        await self._renderers.look()

    async def end_loudest_page(self) -> int | None:
        return await self._renderers.end_loudest()

    async def memory_bytes(self) -> int:
        return await asyncio.to_thread(group.memory_bytes, self.process_group)

    async def close(self, *, timeout: float) -> None:
        self._asked = True
        try:
            if self.alive:
                await self._calls(self._browser.close(), timeout=timeout)
        except BrowserTimeout:
            log.warning("browser.close_forced", browser_id=self.browser_id, seconds=timeout)
        except (BrowserSessionsError, TargetClosed):
            pass  # it ended before it could answer, which is what was asked
        finally:
            self._end(EndReason.BROWSER_DIED)
        await self.wait_cleaned()

    def kill(self) -> None:
        self._asked = True
        self._end(EndReason.BROWSER_HUNG)

    def driver_died(self) -> None:
        """The driver is gone: whatever the browser still does, nobody can drive it. Kills it and tells."""
        self._end(EndReason.DRIVER_DIED)

    async def wait_cleaned(self) -> None:
        """Returns when the browser has ended and nothing is left of it; at once while it lives."""
        if not self._watch.alive:
            self._exited()  # the system knows already, the loop is about to hear it
        if self._cleaning is not None:
            await asyncio.shield(self._cleaning)

    def _exited(self) -> None:
        self._end(EndReason.BROWSER_DIED if self.driver.alive else EndReason.DRIVER_DIED)

    def _end(self, reason: EndReason) -> None:
        """The one door to the end: kills, cleans up, and tells if nobody asked for it. Once."""
        if self._cleaning is not None:
            return
        group.kill(self.process_group)
        self.keep_windows(None)
        self._calls.end("The browser has ended.")
        self._registry.stop()
        self._downloads.stop()
        self._cleaning = asyncio.create_task(self._clean())
        if self._asked:
            return
        log.warning("browser.died", browser_id=self.browser_id, pid=self.pid, reason=reason.value)
        try:
            self._on_death(self, reason)
        except Exception:  # a listener's bug must not stop the clean-up
            log.exception("browser.listener_failed", browser_id=self.browser_id)

    async def _clean(self) -> None:
        if not await group.wait_gone(self.process_group):
            log.error("browser.survived_kill", browser_id=self.browser_id, process_group=self.process_group)
        if not group.gone(self.process_group):
            self.driver.unburied.add(self.process_group)
        await asyncio.to_thread(group.reap_orphans)
        self._watch.stop()
        await self._attachments.close()
        await self._connection.close()
        await self._calls.drain()
        if not await asyncio.to_thread(leftovers.remove, *self._folders):
            log.error("browser.folder_not_removed", folders=[str(folder) for folder in self._folders])
