"""Starts one browser. A failed attempt leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from playwright.async_api import Browser, CDPSession, Error

from browser_sessions.cdp import Browser as CdpBrowser
from browser_sessions.cdp import CdpClosed, CdpError
from browser_sessions.chromium.context.spare_contexts import RunningCreates
from browser_sessions.chromium.deadline import Deadline
from browser_sessions.chromium.driver.driver_endpoint import LocalEndpoint
from browser_sessions.chromium.driver.driver_process import Driver
from browser_sessions.chromium.driver.playwright_calls import Calls, TargetClosed
from browser_sessions.chromium.driver.playwright_link import PlaywrightLink
from browser_sessions.chromium.launch import cleanup, process_group
from browser_sessions.chromium.launch.child import Child, spawn
from browser_sessions.chromium.launch.executable import BrowserFound
from browser_sessions.chromium.launch.flags import environment, switches
from browser_sessions.chromium.launch.user import BrowserUser
from browser_sessions.chromium.process import Launched
from browser_sessions.domain.clock import Clock
from browser_sessions.domain.errors import BrowserGone, BrowserTimeout, NoBrowser, PageFailed
from browser_sessions.egress.egress import Egress

LAUNCH_SECONDS: Final = 15.0
"""Timeout of a launch: 0.1 s on an idle machine, seconds during many concurrent starts on two cores."""
EXIT_SECONDS: Final = 1.0
"""How long to wait for the exit of a browser that has closed its pipe, and for its error message."""


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """Options common to all browsers of a launcher."""

    found: BrowserFound
    user: BrowserUser | None
    """The user that browsers run as; None: our own."""
    sandbox: bool
    run: cleanup.RunFolder
    endpoint: LocalEndpoint
    """Where the driver connects."""
    clock: Clock
    file_bytes: int
    """Limit of one session's downloads in total, and of its uploads."""
    ready_contexts: int
    spare_contexts: int
    """Number of contexts that each browser keeps ready for creates."""
    creates: RunningCreates
    egress: Egress | None
    """Opens the proxy of each context. None: contexts use the session's own proxy, or none."""
    refusing: str | None
    """The proxy for everything outside contexts, which refuses it."""


async def start_browser(
    options: LaunchOptions, driver: Driver, calls: Calls, *, timeout: float = LAUNCH_SECONDS
) -> Launched:
    """Starts a browser and connects Playwright to it. `calls` becomes the browser's.

    Raises `NoBrowser`. An error or a cancellation leaves no process and no folder behind.
    """
    browser_id = f"brw_{secrets.token_hex(6)}"
    marker = options.run.marker(browser_id)
    deadline = Deadline(timeout)
    making = asyncio.create_task(
        asyncio.to_thread(options.run.browser_folder, browser_id, with_socket=options.found.kind == "full")
    )
    undo = AsyncExitStack()
    undo.push_async_callback(_remove_folder, making)
    egress = None if options.egress is None else options.egress.for_browser()
    child: Child | None = None
    try:
        folder = await asyncio.shield(making)
        child = await spawn(
            options.found.executable,
            switches(
                folder.profile,
                marker,
                sandbox=options.sandbox,
                proxy=options.refusing,
                trusted_key=None if egress is None else egress.certificate.spki_hash,
            ),
            environment(folder.home, folder.tmp),
            options.user,
        )
        undo.push_async_callback(asyncio.to_thread, process_group.end, child.pid)
        undo.callback(child.close)
        cdp = CdpBrowser(options.clock.wall)
        undo.callback(cdp.close)
        commands, messages = child.take()
        await cdp.open(messages, commands, timeout=deadline.left)
        version = await cdp.root.call("Browser.getVersion", timeout=deadline.left)
        processes = await cdp.root.call("SystemInfo.getProcessInfo", timeout=deadline.left)
        pid = int(next(each["id"] for each in processes["processInfo"] if each["type"] == "browser"))
        await asyncio.to_thread(cleanup.record_process, folder.path, pid, marker)
        link = await cdp.connect(lambda session: PlaywrightLink(session, cdp, egress), timeout=deadline.left)
        undo.callback(link.close)
        with options.endpoint.expect(link.socket) as address:
            browser = await calls(_connect(driver, address, timeout=deadline.left), timeout=deadline.left)
        session: CDPSession = await calls(browser.new_browser_cdp_session(), timeout=deadline.left)
    except BaseException as error:
        reason = await _start_error(child) if isinstance(error, CdpClosed) else ""
        await asyncio.shield(asyncio.create_task(_undo(undo, child)))
        if reason:
            raise NoBrowser(f"Chromium did not start: {reason}.") from None
        if isinstance(error, (PageFailed, TargetClosed, BrowserGone, BrowserTimeout, CdpClosed, CdpError)):
            raise NoBrowser(f"Chromium did not start: {error}") from error
        if isinstance(error, TimeoutError):
            raise NoBrowser(f"Chromium did not start: it did not respond within {timeout:g} s.") from error
        if isinstance(error, OSError):  # for example a full disk
            raise NoBrowser(f"Chromium did not start: {error!r}") from error
        raise
    return Launched(
        browser_id=browser_id,
        pid=pid,
        version=version["product"].partition("/")[2],
        child=child,
        cdp=cdp,
        link=link,
        browser=browser,
        session=session,
        calls=calls,
        driver=driver,
        user=options.user,
        clock=options.clock,
        file_bytes=options.file_bytes,
        ready_contexts=options.ready_contexts,
        spare_contexts=options.spare_contexts,
        creates=options.creates,
        egress=egress,
        folders=(folder.path, folder.tmp),
    )


async def _connect(driver: Driver, address: str, *, timeout: float) -> Browser:
    """Raises `NoBrowser`, without Playwright's message, which contains the address and so its secret."""
    try:
        return await driver.playwright.chromium.connect_over_cdp(address, timeout=timeout * 1000)
    except Error as error:
        raise NoBrowser(f"Playwright's driver could not connect to it ({type(error).__name__}).") from None


async def _start_error(child: Child | None) -> str:
    if child is None:
        return ""
    await child.wait(timeout=EXIT_SECONDS)
    return child.start_error()


async def _undo(undo: AsyncExitStack, child: Child | None) -> None:
    await undo.aclose()
    if child is not None:
        child.reap()


async def _remove_folder(making: asyncio.Task[cleanup.BrowserFolder]) -> None:
    with contextlib.suppress(OSError):
        folder = await making
        await asyncio.to_thread(folder.remove)
