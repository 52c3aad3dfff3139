"""Connections to the database file, each on a thread of its own, and what their errors mean."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self, TypeVar

import aiosqlite

from browser_sessions.domain.errors import SettingsError, StoreUnavailable
from browser_sessions.store.schema import migrate, require_ours

T = TypeVar("T")

BUSY_SECONDS: Final = 2.0
"""How long to wait for another process (the command line adding a key, a backup tool): those hold the lock for
milliseconds, and a caller who waits for a place should not wait longer for a lock."""

CHECKED_BYTES: Final = 64 * 2**20
"""A database up to this size is checked page by page when it is opened; beyond, the check would delay the start."""

_SETTINGS: Final = "Set BROWSER_SESSIONS_DATA_DIR, or BROWSER_SESSIONS_STORE_URL, to a place that this user may write"

_REASONS: Final = {
    sqlite3.SQLITE_FULL: "its disk is full; free some space, no restart is needed",
    sqlite3.SQLITE_BUSY: "another process holds its lock; try again",
    sqlite3.SQLITE_LOCKED: "another process holds its lock; try again",
    sqlite3.SQLITE_READONLY: "its file or its disk became read-only; make it writable, no restart is needed",
    sqlite3.SQLITE_IOERR: "its disk fails or is full; see the system's log",
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened: gone, no longer permitted, or out of file descriptors",
    sqlite3.SQLITE_CORRUPT: "its file is damaged; stop the server and restore a backup",
    sqlite3.SQLITE_NOTADB: "its file is damaged; stop the server and restore a backup",
    sqlite3.SQLITE_NOMEM: "it is out of memory",
}
"""By SQLite's primary result code (https://sqlite.org/rescode.html)."""

_NOT_NOW: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM})
"""Errors that may pass by themselves: not a wrong setting, even at the start."""


def unavailable(error: sqlite3.Error) -> StoreUnavailable:
    """What `error` means to a caller of the store."""
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    reason = _REASONS.get(_primary(error), str(error))
    return StoreUnavailable(f"The store does not answer: {reason} ({name}).")


def fault_of_the_store(error: sqlite3.Error) -> bool:
    """False where the statement or its values were at fault, so that only its caller need hear of it."""
    at_fault = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError)
    return not isinstance(error, at_fault)


def _primary(error: sqlite3.Error) -> int:
    # Errors of the sqlite3 module itself carry no code of SQLite's.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


class DatabaseThread(aiosqlite.Connection):
    """A connection on a thread of its own, to which whole functions are handed.

    A transaction is then one visit to the thread: it costs one switch instead of one a statement, and no cancellation
    on the event loop can fall between its statements.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(lambda: connection, iter_chunk_size=64)
        # A process whose start failed must end, also where nobody came to close the store. Nothing is lost by it: what
        # was acknowledged is on disk.
        self._thread.daemon = True

    @classmethod
    async def start(cls, connect: Callable[[], sqlite3.Connection]) -> Self:
        """Raises as `connect`, which is called off the event loop."""
        # Not on the new thread: aiosqlite does not wait for the end of a thread whose connection failed, and such a
        # thread ends with a traceback when the event loop was faster.
        thread = cls(await asyncio.to_thread(connect))
        _ = await thread
        return thread

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` returns or raises. A cancelled call may still be carried out, in whole."""
        result: T = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]
        return result


def connect_writer(path: Path) -> sqlite3.Connection:
    """Creates the file where there is none (0600, its folder 0700), checks it and brings its schema up to date.

    Raises `SettingsError` where the file cannot be used, `StoreUnavailable` where it cannot be now.
    """
    with _explained(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite would create it by the umask; the files beside it (-wal, -shm) take over its mode. Exclusive: closing a
        # file that another connection of this process has open would release that one's locks (https://sqlite.org/howtocorrupt.html).
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
    require_ours(connection)
    journal = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if journal != "wal":
        raise SettingsError("its file system cannot share memory (WAL). Name a file on a local disk")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("BEGIN IMMEDIATE")  # finds a file that can be read only
    connection.execute("ROLLBACK")
    if path.stat().st_size <= CHECKED_BYTES:
        finding = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if finding != "ok":
            raise sqlite3.DatabaseError(finding)
    migrate(connection)


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that sees what was committed and cannot write. Raises as `connect_writer`."""
    with _explained(path):
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA query_only = ON")
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Errors of opening as a sentence that says what to do."""
    try:
        yield
    except SettingsError as error:
        raise SettingsError(f"The database {path} cannot be used: {error.detail}.") from error
    except sqlite3.OperationalError as error:
        if _primary(error) in _NOT_NOW:
            raise unavailable(error) from error
        raise SettingsError(f"The database {path} cannot be used: {error}. {_SETTINGS}.") from error
    except sqlite3.Error as error:
        raise SettingsError(
            f"The database {path} is damaged or is none: {error}. Restore a backup, or name another file."
        ) from error
    except OSError as error:
        raise SettingsError(f"The database {path} cannot be used: {error.strerror or error}. {_SETTINGS}.") from error
