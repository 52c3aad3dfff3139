"""One Chromium as a child process: its two pipes, its standard error, its end."""

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
"""Of each pipe, where the kernel allows it (Linux: `fs.pipe-max-size`, 1 MiB by default, and a limit for all pipes of
an ordinary user). 64 KiB otherwise: more switches between the processes, nothing else."""
TAIL_BYTES: Final = 64 * 2**10
"""Of standard error that are kept: a fatal line and the stack trace below it are a tenth of this."""
NICENESS: Final = 7
"""Of Chromium's processes: pages that keep all processors busy must not keep the service from responding. Where the
kernel shares out time by session first (Linux, `sched_autogroup_enabled`), it is their session's too. Measured on two
cores with 20 pages loading at once, share of the loop's samples within 25 ms: 97 to 98 % at 0, 99.0 at 5, 99.5 to 99.8
at 7; the pages load as fast."""
_READ_BYTES: Final = 64 * 2**10
_LOOK_SECONDS: Final = 0.005
"""Between two looks whether the child has ended; done only while somebody waits for it."""
DETAIL_CHARACTERS: Final = 300
COMPLAINT_LINES: Final = 3
"""Chromium's last words are the ones that count."""
SANDBOX_FAILED: Final = "Chromium could not set up its sandbox"
_SANDBOX_WORDS: Final = (
    "No usable sandbox",  # neither user namespaces nor a setuid helper
    "Running as root without --no-sandbox",
    "Failed to move to new namespace",  # a seccomp profile that forbids it
    "SUID sandbox helper",  # found, but not set up
    ":FATAL:sandbox/linux/",  # a failed check in its own code
)
_MISSING_LIBRARY: Final = re.compile(r"error while loading shared libraries: ([^\s:]+)")
_FATAL: Final = re.compile(r":FATAL:[^\]]*\]\s*(.*)")
_MOVE: Final = 'exec "$@" 3<&0 4>&1 0</dev/null 1>&2'
"""For sh(1): Chromium's pipe is descriptors 3 (it reads) and 4 (it writes). They arrive as standard input and output,
which is what a child can be given without running code of ours between fork and exec."""


