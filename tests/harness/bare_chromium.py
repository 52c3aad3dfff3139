"""A Chromium with a debugging port and without the service, for comparison."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

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


def switches_of(server: ServerProcess) -> list[str]:
    """The other switches of the service's browser, to start the bare one with."""
    for process in server.tree():
        arguments = process.cmdline()
        if any(each.startswith("--browser-sessions-run=") for each in arguments) and not any(
            each.startswith("--type=") for each in arguments
        ):
            return [each for each in arguments[1:] if each.startswith("--") and not each.startswith(_OURS)]
    raise AssertionError("the service has no browser")


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
