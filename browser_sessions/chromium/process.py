"""One running Chromium process group: its contexts, health and termination."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from playwright.async_api import Browser, CDPSession

from browser_sessions.background_tasks import Background
from browser_sessions.cdp import Browser as CdpBrowser
from browser_sessions.cdp import CdpClosed, CdpError
from browser_sessions.chromium.context.context_host import Host
from browser_sessions.chromium.context.context_opening import (
    dispose,
    is_usable,
    open_context,
    prepare_spare,
)
from browser_sessions.chromium.context.spare_contexts import Prepared, RunningCreates, Spares
from browser_sessions.chromium.downloads.download_events import DownloadEvents
from browser_sessions.chromium.driver.driver_process import Driver
from browser_sessions.chromium.driver.playwright_calls import Calls, TargetClosed
from browser_sessions.chromium.driver.playwright_link import PlaywrightLink
from browser_sessions.chromium.launch import cleanup, process_group
from browser_sessions.chromium.launch.child import Child
from browser_sessions.chromium.launch.exit_watch import ExitWatch
from browser_sessions.chromium.launch.user import BrowserUser
from browser_sessions.chromium.page_registry import PageRegistry
from browser_sessions.chromium.ports import (
    ANY_TIME,
    Assign,
    BrowserProcess,
    ContextEvent,
    ContextHandle,
    Permit,
    leave_unassigned,
)
from browser_sessions.chromium.renderers import Renderers
from browser_sessions.domain.clock import Clock
from browser_sessions.domain.errors import BrowserGone, BrowserTimeout
from browser_sessions.domain.session import EndReason
from browser_sessions.domain.session_spec import Isolation, SessionSpec
from browser_sessions.egress.egress import BrowserEgress

EXIT_SECONDS: Final = 0.05
"""Limit for how it exited to be known: milliseconds after it has closed its pipe, and a wrapper script has seen it."""

SPARE_SECONDS: Final = 30.0
"""Limit for the preparation of a spare context, which takes 40 ms."""

OnDeath = Callable[[BrowserProcess, EndReason], None]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Launched:
    """The results of a launch."""

    browser_id: str
    pid: int
    version: str
    child: Child
    """The leader of the process group, which may be a wrapper script."""
    cdp: CdpBrowser
    link: PlaywrightLink
    browser: Browser
    session: CDPSession
    """A browser-level CDP session through Playwright's driver."""
    calls: Calls
    driver: Driver
    user: BrowserUser | None
    clock: Clock
    file_bytes: int
    ready_contexts: int
    """Number of contexts to keep ready for creates."""
    spare_contexts: int
    """Most contexts to prepare with the options of earlier creates."""
    creates: RunningCreates
    egress: BrowserEgress | None
    folders: tuple[Path, ...]
    """Removed when the browser has exited."""


