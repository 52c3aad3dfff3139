"""Where the service is and which key to use, when nobody says so.

A running service announces itself in its data folder (`service.json`). Somebody who may read that folder may also read
the admin key kept there, so on the same machine nothing needs to be set. That key goes to the announced service and to
no other address: whoever happens to listen elsewhere would have it from then on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from browser_sessions.domain.urls import is_loopback

URL: Final = "BROWSER_SESSIONS_URL"
API_KEY: Final = "BROWSER_SESSIONS_API_KEY"
DATA_DIR: Final = "BROWSER_SESSIONS_DATA_DIR"
ADMIN_API_KEY: Final = "BROWSER_SESSIONS_ADMIN_API_KEY"
"""The service's own setting: where it is set, the data folder holds no current key."""
ADMIN_KEY_FILE: Final = Path("secrets", "admin_api_key")
ANNOUNCEMENT: Final = "service.json"
DEFAULT_PORT: Final = 8000
"""Where `serve` listens when nobody says otherwise."""

_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound to


@dataclass(frozen=True, slots=True)
class Target:
    """The service to talk to."""

    url: str
    api_key: str | None = field(repr=False)


def discover(
    url: str | None = None,
    api_key: str | None = None,
    data_dir: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Target:
    """What is given wins over the environment, the environment over what the data folder tells.

    Raises `ValueError` when the address is none.
    """
    folder = data_dir or data_folder(environ)
    announced = announced_url(folder)
    base = checked_url(url or environ.get(URL) or announced or default_url(environ))
    key = api_key or environ.get(API_KEY)
    if not key and announced is not None and _place(base) == _place(announced):
        key = environ.get(ADMIN_API_KEY) or _read(folder / ADMIN_KEY_FILE)
    return Target(base, key.strip() if key else None)


def data_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The service's data folder, by the same rule as the service's own setting."""
    if named := environ.get(DATA_DIR):
        return Path(named)
    base = environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "browser-sessions"


def default_url(environ: Mapping[str, str] = os.environ) -> str:
    """The address that a service with these settings listens on, as a caller on the same machine names it."""
    host = environ.get("BROWSER_SESSIONS_HOST") or "127.0.0.1"
    port = environ.get("BROWSER_SESSIONS_PORT") or ""
    return f"http://{_shown(host)}:{int(port) if port.isdecimal() and int(port) else DEFAULT_PORT}"


def checked_url(url: str) -> str:
    """The address without a slash at its end. Raises `ValueError` saying what would be right."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError("must be the address of a service, such as http://127.0.0.1:8000 (no query, no user name)")
    return url.rstrip("/")


# -- the announcement --------------------------------------------------------------------------------------------------


def announce(folder: Path, url: str, pid: int) -> None:
    """Says that process `pid` serves at `url`. Raises `OSError`."""
    parts = urlsplit(url)
    address = f"{parts.scheme}://{_shown(parts.hostname or '')}:{parts.port}"
    made = folder / f".{ANNOUNCEMENT}.{pid}"
    made.write_text(json.dumps({"url": address, "pid": pid, "birth": _birth(pid)}) + "\n", encoding="utf-8")
    made.chmod(0o600)
    made.replace(folder / ANNOUNCEMENT)


def withdraw(folder: Path, pid: int) -> None:
    """Takes back the announcement of process `pid`, and no other's."""
    found = _announcement(folder)
    if found is not None and found[1] == pid:
        (folder / ANNOUNCEMENT).unlink(missing_ok=True)


def announced_url(folder: Path) -> str | None:
    """The address of the service that runs on this data folder, or None when none does."""
    found = _announcement(folder)
    if found is None:
        return None
    url, pid, birth = found
    return url if _lives(pid) and _birth(pid) == birth else None


def announced_pid(folder: Path) -> int | None:
    """The process of the service that runs on this data folder, or None when none does."""
    found = _announcement(folder)
    return found[1] if found is not None and announced_url(folder) is not None else None


def _announcement(folder: Path) -> tuple[str, int, str | None] | None:
    try:
        found = json.loads(_read(folder / ANNOUNCEMENT) or "")
        birth = found["birth"]
        return checked_url(str(found["url"])), int(found["pid"]), None if birth is None else str(birth)
    except (ValueError, KeyError, TypeError):
        return None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _birth(pid: int) -> str | None:
    """When the process began, in ticks since the machine did: a number that is used again does not pass for the same
    process (proc(5), field 22 of stat). None where the system does not tell."""
    stat = _read(Path("/proc", str(pid), "stat"))
    return None if stat is None else stat.rpartition(")")[2].split()[19]


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, ValueError):
        return None


def _shown(host: str) -> str:
    name = _ANY_ADDRESS.get(host.strip("[]"), host.strip("[]"))
    return f"[{name}]" if ":" in name else name


def _place(url: str) -> tuple[str, str, int]:
    """Scheme, host and port; every name of loopback is the same host."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, "localhost" if is_loopback(host) else host, port
