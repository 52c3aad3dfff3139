"""The protocol of the store for sessions, keys, users and sign-outs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from browser_sessions.domain.principal import ApiKey, User
from browser_sessions.domain.session import SessionRecord, SessionStatus


@dataclass(frozen=True, slots=True)
class SessionQuery:
    """A filter on records, listed newest first: created_at descending, then session_id descending."""

    owner: str | None = None
    """None: of all owners."""
    statuses: frozenset[SessionStatus] | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    before: tuple[datetime, str] | None = None
    """Only records after this (created_at, session_id) in that order."""
    limit: int = 50


class SessionStore(Protocol):
    """Records that outlive the process. Every method raises `StoreUnavailable` when the store does not respond or is
    full. When a call returns, its data is on disk (SQLite: WAL, synchronous=FULL)."""

    async def open(self) -> None:
        """Opens or creates the store and brings its schema up to date."""

    async def close(self) -> None: ...

    async def insert(self, record: SessionRecord) -> None:
        """Stores a new record with version 1. Raises `Conflict` if the id or the (owner, idempotency_key) pair
        exists."""

    async def update(self, record: SessionRecord) -> None:
        """Stores `record` if the stored version is one less than `record.version`, else raises `Conflict`.

        An `idempotency_key` of None clears the stored one; any other value leaves it unchanged.
        """

    async def flush_activity(self, moments: Iterable[tuple[str, datetime, datetime | None]]) -> None:
        """Stores (session_id, last_activity, expires_at) of live sessions. Leaves versions and final records
        unchanged."""

    async def get(self, session_id: str) -> SessionRecord | None: ...

    async def by_idempotency_key(self, owner: str, key: str) -> SessionRecord | None: ...

    async def list(self, query: SessionQuery) -> Sequence[SessionRecord]: ...

    async def mark_lost(self, node: str, at: datetime) -> int:
        """Marks every record of `node` that is not final as `lost` with reason `node_lost`. Returns their number."""

    async def purge(self, ended_before: datetime, idempotency_before: datetime) -> int:
        """Deletes final records that ended before the first time and clears idempotency keys older than the second.
        Returns the number of deleted records."""

    async def put_key(self, key: ApiKey) -> None: ...

    async def keys(self) -> Sequence[ApiKey]: ...

    async def put_user(self, user: User) -> None: ...

    async def remove_user(self, username: str) -> bool: ...

    async def users(self) -> Sequence[User]: ...

    async def put_sign_out(self, sign_in: str, expires_at: datetime) -> None:
        """Stores that a sign-in of the console has ended, until it would have expired."""

    async def sign_outs(self) -> Sequence[str]: ...
