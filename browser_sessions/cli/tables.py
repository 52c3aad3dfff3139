"""Durations, sessions, keys and users as text and tables. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from rich.table import Table
from rich.text import Text

from browser_sessions.api.models.account_models import KeyResponse, UserResponse
from browser_sessions.api.models.egress_models import EgressResponse, Traffic
from browser_sessions.api.models.file_models import DownloadResponse, UploadResponse
from browser_sessions.api.models.page_models import PageResponse
from browser_sessions.api.models.session_models import (
    BrowserSessionDetails,
    BrowserSessionHealth,
    BrowserSessionResponse,
)
from browser_sessions.cli.output import plain
from browser_sessions.cli.sessions.end_reasons import WHY_ENDED
from browser_sessions.domain.session import SessionStatus

WITH_EXPIRY: Final = 100
WITH_TIMES: Final = 120
"""Columns of the terminal from which these fit beside the whole id and 30 characters of owner, host and page."""

Row = Mapping[str, Any]
"""A session's row of the overview, `api.models.overview_models.SessionRow` as JSON."""

_STYLES: Final[Mapping[str, str]] = {
    "queued": "yellow",
    "starting": "yellow",
    "active": "green",
    "closing": "cyan",
    "closed": "dim",
    "expired": "dim",
    "crashed": "red",
    "lost": "red",
    "unresponsive": "red",
}
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def duration(seconds: float) -> str:
    """`0 s`, `59 s`, `4 m 5 s`, `2 h 3 m`, `3 d 4 h`: two units, rounded down."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for size, name in _UNITS:
        if left >= size or (size == 1 and not parts):
            parts.append(f"{left // size} {name}")
            left %= size
        elif parts:
            break
    return " ".join(parts[:2])


def moment(at: datetime | None, now: datetime) -> str:
    """A time and its distance from now: `2026-01-31 12:00:00Z (4 m ago)`."""
    if at is None:
        return "never"
    away = (at - now).total_seconds()
    far = f"in {duration(away)}" if away >= 0 else f"{duration(-away)} ago"
    return f"{at:%Y-%m-%d %H:%M:%S}Z ({far})"


def end_of(details: BrowserSessionDetails) -> str:
    """`after 5 m without use, after 1 h at the latest`."""
    idle, lifetime = details.idle_timeout_seconds, details.max_lifetime_seconds
    parts = [] if idle is None else [f"after {duration(idle)} without use"]
    if lifetime is not None:
        parts.append(f"{duration(lifetime)} after its creation" + (" at the latest" if parts else ""))
    return ", ".join(parts) or "never by itself"


def console_address(session_id: str, live_url: str) -> str:
    """The console's page of a session, at the service's public address, which `live_url` has."""
    parts = urlsplit(live_url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return f"{scheme}://{parts.netloc}{parts.path.partition('/v1/')[0]}/sessions/{session_id}"


def status_text(status: str) -> Text:
    return Text(plain(status), style=_STYLES.get(status, ""))


def sessions_table(
    sessions: Sequence[BrowserSessionResponse], rows: Mapping[str, Row], now: datetime, *, width: int
) -> Table:
    """One row a session, for a terminal of `width` columns, 80 at least. Ids are never cut; owner, host and page
    are, the longest first. They are empty for a session without a row in the overview."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    fits = {"ENDS IN": WITH_EXPIRY, "AGE": WITH_TIMES, "IDLE": WITH_TIMES}
    times = [name for name, least in fits.items() if width >= least]
    for name in ("SESSION", "STATUS", *times):
        table.add_column(name, no_wrap=True)
    for name in ("OWNER", "HOST", "PAGE"):
        table.add_column(name)
    for session in sessions:
        row = rows.get(session.session_id, {})
        ended = _final(session.status)
        left = None if session.expires_at is None else (session.expires_at - now).total_seconds()
        durations = {
            "ENDS IN": "" if ended else "never" if left is None else duration(left),
            "AGE": duration((now - session.created_at).total_seconds()),
            "IDLE": "" if ended else duration((now - session.last_activity).total_seconds()),
        }
        url = str(row.get("url", ""))
        table.add_row(
            plain(session.session_id),
            status_text("unresponsive" if is_unresponsive(row) else session.status),
            *(durations[name] for name in times),
            *map(_cut, (row.get("owner_name", ""), _host(url), row.get("title") or url)),
        )
    return table


def row_summary(row: Row) -> str:
    """What tells a session from others in a few words: `active, Example Domain`."""
    return ", ".join(plain(part) for part in (row["status"], row["title"] or row["url"]) if part)


def is_unresponsive(row: Row) -> bool:
    return row.get("status") == "active" and row.get("responsive") is False


def _cut(text: object) -> Text:
    """A cell that ends in an ellipsis where the terminal is narrow."""
    return Text(plain(text), no_wrap=True, overflow="ellipsis")


