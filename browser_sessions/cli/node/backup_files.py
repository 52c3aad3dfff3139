"""The files of a backup: written while the service runs, and put back while it does not.

Everything in the data folder but `NOT_COPIED`, and the database as `sessions.db`, wherever it is. Files are 0600 and
folders 0700, and their times are kept: retention goes by them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from browser_sessions.cli.exit_codes import ExitCode
from browser_sessions.cli.reports import CommandError
from browser_sessions.domain.errors import SettingsError
from browser_sessions.store import copy_database, lock_data_folder

DATABASE: Final = "sessions.db"
LOCK: Final = "lock"
NOT_COPIED: Final = frozenset({LOCK, "service.json", "work", "devtools"})
"""Of a running service only, or made again by the next start."""
SECRETS: Final = ("token_secret", "ticket_secret")
ADMIN_KEY: Final = "admin_api_key"


@dataclass(slots=True)
class Copied:
    """What a backup holds."""

    files: int = 0
    size: int = 0

    def count(self, path: Path) -> None:
        self.files += 1
        self.size += path.stat().st_size


def save(data_dir: Path, database: Path, folder: Path) -> Copied:
    """Backs up to `folder`, which may hold an earlier backup: that is brought up to date, and stays whole until then.

    Raises `CommandError`, `SettingsError`, `StoreUnavailable`, `OSError`.
    """
    if not database.exists():
        raise CommandError(ExitCode.NOT_FOUND, f"Nothing to back up: there is no database {database}.")
    names = [each.name for each in _entries(data_dir, database)]
    if folder.resolve().is_relative_to(data_dir.resolve()):
        raise CommandError(ExitCode.USAGE, f"{folder} is inside the data folder. Name one elsewhere.")
    if (folder / LOCK).exists():
        raise CommandError(ExitCode.REFUSED, f"{folder} is the data folder of another service. Name another one.")
    taken = [name for name in names if (folder / name).exists()]
    if taken and not (folder / DATABASE).exists():
        raise CommandError(ExitCode.REFUSED, f"{folder} is no backup, but has {', '.join(taken)}. Name another folder.")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    copied = Copied()
    # First the records: what the archive gets meanwhile is more than they need, never less.
    with _scratch(folder) as scratch:
        copy_database(database, scratch / DATABASE)
        (scratch / DATABASE).replace(folder / DATABASE)
        copied.count(folder / DATABASE)
        for name in names:
            _mirror(data_dir / name, folder / name, scratch, copied)
    return copied


def put_back(folder: Path, data_dir: Path, database: Path, *, force: bool, own_admin_key: bool) -> Copied:
    """Restores a backup. Everything is copied and checked before anything is replaced.

    `own_admin_key`: the settings have the admin's key, so the backup need not. Raises as `save`.
    """
    if not (folder / DATABASE).is_file():
        raise CommandError(ExitCode.NOT_FOUND, f"{folder} holds no backup: it has no {DATABASE}.")
    _require_secrets(folder / "secrets", SECRETS if own_admin_key else (*SECRETS, ADMIN_KEY))
    for each in (data_dir, database.parent):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        lock = lock_data_folder(data_dir)
    except SettingsError as error:
        raise CommandError(ExitCode.REFUSED, error.detail) from None
    with lock, _scratch(data_dir) as scratch, _scratch(database.parent) as beside_database:
        names = [each.name for each in _entries(folder, folder / DATABASE)]
        present = [each for each in (database, *(data_dir / name for name in names)) if each.exists()]
        if present and not force:
            raise CommandError(ExitCode.REFUSED, f"{data_dir} has data already. Replace it with --force.")
        copied = Copied()
        copy_database(folder / DATABASE, beside_database / DATABASE)
        copied.count(beside_database / DATABASE)
        for name in names:
            _mirror(folder / name, scratch / name, scratch, copied)
        if os.geteuid() == 0:  # the service may be another user's
            for path in (data_dir / LOCK, *scratch.rglob("*"), *beside_database.rglob("*")):
                os.chown(path, data_dir.stat().st_uid, data_dir.stat().st_gid)
        for each in present:
            _remove(each)
        for suffix in ("-wal", "-shm"):  # of the database that was there
            database.with_name(database.name + suffix).unlink(missing_ok=True)
        for name in names:
            (scratch / name).replace(data_dir / name)
        (beside_database / DATABASE).replace(database)
    return copied


def _require_secrets(folder: Path, names: Sequence[str]) -> None:
    """The next start would make others: every client's key or token would be invalid. Raises `CommandError`."""
    files = {name: folder / name for name in names}
    missing = [name for name, file in files.items() if not file.is_file() or not file.stat().st_size]
    if not missing:
        return
    hint = ""
    if missing == [ADMIN_KEY]:
        hint = " If the service has its admin key from BROWSER_SESSIONS_ADMIN_API_KEY, set that for this command too."
    raise CommandError(
        ExitCode.FAILED, f"The backup is incomplete: {folder} has no {', '.join(missing)}, or it is empty.{hint}"
    )


def _entries(folder: Path, database: Path) -> list[Path]:
    """What to copy, other than the database. Names with a dot are files that are being written."""
    if not folder.is_dir():
        return []
    own = {database, database.with_name(database.name + "-wal"), database.with_name(database.name + "-shm")}
    return sorted(
        each
        for each in folder.iterdir()
        if each not in own and each.name not in NOT_COPIED and not each.name.startswith(".")
    )


def _mirror(source: Path, target: Path, scratch: Path, copied: Copied) -> None:
    """Makes `target` as `source`; a file with the same size and time is the same. Links and sockets are left out."""
    if source.is_symlink():
        return
    if source.is_dir():
        target.mkdir(mode=0o700, exist_ok=True)
        target.chmod(0o700)
        names = {each.name for each in source.iterdir() if not each.name.startswith(".")}
        for extra in [each for each in target.iterdir() if each.name not in names]:
            _remove(extra)
        for name in sorted(names):
            _mirror(source / name, target / name, scratch, copied)
    elif source.is_file():
        with suppress(FileNotFoundError):  # the service removed it: its retention has passed
            _copy(source, target, scratch)
            copied.count(target)


def _copy(source: Path, target: Path, scratch: Path) -> None:
    found = source.stat()
    with suppress(FileNotFoundError):
        same = target.stat()
        if (same.st_size, same.st_mtime_ns) == (found.st_size, found.st_mtime_ns):
            target.chmod(0o600)
            return
    handle, name = tempfile.mkstemp(dir=scratch)  # 0600
    with os.fdopen(handle, "wb") as copy, source.open("rb") as original:
        shutil.copyfileobj(original, copy)
        copy.flush()
        os.fsync(copy.fileno())
    os.utime(name, ns=(found.st_atime_ns, found.st_mtime_ns))
    Path(name).replace(target)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A folder in `folder` for files that are not complete."""
    path = Path(tempfile.mkdtemp(dir=folder, prefix=".browser-sessions-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
