"""A process group of Chromium's: who belongs to it, what it weighs, and its certain end.

Each browser is started as the leader of a session and group of its own; zygotes, renderers and helpers stay in
it. The leader can be a shell wrapper (Debian's `/usr/bin/chromium-headless-shell` is one), so the group, not the
browser's pid, is what gets killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

import psutil

_PROC: Final = Path("/proc")
_PROC_STAT: Final = _PROC / "self" / "stat"
"""There on Linux only."""
_PR_SET_CHILD_SUBREAPER: Final = 36
"""prctl(2), <linux/prctl.h>."""
GONE_SECONDS: Final = 5.0
"""What the kernel may take to end a killed group; it takes 20 ms."""
ZOMBIE_SECONDS: Final = 0.5
"""What a parent may take to bury its dead: milliseconds, where it is not stopped."""
_LOOK_SECONDS: Final = 0.005
"""Between two looks whether a killed group is gone: the kernel needs a few milliseconds to take a browser's memory
apart."""


def adopt_orphans() -> None:
    """Makes this process the parent of its orphaned descendants (Linux), so that it can reap what a browser leaves.

    Otherwise they go to pid 1, which in a container often is no init and reaps late or never.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def birth(pid: int) -> str | None:
    """What tells `pid` from a later process of the same number: boot id and start tick; None when there is no such
    process."""
    if _PROC_STAT.exists():
        try:
            after_name = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
            boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        except (OSError, UnicodeDecodeError):
            return None
        return f"{boot}/{after_name[19]}"  # field 22, proc_pid_stat(5); two fields stand before the closing parenthesis
    try:
        return repr(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def group_of(pid: int) -> int | None:
    """The process group of `pid`, or None when it is gone. Never our own group."""
    try:
        group = os.getpgid(pid)
    except ProcessLookupError:
        return None
    return None if group == os.getpgrp() else group


def members(group: int) -> list[int]:
    """Living processes of the group; zombies do not count."""
    found = []
    for pid in psutil.pids():
        try:
            if os.getpgid(pid) == group and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
        except (ProcessLookupError, psutil.Error):
            continue
    return found


def kill(group: int) -> None:
    """SIGKILL to the whole group, now; a group that is gone is no error."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def reap(group: int) -> None:
    """Buries zombies of the group that are our children: those that we adopted."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass


def reap_orphans() -> None:
    """Buries zombies that came to us when their parent died. Blocks: for threads.

    A child of ours is in our session or leads its own; one that is neither was not born to us: Chromium's crash
    handler, say, which leaves its group. A session's leader may be either, so it is left alone.
    """
    ours = os.getsid(0)
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error, ProcessLookupError, ChildProcessError):
            session = os.getsid(child.pid)
            if child.status() == psutil.STATUS_ZOMBIE and session not in (ours, child.pid):
                os.waitpid(child.pid, os.WNOHANG)


def gone(group: int) -> bool:
    """True when nothing is left of the group, not even a zombie. Buries what it can on the way."""
    reap(group)
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return True
    return False


async def wait_gone(group: int, *, timeout: float = GONE_SECONDS) -> bool:
    """True when the killed group has no living process any more, False when `timeout` seconds were not enough.

    Zombies are waited for too, `ZOMBIE_SECONDS` at most: some belong to a process that may be too sick to bury them.
    """
    began = asyncio.get_running_loop().time()
    while not gone(group):
        waited = asyncio.get_running_loop().time() - began
        if waited >= min(ZOMBIE_SECONDS, timeout) and not await asyncio.to_thread(members, group):
            return True
        if waited >= timeout:
            return False
        await asyncio.sleep(_LOOK_SECONDS)
    return True


def end(group: int, *, timeout: float = GONE_SECONDS) -> bool:
    """Kills a group and waits for its end as `wait_gone` does. Blocks: for threads."""
    kill(group)
    began = time.monotonic()
    while not gone(group):
        waited = time.monotonic() - began
        if waited >= min(ZOMBIE_SECONDS, timeout) and not members(group):
            return True
        if waited >= timeout:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far; 0.0 when it is gone. On Linux of its main thread, to the nanosecond: one
    answer to a probe shows, which in the system's ticks of 10 ms it does not."""
    try:
        return int((_PROC / str(pid) / "schedstat").read_text().split()[0]) / 1e9
    except (OSError, ValueError, IndexError):
        pass
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def memory_bytes(group: int) -> int:
    """PSS of the whole group: shared pages are counted in proportion, so that the sum is true. RSS where the system
    has no PSS."""
    return sum(_process_bytes(pid) for pid in members(group))


def _process_bytes(pid: int) -> int:
    try:
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