class ChromiumProcess:
    """Implements `chromium.ports.BrowserProcess`."""

    def __init__(self, launched: Launched, *, started: float, on_death: OnDeath) -> None:
        self.browser_id = launched.browser_id
        self.pid = launched.pid
        self.process_group = launched.child.pid
        self.version = launched.version
        self.cdp = launched.cdp
        self.started = started
        self.driver = launched.driver
        self._browser = launched.browser
        self._session = launched.session
        self._child = launched.child
        self._link = launched.link
        self._registry = PageRegistry(launched.cdp)
        self._calls = launched.calls
        self._folders = launched.folders
        self._on_death = on_death
        self.context_count = 0
        self.exit: str | None = None
        self._closing = False
        """Whether its end was requested."""
        self._exiting: asyncio.Task[None] | None = None
        self._cleaning: asyncio.Task[None] | None = None
        self._background = Background()
        self._downloads = DownloadEvents(self.cdp, self._registry)
        self._host = Host(
            browser=self._browser,
            calls=self._calls,
            link=self._link,
            cdp=self.cdp,
            registry=self._registry,
            downloads=self._downloads,
            user=launched.user,
            clock=launched.clock,
            file_bytes=launched.file_bytes,
            egress=launched.egress,
            background=self._background,
            alive=lambda: self.alive,
        )
        self._renderers = Renderers(self.process_group)
        self._watch = ExitWatch(self.pid, self._exited)
        self.cdp.closed.add_done_callback(lambda _: self._exited())
        self._link.on_lost = self._link_lost
        self._ready_contexts = launched.ready_contexts
        self._spare_contexts = launched.spare_contexts
        self._spares = Spares(
            self._spare_contexts,
            through_relay=launched.egress is not None,
            creates=launched.creates,
            prepare=self._prepare_spare,
            usable=lambda spare: is_usable(self._host, spare),
            dispose=self._dispose,
        )
        self._disposing: set[str] = set()
        """Spare contexts that are closing."""
        self.keep_ready(True)

    def __repr__(self) -> str:
        return f"<ChromiumProcess {self.browser_id} pid {self.pid} {'alive' if self.alive else 'gone'}>"

    @property
    def alive(self) -> bool:
        return self._cleaning is None and self._watch.alive

    @property
    def cleaned(self) -> bool:
        """Whether it has exited and its cleanup is complete."""
        return self._cleaning is not None and self._cleaning.done()

    async def open_context(
        self,
        spec: SessionSpec,
        folder: Path,
        on_event: Callable[[ContextEvent], None],
        *,
        timeout: float,
        assign: Assign = leave_unassigned,
        permit: Permit = ANY_TIME,
    ) -> ContextHandle:
        if not self.alive:
            raise BrowserGone("The browser has ended.")
        try:
            return await open_context(self._host, self._spares, spec, folder, on_event, assign, permit, timeout=timeout)
        finally:
            if spec.isolation is Isolation.BROWSER:  # no other session will use this browser
                self._ready_contexts = self._spare_contexts = 0
                self.keep_ready(False)

    def keep_ready(self, on: bool) -> None:
        self._link.ready.keep(self._ready_contexts if on else 0)
        self._spares.keep(self._spare_contexts if on else 0)

    @property
    def ready_count(self) -> int:
        return len(self._link.ready)

    @property
    def spare_count(self) -> int:
        return len(self._spares)

    @property
    def unused_contexts(self) -> set[str]:
        """Contexts that are being prepared, ready or being disposed of: no session or client has used them."""
        return self._link.ready.context_ids | self._spares.context_ids | self._disposing

    async def _prepare_spare(self, options: SessionSpec) -> Prepared:
        with self._link.ready.create(suitable=False):
            return await prepare_spare(self._host, options, timeout=SPARE_SECONDS)

    def _dispose(self, spare: Prepared) -> None:
        self._disposing.add(spare.context_id)
        closing = self._background.run(dispose(self._host, spare))
        closing.add_done_callback(lambda _: self._disposing.discard(spare.context_id))

    async def _probe_driver(self, timeout: float) -> None:
        """A coroutine of its own, because Playwright's call must not be created before it is awaited: the probe may be
        cancelled in between."""
        await self._calls(self._session.send("Browser.getVersion"), timeout=timeout)

    async def probe(self, *, timeout: float) -> None:
        """Probes the pipe and Playwright's driver concurrently: sessions need both."""
        direct, through_driver = await asyncio.gather(
            self.cdp.root.call("Target.getBrowserContexts", timeout=timeout),
            self._probe_driver(timeout),
            return_exceptions=True,
        )
        for result in (direct, through_driver):
            if isinstance(result, (CdpClosed, CdpError, BrowserGone, TargetClosed)) or not self.alive:
                raise BrowserGone("The browser has ended.")
        if isinstance(direct, TimeoutError):
            raise BrowserTimeout(f"The browser did not respond to a probe within {timeout:g} s.")
        if isinstance(through_driver, BrowserTimeout):
            self.driver.suspect = True
            raise BrowserTimeout(f"Playwright's driver did not respond to a probe within {timeout:g} s.")
        for result in (direct, through_driver):
            if isinstance(result, BaseException):
                raise result
        if isinstance(direct, dict):
            self.context_count = len(set(direct["browserContextIds"]) - self.unused_contexts)
        self._registry.touch()

    def cpu_seconds(self) -> tuple[float, ...]:
        return process_group.cpu_seconds(self.pid), process_group.cpu_seconds(self.driver.pid)

    async def sample_renderers(self) -> None:
        await self._renderers.sample()

    async def kill_busiest_renderer(self) -> int | None:
        return await self._renderers.kill_busiest()

    async def memory_bytes(self) -> int:
        return await asyncio.to_thread(process_group.memory_bytes, self.process_group)

    async def close(self, *, timeout: float) -> None:
        self._closing = True
        try:
            if self.alive:
                await self.cdp.root.call("Browser.close", timeout=timeout)
        except TimeoutError:
            log.warning("browser.close_forced", pid=self.pid, seconds=timeout)
        except (CdpClosed, CdpError):
            pass  # it exited before its response
        finally:
            self._end(EndReason.BROWSER_DIED)
        await self.wait_cleaned()

    def kill(self) -> None:
        self._closing = True
        self._end(EndReason.BROWSER_HUNG)

    def driver_died(self) -> None:
        """Kills the browser, whose pages cannot be controlled without its driver, and reports its death."""
        self._end(EndReason.DRIVER_DIED)

    async def wait_cleaned(self) -> None:
        """Returns when the cleanup is complete; at once if the browser still runs."""
        if not self._watch.alive:
            self._end(EndReason.BROWSER_DIED)  # the loop has not run the callback yet
        if self._cleaning is not None:
            await asyncio.shield(self._cleaning)
            await self._background.finished()

    def _exited(self) -> None:
        """It has exited, or has closed its pipe."""
        if self._cleaning is None and self._exiting is None:
            self._exiting = asyncio.create_task(self._await_exit())

    async def _await_exit(self) -> None:
        await self._child.exits(timeout=EXIT_SECONDS)
        self._end(EndReason.BROWSER_DIED)

    def _link_lost(self) -> None:
        """The driver has closed its connection to this browser, which usually means that it is dying."""
        self.driver.suspect = True
        self._end(EndReason.DRIVER_DIED)

    def _end(self, reason: EndReason) -> None:
        """The only way to end the browser: kills it, cleans up, and reports its death if it was not requested. Runs
        once."""
        if self._cleaning is not None:
            return
        self.exit = self._child.how_it_exited()
        process_group.kill(self.process_group)
        self._calls.end("The browser has ended.")
        self._registry.stop()
        self._spares.close()
        self._downloads.stop()
        self._cleaning = asyncio.create_task(self._clean(requested=self._closing))
        if self._closing:
            return
        try:
            self._on_death(self, reason)
        except Exception:  # the cleanup goes on
            log.exception("browser.listener_failed", pid=self.pid)

    async def _clean(self, *, requested: bool) -> None:
        if not await process_group.wait_gone(self.process_group):
            log.error("browser.survived_kill", pid=self.pid, process_group=self.process_group)
        self._watch.stop()
        self._link.close()
        self.cdp.close()
        self._child.reap()
        if not requested and (error := self._child.last_fatal_error()) is not None:
            log.error("browser.fatal_error", pid=self.pid, error=error)
        self._child.close()
        await asyncio.to_thread(process_group.reap_orphans)
        await self._calls.drain()
        if not await asyncio.to_thread(cleanup.remove, *self._folders):
            log.error("browser.folder_not_removed", folders=[str(folder) for folder in self._folders])
