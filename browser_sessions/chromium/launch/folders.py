"""Folders for browsers and sessions, with owners and modes that let the browser user in but not into the data folder.

As an ordinary user the work folder is in the data folder, and everything has mode 0700. As root, Chromium runs as
another user:

```
<work folder>                     root, 0711: can be traversed, not listed
<work folder>/run-<id>/brw_<id>/  root, 0711
…/{home,profile,tmp}              browser user, 0700
<work folder>/sessions/           root, 0711
<work folder>/sessions/<id>/      root, 0711
…/downloads/                      browser user, 0700
…/uploads/                        root, 0750 with the browser user's group: it reads what is in it, and writes nothing
```
Everything here blocks for a moment.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from browser_sessions.chromium.launch.user import BrowserUser
from browser_sessions.domain.errors import SettingsError

STATE: Final = Path("/var/lib/browser-sessions")
"""Parent of the work folder if the browser user cannot reach the data folder."""
_TRAVERSE: Final = 0o711
_PRIVATE: Final = 0o700
_SHARED_FOLDER: Final = 0o750
_SHARED_FILE: Final = 0o640
_HASH_CHARACTERS: Final = 16
"""64 bits: no collisions between the data folders of one machine."""


def work_folder(preferred: Path, user: BrowserUser | None) -> Path:
    """`preferred` if `user` can reach it (always if None), else a substitute whose name derives from it, so that it is
    the same after a restart. Creates nothing."""
    if user is None or user.may_enter(preferred.parent):
        return preferred
    name = hashlib.sha256(os.fsencode(preferred.resolve())).hexdigest()[:_HASH_CHARACTERS]
    if _is_our_folder(STATE) and user.may_enter(STATE):
        return STATE / name
    if not os.path.lexists(STATE) and os.access(STATE.parent, os.W_OK | os.X_OK) and user.may_enter(STATE.parent):
        return STATE / name
    return Path(tempfile.gettempdir()).absolute() / f"browser-sessions-{name}"


def prepare(folder: Path, user: BrowserUser | None) -> None:
    """Creates a work folder, or the folder of sessions in it.

    Raises:
        SettingsError: it has another owner, or it cannot be created.
    """
    try:
        if user is None:
            folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            return
        if folder.parent == STATE:
            _make_owned(STATE)
        folder.parent.mkdir(parents=True, exist_ok=True)
        _make_owned(folder)
    except OSError as error:
        raise SettingsError(f"The work folder {folder} cannot be used: {error.strerror or error}") from error


def make(folder: Path, user: BrowserUser | None) -> None:
    """Creates a folder of mode 0700 owned by `user`, for a browser or a session. Keeps an existing one. Raises
    `OSError`."""
    folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    if user is not None:
        os.chown(folder, user.uid, user.gid, follow_symlinks=False)


def make_session(folder: Path, user: BrowserUser | None) -> None:
    """Creates a session's folder. Chromium can write to `downloads` only, so that no symbolic link redirects what we
    write beside it. Keeps an existing one. Raises `OSError`."""
    folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    if user is not None:
        folder.chmod(_TRAVERSE)
    make(folder / "downloads", user)


def share(path: Path, user: BrowserUser | None) -> None:
    """Lets `user` read a file or a folder that stays ours. Raises `OSError`."""
    if user is not None:
        os.chown(path, -1, user.gid, follow_symlinks=False)
        path.chmod(_SHARED_FOLDER if path.is_dir() else _SHARED_FILE)


def make_traversable(folder: Path, user: BrowserUser | None) -> None:
    """Creates a folder that `user` can traverse and only we can write to. Raises `OSError`."""
    folder.mkdir(mode=_PRIVATE)
    if user is not None:
        folder.chmod(_TRAVERSE)


def remove_if_empty(folder: Path) -> None:
    """Removes a work folder and its folder of sessions, each only if empty."""
    for each in (folder / "sessions", folder):
        with contextlib.suppress(OSError):
            each.rmdir()


def _make_owned(folder: Path) -> None:
    """Creates a folder that others can traverse; an existing one must be ours. Raises `OSError`."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=_PRIVATE)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(descriptor)
        if not _owned_by_us(found):
            raise PermissionError(0, "it has another owner, or others can write to it")
        os.fchmod(descriptor, stat.S_IMODE(found.st_mode) | _TRAVERSE)
    finally:
        os.close(descriptor)


def _is_our_folder(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and _owned_by_us(found)


def _owned_by_us(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
