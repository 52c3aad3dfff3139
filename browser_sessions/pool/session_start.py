"""Starting a session: a place, a browser, a context, a record; and what is undone when any of it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from browser_sessions.chromium.ports import ContextEvent
from browser_sessions.domain.clock import Clock
from browser_sessions.domain.errors import (
    BrowserGone,
    BrowserTimeout,
    Draining,
    NoBrowser,
    PoolFull,
    QuotaExceeded,
    StoreUnavailable,
    WrongState,
)
from browser_sessions.domain.principal import Principal
from browser_sessions.domain.session import MOVES, EndReason, Session, SessionRecord, SessionStatus, new_session_id
from browser_sessions.domain.session_spec import Isolation, SessionSpec
from browser_sessions.events.journal import Journal
from browser_sessions.pool.admission import Admission
from browser_sessions.pool.background_tasks import Background
from browser_sessions.pool.browsers.fleet import Fleet, Gone
from browser_sessions.pool.live_session import Admitted, Live, Opened, Queued
from browser_sessions.pool.registry import Registry
from browser_sessions.pool.session_end import Ender
from browser_sessions.tracing import span

PARALLEL_OPENS: Final = 4
"""Contexts opened at once: two cores do 18 a second however many are tried, and more at once only makes each slower."""
OPEN_TRIES: Final = 3
"""A create whose browser dies under it tries elsewhere."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Seconds and counts; see settings."""

    max_sessions: int
    max_sessions_per_browser: int
    max_sessions_per_principal: int | None
    max_lifetime_seconds: float | None
    create_timeout_seconds: float
    share_browsers_between_principals: bool = False


@dataclass(frozen=True, slots=True)
class Idempotency:
    key: str
    body_sha256: str


class _Start(NamedTuple):
    making: asyncio.Task[SessionRecord]
    """Admits and opens. This one is cancelled when the start is to stop."""
    done: asyncio.Task[SessionRecord]
    """Waits for it and undoes what it leaves. Never cancelled, so that no undo is interrupted or forgotten."""


