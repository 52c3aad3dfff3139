"""Chromium as a child process: its two CDP pipes, standard error and exit."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from browser_sessions.chromium.launch.user import BrowserUser
from browser_sessions.domain.errors import NoBrowser

PIPE_BYTES: Final = 2**20
"""Capacity of each pipe where the kernel allows it (Linux: `fs.pipe-max-size`, 1 MiB by default, plus a limit per
unprivileged user). Otherwise 64 KiB, which only costs more context switches."""
TAIL_BYTES: Final = 64 * 2**10
"""Tail of standard error that is kept. A fatal line with its stack trace is a tenth of this."""
_SHELL_SIGNAL: Final = 128
"""A wrapper script exits with this plus the number of the signal that killed Chromium."""
_READ_BYTES: Final = 64 * 2**10
_POLL_SECONDS: Final = 0.005
"""How often to check for the child's exit. Only polled while a caller waits for it."""
DETAIL_CHARACTERS: Final = 300
ERROR_LINES: Final = 3
"""How many of the last lines to report: Chromium logs the cause of a failed start last."""
SANDBOX_FAILED: Final = "Chromium could not set up its sandbox"
_SANDBOX_MESSAGES: Final = (
    "No usable sandbox",  # neither user namespaces nor a setuid helper
    "Running as root without --no-sandbox",
    "Failed to move to new namespace",  # a seccomp profile that forbids it
    "SUID sandbox helper",  # found, but not configured
    ":FATAL:sandbox/linux/",  # a failed check in the sandbox's own code
)
_MISSING_LIBRARY: Final = re.compile(r"error while loading shared libraries: ([^\s:]+)")
_FATAL: Final = re.compile(r":FATAL:[^\]]*\]\s*(.*)")
_MOVE_PIPES: Final = 'exec "$@" 3<&0 4>&1 0</dev/null 1>&2'
"""sh(1) script: Chromium reads CDP from descriptor 3 and writes it to 4. We pass the pipes as standard input and
output, which needs no code of ours between fork and exec."""


