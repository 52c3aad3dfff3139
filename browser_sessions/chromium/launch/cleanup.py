"""The records that each run of the server keeps on disk, and the removal of what a dead run left behind.

```
<work_dir>/run-<id>/run.json                pid and birth of the server
<work_dir>/run-<id>/driver-<n>/             TMPDIR of a driver
<work_dir>/run-<id>/brw_<id>/{home,profile,tmp}  folders of one browser
<work_dir>/run-<id>/brw_<id>/process.json   pid, birth and marker of one browser
<system's TMPDIR>/browser-sessions-<id>-*   replaces brw_<id>/tmp where that path is too long for a socket in it
```
A process is killed only if its pid, its birth (boot id and start tick) and the marker in its arguments all match the
record; names are never used. Everything here blocks: call it in a thread.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psutil

from browser_sessions.chromium.launch import folders
from browser_sessions.chromium.launch import process_group as group
from browser_sessions.chromium.launch.flags import MARKER
from browser_sessions.chromium.launch.user import BrowserUser

_RUN_PREFIX: Final = "run-"
_RUN_RECORD: Final = "run.json"
_PROCESS_RECORD: Final = "process.json"
_SHORT_PREFIX: Final = "browser-sessions-"
SOCKET_PATH_CHARACTERS: Final = 103
"""Longest path of a Unix socket: `sun_path` holds 104 bytes on macOS, 108 on Linux, including the terminating NUL."""
SOCKET_CHARACTERS: Final = len("/org.chromium.Chromium.XXXXXX/SingletonSocket")
"""A full Chromium makes this socket in its TMPDIR and aborts if the path is too long. The headless shell has none."""
UNWRITTEN_SECONDS: Final = 60.0
"""Age at which a run folder without a readable record counts as dead. A younger one may still be being created."""
_TRIES: Final = 10
_PAUSE_SECONDS: Final = 0.05
"""Removal is retried because a dying Chromium still writes into its folders."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Identifies a process even when its pid is reused."""

    pid: int
    birth: str
    marker: str = ""

    @classmethod
    def of(cls, pid: int, marker: str = "") -> Identity | None:
        """Returns None if there is no such process."""
        birth = group.birth(pid)
        return None if birth is None else cls(pid, birth, marker)

    def lives(self) -> bool:
        """Whether this process still runs. A marker, if set, must be among its arguments."""
        if group.birth(self.pid) != self.birth:
            return False
        return not self.marker or _has_marker(self.pid, self.marker)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Identity | None:
        """Returns None if the record is missing or unreadable."""
        try:
            found = json.loads(path.read_text())
            return cls(int(found["pid"]), str(found["birth"]), str(found["marker"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class BrowserFolder:
    """One browser's folders. `path` and the record in it are ours; the folders below are owned by the browser's
    user."""

    path: Path
    tmp: Path

    @property
    def home(self) -> Path:
        return self.path / "home"

    @property
    def profile(self) -> Path:
        return self.path / "profile"

    def remove(self) -> None:
        remove(self.path, self.tmp)


class RunFolder:
    """The folder of this run of the server."""

    def __init__(self, path: Path, user: BrowserUser | None = None) -> None:
        self.path = path
        self._user = user
        self.run_id = path.name.removeprefix(_RUN_PREFIX)
        self._drivers = 0

    @classmethod
    def create(cls, work_dir: Path, user: BrowserUser | None = None) -> RunFolder:
        """`user` is the user that browsers run as, None for our own. Raises `OSError`, `SettingsError`."""
        folders.prepare(work_dir, user)
        path = work_dir.absolute() / f"{_RUN_PREFIX}{secrets.token_hex(8)}"
        folders.make_traversable(path, user)
        me = Identity.of(os.getpid())
        assert me is not None, "this process is running"
        me.write(path / _RUN_RECORD)
        return cls(path, user)

    def driver_folder(self, user: BrowserUser | None = None) -> Path:
        """Creates the folder of a new driver, ours, with a `tmp` of the user that it runs as. Raises `OSError`."""
        self._drivers += 1
        path = self.path / f"driver-{self._drivers}"
        folders.make_traversable(path, user)
        folders.make(path / "tmp", user)
        return path

    def browser_folder(self, browser_id: str, *, with_socket: bool) -> BrowserFolder:
        """Creates the folders of a new browser. `with_socket`: it makes a Unix socket in its TMPDIR. Raises
        `OSError`."""
        folder = BrowserFolder(self.path / browser_id, self.path / browser_id / "tmp")
        if with_socket and len(os.fsencode(folder.tmp)) + SOCKET_CHARACTERS > SOCKET_PATH_CHARACTERS:
            folder = BrowserFolder(folder.path, Path(tempfile.mkdtemp(prefix=f"{_SHORT_PREFIX}{self.run_id}-")))
        folders.make_traversable(folder.path, self._user)
        for path in (folder.home, folder.profile, folder.tmp):
            folders.make(path, self._user)
        return folder

    def remove(self) -> None:
        """Removes all files of this run."""
        remove(self.path, *_short_folders(self.run_id))

    def marker(self, browser_id: str) -> str:
        return f"{self.run_id}/{browser_id}"


def record_process(folder: Path, pid: int, marker: str) -> None:
    """Records which process uses the folder. Raises `OSError`."""
    identity = Identity.of(pid, marker)
    if identity is not None:
        identity.write(folder / _PROCESS_RECORD)


def end_marked(marker: str) -> int:
    """Kills the process groups of all processes with `marker` in their arguments (a prefix if it ends in a slash).
    Returns the number of groups."""
    groups = {found for pid in psutil.pids() if _has_marker(pid, marker) and (found := group.group_of(pid)) is not None}
    for each in groups:
        group.end(each)
    return len(groups)


def discard(process_group: int, folders: tuple[Path, ...]) -> None:
    """Kills a process group and removes its folders."""
    group.end(process_group)
    remove(*folders)


def remove(*paths: Path) -> bool:
    """Removes folders that other processes may still be writing to or removing. Returns False if any is left."""
    for _ in range(_TRIES):
        for path in paths:
            shutil.rmtree(path, ignore_errors=True)
        if not any(path.exists() for path in paths):
            return True
        time.sleep(_PAUSE_SECONDS)
    return False


def sweep(work_dir: Path) -> list[str]:
    """Removes what dead runs left behind: browsers that still run, and folders. Returns one line of report per run."""
    report = []
    for folder in _dead_runs(work_dir):
        killed = [pid for pid in _living_browsers(folder) if _end(pid)]
        remove(folder, *_short_folders(folder.name.removeprefix(_RUN_PREFIX)))
        report.append(f"{folder.name}: {len(killed)} browsers killed, folder removed")
    return report


def _dead_runs(work_dir: Path) -> Iterator[Path]:
    try:
        folders = [path for path in work_dir.iterdir() if path.name.startswith(_RUN_PREFIX) and path.is_dir()]
    except OSError:
        return
    for folder in folders:
        server = Identity.read(folder / _RUN_RECORD)
        if server is not None and not server.lives():
            yield folder
        elif server is None:
            with contextlib.suppress(OSError):
                if time.time() - folder.stat().st_mtime > UNWRITTEN_SECONDS:
                    yield folder


def _short_folders(run_id: str) -> list[Path]:
    """The run's folders in the system's TMPDIR, recognised by the run id (64 random bits)."""
    return list(Path(tempfile.gettempdir()).glob(f"{_SHORT_PREFIX}{run_id}-*"))


def _living_browsers(folder: Path) -> Iterator[int]:
    for record in folder.glob(f"*/{_PROCESS_RECORD}"):
        process = Identity.read(record)
        if process is not None and process.marker and process.lives():
            yield process.pid


def _end(pid: int) -> bool:
    found = group.group_of(pid)
    if found is None:
        return False
    group.end(found)
    return True


def _has_marker(pid: int, marker: str) -> bool:
    try:
        arguments = psutil.Process(pid).cmdline()
    except psutil.Error:
        return False
    wanted = MARKER + marker
    if marker.endswith("/"):
        return any(argument.startswith(wanted) for argument in arguments)
    return wanted in arguments
