"""A session's life: one enum, one table of moves, one door, and the arithmetic of its deadlines."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from browser_sessions.domain.clock import Clock
from browser_sessions.domain.errors import IllegalMove
from browser_sessions.domain.session_spec import Isolation, SessionSpec


class SessionStatus(StrEnum):
    QUEUED = "queued"
    STARTING = "starting"
    ACTIVE = "active"
    CLOSING = "closing"
    CLOSED = "closed"
    EXPIRED = "expired"
    CRASHED = "crashed"
    LOST = "lost"

    @property
    def final(self) -> bool:
        return self in FINAL


FINAL: Final = frozenset({SessionStatus.CLOSED, SessionStatus.EXPIRED, SessionStatus.CRASHED, SessionStatus.LOST})


class EndReason(StrEnum):
    """Why a session ended: the fact behind the final status."""

    DELETED = "deleted"
    OPERATOR = "ended_by_operator"
    CLIENT_LEFT = "client_left"
    CANCELLED = "cancelled"
    QUEUE_TIMEOUT = "queue_timeout"
    DRAINED = "drained"
    IDLE = "idle_timeout"
    LIFETIME = "max_lifetime"
    BROWSER_DIED = "browser_died"
    BROWSER_HUNG = "browser_hung"
    CONTEXT_DIED = "context_died"
    DRIVER_DIED = "driver_died"
    START_FAILED = "start_failed"
    NODE_LOST = "node_lost"

    @property
    def status(self) -> SessionStatus:
        """The final status that this reason leads to."""
        return _OUTCOME[self]


_OUTCOME: Final[dict[EndReason, SessionStatus]] = {
    EndReason.DELETED: SessionStatus.CLOSED,
    EndReason.OPERATOR: SessionStatus.CLOSED,
    EndReason.CLIENT_LEFT: SessionStatus.CLOSED,
    EndReason.CANCELLED: SessionStatus.CLOSED,
    EndReason.QUEUE_TIMEOUT: SessionStatus.CLOSED,
    EndReason.DRAINED: SessionStatus.CLOSED,
    EndReason.IDLE: SessionStatus.EXPIRED,
    EndReason.LIFETIME: SessionStatus.EXPIRED,
    EndReason.BROWSER_DIED: SessionStatus.CRASHED,
    EndReason.BROWSER_HUNG: SessionStatus.CRASHED,
    EndReason.CONTEXT_DIED: SessionStatus.CRASHED,
    EndReason.DRIVER_DIED: SessionStatus.CRASHED,
    EndReason.START_FAILED: SessionStatus.CRASHED,
    EndReason.NODE_LOST: SessionStatus.LOST,
}

_S = SessionStatus
MOVES: Final[dict[SessionStatus, frozenset[SessionStatus]]] = {
    _S.QUEUED: frozenset({_S.STARTING, _S.CLOSED, _S.EXPIRED, _S.LOST}),
    _S.STARTING: frozenset({_S.ACTIVE, _S.CLOSED, _S.EXPIRED, _S.CRASHED, _S.LOST}),
    _S.ACTIVE: frozenset({_S.CLOSING, _S.CRASHED, _S.LOST}),
    _S.CLOSING: frozenset({_S.CLOSED, _S.EXPIRED, _S.CRASHED, _S.LOST}),
    _S.CLOSED: frozenset(),
    _S.EXPIRED: frozenset(),
    _S.CRASHED: frozenset(),
    _S.LOST: frozenset(),
}
"""From a status to those that may follow it. Final ones have no way out."""


def new_session_id() -> str:
    """128 random bits: an id cannot be guessed and tells nothing about its session."""
    return "ses_" + secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session as it is stored and shown: a snapshot, wall-clock times in UTC.

    `version` counts what was stored; `body_sha256` tells a repeated Idempotency-Key from a reused one.
    """

    session_id: str
    owner: str
    owner_name: str
    node: str
    status: SessionStatus
    viewport_width: int
    viewport_height: int
    user_agent: str | None
    isolation: Isolation
    created_at: datetime
    last_activity: datetime
    expires_at: datetime | None
    ended_at: datetime | None
    end_reason: EndReason | None
    idle_timeout_seconds: float | None
    max_lifetime_seconds: float | None
    metadata: dict[str, str]
    options: dict[str, Any]
    idempotency_key: str | None = None
    body_sha256: str | None = None
    version: int = 0