def _host(url: str) -> str:
    """The host of an address, else its scheme: `data:`."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts.netloc.rpartition("@")[2] or (f"{parts.scheme}:" if parts.scheme else "")


def details_table(details: BrowserSessionDetails, health: BrowserSessionHealth | None, now: datetime) -> Text:
    """Everything about one session, one fact a line. Options with their default value are left out."""
    status = status_text(details.status)
    if details.end_reason:
        status.append(f" ({plain(details.end_reason)})")
    rows: list[tuple[str, Any]] = [
        ("session", details.session_id),
        ("status", status),
        *[("why", why) for why in [WHY_ENDED.get(details.end_reason or "")] if why],
        ("owner", details.owner),
        ("created", moment(details.created_at, now)),
        ("last activity", moment(details.last_activity, now)),
    ]
    if details.ended_at is not None:
        rows.append(("ended", moment(details.ended_at, now)))
    else:
        rows.append(("ends", moment(details.expires_at, now)))
    rows += [
        ("limits", end_of(details)),
        ("viewport", f"{details.viewport_width}x{details.viewport_height}"),
        ("user agent", details.user_agent or "the browser's default"),
        ("isolation", details.isolation),
        ("node", details.node),
        ("pages", details.pages),
        ("connections", details.connections),
    ]
    if details.key_egress is not None:
        rows.append(("egress of its key", egress_summary(details.key_egress)))
    if details.traffic is not None:
        rows.append(("traffic", traffic_summary(details.traffic)))
    if health is not None:
        rows.append(("health", health_summary(health)))
    rows += [(f"metadata {key}", value) for key, value in details.metadata.items()]
    rows += [(name, _option(value)) for name, value in details.options.items() if _is_set(name, value)]
    if details.connect_url is not None:
        rows.append(("connect", details.connect_url))
    if details.live_url is not None:
        rows.append(("watch", console_address(details.session_id, details.live_url)))
    return facts(rows)


def facts(rows: Iterable[tuple[str, object]]) -> Text:
    """Names and values, one a line; further lines of a value are aligned below its first."""
    shown = [(plain(name), value if isinstance(value, Text) else Text(plain(value))) for name, value in rows]
    margin = max((len(name) for name, _ in shown), default=0) + 2
    lines = []
    for name, value in shown:
        first, *others = value.split("\n", allow_blank=True)
        lines.append(Text.assemble((f"{name:{margin}}", "bold"), first))
        lines += [Text.assemble(" " * margin, other) for other in others]
    return Text("\n").join(lines)


def pages_table(pages: Sequence[PageResponse]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("PAGE", "TITLE", "URL"):
        table.add_column(name, no_wrap=True, overflow="fold" if name == "PAGE" else "ellipsis")
    for page in pages:
        title = Text("crashed", style="red") if page.crashed else Text(plain(page.title))
        table.add_row(page.page_id, title, plain(page.url))
    return table


def downloads_table(downloads: Sequence[DownloadResponse]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("DOWNLOAD", "STATE", "BYTES", "FILE"):
        table.add_column(name, no_wrap=True, overflow="ellipsis" if name == "FILE" else "fold")
    for each in downloads:
        table.add_row(each.download_id, each.state, str(each.received_bytes), plain(each.filename))
    return table


def uploads_table(uploads: Sequence[UploadResponse]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("UPLOAD", "BYTES", "NAME", "PATH"):
        table.add_column(name, no_wrap=True, overflow="fold" if name == "UPLOAD" else "ellipsis")
    for each in uploads:
        table.add_row(each.upload_id, str(each.size), plain(each.name), plain(each.path))
    return table


def keys_table(keys: Sequence[KeyResponse], now: datetime) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("KEY", "NAME", "ROLE", "PRINCIPAL", "AGE", "REVOKED", "EGRESS"):
        table.add_column(name)
    for key in keys:
        revoked = "" if key.revoked_at is None else f"{duration((now - key.revoked_at).total_seconds())} ago"
        age = duration((now - key.created_at).total_seconds())
        cells = (key.key_id, key.name, key.role, key.principal_id, age, revoked, egress_summary(key.egress))
        table.add_row(*map(plain, cells))
    return table


def users_table(users: Sequence[UserResponse], now: datetime) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("USER", "ROLE", "PRINCIPAL", "AGE"):
        table.add_column(name)
    for user in users:
        age = duration((now - user.created_at).total_seconds())
        table.add_row(*map(plain, (user.username, user.role, user.principal_id, age)))
    return table


def _final(status: str) -> bool:
    return status in {each.value for each in SessionStatus if each.final}


def health_summary(health: BrowserSessionHealth) -> str:
    if not health.healthy:
        return f"unhealthy: {health.problem or 'no reason given'}"
    memory = "" if health.memory_bytes is None else f", {health.memory_bytes / 2**20:.1f} MiB"
    return f"healthy, responded in {health.latency_ms:.0f} ms{memory}"


def egress_summary(rules: EgressResponse) -> str:
    """What narrows a key's egress; empty if nothing does."""
    allow = "" if rules.allow is None else f"only {', '.join(rules.allow) or 'nothing'}"
    deny = f"not {', '.join(rules.deny)}" if rules.deny else ""
    return "; ".join(filter(None, (allow, deny)))


def traffic_summary(traffic: Traffic) -> str:
    refused = f", {traffic.refused} refused" if traffic.refused else ""
    megabytes = f"{traffic.bytes_up / 1e6:.1f} MB sent, {traffic.bytes_down / 1e6:.1f} MB received"
    return f"{megabytes}, {traffic.connections} connections{refused}"


def _is_set(name: str, value: object) -> bool:
    """Whether the option differs from its default."""
    return value is False if name == "java_script_enabled" else value not in (None, False, [], {})


def _option(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={item}" for name, item in value.items() if item is not None)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
