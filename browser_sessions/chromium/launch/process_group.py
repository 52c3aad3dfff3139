"""Chromium's process group: its members, memory, processor time and termination.

Each browser leads a session and process group of its own; zygotes, renderers and helpers stay in it. The leader can be
a shell wrapper (Debian's `/usr/bin/chromium-headless-shell`), so the group is killed, not the browser's pid.
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
"""Exists on Linux only."""
_PR_SET_CHILD_SUBREAPER: Final = 36
"""prctl(2), <linux/prctl.h>."""
GONE_SECONDS: Final = 5.0
"""How long to wait for the kernel to end a killed group; usually 20 ms."""
ZOMBIE_SECONDS: Final = 0.5
"""How long to wait for other parents to reap zombies: milliseconds, unless the parent is stopped."""
_POLL_SECONDS: Final = 0.005
"""How often to check whether a killed group is gone: the kernel needs a few milliseconds to free a browser's memory."""


def adopt_orphans() -> None:
    """Makes this process a child subreaper (Linux), so that it can reap orphaned descendants of a browser.

    Otherwise pid 1 adopts them, which in a container is often not an init and reaps late or never.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def birth(pid: int) -> str | None:
    """Boot id and start tick of `pid`, which distinguish it from a later process with the same pid. None if there is no
    such process."""
    if _PROC_STAT.exists():
        try:
            after_name = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
            boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        except (OSError, UnicodeDecodeError):
            return None
        return f"{boot}/{after_name[19]}"  # field 22, proc_pid_stat(5); the first two precede the closing parenthesis
    try:
        return repr(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def group_of(pid: int) -> int | None:
    """The process group of `pid`; None if it is gone or in our own group."""
    try:
        group = os.getpgid(pid)
    except ProcessLookupError:
        return None
    return None if group == os.getpgrp() else group


def members(group: int) -> list[int]:
    """Pids of the group's running processes, without zombies."""
    found = []
    for pid in psutil.pids():
        try:
            if os.getpgid(pid) == group and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
        except (ProcessLookupError, psutil.Error):
            continue
    return found


def kill(group: int) -> None:
    """Sends SIGKILL to the group. No error if it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def reap(group: int) -> None:
    """Reaps the group's zombies that are our (adopted) children."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass


def reap_orphans() -> None:
    """Reaps zombies that we adopted, such as Chromium's crash handler, which leaves its group. Blocks: call in a
    thread.

    Children that we started are in our session or lead their own, and are reaped where they were started. A session
    leader may be either kind, so it is left alone.
    """
    ours = os.getsid(0)
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error, ProcessLookupError, ChildProcessError):
            session = os.getsid(child.pid)
            if child.status() == psutil.STATUS_ZOMBIE and session not in (ours, child.pid):
                os.waitpid(child.pid, os.WNOHANG)


def gone(group: int) -> bool:
    """Whether no process of the group is left, zombies included. Reaps those that it can."""
    reap(group)
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return True
    return False


async def wait_gone(group: int, *, timeout: float = GONE_SECONDS) -> bool:
    """Waits until a killed group has no running process. Returns False if `timeout` seconds were not enough.

    Waits for zombies at most `ZOMBIE_SECONDS`: the parent that has to reap them may hang.
    """
    began = asyncio.get_running_loop().time()
    while not gone(group):
        waited = asyncio.get_running_loop().time() - began
        if waited >= min(ZOMBIE_SECONDS, timeout) and not await asyncio.to_thread(members, group):
            return True
        if waited >= timeout:
            return False
        await asyncio.sleep(_POLL_SECONDS)
    return True


def end(group: int, *, timeout: float = GONE_SECONDS) -> bool:
    """Kills a group and waits for its end as `wait_gone` does. Blocks: call in a thread."""
    kill(group)
    began = time.monotonic()
    while not gone(group):
        waited = time.monotonic() - began
        if waited >= min(ZOMBIE_SECONDS, timeout) and not members(group):
            return True
        if waited >= timeout:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used; 0.0 if it is gone. On Linux that of its main thread in nanosecond
    resolution, which shows the work of a single probe; ticks of 10 ms would not."""
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
    """Sum of the PSS of the group's processes, which divides shared pages between their users. RSS where the system has
    no PSS."""
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
