"""The store of a single node: a SQLite file in the data folder."""

from __future__ import annotations

import asyncio
import builtins
import sqlite3
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from browser_sessions.domain.errors import Conflict, StoreUnavailable
from browser_sessions.domain.ports import SessionQuery
from browser_sessions.domain.principal import ApiKey, User
from browser_sessions.domain.session import EndReason, SessionRecord, SessionStatus
from browser_sessions.store import rows
from browser_sessions.store.commits import GroupCommit, Write
from browser_sessions.store.database_connection import (
    DatabaseThread,
    connect_reader,
    connect_writer,
    unavailable,
)
from browser_sessions.store.schema import LIVE_ONLY

T = TypeVar("T")

TIMEOUT_SECONDS: Final = 10.0
"""For one call. Flushes of a busy disk took up to a quarter of a second, and waiting for another process's lock takes
up to `BUSY_SECONDS`."""

PURGE_ROWS: Final = 200
"""Rows of one purge step: measured as 2 ms, so that a create does not wait for a whole purge."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """The connections of an open store.

    Look-ups and listings have one each, so that a look-up waits neither for a commit nor for a long listing.
    """

    commits: GroupCommit
    lookups: DatabaseThread
    listings: DatabaseThread
    cleanup: AsyncExitStack


class EmbeddedStore:
    """Implements `SessionStore` for one node. `path` is the database file; `open` creates it and its folder.

    `open` raises `SettingsError` if the file cannot be used: damaged, of a newer version, in a read-only folder.
    Other calls raise `StoreUnavailable` while the store is not open.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: _Opened | None = None

    def __repr__(self) -> str:
        return f"<EmbeddedStore {str(self._path)!r} {'open' if self._opened else 'closed'}>"

    async def open(self) -> None:
        if self._opened is not None:
            return
        async with AsyncExitStack() as cleanup:
            writer = await DatabaseThread.start(partial(connect_writer, self._path))
            cleanup.push_async_callback(writer.close)
            cleanup.push_async_callback(_checkpoint, writer)
            lookups = await DatabaseThread.start(partial(connect_reader, self._path))
            cleanup.push_async_callback(lookups.close)
            listings = await DatabaseThread.start(partial(connect_reader, self._path))
            cleanup.push_async_callback(listings.close)
            self._opened = _Opened(GroupCommit(writer), lookups, listings, cleanup.pop_all())

    async def close(self) -> None:
        """Finishes pending writes and checkpoints the write-ahead log into the file."""
        opened, self._opened = self._opened, None
        if opened is not None:
            async with opened.cleanup:
                await opened.commits.finish()

    async def insert(self, record: SessionRecord) -> None:
        await self._write(partial(_insert, rows.row_of(replace(record, version=1))))

    async def update(self, record: SessionRecord) -> None:
        await self._write(partial(_update, rows.row_of(record)))

    async def flush_activity(self, moments: Iterable[tuple[str, datetime, datetime | None]]) -> None:
        parameters = [(rows.micros(used), rows.optional_micros(expires), name) for name, used, expires in moments]
        await self._write(partial(_flush, parameters))

    async def get(self, session_id: str) -> SessionRecord | None:
        return await self._one(f"{rows.SELECT} WHERE session_id = ?", (session_id,))

    async def by_idempotency_key(self, owner: str, key: str) -> SessionRecord | None:
        return await self._one(f"{rows.SELECT} WHERE owner = ? AND idempotency_key = ?", (owner, key))

    async def list(self, query: SessionQuery) -> builtins.list[SessionRecord]:
        statement, parameters = rows.listing(query)
        return await self._read(self._require_open().listings, statement, parameters, rows.record_of)

    async def mark_lost(self, node: str, at: datetime) -> int:
        return await self._write(partial(_mark_lost, node, rows.micros(at)))

    async def purge(self, ended_before: datetime, idempotency_before: datetime) -> int:
        removed = await self._in_steps(partial(_remove_ended, rows.micros(ended_before)))
        await self._in_steps(partial(_clear_idempotency_keys, rows.micros(idempotency_before)))
        await self._write(partial(_execute, "DELETE FROM sign_outs WHERE expires_at < ?", (rows.micros(ended_before),)))
        return removed

    async def put_key(self, key: ApiKey) -> None:
        await self._write(partial(_execute, rows.PUT_KEY, rows.key_row(key)))

    async def keys(self) -> builtins.list[ApiKey]:
        return await self._read(self._require_open().lookups, rows.KEYS, (), rows.key_of)

    async def put_user(self, user: User) -> None:
        await self._write(partial(_execute, rows.PUT_USER, rows.user_row(user)))

    async def remove_user(self, username: str) -> bool:
        return await self._write(partial(_execute, "DELETE FROM users WHERE username = ?", (username,))) > 0

    async def users(self) -> builtins.list[User]:
        return await self._read(self._require_open().lookups, rows.USERS, (), rows.user_of)

    async def put_sign_out(self, sign_in: str, expires_at: datetime) -> None:
        await self._write(partial(_execute, rows.PUT_SIGN_OUT, (sign_in, rows.micros(expires_at))))

    async def sign_outs(self) -> builtins.list[str]:
        return await self._read(self._require_open().lookups, rows.SIGN_OUTS, (), lambda row: str(row[0]))

    def _require_open(self) -> _Opened:
        if self._opened is None:
            raise StoreUnavailable("The store is closed: the server is starting or stopping. Try again.")
        return self._opened

    async def _write(self, write: Write[T]) -> T:
        return await _with_timeout(self._require_open().commits.write(write))

    async def _in_steps(self, step: Write[int]) -> int:
        """Repeats `step` until it affects fewer than `PURGE_ROWS` rows. Other writes may run between the steps."""
        total = 0
        while True:
            affected = await self._write(step)
            total += affected
            if affected < PURGE_ROWS:
                return total

    async def _one(self, statement: str, parameters: Sequence[Any]) -> SessionRecord | None:
        found = await self._read(self._require_open().lookups, statement, parameters, rows.record_of)
        return found[0] if found else None

    @staticmethod
    async def _read(
        thread: DatabaseThread, statement: str, parameters: Sequence[Any], decode: Callable[[Sequence[Any]], T]
    ) -> builtins.list[T]:
        def work(connection: sqlite3.Connection) -> builtins.list[T]:
            return [decode(row) for row in connection.execute(statement, parameters).fetchall()]

        try:
            return await _with_timeout(thread.run(work))
        except sqlite3.Error as error:
            raise unavailable(error) from error


