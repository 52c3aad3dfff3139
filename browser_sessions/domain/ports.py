"""The protocol by which sessions, keys and users are kept. It says how it fails."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from browser_sessions.domain.principal import ApiKey, User
from browser_sessions.domain.session import SessionRecord, SessionStatus


@dataclass(frozen=True, slots=True)
class SessionQuery:
    """Which records to list, newest first: created_at descending, then session_id descending."""

    owner: str | None = None
    """None: everybody's."""
    statuses: frozenset[SessionStatus] | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    before: tuple[datetime, str] | None = None
    """Only what comes after this (created_at, session_id) in that order."""
    limit: int = 50


class SessionStore(Protocol):
    """Records that outlive the process. Everything raises `StoreUnavailable` when the store does not answer or is full.

    A call that returned is on disk (SQLite: WAL, synchronous=FULL).
    """

    async def open(self) -> None:
        """Opens or creates the store and brings its schema up to date."""

    async def close(self) -> None: ...

    async def insert(self, record: SessionRecord) -> None:
        """Stores a new record with version 1. Raises `Conflict` when the id, or the (owner, idempotency_key) pair,
        exists."""

    async def update(self, record: SessionRecord) -> None:
        """Stores `record` if the stored version is one less than `record.version`, else raises `Conflict`.

        An `idempotency_key` of None frees the stored one; any other leaves it as it is.
        """

    async def flush_activity(self, moments: Iterable[tuple[str, datetime, datetime | None]]) -> None:
        """(session_id, last_activity, expires_at) of live sessions; moves no version, touches no final record."""

    async def get(self, session_id: str) -> SessionRecord | None: ...

    async def by_idempotency_key(self, owner: str, key: str) -> SessionRecord | None: ...

    async def list(self, query: SessionQuery) -> Sequence[SessionRecord]: ...

    async def mark_lost(self, node: str, at: datetime) -> int:
        """Every record of `node` that is not final becomes `lost` with reason `node_lost`; returns how many."""

    async def purge(self, ended_before: datetime, idempotency_before: datetime) -> int:
        """Removes final records that ended before the first moment; forgets idempotency keys older than the second. How
        many went."""

    async def put_key(self, key: ApiKey) -> None: ...

    async def keys(self) -> Sequence[ApiKey]: ...

    async def put_user(self, user: User) -> None: ...

    async def remove_user(self, username: str) -> bool: ...

    async def users(self) -> Sequence[User]: ...
