"""What people read: times as they say them, sessions and keys as tables. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from browser_sessions.api.models import (
    BrowserSessionDetails,
    BrowserSessionHealth,
    BrowserSessionResponse,
    KeyResponse,
    UserResponse,
)
from browser_sessions.cli.output import plain
from browser_sessions.domain.session import SessionStatus

SHORT_ID: Final = 12
"""`ses_` and eight hexadecimal digits: two of 10,000 sessions share these in one case of a hundred."""

_STYLES: Final[Mapping[str, str]] = {
    "queued": "yellow",
    "starting": "yellow",
    "active": "green",
    "closing": "cyan",
    "closed": "dim",
    "expired": "dim",
    "crashed": "red",
    "lost": "red",
}
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def duration(seconds: float) -> str:
    """`0 s`, `59 s`, `4 m 5 s`, `2 h 3 m`, `3 d 4 h`: two units, cut off, never rounded up."""
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
    """A time and how far it is: `2026-01-31 12:00:00Z (4 m ago)`."""
    if at is None:
        return "never"
    away = (at - now).total_seconds()
    far = f"in {duration(away)}" if away >= 0 else f"{duration(-away)} ago"
    return f"{at:%Y-%m-%d %H:%M:%S}Z ({far})"


def short_ids(ids: Sequence[str]) -> dict[str, str]:
    """The shortest prefix of one length that tells all of them apart, at least `SHORT_ID` characters."""
    unique = set(ids)
    longest = max(map(len, unique), default=0)
    for length in range(SHORT_ID, longest):
        if len({session_id[:length] for session_id in unique}) == len(unique):
            return {session_id: session_id[:length] for session_id in unique}
    return {session_id: session_id for session_id in unique}


def status_text(status: str) -> Text:
    return Text(plain(status), style=_STYLES.get(status, ""))


def sessions_table(sessions: Sequence[BrowserSessionResponse], now: datetime, *, whole_ids: bool) -> Table:
    """One row a session; an ended one has no time left and nothing to be quiet about."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("SESSION", "STATUS", "AGE", "QUIET FOR", "ENDS IN", "VIEWPORT"):
        table.add_column(name, no_wrap=True)
    table.add_column("USER AGENT", no_wrap=True, overflow="ellipsis")
    ids = short_ids([session.session_id for session in sessions])
    for session in sessions:
        ended = _final(session.status)
        left = None if session.expires_at is None else (session.expires_at - now).total_seconds()
        table.add_row(
            plain(session.session_id if whole_ids else ids[session.session_id]),
            status_text(session.status),
            duration((now - session.created_at).total_seconds()),
            "" if ended else duration((now - session.last_activity).total_seconds()),
            "" if ended else "never" if left is None else duration(left),
            f"{session.viewport_width}x{session.viewport_height}",
            Text(plain(session.user_agent or ""), style="dim"),
        )
    return table


def details_table(details: BrowserSessionDetails, health: BrowserSessionHealth | None, now: datetime) -> Text:
    """Everything about one session, one fact a line; what was not asked for is left out."""
    status = status_text(details.status)
    if details.end_reason:
        status.append(f" ({plain(details.end_reason)})")
    rows: list[tuple[str, Any]] = [
        ("session", details.session_id),
        ("status", status),
        ("owner", details.owner),
        ("created", moment(details.created_at, now)),
        ("last activity", moment(details.last_activity, now)),
    ]
    if details.ended_at is not None:
        rows.append(("ended", moment(details.ended_at, now)))
    else:
        rows.append(("ends", moment(details.expires_at, now)))
    rows += [
        ("limits", f"idle {_limit(details.idle_timeout_seconds)}, lifetime {_limit(details.max_lifetime_seconds)}"),
        ("viewport", f"{details.viewport_width}x{details.viewport_height}"),
        ("user agent", details.user_agent or "the browser's own"),
        ("isolation", details.isolation),
        ("node", details.node),
        ("pages", details.pages),
        ("connections", details.connections),
    ]
    if health is not None:
        rows.append(("health", _health(health)))
    rows += [(f"metadata {key}", value) for key, value in details.metadata.items()]
    rows += [(name, _option(value)) for name, value in details.options.items() if _worth_a_line(name, value)]
    if details.connect_url is not None:
        rows.append(("connect", details.connect_url))
    if details.live_url is not None:
        rows.append(("watch", details.live_url))
    return facts(rows)


def facts(rows: Iterable[tuple[str, object]]) -> Text:
    """Names and values, one line each; further lines of a value stand below its first."""
    shown = [(plain(name), value if isinstance(value, Text) else Text(plain(value))) for name, value in rows]
    margin = max((len(name) for name, _ in shown), default=0) + 2
    lines = []
    for name, value in shown:
        first, *others = value.split("\n", allow_blank=True)
        lines.append(Text.assemble((f"{name:{margin}}", "bold"), first))
        lines += [Text.assemble(" " * margin, other) for other in others]
    return Text("\n").join(lines)


def keys_table(keys: Sequence[KeyResponse], now: datetime) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("KEY", "NAME", "ROLE", "PRINCIPAL", "AGE", "REVOKED"):
        table.add_column(name)
    for key in keys:
        revoked = "" if key.revoked_at is None else f"{duration((now - key.revoked_at).total_seconds())} ago"
        age = duration((now - key.created_at).total_seconds())
        table.add_row(*map(plain, (key.key_id, key.name, key.role, key.principal_id, age, revoked)))
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


def _limit(seconds: float | None) -> str:
    return "none" if seconds is None else duration(seconds)


def _health(health: BrowserSessionHealth) -> str:
    if not health.healthy:
        return f"not well: {health.problem or 'no reason given'}"
    memory = "" if health.memory_bytes is None else f", {health.memory_bytes / 2**20:.1f} MiB"
    return f"well, answered in {health.latency_ms:.0f} ms{memory}"


def _worth_a_line(name: str, value: object) -> bool:
    """Only what differs from an option's default."""
    return value is False if name == "java_script_enabled" else value not in (None, False, [], {})


def _option(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={item}" for name, item in value.items() if item is not None)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
