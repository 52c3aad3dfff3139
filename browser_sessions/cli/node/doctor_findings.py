"""What the doctor concludes from what it measured, and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from browser_sessions.egress.addresses import THIS_MACHINE
from browser_sessions.settings import BYTES_PER_SESSION

State = Literal["ok", "warning", "problem"]

OLDEST_PYTHON: Final = (3, 11)
FREE_PROBLEM: Final = 100 * 2**20
"""Bytes: a browser's work folder takes tens of megabytes before it has loaded anything."""
FREE_WARNING: Final = 2**30
"""Bytes: downloads and caches of a few sessions."""
FILES_OF_OWN: Final = 256
FILES_PER_SESSION: Final = 8
"""Descriptors. Measured with small pages: a Chromium has 60 open and 4 more for each session; twice that for larger
pages. The service itself has 4 for a session with a client, a viewer and a caller."""
THREADS_OF_OWN: Final = 200
THREADS_PER_SESSION: Final = 20
"""Threads, which a control group counts as processes. Measured with small pages: 55 for a Chromium and 10 for each
session's renderer; twice that for pages with frames and workers of their own."""


CJK_PACKAGE: Final = "fonts-noto-cjk"
FONTS: Final[Mapping[str, tuple[str, str]]] = {
    "Chinese": (":lang=zh", CJK_PACKAGE),
    "Japanese": (":lang=ja", CJK_PACKAGE),
    "Korean": (":lang=ko", CJK_PACKAGE),
    "emoji": (":charset=1f600", "fonts-noto-color-emoji"),
}
"""What pages are often written in and headless machines often lack: the fontconfig pattern of a font for it, and the
Debian package that has one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `do` is empty when nothing needs to be done."""

    check: str
    state: State
    says: str
    do: str = ""


@dataclass(frozen=True, slots=True)
class Folder:
    """What the system says about the data folder, or the nearest folder above it that exists."""

    path: Path
    exists: bool
    is_folder: bool
    writable: bool
    mode: int
    free_bytes: int


def on_python(version: tuple[int, int, int]) -> Finding:
    shown = ".".join(map(str, version))
    if version[:2] < OLDEST_PYTHON:
        return Finding("python", "problem", f"Python {shown}.", "Use Python 3.11 or newer.")
    return Finding("python", "ok", f"Python {shown}.")


def on_egress(on: bool, allow: Sequence[str]) -> Finding:
    if not on:
        says = "Off: sessions reach whatever this machine reaches, this service and private networks included."
        return Finding("egress", "warning", says, "Turn BROWSER_SESSIONS_EGRESS on unless something else filters.")
    if "*" in allow:
        says = "EGRESS_ALLOW has *: sessions reach whatever this machine reaches, private networks included."
        return Finding("egress", "warning", says, "Name the hosts and networks that sessions need.")
    if allow:
        return Finding("egress", "ok", f"Sessions reach public addresses, and {', '.join(allow)}.")
    says = f"Sessions reach public addresses only. For pages on this machine: serve --egress-allow {THIS_MACHINE}."
    return Finding("egress", "ok", says)


def on_folder(folder: Folder) -> Finding:
    name = "data folder"
    if not folder.is_folder:
        return Finding(
            name, "problem", f"{folder.path} cannot be a folder.", "Name another with BROWSER_SESSIONS_DATA_DIR."
        )
    if not folder.writable:
        return Finding(
            name,
            "problem",
            f"{folder.path} cannot be written by this user.",
            "Change its owner, or name another with BROWSER_SESSIONS_DATA_DIR.",
        )
    free = f"{folder.free_bytes / 2**30:.1f} GiB free"
    if folder.free_bytes < FREE_PROBLEM:
        return Finding(name, "problem", f"{folder.path}: {free}.", "Free some space: no session could be kept.")
    if folder.exists and folder.mode & 0o077:
        return Finding(
            name,
            "warning",
            f"{folder.path} can be read by other users (mode {folder.mode:o}); the keys in it cannot.",
            f"chmod 700 {folder.path}",
        )
    if folder.free_bytes < FREE_WARNING:
        return Finding(name, "warning", f"{folder.path}: {free}.", "Free some space: downloads and caches need it.")
    made = "" if folder.exists else ", made at the first start"
    return Finding(name, "ok", f"{folder.path}{made}: {free}.")


def on_port(host: str, port: int, refused: str, holder: str) -> Finding:
    """`refused` is what the system says to a server there (empty: nothing), `holder` whose service answers there."""
    place = f"{host}:{port}"
    if not port:
        return Finding("port", "ok", "Any that is free (BROWSER_SESSIONS_PORT is 0).")
    if not refused:
        return Finding("port", "ok", f"{place} is free.")
    if holder:
        return Finding("port", "ok", f"{place} is in use by {holder}.")
    return Finding(
        "port",
        "problem",
        f"{place} cannot be used: {refused}.",
        "Name another with --port or BROWSER_SESSIONS_PORT, or 0 for any that is free.",
    )