@dataclass(eq=False, slots=True)
class Session:
    """A session of this node while it lives. Moments are seconds on the monotonic clock."""

    session_id: str
    owner: str
    owner_name: str
    spec: SessionSpec
    node: str
    created_at: datetime
    created: float
    last_active: float
    hard_deadline: float | None
    wait_deadline: float | None = None
    """Until when it may stay queued."""
    status: SessionStatus = SessionStatus.QUEUED
    end_reason: EndReason | None = None
    ended: float | None = None
    idempotency_key: str | None = None
    body_sha256: str | None = None
    version: int = 0
    dirty: bool = field(default=False, repr=False)
    """True when `last_active` moved since the record was stored."""
    extended: float = 0.0
    """Seconds by which the hard limit was moved."""
    in_use: int = 0
    """Commands and calls that have no answer yet. While there is one, the idle timeout does not run."""

    def move(self, to: SessionStatus) -> None:
        """The one door between statuses. Raises `IllegalMove` where the table has no such row."""
        if to not in MOVES[self.status]:
            raise IllegalMove(f"a session cannot go from {self.status} to {to}", session_id=self.session_id)
        self.status = to

    def touch(self, now: float) -> bool:
        """Counts as activity at `now`. False when it came too late: the session no longer takes any."""
        if self.status is not SessionStatus.ACTIVE:
            return False
        if now > self.last_active:
            self.last_active = now
            self.dirty = True
        return True

    def begin_use(self, now: float) -> bool:
        """A command or call begins at `now`: as `touch`, and the session is in use until `end_use`, which must follow
        whatever this returns."""
        self.in_use += 1
        return self.touch(now)

    def end_use(self, now: float, uses: int = 1) -> None:
        """`uses` of those that began have their answer at `now`, or will never have one."""
        self.last_active = self.last_used(now)
        self.in_use -= uses
        self.dirty = True

    def last_used(self, now: float) -> float:
        """The moment of the last activity, which is `now` (or its end) while it is in use."""
        if not self.in_use:
            return self.last_active
        return max(self.last_active, now if self.ended is None else self.ended)

    def extend(self, seconds: float) -> None:
        """Moves the hard limit, where there is one."""
        if self.hard_deadline is not None:
            self.hard_deadline += seconds
            self.extended += seconds
            self.dirty = True

    def max_lifetime(self) -> float | None:
        """Seconds from its creation to its hard limit; None when it has none."""
        asked = self.spec.max_lifetime_seconds
        return None if asked is None else asked + self.extended

    def idle_deadline(self, now: float) -> float | None:
        """When it has been quiet for too long, as things stand at `now`. A session that still waits or starts cannot be
        idle."""
        if self.spec.idle_timeout_seconds is None or self.status in _NOT_YET_USED:
            return None
        return self.last_used(now) + self.spec.idle_timeout_seconds

    def deadline(self, now: float) -> float | None:
        """The moment at which it ends if nothing more happens after `now`, or None when nothing limits it."""
        waiting = self.wait_deadline if self.status is SessionStatus.QUEUED else None
        limits = [d for d in (self.hard_deadline, self.idle_deadline(now), waiting) if d is not None]
        return min(limits, default=None)

    def record(self, clock: Clock) -> SessionRecord:
        """The snapshot to store or show now."""
        now = clock.monotonic()
        deadline = self.deadline(now)
        return SessionRecord(
            session_id=self.session_id,
            owner=self.owner,
            owner_name=self.owner_name,
            node=self.node,
            status=self.status,
            viewport_width=self.spec.viewport_width,
            viewport_height=self.spec.viewport_height,
            user_agent=self.spec.user_agent,
            isolation=self.spec.isolation,
            created_at=self.created_at,
            last_activity=clock.wall(self.last_used(now)),
            expires_at=None if deadline is None else clock.wall(deadline),
            ended_at=None if self.ended is None else clock.wall(self.ended),
            end_reason=self.end_reason,
            idle_timeout_seconds=self.spec.idle_timeout_seconds,
            max_lifetime_seconds=self.max_lifetime(),
            metadata=dict(self.spec.metadata),
            options=self.spec.options(),
            idempotency_key=self.idempotency_key,
            body_sha256=self.body_sha256,
            version=self.version,
        )


_NOT_YET_USED: Final = frozenset({SessionStatus.QUEUED, SessionStatus.STARTING})


def due(session: Session, now: float) -> EndReason | None:
    """Why `session` must end at `now`, or None when it may live on. Never before a deadline."""
    if session.status.final or session.status is SessionStatus.CLOSING:
        return None
    idle_deadline = session.idle_deadline(now)
    out_of_time = session.hard_deadline is not None and now >= session.hard_deadline
    gone_quiet = idle_deadline is not None and now >= idle_deadline
    if out_of_time:
        return EndReason.LIFETIME
    if gone_quiet:
        return EndReason.IDLE
    return None


def overdue(sessions: Iterable[Session], now: float) -> list[tuple[Session, EndReason]]:
    """Who must end at `now`, and why."""
    return [(session, reason) for session in sessions if (reason := due(session, now)) is not None]