async def _with_timeout(call: Coroutine[Any, Any, T]) -> T:
    """Raises `StoreUnavailable` if the disk hangs. A write in progress may still take effect then."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await call
    except TimeoutError as error:
        raise StoreUnavailable(
            f"The store is unavailable: its disk did not respond within {TIMEOUT_SECONDS:g} seconds. Try again."
        ) from error


async def _checkpoint(writer: DatabaseThread) -> None:
    """Updates the query planner's statistics and moves the write-ahead log into the file.

    Errors are ignored: the log is read at the next opening.
    """

    def work(connection: sqlite3.Connection) -> None:
        with suppress(sqlite3.Error):
            connection.execute("PRAGMA analysis_limit = 400")  # rows per index, as SQLite's manual advises
            connection.execute("PRAGMA optimize")
        with suppress(sqlite3.Error):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    await writer.run(work)


def _insert(row: dict[str, Any], connection: sqlite3.Connection) -> None:
    try:
        connection.execute(rows.INSERT, row)
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
            detail = "A session with this id already exists."
        elif error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_UNIQUE:
            detail = "The owner already has a session with this Idempotency-Key."
        else:
            raise
        raise Conflict(detail, session_id=row["session_id"]) from error


def _update(row: dict[str, Any], connection: sqlite3.Connection) -> None:
    if connection.execute(rows.UPDATE, row).rowcount != 1:
        raise Conflict(
            f"The stored session no longer has version {row['version'] - 1}: it was updated concurrently.",
            session_id=row["session_id"],
        )


def _flush(moments: Sequence[tuple[int, int | None, str]], connection: sqlite3.Connection) -> None:
    connection.executemany(
        f"UPDATE sessions SET last_activity = ?, expires_at = ? WHERE session_id = ? AND {LIVE_ONLY}",  # noqa: S608 - a constant
        moments,
    )


def _mark_lost(node: str, at: int, connection: sqlite3.Connection) -> int:
    return connection.execute(
        "UPDATE sessions SET status = ?, end_reason = ?, ended_at = ?, version = version + 1 "  # noqa: S608 - a constant
        f"WHERE node = ? AND {LIVE_ONLY}",
        (SessionStatus.LOST.value, EndReason.NODE_LOST.value, at, node),
    ).rowcount


def _remove_ended(before: int, connection: sqlite3.Connection) -> int:
    return connection.execute(
        "DELETE FROM sessions WHERE rowid IN (SELECT rowid FROM sessions "  # noqa: S608 - a constant
        f"WHERE ended_at < ? AND NOT {LIVE_ONLY} LIMIT ?)",
        (before, PURGE_ROWS),
    ).rowcount


def _clear_idempotency_keys(before: int, connection: sqlite3.Connection) -> int:
    return connection.execute(
        "UPDATE sessions SET idempotency_key = NULL, body_sha256 = NULL WHERE rowid IN "
        "(SELECT rowid FROM sessions WHERE idempotency_key IS NOT NULL AND created_at < ? LIMIT ?)",
        (before, PURGE_ROWS),
    ).rowcount


def _execute(statement: str, parameters: Sequence[Any], connection: sqlite3.Connection) -> int:
    return connection.execute(statement, parameters).rowcount