class Child:
    """A started Chromium: the leader of its own session and process group.

    The leader can be a shell wrapper (Debian's `/usr/bin/chromium-headless-shell`): `pid` is the group's id, not
    necessarily the browser's pid. `commands` and `messages` are raw non-blocking descriptors. `close` closes them
    unless `take` has passed them to the caller.
    """

    def __init__(self, process: subprocess.Popen[bytes], commands: int, messages: int, errors: int) -> None:
        self.pid = process.pid
        self.commands = commands
        self.messages = messages
        self._process = process
        self._errors = errors
        self._tail = bytearray()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open = {commands, messages}

    def __repr__(self) -> str:
        return f"<Child {self.pid} {'running' if self.returncode is None else self.returncode}>"

    @property
    def returncode(self) -> int | None:
        """As in `subprocess.Popen`. None until `reap` or `wait` has seen the exit; 0 also if another part of this
        process has reaped it."""
        return self._process.returncode

    def how_it_exited(self) -> str | None:
        """The leader's exit as a short phrase, without reaping it; None if it still runs."""
        returncode = self._process.returncode
        if returncode is None:
            with contextlib.suppress(ChildProcessError):
                exited = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if exited is not None:
                    returncode = exited.si_status if exited.si_code == os.CLD_EXITED else -exited.si_status
        return None if returncode is None else _how(returncode)

    def watch(self) -> None:
        """Starts reading standard error, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._errors, self._drain)

    def take(self) -> tuple[int, int]:
        """Returns (`commands`, `messages`). The caller now owns and closes them."""
        self._open.clear()
        return self.commands, self.messages

    def start_error(self) -> str:
        """Why Chromium did not start, as far as its output tells: one short phrase without a full stop."""
        return start_error(self._output(), self.returncode)

    def last_fatal_error(self) -> str | None:
        """The last fatal error that one of Chromium's processes wrote, if any. Nothing else of the output, which may
        quote pages."""
        errors = _FATAL.findall(self._output())
        return _short(errors[-1]) if errors else None

    def _output(self) -> str:
        while self._errors >= 0 and self._read():
            pass
        return self._tail.decode(errors="replace")

    def kill(self) -> None:
        """Sends SIGKILL to the process group. No error if the group is gone."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def reap(self) -> bool:
        """Reaps the leader and the zombies of its group that we adopted. Returns whether the leader has exited; other
        members of the group may still run."""
        ended = self._process.poll() is not None
        if ended:
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-self.pid, os.WNOHANG) != (0, 0):
                    pass
        return ended

    async def exits(self, *, timeout: float) -> None:
        """Waits at most `timeout` seconds for the leader to exit. Does not reap it."""
        deadline = asyncio.get_running_loop().time() + timeout
        while self.how_it_exited() is None:
            if asyncio.get_running_loop().time() >= deadline:
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def wait(self, *, timeout: float) -> bool:
        """Waits for the leader to exit and reaps it. Returns False if `timeout` seconds were not enough."""
        deadline = asyncio.get_running_loop().time() + timeout
        while not self.reap():
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(_POLL_SECONDS)
        return True

    async def end(self, *, timeout: float) -> bool:
        """Kills the group and waits until no process of it is left, zombies included. Returns False if `timeout`
        seconds were not enough."""
        self.kill()
        deadline = asyncio.get_running_loop().time() + timeout
        while not (self.reap() and self._gone()):
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(_POLL_SECONDS)
        return True

    def _gone(self) -> bool:
        try:
            os.killpg(self.pid, 0)
        except (ProcessLookupError, PermissionError):
            return True
        return False

    def close(self) -> None:
        """Closes our ends of the pipes, except those passed on by `take`. Chromium exits when its pipe closes.
        Idempotent."""
        for descriptor in self._open:
            os.close(descriptor)
        self._open.clear()
        self._close_errors()

    def _drain(self) -> None:
        self._read()

    def _read(self) -> bool:
        """Reads one chunk of standard error. Returns False if there is none now, or at its end."""
        try:
            chunk = os.read(self._errors, _READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            chunk = b""
        if not chunk:
            self._close_errors()
            return False
        self._tail += chunk
        if len(self._tail) > 2 * TAIL_BYTES:
            del self._tail[:-TAIL_BYTES]
        return True

    def _close_errors(self) -> None:
        if self._errors >= 0:
            if self._loop is not None:
                self._loop.remove_reader(self._errors)
            os.close(self._errors)
            self._errors = -1


async def spawn(
    executable: Path,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    user: BrowserUser | None,
    *,
    cwd: Path = Path("/"),
) -> Child:
    """Starts Chromium, as `user` if given. It inherits descriptors 0 to 4 only.

    Returns before it is known whether Chromium runs: if the executable is missing or exits at once, `messages` reaches
    end of file, and `start_error` says why after `wait`. Cancellation leaves no process behind.

    Raises:
        NoBrowser: out of processes or descriptors, or not permitted to start a process as that user.
    """
    starting = asyncio.ensure_future(asyncio.to_thread(_spawn, executable, arguments, environment, user, cwd))
    try:
        child = await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.shield(asyncio.create_task(_abandon(starting)))
        raise
    except (OSError, subprocess.SubprocessError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise NoBrowser(f"Chromium could not be started: {reason}.") from error
    child.watch()
    return child


async def _abandon(starting: asyncio.Future[Child]) -> None:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        child = await starting
        child.kill()
        child.close()
        await asyncio.to_thread(child._process.wait)  # noqa: SLF001 - same module


def _spawn(
    executable: Path, arguments: Sequence[str], environment: Mapping[str, str], user: BrowserUser | None, cwd: Path
) -> Child:
    command = [str(executable), *arguments]
    if user is not None and (setpriv := shutil.which("setpriv")) is not None:
        command = [setpriv, "--no-new-privs", *command]
    with contextlib.ExitStack() as child_ends, contextlib.ExitStack() as our_ends:
        read_commands, commands = _pipe(child_ends, our_ends)
        messages, write_messages = _pipe(our_ends, child_ends)
        errors, write_errors = _pipe(our_ends, child_ends)
        process = subprocess.Popen(
            ["/bin/sh", "-c", _MOVE_PIPES, "sh", *command],
            stdin=read_commands,
            stdout=write_messages,
            stderr=write_errors,
            env=dict(environment),
            cwd=cwd,
            start_new_session=True,
            user=None if user is None else user.uid,
            group=None if user is None else user.gid,
            extra_groups=None if user is None else (),
        )
        for descriptor in (commands, messages, errors):
            os.set_blocking(descriptor, False)
        our_ends.pop_all()
        return Child(process, commands, messages, errors)


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[int, int]:
    """Returns (read end, write end), each closed by its stack. Not inheritable."""
    read, write = os.pipe()
    reader.callback(os.close, read)
    writer.callback(os.close, write)
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return read, write


def start_error(stderr: str, returncode: int | None) -> str:
    """The part of Chromium's standard error that says why it did not start: one short phrase without a full stop.
    Pure."""
    if any(message in stderr for message in _SANDBOX_MESSAGES):
        return SANDBOX_FAILED
    if missing := _MISSING_LIBRARY.search(stderr):
        return f"the shared library {missing.group(1)} is missing"[:DETAIL_CHARACTERS]
    if fatal := _FATAL.search(stderr):
        return _short(fatal.group(1))
    lines = [line.strip() for line in stderr.splitlines() if line.strip()][-ERROR_LINES:]
    return "; ".join([*lines, *([_exit_reason(returncode)] if returncode is not None or not lines else [])])[
        :DETAIL_CHARACTERS
    ]


def _short(message: str) -> str:
    return message.strip().rstrip(".")[:DETAIL_CHARACTERS]


def _exit_reason(returncode: int | None) -> str:
    if returncode is None:
        return "it wrote no error message"
    return f"it {_how(returncode)}"


def _how(returncode: int) -> str:
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-returncode if returncode < 0 else returncode - _SHELL_SIGNAL).name}"
    return f"exited with status {returncode}"
