"""Counts leftovers in the process table, on disk and in the server's own metrics."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import httpx
import psutil

from browser_sessions.chromium.launch.folders import work_folder
from browser_sessions.chromium.launch.user import browser_user
from tests.harness.service import Running, ServerProcess
from tests.harness.waiting import until

SETTLE_S: Final = 60.0
"""Limit for the last browser to close: an empty one is kept for 30 s for its principal's next session."""
LOOK_S: Final = 8.0
"""Duration of the first count, long enough for short-lived leftovers to go."""
LINGER_S: Final = 30.0
"""Limit for leftovers to go in the last count; what stays longer is a leak."""


@dataclass(frozen=True, slots=True)
class Left:
    """Counts; `rss` in bytes. All but the last four must be 0 at rest."""

    sessions: int
    places: int
    waiting: int
    contexts: int
    """As counted by Chromium at the last probe."""
    processes: int
    """Descendants of the server that belong neither to its driver nor to a known browser."""
    zombies: int
    folders: int
    descriptors: int
    tasks: int
    rss: int
    open_files: Counter[str]
    """What the descriptors refer to, to identify a leak."""

    def least(self, other: Left) -> Left:
        """The minimum of each count."""
        smaller = {name: min(getattr(self, name), getattr(other, name)) for name in COUNTED}
        return Left(**smaller, rss=min(self.rss, other.rss), open_files=self.open_files & other.open_files)

    def more_than(self, before: Left) -> dict[str, Any]:
        """The increases since `before`, without memory."""
        more: dict[str, Any] = {
            name: count for name in COUNTED if (count := getattr(self, name) - getattr(before, name)) > 0
        }
        if "descriptors" in more:
            more["open_files"] = dict(self.open_files - before.open_files)
        return more


COUNTED: Final = tuple(each.name for each in fields(Left) if each.name not in ("rss", "open_files"))


async def metric(http: httpx.AsyncClient, name: str) -> float:
    """A gauge without labels."""
    for line in (await http.get("/metrics")).text.splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    raise KeyError(name)


async def at_rest(service: Running, server: ServerProcess, *, patient: bool, than: Left | None = None) -> Left:
    """Counts once the pool is idle: no session, no slot in use, no browser starting or ending, and only the spare
    browser left, or (not `patient`) that and the one used last, each with its ready context.

    Takes the minimum of several counts: a file that is just being read is open in one of them, a leak in all. Counts
    until nothing exceeds `than`.
    """

    async def quiet() -> bool:
        pool = await pool_of(service)
        moving = [each for each in pool["browsers"] if each["dedicated"] or each["state"] != "running"]
        there = len(pool["browsers"])
        if pool["taken"] or pool["queue"] or moving or there != (1 if patient else 2):
            return False
        return await contexts_ready(service)

    await until(quiet, within=SETTLE_S, what="the pool is idle", every=0.2)
    least = await count(service, server)
    deadline = time.monotonic() + (LOOK_S if than is None else LINGER_S)
    while time.monotonic() < deadline and (than is None or least.more_than(than)):
        await asyncio.sleep(0.25)
        if await quiet():
            least = least.least(await count(service, server))
    return least


async def contexts_ready(service: Running) -> bool:
    """Whether each shared browser has its ready context, whose proxy is a descriptor of the server."""
    shared = [each for each in (await pool_of(service))["browsers"] if not each["dedicated"]]
    return await metric(service.http, "browser_sessions_ready_contexts") == len(shared)


async def pool_of(service: Running) -> dict[str, Any]:
    found: dict[str, Any] = (await service.http.get("/v1/browser/pool")).json()
    return found


async def count(service: Running, server: ServerProcess) -> Left:
    pool = await pool_of(service)
    known = {each["pid"] for each in pool["browsers"]}
    living = (await service.http.get("/v1/browser/sessions", params={"status": "active", "limit": 500})).json()
    unknown, zombies = await asyncio.to_thread(_processes, server.pid, known)
    return Left(
        sessions=len(living["sessions"]),
        places=pool["taken"],
        waiting=pool["queue"],
        contexts=int(await metric(service.http, "browser_sessions_browser_contexts")),
        processes=unknown,
        zombies=zombies,
        folders=await asyncio.to_thread(_folders, server.data_dir, len(known)),
        descriptors=await asyncio.to_thread(descriptors_of, server)
        - int(await metric(service.http, "browser_sessions_spare_contexts")),  # each has its proxy
        open_files=await asyncio.to_thread(_open_files, server.pid),
        tasks=int(await metric(service.http, "browser_sessions_tasks")),
        rss=psutil.Process(server.pid).memory_info().rss,
    )


def _processes(server: int, browsers: set[int]) -> tuple[int, int]:
    """(unknown processes, zombies) among the server's descendants."""
    groups = set()
    for pid in browsers:
        with contextlib.suppress(ProcessLookupError):
            groups.add(os.getpgid(pid))
    unknown = zombies = drivers = 0
    for process in psutil.Process(server).children(recursive=True):
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if process.status() == psutil.STATUS_ZOMBIE:
                zombies += 1
            elif "run-driver" in process.cmdline():
                drivers += 1
            elif os.getpgid(process.pid) not in groups and not _is_helper(process, browsers):
                unknown += 1
    return unknown + max(0, drivers - 1), zombies


def _is_helper(process: psutil.Process, browsers: set[int]) -> bool:
    """Chromium's crash handler is outside its process group; it is recognised by its parent."""
    return any(parent.pid in browsers for parent in process.parents())


def descriptors_of(server: ServerProcess) -> int:
    """Open descriptors, without inbound connections."""
    process, port = psutil.Process(server.pid), int(server.url.rpartition(":")[2])
    inbound = [
        each
        for each in process.net_connections("tcp")
        if each.status == psutil.CONN_ESTABLISHED and each.laddr[1] == port
    ]
    return int(process.num_fds()) - len(inbound)


def _open_files(pid: int) -> Counter[str]:
    """Targets of the descriptors with numbers replaced; sockets by state and peer."""
    peers = {each.fd: f"socket {each.status} {each.raddr}" for each in psutil.Process(pid).net_connections()}
    found: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found[peers.get(int(entry.name)) or re.sub(r"\d+", "#", str(entry.readlink()))] += 1
    return found


def _folders(data_dir: Path, browsers: int) -> int:
    """Session folders, and folders of browsers and drivers that no longer run."""
    work = work_folder(data_dir / "work", browser_user())
    sessions = len(list((work / "sessions").glob("*"))) if (work / "sessions").exists() else 0
    artifacts = sum(1 for each in work.glob("run-*/driver-*/playwright-artifacts-*"))
    drivers = len(list(work.glob("run-*/driver-*")))
    homes = len(list(work.glob("run-*/brw_*")))
    runs = {each.name.removeprefix("run-") for each in work.glob("run-*")}
    short = [each for run in runs for each in Path(tempfile.gettempdir()).glob(f"browser-sessions-{run}-*")]
    return (
        sessions
        + max(0, artifacts - browsers)
        + max(0, drivers - 1)
        + max(0, homes - browsers)
        + max(0, len(short) - browsers)
    )
