"""The default URL and API key of a client.

A running service announces itself in its data folder (`service.json`), which also contains the admin key. So a client
of the same user on the same machine needs no settings. The admin key is only sent to the announced service, because any
other server would learn it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from browser_sessions.client.errors import InvalidArgument
from browser_sessions.domain.urls import is_loopback

URL: Final = "BROWSER_SESSIONS_URL"
API_KEY: Final = "BROWSER_SESSIONS_API_KEY"
DATA_DIR: Final = "BROWSER_SESSIONS_DATA_DIR"
ADMIN_API_KEY: Final = "BROWSER_SESSIONS_ADMIN_API_KEY"
"""The service's own setting: if set, the key in the data folder is not in use."""
ADMIN_KEY_FILE: Final = Path("secrets", "admin_api_key")
ANNOUNCEMENT: Final = "service.json"
DEFAULT_PORT: Final = 8000
"""The default port of `serve`."""

_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound to


@dataclass(frozen=True, slots=True)
class Target:
    """The URL of a service and the key to send."""

    url: str
    api_key: str | None = field(repr=False)


def discover(
    url: str | None = None,
    api_key: str | None = None,
    data_dir: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Target:
    """Arguments take precedence over the environment, and the environment over the data folder.

    Raises `ValueError` for an invalid URL.
    """
    folder = data_dir or data_folder(environ)
    announced = announced_url(folder)
    base = checked_url(url or environ.get(URL) or announced or default_url(environ))
    key = api_key or environ.get(API_KEY)
    if not key and announced is not None and _origin(base) == _origin(announced):
        key = environ.get(ADMIN_API_KEY) or _read(folder / ADMIN_KEY_FILE)
    return Target(base, key.strip() if key else None)


def folder_of(data_dir: str | os.PathLike[str] | None) -> Path | None:
    """Raises `InvalidArgument` for what is no path."""
    if data_dir is None:
        return None
    try:
        if data_dir != "":
            return Path(data_dir)
    except TypeError:
        pass
    raise InvalidArgument(f"data_dir must be the path of a folder, not {data_dir!r:.80}.")


def data_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The service's data folder, by the same rule as `settings.data_dir`."""
    if named := environ.get(DATA_DIR):
        return Path(named)
    base = environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "browser-sessions"


def default_url(environ: Mapping[str, str] = os.environ) -> str:
    """The URL of a service with these settings, for a client on the same machine."""
    host = environ.get("BROWSER_SESSIONS_HOST") or "127.0.0.1"
    port = environ.get("BROWSER_SESSIONS_PORT") or ""
    return f"http://{_connectable(host)}:{int(port) if port.isdecimal() and int(port) else DEFAULT_PORT}"


def checked_url(url: str) -> str:
    """The URL without trailing slashes. Raises `ValueError` for one that is not a service's."""
    parts = urlsplit(url)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise ValueError("must be the URL of a service, such as http://127.0.0.1:8000 (no query, no user name)")
    return url.rstrip("/")


# -- the announcement --------------------------------------------------------------------------------------------------


def announce(folder: Path, url: str, pid: int) -> None:
    """Announces that process `pid` serves at `url`. Raises `OSError`."""
    parts = urlsplit(url)
    base = f"{parts.scheme}://{_connectable(parts.hostname or '')}:{parts.port}"
    temporary = folder / f".{ANNOUNCEMENT}.{pid}"
    temporary.write_text(json.dumps({"url": base, "pid": pid, "birth": _start_time(pid)}) + "\n", encoding="utf-8")
    temporary.chmod(0o600)
    temporary.replace(folder / ANNOUNCEMENT)


def withdraw(folder: Path, pid: int) -> None:
    """Removes the announcement of process `pid`, but not another's."""
    found = _announcement(folder)
    if found is not None and found[1] == pid:
        (folder / ANNOUNCEMENT).unlink(missing_ok=True)


def announced_url(folder: Path) -> str | None:
    """The URL of the service that runs on this data folder, or None."""
    found = _announcement(folder)
    if found is None:
        return None
    url, pid, start_time = found
    return url if _is_running(pid) and _start_time(pid) == start_time else None


def announced_pid(folder: Path) -> int | None:
    """The process id of the service that runs on this data folder, or None."""
    found = _announcement(folder)
    return found[1] if found is not None and announced_url(folder) is not None else None


def _announcement(folder: Path) -> tuple[str, int, str | None] | None:
    try:
        found = json.loads(_read(folder / ANNOUNCEMENT) or "")
        start_time = found["birth"]
        return checked_url(str(found["url"])), int(found["pid"]), None if start_time is None else str(start_time)
    except (ValueError, KeyError, TypeError):
        return None


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _start_time(pid: int) -> str | None:
    """The process's start time in ticks since boot (proc(5), field 22 of stat), which tells it from a later process
    with the same id. None without /proc."""
    stat = _read(Path("/proc", str(pid), "stat"))
    return None if stat is None else stat.rpartition(")")[2].split()[19]


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, ValueError):
        return None


def _connectable(host: str) -> str:
    """The host to connect to for a server that listens on `host`, bracketed if IPv6."""
    name = _ANY_ADDRESS.get(host.strip("[]"), host.strip("[]"))
    return f"[{name}]" if ":" in name else name


def _origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port; all loopback hosts are equal."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, "localhost" if is_loopback(host) else host, port
