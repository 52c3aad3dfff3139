"""The service's own secrets: made at the first start, kept in the data folder, readable by its owner alone."""

from __future__ import annotations

import os
import secrets
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from browser_sessions.domain.errors import SettingsError

SECRET_BYTES: Final = 32
"""256 bits: as long as the SHA-256 that stores a key and the HMAC that signs a token."""

_FOLDER: Final = "secrets"
_ADMIN_KEY: Final = "admin_api_key"


@dataclass(frozen=True, slots=True)
class Secrets:
    """`admin_key_is_new`: made by this very call, so it has to be shown, once."""

    admin_key: str = field(repr=False)
    admin_key_is_new: bool
    admin_since: datetime
    token_secret: bytes = field(repr=False)
    ticket_secret: bytes = field(repr=False)


def admin_key_path(data_dir: Path) -> Path:
    """Where the generated admin key lies: the command line on the same machine finds it there."""
    return data_dir / _FOLDER / _ADMIN_KEY


def load_or_create(data_dir: Path, admin_key: str | None = None) -> Secrets:
    """Reads the secrets, making those that are missing; an `admin_key` given wins over the kept one.

    Two starts at once agree on the same secrets. Raises `SettingsError` when the folder cannot be used.
    """
    folder = data_dir / _FOLDER
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(exist_ok=True, mode=0o700)
        if folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
        is_new = False
        since = datetime.now(UTC)
        if admin_key is None:
            admin_key, is_new = _read_or_create(folder / _ADMIN_KEY, "bs_admin_" + secrets.token_urlsafe(SECRET_BYTES))
            since = datetime.fromtimestamp((folder / _ADMIN_KEY).stat().st_mtime, UTC)
        token_secret, _ = _read_or_create(folder / "token_secret", secrets.token_hex(SECRET_BYTES))
        ticket_secret, _ = _read_or_create(folder / "ticket_secret", secrets.token_hex(SECRET_BYTES))
    except OSError as error:
        raise SettingsError(
            f"BROWSER_SESSIONS_DATA_DIR: cannot keep secrets in {folder}: {error.strerror or error}. "
            "Name a folder that this user may write."
        ) from None
    return Secrets(admin_key, is_new, since, token_secret.encode(), ticket_secret.encode())


def _read_or_create(path: Path, fresh: str) -> tuple[str, bool]:
    """What the file holds, and whether this call put it there.

    The whole content appears at once under its name (a hard link to a finished file), and only where there was none.
    """
    if not path.exists():
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
        made = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(fresh + "\n")
                file.flush()
                os.fsync(file.fileno())
            path.hardlink_to(made)
        except FileExistsError:
            pass  # another start was faster: its secret counts
        else:
            return fresh, True
        finally:
            made.unlink(missing_ok=True)
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    kept = path.read_text(encoding="utf-8").strip()
    if not kept:
        raise SettingsError(f"{path} is empty. Remove it, and the next start makes a new secret.")
    return kept, False