def on_memory(limit_bytes: int, max_sessions: int) -> Finding:
    gib, needed = limit_bytes / 2**30, max_sessions * BYTES_PER_SESSION
    says = f"{gib:.1f} GiB for this process, {max_sessions} sessions at most."
    if needed > limit_bytes:
        fits = max(1, limit_bytes // 2 // BYTES_PER_SESSION)
        return Finding("memory", "warning", says, f"Set BROWSER_SESSIONS_MAX_SESSIONS to {fits}, or give it more.")
    return Finding("memory", "ok", says)


def on_open_files(limit: int, max_sessions: int) -> Finding:
    needed = FILES_OF_OWN + FILES_PER_SESSION * max_sessions
    says = f"{limit} open files for each process; {max_sessions} sessions may need {needed}."
    if limit < needed:
        return Finding("open files", "warning", says, f"Raise the limit before the start: ulimit -Hn {needed}")
    return Finding("open files", "ok", says)


def on_threads(limit: int | None, used: int, max_sessions: int) -> Finding:
    """`limit` of the control group, None when there is none."""
    needed = THREADS_OF_OWN + THREADS_PER_SESSION * max_sessions
    if limit is None:
        return Finding("processes", "ok", "No limit of the control group.")
    says = (
        f"{limit} processes and threads in the control group, {used} in use; {max_sessions} sessions may need {needed}."
    )
    if limit - used < needed:
        fits = max(1, (limit - used - THREADS_OF_OWN) // THREADS_PER_SESSION)
        do = f"Raise the limit (docker run --pids-limit, pids.max), or set BROWSER_SESSIONS_MAX_SESSIONS to {fits}."
        return Finding("processes", "warning", says, do)
    return Finding("processes", "ok", says)


def on_priority(first: bool) -> Finding:
    """`first`: the event loop may run before all else."""
    if first:
        return Finding("priority", "ok", "The service runs before its browsers.")
    says = "The service may not run before its browsers: pages that keep all processors busy delay it, by up to 0.5 s."
    return Finding(
        "priority", "warning", says, "Give it RLIMIT_RTPRIO 1 (LimitRTPRIO=1, --ulimit rtprio=1) or CAP_SYS_NICE."
    )


def on_shared_memory(size_bytes: int | None) -> Finding:
    """Playwright starts Chromium with `--disable-dev-shm-usage`, so a small one stops nobody."""
    size = "none" if size_bytes is None else f"{size_bytes / 2**20:.0f} MiB"
    return Finding(
        "shared memory",
        "ok",
        f"{size} in its own file system; not needed, for browsers share memory in their work folders.",
    )


def on_fonts(missing: Collection[str] | None) -> Finding:
    """`missing` names keys of `FONTS`; None when there is no fontconfig to ask."""
    if missing is None:
        packages = " ".join(sorted({"fontconfig", *(package for _, package in FONTS.values())}))
        return Finding(
            "fonts", "warning", "Not checked: fc-list is not there.", f"On Debian: apt-get install {packages}"
        )
    if missing:
        packages = " ".join(sorted({FONTS[name][1] for name in missing}))
        return Finding(
            "fonts",
            "warning",
            f"No font for {', '.join(missing)}: pages and screenshots show boxes instead.",
            f"On Debian: apt-get install {packages}",
        )
    return Finding("fonts", "ok", f"There are fonts for {', '.join(FONTS)}.")


def on_sandbox(sandbox: bool, reason: str) -> Finding:
    if sandbox:
        return Finding("sandbox", "ok", "Chromium starts with its sandbox.")
    return Finding(
        "sandbox",
        "warning",
        f"Chromium runs without its sandbox: a hostile page that breaks out of its renderer has the rights of "
        f"the user that it runs as. "
        f"{reason}",
        "Run the service as an ordinary user where user namespaces are allowed, or give it a container of its own.",
    )


def on_driver(reason: str) -> Finding:
    """`reason`: why it is root, empty if it is not."""
    if not reason:
        return Finding("driver", "ok", "Playwright's driver runs.")
    do = "Run the service as an ordinary user, or give it setpriv (util-linux) and packages that all users may read."
    return Finding("driver", "warning", reason, do)


def on_browser(shown: str, executable: Path, source: str, *, full: bool) -> Finding:
    says = f"{shown}, {source}: {executable}"
    if full:
        return Finding(
            "browser",
            "warning",
            says,
            "Install a headless shell, which opens pages three times as fast in a fifth of the memory: "
            "'playwright install --only-shell chromium', or Debian's chromium-headless-shell.",
        )
    return Finding("browser", "ok", says)
