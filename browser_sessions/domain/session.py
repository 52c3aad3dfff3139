"""The session's state machine and its deadlines."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from browser_sessions.domain.clock import Clock
from browser_sessions.domain.egress_rules import NO_RULES, EgressRules
from browser_sessions.domain.errors import IllegalTransition, WrongState
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
    """Why a session ended; each reason has one final status."""

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
    START_PAGE_FAILED = "start_page_failed"
    INVALID_OPTIONS = "invalid_options"
    START_FAILED = "start_failed"
    NODE_LOST = "node_lost"

    @property
    def status(self) -> SessionStatus:
        """The final status of this reason."""
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
    EndReason.START_PAGE_FAILED: SessionStatus.CLOSED,
    EndReason.INVALID_OPTIONS: SessionStatus.CLOSED,
    EndReason.START_FAILED: SessionStatus.CRASHED,
    EndReason.NODE_LOST: SessionStatus.LOST,
}

_S = SessionStatus
TRANSITIONS: Final[dict[SessionStatus, frozenset[SessionStatus]]] = {
    _S.QUEUED: frozenset({_S.STARTING, _S.CLOSED, _S.EXPIRED, _S.LOST}),
    _S.STARTING: frozenset({_S.ACTIVE, _S.CLOSED, _S.EXPIRED, _S.CRASHED, _S.LOST}),
    _S.ACTIVE: frozenset({_S.CLOSING, _S.CRASHED, _S.LOST}),
    _S.CLOSING: frozenset({_S.CLOSED, _S.EXPIRED, _S.CRASHED, _S.LOST}),
    _S.CLOSED: frozenset(),
    _S.EXPIRED: frozenset(),
    _S.CRASHED: frozenset(),
    _S.LOST: frozenset(),
}
"""The statuses that may follow each status."""


def new_session_id() -> str:
    """A random id of 128 bits: it cannot be guessed."""
    return "ses_" + secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A snapshot of a session, as stored and returned. Times are wall-clock times in UTC.

    `version` counts stored updates; `body_sha256` tells a retry with an Idempotency-Key from a reuse of the key.
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
    traffic: dict[str, Any] | None = None
    """What it has sent and received; None before its end, and without the egress proxy."""


@dataclass(eq=False, slots=True)
class Session:
    """A live session of this node. Times are seconds on the monotonic clock, but for `created_at`."""

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
    """End of its wait in the queue."""
    status: SessionStatus = SessionStatus.QUEUED
    end_reason: EndReason | None = None
    ended: float | None = None
    idempotency_key: str | None = None
    body_sha256: str | None = None
    version: int = 0
    dirty: bool = field(default=False, repr=False)
    """True when `last_active` or the hard deadline changed since the record was stored."""
    extended: float = 0.0
    """Seconds by which the hard deadline was extended."""
    in_use: int = 0
    """Pending commands and calls. The idle timeout is suspended while there is one."""
    traffic: dict[str, Any] | None = field(default=None, repr=False)
    """Set at its end."""
    key_egress: EgressRules = field(default=NO_RULES, repr=False)
    """The rules of the key that it was created with."""
    options: dict[str, Any] = field(init=False, repr=False)
    """`spec.options()`: every record has it, and a record is made for every read."""

    def __post_init__(self) -> None:
        self.options = self.spec.options()

    def move(self, to: SessionStatus) -> None:
        """The only place that changes the status. Raises `IllegalTransition`."""
        if to not in TRANSITIONS[self.status]:
            raise IllegalTransition(f"a session cannot go from {self.status} to {to}", session_id=self.session_id)
        self.status = to

    def touch(self, now: float) -> bool:
        """Records activity at `now`, which postpones the idle timeout. False if the session is not active."""
        if self.status is not SessionStatus.ACTIVE:
            return False
        if now > self.last_active:
            self.last_active = now
            self.dirty = True
        return True

    def begin_use(self, now: float) -> bool:
        """As `touch`, at the start of a command or call. `end_use` must follow, whatever this returns."""
        self.in_use += 1
        return self.touch(now)

    def end_use(self, now: float, uses: int = 1) -> None:
        """`uses` commands or calls are completed or abandoned at `now`."""
        self.last_active = self.last_used(now)
        self.in_use -= uses
        self.dirty = True

    def last_used(self, now: float) -> float:
        """Time of the last activity: `now`, or the session's end, while it is in use."""
        if not self.in_use:
            return self.last_active
        return max(self.last_active, now if self.ended is None else self.ended)

    def extend(self, seconds: float) -> None:
        """Postpones the hard deadline, if there is one."""
        if self.hard_deadline is not None:
            self.hard_deadline += seconds
            self.extended += seconds
            self.dirty = True

    def max_lifetime(self) -> float | None:
        """Seconds from creation to the hard deadline; None without one."""
        requested = self.spec.max_lifetime_seconds
        return None if requested is None else requested + self.extended

    def idle_deadline(self, now: float) -> float | None:
        """When the idle timeout ends, as of `now`. None for a queued or starting session, which cannot be idle."""
        if self.spec.idle_timeout_seconds is None or self.status in _NOT_YET_USED:
            return None
        return self.last_used(now) + self.spec.idle_timeout_seconds

    def deadline(self, now: float) -> float | None:
        """When the session ends if there is no more activity after `now`; None if nothing limits it."""
        waiting = self.wait_deadline if self.status is SessionStatus.QUEUED else None
        limits = [d for d in (self.hard_deadline, self.idle_deadline(now), waiting) if d is not None]
        return min(limits, default=None)

    def times(self, clock: Clock) -> tuple[datetime, datetime | None]:
        """(`last_activity`, `expires_at`) as of now."""
        now = clock.monotonic()
        deadline = self.deadline(now)
        return clock.wall(self.last_used(now)), None if deadline is None else clock.wall(deadline)

    def record(self, clock: Clock) -> SessionRecord:
        """A snapshot as of now."""
        last_activity, expires_at = self.times(clock)
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
            last_activity=last_activity,
            expires_at=expires_at,
            ended_at=None if self.ended is None else clock.wall(self.ended),
            end_reason=self.end_reason,
            idle_timeout_seconds=self.spec.idle_timeout_seconds,
            max_lifetime_seconds=self.max_lifetime(),
            metadata=dict(self.spec.metadata),
            options=self.options,
            idempotency_key=self.idempotency_key,
            body_sha256=self.body_sha256,
            version=self.version,
            traffic=self.traffic,
        )


def require_active(session: Session | SessionRecord) -> None:
    """Raises `WrongState` unless the session is active."""
    if session.status is not SessionStatus.ACTIVE:
        why = f" ({session.end_reason})" if session.end_reason else ""
        raise WrongState(
            f"The session is {session.status}{why}; only an active one can be used. Create another one.",
            session_id=session.session_id,
        )


_NOT_YET_USED: Final = frozenset({SessionStatus.QUEUED, SessionStatus.STARTING})


def due(session: Session, now: float) -> EndReason | None:
    """Why `session` must end at `now`, or None. Never before its deadline."""
    if session.status.final or session.status is SessionStatus.CLOSING:
        return None
    idle_deadline = session.idle_deadline(now)
    out_of_time = session.hard_deadline is not None and now >= session.hard_deadline
    idle = idle_deadline is not None and now >= idle_deadline
    if out_of_time:
        return EndReason.LIFETIME
    if idle:
        return EndReason.IDLE
    return None


def overdue(sessions: Iterable[Session], now: float) -> list[tuple[Session, EndReason]]:
    """The sessions that must end at `now`, with the reason."""
    return [(session, reason) for session in sessions if (reason := due(session, now)) is not None]
