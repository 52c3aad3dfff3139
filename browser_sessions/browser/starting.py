"""Starts one browser, or leaves nothing of the attempt."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
from playwright.async_api import Browser, Error

from browser_sessions.browser import debugport, group, leftovers
from browser_sessions.browser.calls import DETAIL_CHARACTERS, Calls, TargetClosed
from browser_sessions.browser.deadline import Deadline
from browser_sessions.browser.driver import Driver
from browser_sessions.browser.flags import LEFT_OUT, environment, flags
from browser_sessions.browser.locate import BrowserFound
from browser_sessions.browser.process import Launched
from browser_sessions.browser.targets import TargetRegistry
from browser_sessions.cdp import CdpClosed, CdpError, Connection
from browser_sessions.model.clock import Clock
from browser_sessions.model.errors import BrowserGone, BrowserTimeout, NoBrowser, PageFailed

LAUNCH_SECONDS: Final = 15.0
"""For a browser to be ready. It takes 0.1 s on an idle machine; under a herd of starts on two cores it was seen to
take seconds."""
CONNECT_SECONDS: Final = 3.0
"""For a connection on loopback; it takes 2 ms."""
SANDBOX_FAILED: Final = "Chromium sandboxing failed"
"""Playwright's words for it, whatever Chromium's were."""
COMPLAINT_LINES: Final = 3
"""Chromium's last words are the ones that count."""
_EXIT: Final = re.compile(r"<process did exit: (exitCode=\w+, signal=\w+)>")
_PROFILE_FLAG: Final = "--user-data-dir="


@dataclass(frozen=True, slots=True)
class Recipe:
    """What all browsers of a launcher have in common."""

    found: BrowserFound
    sandbox: bool
    run: leftovers.RunFolder
    clock: Clock
    download_bytes: int
    """What one session may download in all."""


async def start_browser(recipe: Recipe, driver: Driver, calls: Calls, *, timeout: float = LAUNCH_SECONDS) -> Launched:
    """A running browser with its own connection. `calls` becomes the browser's.

    Raises `NoBrowser`, `debugport.PortTaken`; after these and after a cancellation nothing is left: no process, no
    folder.
    """
    browser_id = f"brw_{secrets.token_hex(6)}"
    marker = recipe.run.marker(browser_id)
    began, deadline, port = time.time(), Deadline(timeout), debugport.free_port()
    making = asyncio.create_task(
        asyncio.to_thread(recipe.run.browser_folder, browser_id, with_socket=recipe.found.kind == "full")
    )
    undo = AsyncExitStack()
    undo.push_async_callback(_unmake, making)
    undo.push_async_callback(asyncio.to_thread, leftovers.end_marked, marker)
    try:
        folder = await asyncio.shield(making)
        browser = await calls(
            _launch(recipe, driver, flags(port, marker), folder, timeout=timeout),
            timeout=deadline.left,
            undo=lambda _late: asyncio.to_thread(leftovers.end_marked, marker),
        )
        session = await calls(browser.new_browser_cdp_session(), timeout=deadline.left)
        processes = await calls(session.send("SystemInfo.getProcessInfo"), timeout=deadline.left)
        pid = int(next(each["id"] for each in processes["processInfo"] if each["type"] == "browser"))
        process_group = group.group_of(pid)
        if process_group is None:
            raise NoBrowser("The browser ended while it was starting.")
        profile = await asyncio.to_thread(_profile, pid)
        undo.push_async_callback(asyncio.to_thread, leftovers.remove, profile)
        await asyncio.to_thread(leftovers.record_process, folder.path, pid, marker)
        endpoint = await debugport.endpoint(pid, profile, port)
        connection = await Connection.open(endpoint, timeout=CONNECT_SECONDS)
        undo.push_async_callback(connection.close)
        registry = TargetRegistry(connection, recipe.clock)
        await registry.start(timeout=deadline.left)
    except BaseException as error:
        await asyncio.shield(asyncio.create_task(_undo(calls, driver, undo, began)))
        if isinstance(error, (PageFailed, TargetClosed, BrowserGone, BrowserTimeout, CdpClosed, CdpError)):
            raise NoBrowser(f"Chromium did not start: {error}") from error
        if isinstance(error, (OSError, psutil.Error)):  # a full disk; TimeoutError is an OSError too
            raise NoBrowser(f"Chromium did not start: {error!r}") from error
        raise
    return Launched(
        browser_id=browser_id,
        pid=pid,
        process_group=process_group,
        endpoint=endpoint,
        browser=browser,
        session=session,
        connection=connection,
        registry=registry,
        calls=calls,
        driver=driver,
        clock=recipe.clock,
        download_bytes=recipe.download_bytes,
        folders=(folder.path, folder.tmp, profile),
    )


async def _unmake(making: asyncio.Task[leftovers.BrowserFolder]) -> None:
    with contextlib.suppress(OSError):
        folder = await making
        await asyncio.to_thread(folder.remove)


async def _launch(
    recipe: Recipe, driver: Driver, arguments: list[str], folder: leftovers.BrowserFolder, *, timeout: float
) -> Browser:
    """Raises `NoBrowser` with what Chromium said."""
    try:
        return await driver.playwright.chromium.launch(
            executable_path=recipe.found.executable,
            args=arguments,
            ignore_default_args=LEFT_OUT,
            env=environment(folder.home, folder.tmp),
            chromium_sandbox=recipe.sandbox,
            headless=True,
            handle_sigint=False,  # the service decides what a signal ends, not the driver
            handle_sigterm=False,
            handle_sighup=False,
            timeout=timeout * 1000,
        )
    except Error as error:
        raise NoBrowser(f"Chromium did not start: {complaint(error.message)}") from None


def complaint(message: str) -> str:
    """The few words of Playwright's launch log that say what went wrong. Pure.

    The log begins with a page of flags and paths, which are no caller's business.
    """
    if SANDBOX_FAILED in message:
        return f"{SANDBOX_FAILED}."
    said = [line.partition("[err]")[2].strip() for line in message.splitlines() if "[err]" in line]
    if fatal := [line for line in said if ":FATAL:" in line]:
        return fatal[0][:DETAIL_CHARACTERS]
    ended = _EXIT.search(message)
    if said or ended:
        return "; ".join([*said[-COMPLAINT_LINES:], *([f"it ended with {ended.group(1)}"] if ended else [])])[
            :DETAIL_CHARACTERS
        ]
    return message.splitlines()[0][:DETAIL_CHARACTERS]


async def _undo(calls: Calls, driver: Driver, undo: AsyncExitStack, began: float) -> None:
    """Kills the browser and removes its folders. The driver's own launch fails as soon as its browser is dead; where
    there is no driver any more, nothing is waited for."""
    await undo.aclose()
    if not driver.alive:
        calls.end("Playwright's driver has died.")
        await asyncio.to_thread(group.reap_orphans, began)


def _profile(pid: int) -> Path:
    """The browser's profile folder, as its arguments say. Raises `NoBrowser`, `psutil.Error`."""
    for argument in psutil.Process(pid).cmdline():
        if argument.startswith(_PROFILE_FLAG):
            return Path(argument.removeprefix(_PROFILE_FLAG))
    raise NoBrowser("The browser does not say where its profile is.")
