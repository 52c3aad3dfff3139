"""Where browsers keep their files, such that their user reaches them and the data folder stays out of its reach.

As an ordinary user the work folder is in the data folder, and everything has mode 0700. As root, Chromium runs as
another user:

```
<work folder>                     root's, 0711: can be passed through, not listed
<work folder>/run-<id>/brw_<id>/  root's, 0711
…/{home,profile,tmp}              the browser user's, 0700
<work folder>/sessions/           root's, 0711
<work folder>/sessions/<id>/      the browser user's, 0700
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
"""Where the work folders of services are whose data folders the browser user cannot reach."""
_PASS: Final = 0o711
_PRIVATE: Final = 0o700
_HASH_CHARACTERS: Final = 16
"""64 bits: two data folders of one machine do not meet."""


def work_folder(preferred: Path, user: BrowserUser | None) -> Path:
    """`preferred` where `user` can reach it (always, when there is none), else a folder that belongs to it, the same
    after every start. Makes nothing."""
    if user is None or user.may_enter(preferred.parent):
        return preferred
    name = hashlib.sha256(os.fsencode(preferred.resolve())).hexdigest()[:_HASH_CHARACTERS]
    if _is_ours(STATE) and user.may_enter(STATE):
        return STATE / name
    if not os.path.lexists(STATE) and os.access(STATE.parent, os.W_OK | os.X_OK) and user.may_enter(STATE.parent):
        return STATE / name
    return Path(tempfile.gettempdir()).absolute() / f"browser-sessions-{name}"


def prepare(folder: Path, user: BrowserUser | None) -> None:
    """Makes a work folder, or a folder of sessions in it.

    Raises:
        SettingsError: it is somebody else's, or it cannot be made.
    """
    try:
        if user is None:
            folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            return
        if folder.parent == STATE:
            _own(STATE)
        folder.parent.mkdir(parents=True, exist_ok=True)
        _own(folder)
    except OSError as error:
        raise SettingsError(f"The work folder {folder} cannot be used: {error.strerror or error}") from error


def make(folder: Path, user: BrowserUser | None) -> None:
    """A new folder for a browser or a session, 0700 and `user`'s. An existing one is kept. Raises `OSError`."""
    folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    if user is not None:
        os.chown(folder, user.uid, user.gid, follow_symlinks=False)


def make_passage(folder: Path, user: BrowserUser | None) -> None:
    """A new folder that `user` passes through and only we write. Raises `OSError`."""
    folder.mkdir(mode=_PRIVATE)
    if user is not None:
        folder.chmod(_PASS)


def leave(folder: Path) -> None:
    """Removes an empty work folder and its empty folder of sessions. Others stay."""
    for each in (folder / "sessions", folder):
        with contextlib.suppress(OSError):
            each.rmdir()


def _own(folder: Path) -> None:
    """Makes a folder that others may pass through, or makes sure that an existing one is ours. Raises `OSError`."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=_PRIVATE)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(descriptor)
        if not _ours(found):
            raise PermissionError(0, "it belongs to somebody else, or others may write in it")
        os.fchmod(descriptor, stat.S_IMODE(found.st_mode) | _PASS)
    finally:
        os.close(descriptor)


def _is_ours(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and _ours(found)


def _ours(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
