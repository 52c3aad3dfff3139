"""The command line and the services that it starts, for tests.

Commands run in the test's process; as processes where signals, terminals, the start of a service or a browser count.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from browser_sessions.cli import app
from browser_sessions.client.discovery import announced_url
from tests.harness.service import LOCAL_PAGES, devtools
from tests.harness.waiting import until

COMMAND = (sys.executable, "-m", "browser_sessions")
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Output:
    """Output and exit code of a command."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


def environment(data_dir: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BROWSER_SESSIONS_")}
    return {**inherited, "BROWSER_SESSIONS_DATA_DIR": str(data_dir), **(more or {})}


async def bs(data_dir: Path, *args: str, typed: str = "", env: Mapping[str, str] | None = None) -> Output:
    if args[0] in ("serve", "doctor"):
        return await as_process(data_dir, *args, typed=typed, env=env)
    inherited = dict.fromkeys([name for name in os.environ if name.startswith("BROWSER_SESSIONS_")])
    variables = {**inherited, "BROWSER_SESSIONS_DATA_DIR": str(data_dir), **(env or {})}
    async with asyncio.timeout(PATIENCE_S):
        done = await asyncio.to_thread(CliRunner().invoke, app, list(args), input=typed, env=variables)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Output(done.exit_code, done.stdout, done.stderr)


async def as_process(data_dir: Path, *args: str, typed: str = "", env: Mapping[str, str] | None = None) -> Output:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *args,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(data_dir, env),
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            out, err = await process.communicate(typed.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    assert b"Traceback" not in err, err.decode()
    return Output(process.returncode, out.decode(), err.decode())


@dataclass(frozen=True)
class Serving:
    """A `browser-sessions serve` that is ready."""

    data_dir: Path
    process: asyncio.subprocess.Process
    url: str

    @property
    def out(self) -> str:
        return (self.data_dir.parent / f"{self.data_dir.name}.out").read_text()

    @property
    def log(self) -> str:
        return (self.data_dir.parent / f"{self.data_dir.name}.err").read_text()

    async def bs(self, *args: str, typed: str = "", env: Mapping[str, str] | None = None) -> Output:
        return await bs(self.data_dir, *args, typed=typed, env=env)

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()


@asynccontextmanager
async def serving(data_dir: Path, *args: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Serving]:
    folder, name = data_dir.parent, data_dir.name
    await devtools.copy_to(data_dir)
    with (folder / f"{name}.out").open("wb") as out, (folder / f"{name}.err").open("wb") as err:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *("serve", "--port", "0", *args),
            stdout=out,
            stderr=err,
            env=environment(data_dir, {"BROWSER_SESSIONS_EGRESS_ALLOW": LOCAL_PAGES, **(env or {})}),
            start_new_session=True,
        )
    try:
        await until(
            lambda: announced_url(data_dir) or process.returncode is not None, within=PATIENCE_S, what="serve is ready"
        )
        url = announced_url(data_dir)
        assert url is not None, (folder / f"{name}.err").read_text()
        devtools.keep(data_dir)
        yield Serving(data_dir, process, url)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def on_a_terminal(
    data_dir: Path, *args: str, answers: Sequence[tuple[bytes, bytes]] = (), columns: int = 80
) -> tuple[int, str]:
    """Runs a command on a terminal and types the answers to its questions. Exit code and output."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *args,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=environment(data_dir),
        preexec_fn=_take_terminal,
    )
    os.close(terminal)
    os.set_blocking(controller, False)
    seen = b""

    def printed(what: bytes) -> bool:
        nonlocal seen
        with suppress(OSError):  # nothing new, or the command has ended
            seen += os.read(controller, 65_536)
        return what in seen

    def hidden() -> bool:
        return not termios.tcgetattr(controller)[3] & termios.ECHO

    def prompted(question: bytes) -> bool:
        """True once the command reads: input typed before a password prompt turns echo off is discarded."""
        return printed(question) and hidden() == (b"assword" in question or b"Repeat" in question)

    try:
        for question, answer in answers:
            await until(lambda: prompted(question), within=PATIENCE_S, what=f"{question!r} is printed")  # noqa: B023 - at once
            os.write(controller, answer)
        await until(lambda: printed(b"") and process.returncode is not None, within=PATIENCE_S, what="the command ends")
        printed(b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(controller)
    assert process.returncode is not None
    return process.returncode, seen.decode()


def _take_terminal() -> None:
    """In the child: standard input becomes its controlling terminal, so that Ctrl-C typed there is a signal."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
