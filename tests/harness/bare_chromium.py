"""A Chromium straight from the system with a debugging port: what the service is compared with."""

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
"""Switches of a service's browser that say how it is reached, by whom it was started and as whom."""


def switches_of(server: ServerProcess) -> list[str]:
    """How a browser of the service was started, for one that is compared with it."""
    for process in server.tree():
        arguments = process.cmdline()
        if any(each.startswith("--browser-sessions-run=") for each in arguments) and not any(
            each.startswith("--type=") for each in arguments
        ):
            return [each for each in arguments[1:] if each.startswith("--") and not each.startswith(_OURS)]
    raise AssertionError("the service has no browser")


@asynccontextmanager
async def bare_chromium(profile: Path, flags: Sequence[str] = ()) -> AsyncIterator[str]:
    """The address of its debugging port, ws://…; `flags` beside what it needs to run here."""
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
        told = profile / "DevToolsActivePort"
        await until(lambda: told.exists() and told.read_text().count("\n") == 1, what="its port")
        number, path = told.read_text().split("\n")
        yield f"ws://127.0.0.1:{number}{path}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the executable may be a script that starts the browser
        await process.wait()