class Child:
    """A started Chromium, and the leader of its session and process group.

    The leader can be a shell wrapper (Debian's `/usr/bin/chromium-headless-shell`): its pid is the group's, not
    necessarily the browser's. `commands` and `messages` are raw descriptors, non-blocking; they belong to whoever takes
    them, and `close` closes what nobody has taken.
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
        """As of `subprocess.Popen`; None until `reap` or `wait` has seen the end. 0 also when somebody else has reaped
        the process."""
        return self._process.returncode

    def watch(self) -> None:
        """Reads standard error from now on, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._errors, self._drain)

    def take(self) -> tuple[int, int]:
        """(`commands`, `messages`), which the caller closes from now on."""
        self._open.clear()
        return self.commands, self.messages

    def complaint(self) -> str:
        """Why it did not start, in a few words without a full stop, as far as it is known."""
        while self._errors >= 0 and self._read():
            pass
        return complaint(self._tail.decode(errors="replace"), self.returncode)

    def kill(self) -> None:
        """SIGKILL to the whole group, now; a group that is gone is no error."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def reap(self) -> bool:
        """Reaps the leader and those of its group that came to us when their parents died. True when the leader has
        ended. The group may still have living members."""
        ended = self._process.poll() is not None
        if ended:
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-self.pid, os.WNOHANG) != (0, 0):
                    pass
        return ended

    async def wait(self, *, timeout: float) -> bool:
        """True when the leader has ended within `timeout` seconds; it is reaped then."""
        deadline = asyncio.get_running_loop().time() + timeout
        while not self.reap():
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(_LOOK_SECONDS)
        return True

    async def end(self, *, timeout: float) -> bool:
        """Kills the group, and waits until nothing is left of it, not even a zombie. False when `timeout` seconds were
        not enough."""
        self.kill()
        deadline = asyncio.get_running_loop().time() + timeout
        while not (self.reap() and self._gone()):
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(_LOOK_SECONDS)
        return True

    def _gone(self) -> bool:
        try:
            os.killpg(self.pid, 0)
        except (ProcessLookupError, PermissionError):
            return True
        return False

    def close(self) -> None:
        """Closes our ends of the pipes, except those that were taken. Chromium ends by itself when they are closed.
        Safe to call twice."""
        for descriptor in self._open:
            os.close(descriptor)
        self._open.clear()
        self._close_errors()

    def _drain(self) -> None:
        self._read()

    def _read(self) -> bool:
        """Reads one piece of standard error. False when there is none now, or none any more."""
        try:
            piece = os.read(self._errors, _READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            piece = b""
        if not piece:
            self._close_errors()
            return False
        self._tail += piece
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
    """Starts Chromium, as `user` where there is one. It has descriptors 0 to 4 and no other of ours.

    Returns before it is known whether Chromium runs: an executable that is missing or ends at once closes `messages`,
    and `complaint` says why after `wait`. After a cancellation no process is left.

    Raises:
        NoBrowser: the system has no more processes or descriptors, or does not let us start one as that user.
    """
    starting = asyncio.ensure_future(asyncio.to_thread(_spawn, executable, arguments, environment, user, cwd))
    try:
        child = await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.shield(asyncio.create_task(_abandon(starting)))
        raise
    except (OSError, subprocess.SubprocessError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise NoBrowser(f"Chromium could not be started: {said}.") from error
    child.watch()
    return child


async def _abandon(starting: asyncio.Future[Child]) -> None:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        child = await starting
        child.kill()
        child.close()
        await asyncio.to_thread(child._process.wait)  # noqa: SLF001 - the module's own


def _spawn(
    executable: Path, arguments: Sequence[str], environment: Mapping[str, str], user: BrowserUser | None, cwd: Path
) -> Child:
    command = [str(executable), *arguments]
    if user is not None and (setpriv := shutil.which("setpriv")) is not None:
        command = [setpriv, "--no-new-privs", *command]
    if (nice := shutil.which("nice")) is not None:
        command = [nice, "-n", str(NICENESS), *command]
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
        read_commands, commands = _pipe(theirs, ours)
        messages, write_messages = _pipe(ours, theirs)
        errors, write_errors = _pipe(ours, theirs)
        process = subprocess.Popen(
            ["/bin/sh", "-c", _MOVE, "sh", *command],
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
        with contextlib.suppress(OSError):
            Path(f"/proc/{process.pid}/autogroup").write_text(str(NICENESS))
        for descriptor in (commands, messages, errors):
            os.set_blocking(descriptor, False)
        ours.pop_all()
        return Child(process, commands, messages, errors)


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe whose ends are closed with these stacks. Nobody inherits it."""
    read, write = os.pipe()
    reader.callback(os.close, read)
    writer.callback(os.close, write)
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return read, write


def complaint(said: str, returncode: int | None) -> str:
    """The few words of Chromium's standard error that say why it did not start, without a full stop. Pure."""
    if any(word in said for word in _SANDBOX_WORDS):
        return SANDBOX_FAILED
    if missing := _MISSING_LIBRARY.search(said):
        return f"it lacks the library {missing.group(1)}"[:DETAIL_CHARACTERS]
    if fatal := _FATAL.search(said):
        return fatal.group(1).strip().rstrip(".")[:DETAIL_CHARACTERS]
    lines = [line.strip() for line in said.splitlines() if line.strip()][-COMPLAINT_LINES:]
    return "; ".join([*lines, *([_ended(returncode)] if returncode is not None or not lines else [])])[
        :DETAIL_CHARACTERS
    ]


def _ended(returncode: int | None) -> str:
    if returncode is None:
        return "it says nothing about why"
    if returncode < 0:
        return f"it was ended by {signal.Signals(-returncode).name}"
    return f"it ended with status {returncode}"
