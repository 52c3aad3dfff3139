"""Starting a session: admission, a browser, a context, a record, and the undo of each when a later step fails."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from browser_sessions.background_tasks import Background
from browser_sessions.chromium.deadline import Deadline
from browser_sessions.chromium.ports import Assign, ContextEvent, leave_unassigned
from browser_sessions.domain.clock import Clock
from browser_sessions.domain.errors import (
    BrowserGone,
    BrowserTimeout,
    Draining,
    EgressUnavailable,
    InvalidField,
    NoBrowser,
    PoolFull,
    QuotaExceeded,
    StartPageFailed,
    StoreUnavailable,
    WrongState,
)
from browser_sessions.domain.principal import Principal, Role
from browser_sessions.domain.session import (
    TRANSITIONS,
    EndReason,
    Session,
    SessionRecord,
    SessionStatus,
    new_session_id,
)
from browser_sessions.domain.session_spec import Isolation, SessionSpec
from browser_sessions.events.journal import Journal
from browser_sessions.pool.admission import Admission
from browser_sessions.pool.browsers.fleet import Fleet, Gone
from browser_sessions.pool.fair_queue import FairSemaphore
from browser_sessions.pool.live_session import Admitted, Live, Opened, Queued
from browser_sessions.pool.registry import Registry
from browser_sessions.pool.session_egress import SessionEgress
from browser_sessions.pool.session_end import Ender
from browser_sessions.tracing import span

PARALLEL_OPENS: Final = 4
"""Contexts opened at once: two cores open 18 a second, and more in parallel only makes each slower. Neither a context
that is prepared nor a start page that loads counts."""
OVERTIME_S: Final = 3.0
"""How long opening a context may take beyond its own deadline: to give up the start page and to undo the rest. Whoever
does not keep that deadline is cancelled then."""
OPEN_TRIES: Final = 3
"""A create whose browser dies meanwhile is tried in another one."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Seconds and counts; see settings."""

    max_sessions: int
    max_sessions_per_browser: int
    max_sessions_per_principal: Mapping[Role, int]
    """By the role of the caller; without one: no limit."""
    max_lifetime_seconds: float | None
    create_timeout_seconds: float
    share_browsers_between_principals: bool = False


@dataclass(frozen=True, slots=True)
class Idempotency:
    key: str
    body_sha256: str


class _Start(NamedTuple):
    making: asyncio.Task[SessionRecord]
    """Admits and opens; cancelled to stop the start."""
    done: asyncio.Task[SessionRecord]
    """Awaits it and undoes what it leaves; never cancelled, so that no undo is interrupted."""


