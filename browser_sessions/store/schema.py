"""The database schema as numbered migrations. Times are integers: microseconds since 1970, UTC."""

from __future__ import annotations

import sqlite3
from typing import Final

from browser_sessions.domain.errors import SettingsError
from browser_sessions.domain.session import FINAL, SessionStatus

LIVE_ONLY: Final = "status IN ({})".format(", ".join(f"'{s.value}'" for s in SessionStatus if s not in FINAL))
"""Identical in the partial index and in queries: SQLite uses a partial index only where the expressions match."""

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE sessions (
            session_id TEXT NOT NULL PRIMARY KEY,
            owner TEXT NOT NULL,
            owner_name TEXT NOT NULL,
            node TEXT NOT NULL,
            status TEXT NOT NULL,
            viewport_width INTEGER NOT NULL,
            viewport_height INTEGER NOT NULL,
            user_agent TEXT,
            isolation TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            last_activity INTEGER NOT NULL,
            expires_at INTEGER,
            ended_at INTEGER,
            end_reason TEXT,
            idle_timeout_seconds REAL,
            max_lifetime_seconds REAL,
            metadata TEXT NOT NULL,
            options TEXT NOT NULL,
            idempotency_key TEXT,
            body_sha256 TEXT,
            version INTEGER NOT NULL
        )
        """,
        "CREATE INDEX sessions_newest ON sessions (created_at DESC, session_id DESC)",
        "CREATE INDEX sessions_of_owner ON sessions (owner, created_at DESC, session_id DESC)",
        """
        CREATE INDEX sessions_live ON sessions (created_at DESC, session_id DESC)
        WHERE status IN ('queued', 'starting', 'active', 'closing')
        """,
        "CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at IS NOT NULL",
        """
        CREATE UNIQUE INDEX sessions_idempotency ON sessions (owner, idempotency_key)
        WHERE idempotency_key IS NOT NULL
        """,
        "CREATE INDEX sessions_keyed ON sessions (created_at) WHERE idempotency_key IS NOT NULL",
        """
        CREATE TABLE api_keys (
            key_id TEXT NOT NULL PRIMARY KEY,
            principal_id TEXT NOT NULL,
            name TEXT NOT NULL,
            role TEXT NOT NULL,
            secret_sha256 TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            revoked_at INTEGER
        )
        """,
        """
        CREATE TABLE users (
            username TEXT NOT NULL PRIMARY KEY,
            principal_id TEXT NOT NULL,
            role TEXT NOT NULL,
            password_hash TEXT NOT NULL,
            created_at INTEGER NOT NULL
        )
        """,
    ),
    ("CREATE TABLE sign_outs (sign_in TEXT NOT NULL PRIMARY KEY, expires_at INTEGER NOT NULL)",),
    ("ALTER TABLE api_keys ADD COLUMN egress TEXT", "ALTER TABLE sessions ADD COLUMN traffic TEXT"),
)
"""The schema version is the number of migrations applied. Never change a released one: add another."""


def require_compatible(connection: sqlite3.Connection) -> None:
    """Raises `SettingsError` for a database of a newer version or another program; changes nothing."""
    # One statement, so that it cannot run between the steps of another process's migration.
    version, tables = connection.execute(
        "SELECT (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_master)"
    ).fetchone()
    if version > len(MIGRATIONS):
        raise SettingsError(
            f"it has schema version {version}, and this release supports versions up to {len(MIGRATIONS)}. "
            "Use a newer release, or name another file"
        )
    if version == 0 and tables:
        raise SettingsError("it contains tables of another program. Name a file that does not exist yet")


def migrate(connection: sqlite3.Connection) -> None:
    """Brings the schema up to date, one transaction per migration."""
    while (version := _version(connection)) < len(MIGRATIONS):
        connection.execute("BEGIN IMMEDIATE")
        try:
            if _version(connection) == version:  # otherwise another process has migrated
                for statement in MIGRATIONS[version]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {version + 1:d}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
