"""Playwright's driver (a Node process) as a watched process: its start, its death, its certain end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import playwright
import psutil
import structlog
from playwright.async_api import Error, Playwright, async_playwright

from browser_sessions.chromium.launch.exit_watch import ExitWatch
from browser_sessions.domain.errors import NoBrowser

START_SECONDS: Final = 20.0
"""Node needs half a second to load the driver; a machine under a herd of starts was seen to need ten times that."""
STOP_SECONDS: Final = 5.0
"""What a polite end may take before the driver is killed: it waits for its connections, which are gone by then."""
PING_SECONDS: Final = 2.0
"""A round trip to a living driver takes 5 ms."""
_DRIVER_ARGUMENT: Final = "run-driver"
"""The driver's last argument: tells it from other children of ours that start at the same moment."""
_NODE_SETTING: Final = "PLAYWRIGHT_NODEJS_PATH"
"""Playwright's own: the Node that it starts."""
_PASSED_ON: Final = (
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "LD_LIBRARY_PATH",
    "PW_LANG_NAME",  # which language its client speaks, in its version and its error messages
    "PW_LANG_NAME_VERSION",
    "PW_CLI_DISPLAY_VERSION",
)
"""The driver's whole environment: none of ours, none of the machine's secrets, no proxy that its own connection to us
would go through."""
_LOST_PIPE: Final = "Connection closed while reading from the driver"

log = structlog.get_logger()


class Driver:
    """One driver process. `dead` is a future that is done when it has ended, asked or unasked."""

    def __init__(self, playwright: Playwright, pid: int, folder: Path, on_exit: Callable[[Driver], None]) -> None:
        self.playwright = playwright
        self.pid = pid
        self.folder = folder
        """Its TMPDIR."""
        self.suspect = False
        """Something waited for it in vain; ask it before the next use."""
        self.dead: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_exit = on_exit
        self._watch = ExitWatch(pid, self._ended)

    @property
    def alive(self) -> bool:
        """False as soon as its files are closed: its browsers end with it, and must not look as if they had died
        first."""
        return self._watch.alive and not self._watch.exiting

    @classmethod
    async def start(cls, folder: Path, on_exit: Callable[[Driver], None], *, timeout: float = START_SECONDS) -> Driver:
        """Starts a driver whose temporary folder is `folder`. `on_exit` is called once when it ends. Raises
        `NoBrowser`."""
        _hush(asyncio.get_running_loop())
        me = psutil.Process()
        before = {child.pid for child in me.children()}
        try:
            apart = await asyncio.to_thread(_apart, folder)
        except OSError as error:
            raise NoBrowser(f"Playwright's driver did not start: {error}") from error
        starting = asyncio.create_task(_start({"TMPDIR": str(folder), **apart}))
        try:
            done, _ = await asyncio.wait({starting}, timeout=timeout)
            if not done:
                raise NoBrowser(f"Playwright's driver did not start within {timeout:g} s. Is the machine overloaded?")
            playwright = starting.result()
            pid = next(pid for pid in _drivers(me) if pid not in before)
            return cls(playwright, pid, folder, on_exit)
        except (Error, OSError, StopIteration) as error:
            raise NoBrowser(f"Playwright's driver did not start: {error}") from error
        finally:
            if not starting.done() or starting.cancelled() or starting.exception() is not None:
                for pid in _drivers(me):
                    if pid not in before:
                        _kill(pid)
                starting.cancel()
                await asyncio.wait({starting})

    async def answers(self, *, timeout: float = PING_SECONDS) -> bool:
        """True when the driver answers a round trip within `timeout` seconds."""
        ping = asyncio.create_task(_ping(self.playwright))
        await asyncio.wait({ping, self.dead}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if ping.done():
            return not ping.cancelled() and ping.exception() is None
        ping.cancel()
        return False

    async def stop(self, *, timeout: float = STOP_SECONDS) -> None:
        """Ends the driver politely, kills it when that takes more than `timeout` seconds, returns when it is gone."""
        if self.alive:
            stopping = asyncio.create_task(self.playwright.stop())
            try:
                await asyncio.wait({stopping, self.dead}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self.kill()
                await asyncio.wait({self.dead})
                await asyncio.wait({stopping}, timeout=timeout)
                stopping.cancel()
        else:
            await asyncio.wait({self.dead})

    def kill(self) -> None:
        """SIGKILL, now. The launcher ends its browsers: nobody else can drive their sessions' pages."""
        if self.alive:
            _kill(self.pid)

    def _ended(self) -> None:
        if not self.dead.done():
            self.dead.set_result(None)
        self._on_exit(self)


async def _start(environment: Mapping[str, str]) -> Playwright:
    """Starts Playwright with more in the environment, which it hands on to the driver and has no options for.

    The environment is put back at once; `tempfile` has made up its mind before, so nobody else is led into our folder.
    """
    tempfile.gettempdir()
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        return await async_playwright().start()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _apart(folder: Path) -> dict[str, str]:
    """Environment in which Playwright starts its Node through a script of ours: with the few variables that it needs,
    and in a session of its own. A signal to our process group (a process manager's SIGTERM, a terminal that closes)
    reaches the server alone then, and sessions may finish.

    Empty where nothing in `folder` may be run: the driver has our environment then, from which `settings.load` has
    taken our secrets. No session of its own where the system has no setsid(1). The driver ends with its pipe to us
    either way. Raises `OSError`. Blocks: for threads.
    """
    node = os.environ.get(_NODE_SETTING) or str(Path(playwright.__file__).parent / "driver" / "node")
    setsid = shutil.which("setsid")
    if shutil.which(node) is None:
        return {}
    words = ["exec env -i", *(f'${{{name}+"{name}=${name}"}}' for name in _PASSED_ON)]
    words += [shlex.quote(each) for each in (setsid, node) if each is not None]
    script = folder / "node"
    script.write_text("#!/bin/sh\n" + " ".join([*words, '"$@"']) + "\n", encoding="utf-8")
    script.chmod(0o700)
    return {_NODE_SETTING: str(script)} if os.access(script, os.X_OK) else {}


async def _ping(playwright: Playwright) -> None:
    await (await playwright.request.new_context()).dispose()


def _drivers(me: psutil.Process) -> list[int]:
    """Children of ours that are Playwright drivers."""
    found = []
    for child in me.children():
        with contextlib.suppress(psutil.Error):
            if _DRIVER_ARGUMENT in child.cmdline():
                found.append(child.pid)
    return found


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class _Hush:
    """An exception handler of the loop that knows one message to be no news, and hands on everything else.

    When the driver dies, Playwright puts an exception into a future that it never reads, and asyncio reports that as
    an error. We know of the death from the system already.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._next = loop.get_exception_handler()

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if _LOST_PIPE in str(context.get("exception", "")):
            return
        if self._next is None:
            loop.default_exception_handler(context)
        else:
            self._next(loop, context)


def _hush(loop: asyncio.AbstractEventLoop) -> None:
    if not isinstance(loop.get_exception_handler(), _Hush):
        loop.set_exception_handler(_Hush(loop))
