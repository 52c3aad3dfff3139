"""The process of Playwright's driver (Node): start, health check, exit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import playwright
import psutil
import structlog
from playwright.async_api import Error, Playwright, async_playwright

from browser_sessions.chromium.launch.exit_watch import ExitWatch
from browser_sessions.chromium.launch.user import BrowserUser
from browser_sessions.domain.errors import NoBrowser

START_SECONDS: Final = 20.0
"""Node needs half a second to load the driver; ten times that was measured during many concurrent starts."""
STOP_SECONDS: Final = 5.0
"""Grace period of a stop before the driver is killed. It waits for its connections, which are closed by then."""
PING_SECONDS: Final = 2.0
"""A round trip to a healthy driver takes 5 ms."""
_DRIVER_ARGUMENT: Final = "run-driver"
"""The driver's last argument, which distinguishes it from other children that start at the same time."""
_NODE_SETTING: Final = "PLAYWRIGHT_NODEJS_PATH"
"""Playwright's variable for the Node executable to start."""
_FILES: Final = Path(playwright.__file__).parent / "driver"
_INHERITED: Final = (
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "LD_LIBRARY_PATH",
    "PW_LANG_NAME",  # the client's programming language, for its version and error messages
    "PW_LANG_NAME_VERSION",
    "PW_CLI_DISPLAY_VERSION",
)
"""The driver's whole environment: no settings of ours, no secrets, no proxy for its connection to us."""
_PROBE_SECONDS: Final = 10.0
"""For Node to start and read a file, which takes 0.05 s."""
_NODE: Final = "/proc/self/fd/3 --preserve-symlinks --preserve-symlinks-main"
_PACKAGE: Final = "/proc/self/fd/4"
"""Node and the driver's files as descriptors that we open, so that the driver's user need not be able to enter their
folder, such as a virtual environment below /root. Without the options, Node would look for their real paths."""
_START_ABANDONED: Final = "Connection.initialize_playwright: "
_LOST_PIPE: Final = "Connection closed while reading from the driver"

log = structlog.get_logger()


