"""Conversion between records and rows, and from queries to SQL.

Metadata and options are JSON text. SQLite's JSON functions end a string at U+0000, so metadata with that character
could not be found by its value; the API rejects control characters.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final

from browser_sessions.domain.egress_rules import NO_RULES, EgressRules
from browser_sessions.domain.ports import SessionQuery
from browser_sessions.domain.principal import ApiKey, Role, User
from browser_sessions.domain.session import FINAL, EndReason, SessionRecord, SessionStatus
from browser_sessions.domain.session_spec import Isolation
from browser_sessions.store.schema import LIVE_ONLY

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)


def micros(moment: datetime) -> int:
    """Microseconds since 1970, exact. Raises `TypeError` for a naive datetime."""
    return (moment - EPOCH) // MICROSECOND


def moment(microseconds: int) -> datetime:
    """The inverse of `micros`, in UTC."""
    return EPOCH + timedelta(microseconds=microseconds)


def optional_micros(at: datetime | None) -> int | None:
    return None if at is None else micros(at)


def _optional_moment(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else moment(microseconds)


_text: Final[Callable[[StrEnum], str]] = attrgetter("value")

_CODECS: Final[dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]]] = {
    "status": (_text, SessionStatus),
    "isolation": (_text, Isolation),
    "end_reason": (_text, EndReason),
    "created_at": (micros, moment),
    "last_activity": (micros, moment),
    "expires_at": (micros, moment),
    "ended_at": (micros, moment),
    "metadata": (json.dumps, json.loads),
    "options": (json.dumps, json.loads),
    "traffic": (json.dumps, json.loads),
}
"""(encode, decode) of a field's values other than None; other fields are stored as they are."""

NAMES: Final = tuple(f.name for f in fields(SessionRecord))
_FIXED: Final = frozenset({"session_id", "idempotency_key", "body_sha256"})
"""Not updated: a session that outlives its idempotency key must not restore the cleared key with an update."""
_CLEAR_KEY: Final = "idempotency_key = CASE WHEN :idempotency_key IS NULL THEN NULL ELSE idempotency_key END"
"""An update may clear the key: a create that failed frees it for a retry."""

_COLUMNS: Final = ", ".join(NAMES)
INSERT: Final = f"INSERT INTO sessions ({_COLUMNS}) VALUES ({', '.join(f':{name}' for name in NAMES)})"  # noqa: S608 - our own field names
UPDATE: Final = (
    f"UPDATE sessions SET {', '.join(f'{name} = :{name}' for name in NAMES if name not in _FIXED)}, {_CLEAR_KEY} "  # noqa: S608 - our own field names
    "WHERE session_id = :session_id AND version = :version - 1"
)
SELECT: Final = f"SELECT {_COLUMNS} FROM sessions"  # noqa: S608 - our own field names

PUT_KEY: Final = """
    INSERT INTO api_keys (key_id, principal_id, name, role, secret_sha256, created_at, revoked_at, egress)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (key_id) DO UPDATE SET principal_id = excluded.principal_id, name = excluded.name, role = excluded.role,
        secret_sha256 = excluded.secret_sha256, created_at = excluded.created_at, revoked_at = excluded.revoked_at,
        egress = excluded.egress
"""
KEYS: Final = """
    SELECT key_id, principal_id, name, role, secret_sha256, created_at, revoked_at, egress
    FROM api_keys ORDER BY created_at, key_id
"""
PUT_USER: Final = """
    INSERT INTO users (username, principal_id, role, password_hash, created_at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (username) DO UPDATE SET principal_id = excluded.principal_id, role = excluded.role,
        password_hash = excluded.password_hash, created_at = excluded.created_at
"""
PUT_SIGN_OUT: Final = "INSERT INTO sign_outs (sign_in, expires_at) VALUES (?, ?) ON CONFLICT DO NOTHING"
SIGN_OUTS: Final = "SELECT sign_in FROM sign_outs"
USERS: Final = "SELECT username, principal_id, role, password_hash, created_at FROM users ORDER BY created_at, username"


def row_of(record: SessionRecord) -> dict[str, Any]:
    """The parameters of `INSERT` and `UPDATE`."""
    row = {name: getattr(record, name) for name in NAMES}
    for name, (write, _) in _CODECS.items():
        if row[name] is not None:
            row[name] = write(row[name])
    return row


def record_of(row: Sequence[Any]) -> SessionRecord:
    """The record of a row of `SELECT`."""
    values = dict(zip(NAMES, row, strict=True))
    for name, (_, read) in _CODECS.items():
        if values[name] is not None:
            values[name] = read(values[name])
    return SessionRecord(**values)


def listing(query: SessionQuery) -> tuple[str, list[Any]]:
    """The statement for `query` and its parameters. Caller input is only ever a parameter."""
    conditions, parameters = ["TRUE"], list[Any]()
    live_only = query.statuses is not None and not query.statuses & FINAL
    if query.owner is not None:
        # The plus disables the owner index: the index of the few live sessions is faster than an owner's history.
        conditions.append("+owner = ?" if live_only else "owner = ?")
        parameters.append(query.owner)
    if query.statuses is not None:
        conditions.append(f"status IN ({', '.join('?' for _ in query.statuses)})")
        parameters += sorted(status.value for status in query.statuses)
        if live_only:
            conditions.append(LIVE_ONLY)
    for key, value in query.metadata:
        conditions.append("EXISTS (SELECT 1 FROM json_each(sessions.metadata) WHERE key = ? AND value = ?)")
        parameters += (key, value)
    if query.before is not None:
        conditions.append("(created_at, session_id) < (?, ?)")
        parameters += (micros(query.before[0]), query.before[1])
    parameters.append(max(0, query.limit))
    where = " AND ".join(conditions)
    return f"{SELECT} WHERE {where} ORDER BY created_at DESC, session_id DESC LIMIT ?", parameters


def key_row(key: ApiKey) -> tuple[Any, ...]:
    return (
        key.key_id,
        key.principal_id,
        key.name,
        key.role.value,
        key.secret_sha256,
        micros(key.created_at),
        optional_micros(key.revoked_at),
        None if key.egress == NO_RULES else json.dumps(asdict(key.egress)),
    )


def key_of(row: Sequence[Any]) -> ApiKey:
    key_id, principal_id, name, role, secret_sha256, created_at, revoked_at, egress = row
    return ApiKey(
        key_id,
        principal_id,
        name,
        Role(role),
        secret_sha256,
        moment(created_at),
        _optional_moment(revoked_at),
        NO_RULES if egress is None else _rules(**json.loads(egress)),
    )


def _rules(allow: list[str] | None, deny: list[str]) -> EgressRules:
    return EgressRules(None if allow is None else tuple(allow), tuple(deny))


def user_row(user: User) -> tuple[Any, ...]:
    return user.username, user.principal_id, user.role.value, user.password_hash, micros(user.created_at)


def user_of(row: Sequence[Any]) -> User:
    username, principal_id, role, password_hash, created_at = row
    return User(username, principal_id, Role(role), password_hash, moment(created_at))
