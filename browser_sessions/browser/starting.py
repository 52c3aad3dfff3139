"""Starts one browser, or leaves nothing of the attempt."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from browser_sessions.browser import group, leftovers
from browser_sessions.browser.calls import Calls, TargetClosed
from browser_sessions.browser.deadline import Deadline
from browser_sessions.browser.driver import Driver
from browser_sessions.browser.flags import environment, flags
from browser_sessions.browser.process import Launched
from browser_sessions.browser.targets import TargetRegistry
from browser_sessions.cdp import CdpClosed, CdpError, Connection
from browser_sessions.model.clock import Clock
from browser_sessions.model.errors import BrowserGone, BrowserTimeout, NoBrowser, PageFailed

LAUNCH_SECONDS: Final = 15.0
"""For a browser to be ready. It takes 0.1 s on an idle machine; under a herd of starts on two cores it was seen to
take seconds."""
PORT_SECONDS: Final = 1.0
"""How long after its start a browser may take to write down its debugging port. It does so before it answers on the
pipe, or within milliseconds; one whose port was taken never does."""
CONNECT_SECONDS: Final = 3.0
"""For a connection on loopback; it takes 2 ms."""
_LOOK_SECONDS: Final = 0.005
_PORT_FILE: Final = "DevToolsActivePort"
"""In the profile folder: the port, and the path of the browser's WebSocket. Written by Chromium once it listens."""
_PROFILE_FLAG: Final = "--user-data-dir="


class PortTaken(Exception):
    """Somebody else got the port between our choosing it and Chromium's using it."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What all browsers of a launcher have in common."""

    executable: Path
    sandbox: bool
    run: leftovers.RunFolder
    clock: Clock


async def start_browser(recipe: Recipe, driver: Driver, calls: Calls, *, timeout: float = LAUNCH_SECONDS) -> Launched:
    """A running browser with its own connection. `calls` becomes the browser's.

    Raises `NoBrowser`, `PortTaken`; after these and after a cancellation nothing is left: no process, no folder.
    """
    browser_id = f"brw_{secrets.token_hex(6)}"
    marker = recipe.run.marker(browser_id)
    folder = recipe.run.path / browser_id
    began, deadline, port = time.time(), Deadline(timeout), _free_port()
    making = asyncio.create_task(asyncio.to_thread(recipe.run.browser_folder, browser_id))
    undo = AsyncExitStack()
    undo.push_async_callback(asyncio.to_thread, leftovers.remove, folder)
    undo.push_async_callback(asyncio.wait, {making})
    undo.push_async_callback(asyncio.to_thread, leftovers.end_marked, marker)
    try:
        await asyncio.shield(making)
        browser = await calls(
            driver.playwright.chromium.launch(
                executable_path=recipe.executable,
                args=flags(port, marker),
                env=environment(folder),
                chromium_sandbox=recipe.sandbox,
                headless=True,
                handle_sigint=False,  # the service decides what a signal ends, not the driver
                handle_sigterm=False,
                handle_sighup=False,
                timeout=timeout * 1000,
            ),
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
        await asyncio.to_thread(leftovers.record_process, folder, pid, marker)
        endpoint = await _endpoint(profile, port)
        connection = await _connect(endpoint)
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
        folders=(folder, profile),
    )


async def _undo(calls: Calls, driver: Driver, undo: AsyncExitStack, began: float) -> None:
    """Kills the browser and removes its folders. The driver's own launch fails as soon as its browser is dead; where
    there is no driver any more, nothing is waited for."""
    await undo.aclose()
    if not driver.alive:
        calls.end("Playwright's driver has died.")
        await asyncio.to_thread(group.reap_orphans, began)


def _free_port() -> int:
    """A port on loopback that is free now. Somebody may take it before Chromium does: see `PortTaken`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _profile(pid: int) -> Path:
    """The browser's profile folder, as its arguments say. Raises `NoBrowser`, `psutil.Error`."""
    for argument in psutil.Process(pid).cmdline():
        if argument.startswith(_PROFILE_FLAG):
            return Path(argument.removeprefix(_PROFILE_FLAG))
    raise NoBrowser("The browser does not say where its profile is.")


async def _endpoint(profile: Path, port: int) -> str:
    """The ws:// address of the browser. Raises `PortTaken`."""
    deadline = Deadline(PORT_SECONDS)
    while True:
        lines = (await asyncio.to_thread(_read, profile / _PORT_FILE)).split()
        if len(lines) == 2:
            if lines[0] != str(port):
                raise PortTaken
            return f"ws://127.0.0.1:{port}{lines[1]}"
        if deadline.left <= 0:
            raise PortTaken
        await asyncio.sleep(_LOOK_SECONDS)


async def _connect(endpoint: str) -> Connection:
    """Our own connection. Raises `PortTaken`: with its port taken on 127.0.0.1, Chromium falls back to [::1] and says
    nothing, and whoever has the port does not know our path."""
    try:
        return await Connection.open(endpoint, timeout=CONNECT_SECONDS)
    except (CdpClosed, TimeoutError) as error:
        raise PortTaken from error


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
