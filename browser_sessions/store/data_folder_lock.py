"""The lock on a data folder, held by the server that uses it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from browser_sessions.domain.errors import SettingsError


def lock_data_folder(data_dir: Path) -> IO[str]:
    """One server for each data folder: two would mark each other's sessions as lost. Raises `SettingsError`."""
    path = data_dir / "lock"
    file = path.open("a+", encoding="utf-8")
    path.chmod(0o600)  # who can read it can lock it
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise SettingsError(
            f"BROWSER_SESSIONS_DATA_DIR: another server (process {holder}) uses {data_dir}. "
            "Stop it, or name another folder."
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file
