"""What a run leaves on disk so that a later one can clean up after it, and that cleaning.

```
<work_dir>/run-<id>/run.json                pid and birth of the server
<work_dir>/run-<id>/driver-<n>/             TMPDIR of a driver
<work_dir>/run-<id>/brw_<id>/{home,profile,tmp}  of one browser
<work_dir>/run-<id>/brw_<id>/process.json   pid, birth and marker of one browser
<system's TMPDIR>/browser-sessions-<id>-*   in place of brw_<id>/tmp, where that path is too long for a socket in it
```
A process is killed only when its pid, its birth (boot and start tick) and the marker in its arguments are all as
recorded. Nothing is ever recognised by its name. Everything here blocks: call it in a thread.
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
"""Of a Unix socket's path: `sun_path` holds 104 bytes on macOS, 108 on Linux, one of them the closing zero."""
SOCKET_CHARACTERS: Final = len("/org.chromium.Chromium.XXXXXX/SingletonSocket")
"""What a full Chromium adds to its TMPDIR; where the sum is too long, it aborts. The headless shell has no socket."""
UNWRITTEN_SECONDS: Final = 60.0
"""A run folder without a readable record may be one that is being made this moment; after this long it is not."""
_TRIES: Final = 10
_PAUSE_SECONDS: Final = 0.05
"""Removing goes on this often: a dying Chromium still writes into its folders."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, told from every other that has had or will have its pid."""

    pid: int
    birth: str
    marker: str = ""

    @classmethod
    def of(cls, pid: int, marker: str = "") -> Identity | None:
        """None when there is no such process."""
        birth = group.birth(pid)
        return None if birth is None else cls(pid, birth, marker)

    def lives(self) -> bool:
        """True when this very process runs now. With a marker, it must be among its arguments."""
        if group.birth(self.pid) != self.birth:
            return False
        return not self.marker or _carries(self.pid, self.marker)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Identity | None:
        """None when there is no readable record."""
        try:
            found = json.loads(path.read_text())
            return cls(int(found["pid"]), str(found["birth"]), str(found["marker"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class BrowserFolder:
    """Where one browser keeps its files. `path` is ours, with our record in it; the folders in it are the browser's."""

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
        """`user` is who the browsers run as, where it is not our own. Raises `OSError`, `SettingsError`."""
        folders.prepare(work_dir, user)
        path = work_dir.absolute() / f"{_RUN_PREFIX}{secrets.token_hex(8)}"
        folders.make_passage(path, user)
        me = Identity.of(os.getpid())
        assert me is not None, "this process lives"
        me.write(path / _RUN_RECORD)
        return cls(path, user)

    def driver_folder(self) -> Path:
        """A new one. Raises `OSError`."""
        self._drivers += 1
        path = self.path / f"driver-{self._drivers}"
        path.mkdir(mode=0o700)
        return path

    def browser_folder(self, browser_id: str, *, with_socket: bool) -> BrowserFolder:
        """A new one; `with_socket` for a browser that makes a Unix socket in its TMPDIR. Raises `OSError`."""
        folder = BrowserFolder(self.path / browser_id, self.path / browser_id / "tmp")
        if with_socket and len(os.fsencode(folder.tmp)) + SOCKET_CHARACTERS > SOCKET_PATH_CHARACTERS:
            folder = BrowserFolder(folder.path, Path(tempfile.mkdtemp(prefix=f"{_SHORT_PREFIX}{self.run_id}-")))
        folders.make_passage(folder.path, self._user)
        for path in (folder.home, folder.profile, folder.tmp):
            folders.make(path, self._user)
        return folder

    def remove(self) -> None:
        """Everything of this run."""
        remove(self.path, *_short_folders(self.run_id))

    def marker(self, browser_id: str) -> str:
        return f"{self.run_id}/{browser_id}"


def record_process(folder: Path, pid: int, marker: str) -> None:
    """Writes down whose folder this is. Raises `OSError`."""
    identity = Identity.of(pid, marker)
    if identity is not None:
        identity.write(folder / _PROCESS_RECORD)


def end_marked(marker: str) -> int:
    """Ends the groups of all processes that carry `marker`, or begin with it when it ends in a slash; how many groups
    there were."""
    groups = {found for pid in psutil.pids() if _carries(pid, marker) and (found := group.group_of(pid)) is not None}
    for each in groups:
        group.end(each)
    return len(groups)


def discard(process_group: int, folders: tuple[Path, ...]) -> None:
    """Ends a group and removes its folders."""
    group.end(process_group)
    remove(*folders)


def remove(*paths: Path) -> bool:
    """Removes folders that others may be writing into or removing too. False when something withstood."""
    for _ in range(_TRIES):
        for path in paths:
            shutil.rmtree(path, ignore_errors=True)
        if not any(path.exists() for path in paths):
            return True
        time.sleep(_PAUSE_SECONDS)
    return False


def sweep(work_dir: Path) -> list[str]:
    """Removes what dead runs left: their browsers, if any still lives, and their folders. Says what it found, one line
    each."""
    told = []
    for folder in _dead_runs(work_dir):
        killed = [pid for pid in _living_browsers(folder) if _end(pid)]
        remove(folder, *_short_folders(folder.name.removeprefix(_RUN_PREFIX)))
        told.append(f"{folder.name}: {len(killed)} browsers killed, folder removed")
    return told


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
    """The run's folders in the system's TMPDIR. Its id is 64 random bits: nobody else's folder has that name."""
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


def _carries(pid: int, marker: str) -> bool:
    try:
        arguments = psutil.Process(pid).cmdline()
    except psutil.Error:
        return False
    wanted = MARKER + marker
    if marker.endswith("/"):
        return any(argument.startswith(wanted) for argument in arguments)
    return wanted in arguments