class Driver:
    """One driver process. `dead` is done when it has exited, for whatever reason."""

    def __init__(self, playwright: Playwright, pid: int, folder: Path, on_exit: Callable[[Driver], None]) -> None:
        self.playwright = playwright
        self.pid = pid
        self.folder = folder
        """Of its wrapper script and its TMPDIR."""
        self.suspect = False
        """A launch through it failed: check that it responds before the next use."""
        self.dead: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_exit = on_exit
        self._watch = ExitWatch(pid, self._exited)

    @property
    def alive(self) -> bool:
        """False as soon as its files are closed: its browsers exit with it, and must not seem to have died first."""
        return self._watch.alive and not self._watch.exiting

    @classmethod
    async def start(
        cls,
        folder: Path,
        on_exit: Callable[[Driver], None],
        *,
        user: BrowserUser | None = None,
        timeout: float = START_SECONDS,
    ) -> Driver:
        """Starts a driver with its files in `folder`, as `user` if given. `on_exit` is called once, when it exits.
        Raises `NoBrowser`."""
        _ignore_lost_pipes(asyncio.get_running_loop())
        me = psutil.Process()
        before = {child.pid for child in me.children()}
        try:
            wrapper = await asyncio.to_thread(_node_wrapper, folder, user)
        except OSError as error:
            raise NoBrowser(f"Playwright's driver did not start: {error}") from error
        starting = asyncio.create_task(_start({"TMPDIR": str(folder / "tmp"), **wrapper}))
        try:
            done, _ = await asyncio.wait({starting}, timeout=timeout)
            if not done:
                raise NoBrowser(f"Playwright's driver did not start within {timeout:g} s. Is the machine overloaded?")
            playwright = starting.result()
            pid = next(pid for pid in _driver_pids(me) if pid not in before)
            return cls(playwright, pid, folder, on_exit)
        except (Error, OSError, StopIteration) as error:
            raise NoBrowser(f"Playwright's driver did not start: {error}") from error
        finally:
            if not starting.done() or starting.cancelled() or starting.exception() is not None:
                for pid in _driver_pids(me):
                    if pid not in before:
                        _kill(pid)
                starting.cancel()
                await asyncio.wait({starting})

    async def responds(self, *, timeout: float = PING_SECONDS) -> bool:
        """Whether the driver completes a round trip within `timeout` seconds."""
        ping = asyncio.create_task(_ping(self.playwright))
        await asyncio.wait({ping, self.dead}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if ping.done():
            return not ping.cancelled() and ping.exception() is None
        ping.cancel()
        return False

    async def stop(self, *, timeout: float = STOP_SECONDS) -> None:
        """Stops the driver, kills it after `timeout` seconds, and returns when it has exited."""
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
        """Sends SIGKILL. The launcher then ends its browsers, whose pages only this driver can control."""
        if self.alive:
            _kill(self.pid)

    def _exited(self) -> None:
        if not self.dead.done():
            self.dead.set_result(None)
        self._on_exit(self)


async def _start(environment: Mapping[str, str]) -> Playwright:
    """Starts Playwright with additional environment variables, which it passes to the driver and has no option for.

    They are removed afterwards. `gettempdir` is cached before, so that this process does not use the driver's TMPDIR.
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


async def can_run_driver(folder: Path, user: BrowserUser) -> bool:
    """Whether the driver can run as `user`, tried in a new driver's folder: Node starts and can read the driver's files
    and its TMPDIR."""
    return await asyncio.to_thread(_can_run_driver, folder, user)


def _can_run_driver(folder: Path, user: BrowserUser) -> bool:
    reads = (
        "const fs = require('fs'); fs.accessSync(process.argv[1], fs.constants.R_OK); fs.readdirSync(process.argv[2])"
    )
    try:
        script = _script(folder, user, f"{_NODE} -e {shlex.quote(reads)} {_PACKAGE}/cli.js")
        tried = subprocess.run(
            [script, "cli.js", folder / "tmp"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=_PROBE_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return tried.returncode == 0


def _node_wrapper(folder: Path, user: BrowserUser | None) -> dict[str, str]:
    """Environment with which Playwright starts Node through a wrapper script: with the few variables that it needs, as
    `user`, and in a session of its own, so that a signal to our process group (a process manager's SIGTERM, a closed
    terminal) does not kill the driver under sessions that may still finish.

    Empty if files in `folder` cannot be executed: the driver then inherits our environment, from which `settings.load`
    has removed our secrets. No session of its own if the system has no setsid(1). The driver exits with its pipe to us
    in any case. Raises `OSError`. Blocks: call in a thread.
    """
    if _node() is None:
        return {}
    run = shlex.quote(str(_node())) if user is None else f"{_NODE} {_PACKAGE}/cli.js"
    script = _script(folder, user, run)
    return {_NODE_SETTING: str(script)} if os.access(script, os.X_OK) else {}


def _script(folder: Path, user: BrowserUser | None, run: str) -> Path:
    """A script that ends as `run` with its arguments, for `user` without the first one, which is `cli.js`. Raises
    `OSError`."""
    lines, words = ["#!/bin/sh", "cd /"], ["exec env -i", *(f'${{{name}+"{name}=${name}"}}' for name in _INHERITED)]
    if user is not None:
        lines += [f"exec 3<{shlex.quote(str(_node()))} 4<{shlex.quote(str(_FILES / 'package'))}", "shift"]
        words.append(f"HOME={shlex.quote(str(folder / 'tmp'))}")
    if (setsid := shutil.which("setsid")) is not None:
        words.append(shlex.quote(setsid))
    if user is not None:
        words.append(f"setpriv --reuid={user.uid} --regid={user.gid} --clear-groups --no-new-privs --inh-caps=-all")
    script = folder / "node"
    script.write_text("\n".join([*lines, " ".join([*words, run, '"$@"']), ""]), encoding="utf-8")
    script.chmod(0o700)
    return script


def _node() -> str | None:
    return shutil.which(os.environ.get(_NODE_SETTING) or str(_FILES / "node"))


async def _ping(playwright: Playwright) -> None:
    await (await playwright.request.new_context()).dispose()


def _driver_pids(me: psutil.Process) -> list[int]:
    """Pids of our children that are Playwright drivers."""
    found = []
    for child in me.children():
        with contextlib.suppress(psutil.Error):
            if _DRIVER_ARGUMENT in child.cmdline():
                found.append(child.pid)
    return found


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class _LostPipeFilter:
    """A loop exception handler that drops the error of a dead driver and passes on all others.

    When the driver dies, also during its start, Playwright sets an exception on a future that it never awaits, which
    asyncio reports as an error. `ExitWatch`, or `start`, has reported it already.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._next = loop.get_exception_handler()

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if any(each in str(context.get("exception", "")) for each in (_LOST_PIPE, _START_ABANDONED)):
            return
        if self._next is None:
            loop.default_exception_handler(context)
        else:
            self._next(loop, context)


def _ignore_lost_pipes(loop: asyncio.AbstractEventLoop) -> None:
    if not isinstance(loop.get_exception_handler(), _LostPipeFilter):
        loop.set_exception_handler(_LostPipeFilter(loop))