@dataclass(eq=False, repr=False)
class Starter:
    """Starts sessions, and stops starts."""

    admission: Admission
    registry: Registry
    fleet: Fleet
    ender: Ender
    journal: Journal
    clock: Clock
    limits: PoolLimits
    background: Background
    node: str
    work_dir: Path
    egress: SessionEgress | None
    """None without the egress proxy."""
    _opens: FairSemaphore = field(init=False, default_factory=lambda: FairSemaphore(PARALLEL_OPENS))
    _starts: dict[str, _Start] = field(init=False, default_factory=dict)
    """By session id."""

    def begin(
        self,
        principal: Principal,
        spec: SessionSpec,
        *,
        wait_seconds: float = 0.0,
        idempotency: Idempotency | None = None,
    ) -> Coroutine[Any, Any, SessionRecord]:
        """Admits, queues or rejects before it returns: 500 concurrent creates against a full pool cost no more than
        their rejections. The coroutine waits for the active session and must be awaited: that is what stops the start
        when the caller disconnects. Raises, at once or when awaited, as `Pool.create`.
        """
        ticket = self.admission.ask(principal.principal_id, wait_seconds, principal.role)
        session = self._new(principal, spec, wait_seconds, idempotency)
        live = Live(
            session,
            Admitted() if ticket is None else Queued(ticket),
            lambda event, /, **data: self.journal.publish(event, session.session_id, session.owner, **data),
        )
        if ticket is None:
            session.move(SessionStatus.STARTING)
        self.registry.enlist(live)
        assign = leave_unassigned if self.egress is None else partial(self.egress.assign, principal, session)
        making = asyncio.create_task(self._make(live, wait_seconds, assign))
        done = self.background.run(self._made_or_undone(live, making))
        self._starts[session.session_id] = _Start(making, done)
        return self._wait_for(live, done)

    def cancel(self, live: Live, reason: EndReason) -> asyncio.Task[SessionRecord] | None:
        """Stops the start of a session. The task ends when everything is undone; None when the session is not
        starting."""
        start = self._starts.get(live.session.session_id)
        if start is None:
            return None
        live.session.end_reason = live.session.end_reason or reason
        if not start.making.cancelling():  # a second cancel would interrupt the clean-up after the first
            start.making.cancel()
        return start.done

    def _new(
        self, principal: Principal, spec: SessionSpec, wait_seconds: float, idempotency: Idempotency | None
    ) -> Session:
        now = self.clock.monotonic()
        return Session(
            session_id=new_session_id(),
            owner=principal.principal_id,
            owner_name=principal.name,
            spec=spec,
            node=self.node,
            created_at=self.clock.wall(now),
            created=now,
            last_active=now,
            hard_deadline=None if spec.max_lifetime_seconds is None else now + spec.max_lifetime_seconds,
            wait_deadline=now + wait_seconds,
            idempotency_key=idempotency.key if idempotency else None,
            body_sha256=idempotency.body_sha256 if idempotency else None,
        )

    async def _wait_for(self, live: Live, done: asyncio.Task[SessionRecord]) -> SessionRecord:
        session = live.session
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if done.cancelled():  # the session was ended while it started
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise
                if session.end_reason is EndReason.DRAINED:
                    refusal = Draining("The service is shutting down and accepts no new sessions.")
                    raise self.admission.refuse(refusal) from None
                raise WrongState(
                    f"The session was ended before it was ready ({session.end_reason}).",
                    session_id=session.session_id,
                ) from None
            session.idempotency_key = None
            await asyncio.shield(self.background.run(self._caller_left(live)))
            raise

    async def _caller_left(self, live: Live) -> None:
        if (done := self.cancel(live, EndReason.CANCELLED)) is not None:
            await asyncio.wait([done])
        if live.session.status is SessionStatus.ACTIVE:  # it became active meanwhile
            await self.ender.begin(live, EndReason.CANCELLED)

    async def _made_or_undone(self, live: Live, making: asyncio.Task[SessionRecord]) -> SessionRecord:
        try:
            return await making
        except BaseException as error:
            try:
                await self._undo(live, error)
            finally:
                del self._starts[live.session.session_id]
            raise

    async def _make(self, live: Live, wait_seconds: float, assign: Assign) -> SessionRecord:
        session = live.session
        with span("session.create", session_id=session.session_id):
            with span("session.admit", wait_seconds=wait_seconds):
                await self._admit(live, wait_seconds)
            inserted = self.background.run(self.registry.save(live)) if session.version == 0 else None
            context_died = asyncio.Event()
            deadline = Deadline(self.limits.create_timeout_seconds)
            try:
                async with asyncio.timeout(deadline.left + OVERTIME_S):
                    opened = live.state = await self._open(live, context_died, assign, deadline)
            except StartPageFailed as error:
                error.session_id = session.session_id
                raise
            except (TimeoutError, BrowserTimeout):
                raise BrowserTimeout(
                    f"The session did not start within {self.limits.create_timeout_seconds:g} s. Try again.",
                    session_id=session.session_id,
                ) from None
            if inserted is not None:
                await asyncio.shield(inserted)
            if isinstance(opened.slot.state, Gone) or context_died.is_set():
                raise NoBrowser("The browser died while the session started. Try again.", session_id=session.session_id)
            session.move(SessionStatus.ACTIVE)
            session.touch(self.clock.monotonic())
            del self._starts[session.session_id]
        # Written after the response: after a kill in between, the next start marks the session lost either way.
        _ = self.background.run(self.registry.save(live))
        self.journal.publish(
            "session.active",
            session.session_id,
            session.owner,
            seconds=round(self.clock.monotonic() - session.created, 4),
            browser_id=opened.slot.browser_id,
        )
        return session.record(self.clock)

    async def _admit(self, live: Live, wait_seconds: float) -> None:
        """Returns once the session is admitted. Raises as `Admission.wait`."""
        if not isinstance(live.state, Queued):
            return
        session = live.session
        self.journal.publish("session.queued", session.session_id, session.owner, wait_seconds=wait_seconds)
        # Shielded: after a cancellation it must be known whether the record was stored.
        await asyncio.shield(self.background.run(self.registry.save(live)))
        await self.admission.wait(live.state.ticket, wait_seconds)
        live.state = Admitted()
        session.move(SessionStatus.STARTING)

    async def _open(self, live: Live, context_died: asyncio.Event, assign: Assign, deadline: Deadline) -> Opened:
        """A context with a page in some browser; tried again when the browser dies meanwhile."""
        session = live.session
        for _ in range(OPEN_TRIES):
            with span("browser.take"):
                slot, process = await self.fleet.take(
                    session.owner, dedicated=session.spec.isolation is Isolation.BROWSER
                )
            context_died.clear()
            try:
                with span("context.open", browser_id=slot.browser_id):
                    context = await process.open_context(
                        session.spec,
                        self.work_dir / session.session_id,
                        partial(self._happened, live, context_died),
                        assign=assign,
                        permit=self._opens.permit(session.owner),
                        timeout=deadline.left,
                    )
                return Opened(slot, process, context)
            except BrowserGone:
                self.fleet.give_back(slot)
            except BaseException:
                self.fleet.give_back(slot)
                raise
        raise NoBrowser("The browser died while the session started. Try again.", session_id=session.session_id)

    def _happened(self, live: Live, context_died: asyncio.Event, event: ContextEvent) -> None:
        session = live.session
        if event.kind != "context.died":
            self.journal.publish(event.kind, session.session_id, session.owner, **event.data)
            return
        context_died.set()
        if session.status is SessionStatus.ACTIVE:
            _ = self.ender.begin(live, EndReason.CONTEXT_DIED)

    async def _undo(self, live: Live, error: BaseException) -> None:
        """Releases everything that a failed or cancelled create holds; its record stays, with the reason."""
        session = live.session
        if isinstance(error, NoBrowser | StoreUnavailable | EgressUnavailable):  # a 503, as for a rejection
            self.admission.refuse(error)
        match live.state:
            case Queued(ticket):
                self.admission.leave(ticket)
            case Admitted():
                self.admission.release(session.owner)
            case Opened() as opened:
                await self.ender.close(opened, session.owner)
        session.end_reason = session.end_reason or _why(error)
        outcome = session.end_reason.status
        session.move(outcome if outcome in TRANSITIONS[session.status] else SessionStatus.CLOSED)
        session.ended = self.clock.monotonic()
        session.idempotency_key = None
        await self.ender.retire(live)


def _why(error: BaseException) -> EndReason:
    if isinstance(error, asyncio.CancelledError):
        return EndReason.CANCELLED
    if isinstance(error, Draining):
        return EndReason.DRAINED
    if isinstance(error, PoolFull | QuotaExceeded):
        return EndReason.QUEUE_TIMEOUT
    if isinstance(error, StartPageFailed):
        return EndReason.START_PAGE_FAILED
    if isinstance(error, InvalidField):
        return EndReason.INVALID_OPTIONS
    return EndReason.START_FAILED
