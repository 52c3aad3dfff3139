"""Copies of a database, also of one in use."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from browser_sessions.domain.errors import SettingsError
from browser_sessions.store.database_connection import BUSY_SECONDS, explained
from browser_sessions.store.schema import require_compatible


def copy_database(source: Path, target: Path) -> None:
    """Writes a consistent copy to a new file (0600), by SQLite's online backup: writers of the source do not wait.

    Raises `SettingsError` when a file cannot be used, is damaged, empty or of a newer version.
    """
    with explained(source), closing(sqlite3.connect(source, timeout=BUSY_SECONDS)) as original:
        require_compatible(original)
        if not original.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise SettingsError("it is empty")
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(target)) as copy:
            original.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, also on a read-only disk
            finding = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
            if finding != "ok":
                raise sqlite3.DatabaseError(finding)
