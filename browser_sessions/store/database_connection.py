"""Connections to the database file, each on its own thread, and the mapping of their errors."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self, TypeVar

from browser_sessions.domain.errors import SettingsError, StoreUnavailable
from browser_sessions.store.schema import migrate, require_compatible

T = TypeVar("T")

BUSY_SECONDS: Final = 2.0
"""How long to wait for another process's lock. The command line adding a key or a backup tool hold it for milliseconds,
and a create should not be delayed longer."""

MAX_CHECKED_BYTES: Final = 64 * 2**20
"""A database up to this size is checked page by page when it is opened; for larger ones that would delay the start."""

_SETTINGS_HINT: Final = (
    "Set BROWSER_SESSIONS_DATA_DIR, or BROWSER_SESSIONS_STORE_URL, to a place that this user can write to"
)

_REASONS: Final = {
    sqlite3.SQLITE_FULL: "its disk is full; free some space, no restart is needed",
    sqlite3.SQLITE_BUSY: "it is locked by another process; try again",
    sqlite3.SQLITE_LOCKED: "it is locked by another process; try again",
    sqlite3.SQLITE_READONLY: "its file or its disk became read-only; make it writable, no restart is needed",
    sqlite3.SQLITE_IOERR: "its disk fails or is full; see the system's log",
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened: deleted, permission denied, or out of file descriptors",
    sqlite3.SQLITE_CORRUPT: "its file is damaged; stop the server and restore a backup",
    sqlite3.SQLITE_NOTADB: "its file is damaged; stop the server and restore a backup",
    sqlite3.SQLITE_NOMEM: "it is out of memory",
}
"""By SQLite's primary result code (https://sqlite.org/rescode.html)."""

_TEMPORARY: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM})
"""Errors that may pass: no settings error, even at the start."""


def unavailable(error: sqlite3.Error) -> StoreUnavailable:
    """`error` as the error that callers of the store get."""
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    reason = _REASONS.get(_primary(error), str(error))
    return StoreUnavailable(f"The store is unavailable: {reason} ({name}).")


def is_store_fault(error: sqlite3.Error) -> bool:
    """False if the statement or its values are to blame, so that the error concerns its caller only."""
    caller_faults = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError)
    return not isinstance(error, caller_faults)


def _primary(error: sqlite3.Error) -> int:
    # Errors of the sqlite3 module itself have no SQLite code.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


class DatabaseThread:
    """A connection on its own thread that runs whole functions.

    A transaction then costs one thread switch instead of one per statement, and cannot be cancelled between its
    statements.
    """

    def __init__(self, executor: ThreadPoolExecutor, connection: sqlite3.Connection) -> None:
        self._executor = executor
        self._connection = connection

    @classmethod
    async def start(cls, connect: Callable[[], sqlite3.Connection]) -> Self:
        """Raises as `connect`, which is called on the new thread."""
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        try:
            return cls(executor, await asyncio.get_running_loop().run_in_executor(executor, connect))
        except BaseException:
            executor.shutdown(wait=False)
            raise

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Returns or raises what `work` does. A cancelled call runs to its end or not at all."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, self._connection)

    async def close(self) -> None:
        """Closes the connection once all earlier calls are done, and ends the thread."""
        try:
            await self.run(sqlite3.Connection.close)
        finally:
            self._executor.shutdown(wait=False)


def connect_writer(path: Path) -> sqlite3.Connection:
    """Creates the file if missing (0600, its folder 0700), checks it and brings its schema up to date.

    Raises `SettingsError` if the file cannot be used, `StoreUnavailable` if it temporarily cannot.
    """
    with explained(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite would create it by the umask; -wal and -shm inherit its mode. Exclusive, because closing a file that
        # another connection of this process has open releases that one's locks (https://sqlite.org/howtocorrupt.html).
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            _set_up_writer(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def _set_up_writer(connection: sqlite3.Connection, path: Path) -> None:
    require_compatible(connection)
    journal = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if journal != "wal":
        raise SettingsError("its file system does not support shared memory (WAL). Name a file on a local disk")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("BEGIN IMMEDIATE")  # fails on a read-only file
    connection.execute("ROLLBACK")
    if path.stat().st_size <= MAX_CHECKED_BYTES:
        finding = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if finding != "ok":
            raise sqlite3.DatabaseError(finding)
    migrate(connection)


def connect_reader(path: Path) -> sqlite3.Connection:
    """A read-only connection, which sees committed data. Raises as `connect_writer`."""
    with explained(path):
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA query_only = ON")
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns errors of opening into errors that say what to do."""
    try:
        yield
    except SettingsError as error:
        raise SettingsError(f"The database {path} cannot be used: {error.detail}.") from error
    except sqlite3.OperationalError as error:
        if _primary(error) in _TEMPORARY:
            raise unavailable(error) from error
        raise SettingsError(f"The database {path} cannot be used: {error}. {_SETTINGS_HINT}.") from error
    except sqlite3.Error as error:
        raise SettingsError(
            f"The database {path} is damaged or not a database: {error}. Restore a backup, or name another file."
        ) from error
    except OSError as error:
        raise SettingsError(
            f"The database {path} cannot be used: {error.strerror or error}. {_SETTINGS_HINT}."
        ) from error
