"""A Chromium with a debugging port and without the service, for comparison."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import psutil

from browser_sessions.chromium.launch.executable import locate, sandbox_expected
from tests.harness.service import ServerProcess
from tests.harness.waiting import until

_OURS: Final = (
    "--remote-debugging-",
    "--user-data-dir",
    "--browser-sessions-",
    "--host-resolver-rules",
    "--zygote-cmd-prefix",
    "--no-sandbox",
)
"""Switches for the service's own connection, bookkeeping and user; not part of the comparison."""


def browser_among(processes: Iterable[psutil.Process], argument: str) -> psutil.Process:
    """The main process of the browser that has an argument which begins so."""
    for process in processes:
        arguments = process.cmdline()
        if any(each.startswith(argument) for each in arguments) and not any(
            each.startswith("--type=") for each in arguments
        ):
            return process
    raise AssertionError(f"no browser with {argument}")


def browser_of(server: ServerProcess) -> psutil.Process:
    """The main process of the service's browser."""
    return browser_among(server.tree(), "--browser-sessions-run=")


def switches_of(server: ServerProcess) -> list[str]:
    """The other switches of the service's browser, to start the bare one with."""
    arguments = browser_of(server).cmdline()[1:]
    return [each for each in arguments if each.startswith("--") and not each.startswith(_OURS)]


@asynccontextmanager
async def bare_chromium(profile: Path, flags: Sequence[str] = ()) -> AsyncIterator[str]:
    """Yields the address of its debugging port (ws://…). `flags` are added to those it needs on this machine."""
    found = locate(None)
    arguments = ["--remote-debugging-port=0", f"--user-data-dir={profile}", *flags, "about:blank"]
    arguments += ["--no-sandbox"] if os.geteuid() == 0 or not sandbox_expected()[0] else []
    arguments += ["--headless"] if found.kind == "full" else []
    process = await asyncio.create_subprocess_exec(
        found.executable,
        *arguments,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        port_file = profile / "DevToolsActivePort"
        await until(lambda: port_file.exists() and port_file.read_text().count("\n") == 1, what="the debugging port")
        number, path = port_file.read_text().split("\n")
        yield f"ws://127.0.0.1:{number}{path}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the executable may be a script that starts the browser
        await process.wait()