class Starter:
    """Starts sessions, and stops starts."""

    def __init__(
        self,
        admission: Admission,
        registry: Registry,
        fleet: Fleet,
        ender: Ender,
        journal: Journal,
        clock: Clock,
        limits: PoolLimits,
        background: Background,
        *,
        node: str,
        work_dir: Path,
    ) -> None:
        self._admission = admission
        self._registry = registry
        self._fleet = fleet
        self._ender = ender
        self._journal = journal
        self._clock = clock
        self._limits = limits
        self._background = background
        self._node = node
        self._work_dir = work_dir
        self._opens = asyncio.Semaphore(PARALLEL_OPENS)
        self._starts: dict[str, _Start] = {}
        """Under way, by session id."""

    def begin(
        self,
        principal: Principal,
        spec: SessionSpec,
        *,
        wait_seconds: float = 0.0,
        idempotency: Idempotency | None = None,
    ) -> Coroutine[Any, Any, SessionRecord]:
        """Admits, queues or refuses before it returns: 500 concurrent creates against a full pool cost no more than
        their refusals. What it returns waits for the active session and must be awaited: only so is a start stopped
        whose caller leaves. Raises, at once or when awaited, as `Pool.create`.
        """
        ticket = self._admission.ask(principal.principal_id, wait_seconds)
        session = self._new(principal, spec, wait_seconds, idempotency)
        live = Live(
            session,
            Admitted() if ticket is None else Queued(ticket),
            lambda event, /, **data: self._journal.publish(event, session.session_id, session.owner, **data),
        )
        if ticket is None:
            session.move(SessionStatus.STARTING)
        self._registry.enlist(live)
        making = asyncio.create_task(self._make(live, wait_seconds))
        done = self._background.run(self._made_or_undone(live, making))
        self._starts[session.session_id] = _Start(making, done)
        return self._wait_for(live, done)

    def cancel(self, live: Live, reason: EndReason) -> asyncio.Task[SessionRecord] | None:
        """Stops the start of a session. What is returned ends when all is undone; None when it does not start (any
        more)."""
        start = self._starts.get(live.session.session_id)
        if start is None:
            return None
        live.session.end_reason = live.session.end_reason or reason
        if not start.making.cancelling():  # a second cancel would interrupt what the first one tidies up
            start.making.cancel()
        return start.done

    def _new(
        self, principal: Principal, spec: SessionSpec, wait_seconds: float, idempotency: Idempotency | None
    ) -> Session:
        now = self._clock.monotonic()
        return Session(
            session_id=new_session_id(),
            owner=principal.principal_id,
            owner_name=principal.name,
            spec=spec,
            node=self._node,
            created_at=self._clock.wall(now),
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
            if done.cancelled():  # ended from elsewhere while it started
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise
                if session.end_reason is EndReason.DRAINED:
                    refusal = Draining("The service is going down and starts no new sessions.")
                    raise self._admission.refuse(refusal) from None
                raise WrongState(
                    f"The session was ended before it was ready ({session.end_reason}).",
                    session_id=session.session_id,
                ) from None
            session.idempotency_key = None
            await asyncio.shield(self._background.run(self._caller_left(live)))
            raise

    async def _caller_left(self, live: Live) -> None:
        if (done := self.cancel(live, EndReason.CANCELLED)) is not None:
            await asyncio.wait([done])
        if live.session.status is SessionStatus.ACTIVE:  # it became ready in that moment
            await self._ender.begin(live, EndReason.CANCELLED)

    async def _made_or_undone(self, live: Live, making: asyncio.Task[SessionRecord]) -> SessionRecord:
        try:
            return await making
        except BaseException as error:
            try:
                await self._undo(live, error)
            finally:
                del self._starts[live.session.session_id]
            raise

    async def _make(self, live: Live, wait_seconds: float) -> SessionRecord:
        session = live.session
        with span("session.create", session_id=session.session_id):
            with span("session.admit", wait_seconds=wait_seconds):
                await self._admit(live, wait_seconds)
            inserted = self._background.run(self._registry.save(live)) if session.version == 0 else None
            context_died = asyncio.Event()
            try:
                async with asyncio.timeout(self._limits.create_timeout_seconds):
                    opened = live.state = await self._open(live, context_died)
            except TimeoutError:
                raise BrowserTimeout(
                    f"The session did not start within {self._limits.create_timeout_seconds:g} s. Try again.",
                    session_id=session.session_id,
                ) from None
            if inserted is not None:
                await asyncio.shield(inserted)
            if isinstance(opened.slot.state, Gone) or context_died.is_set():
                raise NoBrowser("The browser died while the session started. Try again.", session_id=session.session_id)
            session.move(SessionStatus.ACTIVE)
            session.touch(self._clock.monotonic())
            del self._starts[session.session_id]
        # The record is on disk since it was inserted; that it became active need not be: a kill loses it either way.
        _ = self._background.run(self._registry.save(live))
        self._journal.publish(
            "session.active",
            session.session_id,
            session.owner,
            seconds=round(self._clock.monotonic() - session.created, 4),
            browser_id=opened.slot.browser_id,
        )
        return session.record(self._clock)

    async def _admit(self, live: Live, wait_seconds: float) -> None:
        """Returns once the session is admitted. Raises as `Admission.wait`."""
        if not isinstance(live.state, Queued):
            return
        session = live.session
        self._journal.publish("session.queued", session.session_id, session.owner, wait_seconds=wait_seconds)
        # Shielded: a caller who leaves must not leave it unknown whether the record was stored.
        await asyncio.shield(self._background.run(self._registry.save(live)))
        await self._admission.wait(live.state.ticket, wait_seconds)
        live.state = Admitted()
        session.move(SessionStatus.STARTING)

    async def _open(self, live: Live, context_died: asyncio.Event) -> Opened:
        """A browser, a context in it, a page; elsewhere when the browser dies under it."""
        session = live.session
        for _ in range(OPEN_TRIES):
            with span("browser.take"):
                slot, process = await self._fleet.take(
                    session.owner, dedicated=session.spec.isolation is Isolation.BROWSER
                )
            context_died.clear()
            try:
                async with self._opens:
                    with span("context.open", browser_id=slot.browser_id):
                        context = await process.open_context(
                            session.spec,
                            self._work_dir / session.session_id,
                            partial(self._happened, live, context_died),
                            timeout=self._limits.create_timeout_seconds,
                        )
                return Opened(slot, process, context)
            except BrowserGone:
                self._fleet.give_back(slot)
            except BaseException:
                self._fleet.give_back(slot)
                raise
        raise NoBrowser("The browser died while the session started. Try again.", session_id=session.session_id)

    def _happened(self, live: Live, context_died: asyncio.Event, event: ContextEvent) -> None:
        session = live.session
        if event.kind != "context.died":
            self._journal.publish(event.kind, session.session_id, session.owner, **event.data)
            return
        context_died.set()
        if session.status is SessionStatus.ACTIVE:
            _ = self._ender.begin(live, EndReason.CONTEXT_DIED)

    async def _undo(self, live: Live, error: BaseException) -> None:
        """What a failed or cancelled create leaves: nothing but a record that says how it ended."""
        session = live.session
        if isinstance(error, NoBrowser | StoreUnavailable):  # to its caller as good as a refusal
            self._admission.refuse(error)
        match live.state:
            case Queued(ticket):
                self._admission.leave(ticket)
            case Admitted():
                self._admission.release(session.owner)
            case Opened() as opened:
                await self._ender.close(opened, session.owner)
        session.end_reason = session.end_reason or _why(error)
        outcome = session.end_reason.status
        session.move(outcome if outcome in MOVES[session.status] else SessionStatus.CLOSED)
        session.ended = self._clock.monotonic()
        session.idempotency_key = None
        await self._ender.retire(live)


def _why(error: BaseException) -> EndReason:
    if isinstance(error, asyncio.CancelledError):
        return EndReason.CANCELLED
    if isinstance(error, Draining):
        return EndReason.DRAINED
    if isinstance(error, PoolFull | QuotaExceeded):
        return EndReason.QUEUE_TIMEOUT
    return EndReason.START_FAILED
