"""Starting a session: a place, a browser, a context, a record; and what is undone when any of it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

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
from browser_sessions.pool.admission import QueueTicket
from browser_sessions.pool.live_session import Live
from browser_sessions.tracing import span

if TYPE_CHECKING:
    from browser_sessions.pool.manager import Pool

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


class Starter:
    """Makes sessions for one pool."""

    def __init__(self, pool: Pool, work_dir: Path) -> None:
        self._pool = pool
        self._work_dir = work_dir
        self._opens = asyncio.Semaphore(PARALLEL_OPENS)

    def begin(
        self, principal: Principal, spec: SessionSpec, wait_seconds: float, idempotency: Idempotency | None
    ) -> Coroutine[Any, Any, SessionRecord]:
        """Takes a place or a turn in the line before it returns, or refuses: of a herd none gets further than it may.

        The start runs in a task of its own, so that an undo is never interrupted by a caller who leaves. What is
        returned waits for it, and must be awaited: only so is a start stopped whose caller leaves. Raises, at once or
        when awaited, as `Pool.create`.
        """
        turn = self._pool.admission.ask(principal.principal_id, wait_seconds)
        live = self._new(principal, spec, wait_seconds, idempotency)
        if turn is None:
            live.placed = True
            live.session.move(SessionStatus.STARTING)
        self._pool.registry.enlist(live)
        live.creating = self._pool.background.run(self._start(live, turn, wait_seconds))
        return self._finish(live, live.creating)

    def _new(
        self, principal: Principal, spec: SessionSpec, wait_seconds: float, idempotency: Idempotency | None
    ) -> Live:
        now = self._pool.clock.monotonic()
        session = Session(
            session_id=new_session_id(),
            owner=principal.principal_id,
            owner_name=principal.name,
            spec=spec,
            node=self._pool.node,
            created_at=self._pool.clock.wall(now),
            created=now,
            last_active=now,
            hard_deadline=None if spec.max_lifetime_seconds is None else now + spec.max_lifetime_seconds,
            wait_deadline=now + wait_seconds,
            idempotency_key=idempotency.key if idempotency else None,
            body_sha256=idempotency.body_sha256 if idempotency else None,
        )
        return Live(
            session,
            publish=lambda event, /, **data: self._pool.journal.publish(
                event, session.session_id, session.owner, **data
            ),
        )

    async def _finish(self, live: Live, creating: asyncio.Task[SessionRecord]) -> SessionRecord:
        try:
            return await asyncio.shield(creating)
        except asyncio.CancelledError:
            if creating.cancelled():  # ended from elsewhere while it started
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise
                if live.session.end_reason is EndReason.DRAINED:
                    refusal = Draining("The service is going down and starts no new sessions.")
                    raise self._pool.admission.refuse(refusal) from None
                raise WrongState(
                    f"The session was ended before it was ready ({live.session.end_reason}).",
                    session_id=live.session.session_id,
                ) from None
            live.session.idempotency_key = None
            await asyncio.shield(
                self._pool.background.run(self._pool.end(live.session.session_id, EndReason.CANCELLED))
            )
            raise

    async def _start(self, live: Live, turn: QueueTicket | None, wait_seconds: float) -> SessionRecord:
        with span("session.create", session_id=live.session.session_id):
            return await self._make(live, turn, wait_seconds)

    async def _make(self, live: Live, turn: QueueTicket | None, wait_seconds: float) -> SessionRecord:
        session = live.session
        async with AsyncExitStack() as undo:
            undo.push_async_exit(self._failed(live))
            live.begun = True
            if live.cancelled:  # before this had begun
                if turn is not None:
                    self._pool.admission.leave(turn)
                raise asyncio.CancelledError
            with span("session.admit", wait_seconds=wait_seconds):
                if turn is not None:
                    await self._wait(live, turn, wait_seconds)
            inserted = self._pool.background.run(self._pool.registry.save(live)) if session.version == 0 else None
            try:
                async with asyncio.timeout(self._pool.limits.create_timeout_seconds):
                    await self._open(live)
            except TimeoutError:
                raise BrowserTimeout(
                    f"The session did not start within {self._pool.limits.create_timeout_seconds:g} s. Try again.",
                    session_id=session.session_id,
                ) from None
            if inserted is not None:
                await asyncio.shield(inserted)
            assert live.berth is not None
            if live.berth.dead or live.context_died:
                raise NoBrowser("The browser died while the session started. Try again.", session_id=session.session_id)
            session.move(SessionStatus.ACTIVE)
            session.touch(self._pool.clock.monotonic())
            undo.pop_all()
        # The record is on disk since it was inserted; that it became active need not be: a kill loses it either way.
        _ = self._pool.background.run(self._pool.registry.save(live))
        live.creating = None
        self._pool.journal.publish(
            "session.active",
            session.session_id,
            session.owner,
            seconds=round(self._pool.clock.monotonic() - session.created, 4),
            browser_id=live.berth.browser_id,
        )
        return session.record(self._pool.clock)

    async def _wait(self, live: Live, turn: QueueTicket, wait_seconds: float) -> None:
        """Returns when the turn has come."""
        session = live.session
        self._pool.journal.publish("session.queued", session.session_id, session.owner, wait_seconds=wait_seconds)
        try:
            # Shielded: a caller who leaves must not leave it unknown whether the record was stored.
            await asyncio.shield(self._pool.background.run(self._pool.registry.save(live)))
        except BaseException:
            self._pool.admission.leave(turn)
            raise
        try:
            await self._pool.admission.wait(turn, wait_seconds)
        except BaseException:
            self._pool.admission.leave(turn)
            raise
        live.placed = True
        session.move(SessionStatus.STARTING)

    async def _open(self, live: Live) -> None:
        """A browser, a context in it, a page; elsewhere when the browser dies under it."""
        session = live.session
        for tries_left in reversed(range(OPEN_TRIES)):
            with span("browser.take"):
                berth = await self._pool.fleet.take(
                    session.owner, dedicated=session.spec.isolation is Isolation.BROWSER
                )
            assert berth.process is not None
            live.context_died = False
            try:
                async with self._opens:
                    with span("context.open", browser_id=berth.browser_id):
                        live.handle = await berth.process.open_context(
                            session.spec,
                            self._work_dir / session.session_id,
                            lambda event: self._pool.happened(live, event),
                            timeout=self._pool.limits.create_timeout_seconds,
                        )
                live.berth = berth
                return
            except BrowserGone:
                self._pool.fleet.give_back(berth)
                if tries_left == 0:
                    raise NoBrowser(
                        "The browser died while the session started. Try again.", session_id=session.session_id
                    ) from None
            except BaseException:
                self._pool.fleet.give_back(berth)
                raise

    def _failed(self, live: Live) -> Callable[..., Coroutine[Any, Any, None]]:
        """The undo of a create as an exit of its stack: it needs to know what went wrong."""

        async def undo(kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
            if error is not None:
                await self._undo(live, error)

        return undo

    async def _undo(self, live: Live, error: BaseException) -> None:
        """What a failed or cancelled create leaves: nothing but a record that says how it ended."""
        session = live.session
        if isinstance(error, NoBrowser | StoreUnavailable):  # nobody's fault but the node's: as good as a refusal
            self._pool.admission.refuse(error)
        if live.handle is not None:
            await self._pool.close_context(live)
        elif live.placed:
            self._pool.admission.release(session.owner)
        session.end_reason = session.end_reason or _why(error)
        outcome = session.end_reason.status
        session.move(outcome if outcome in MOVES[session.status] else SessionStatus.CLOSED)
        session.ended = self._pool.clock.monotonic()
        session.idempotency_key = None
        await self._pool.retire(live)


def _why(error: BaseException) -> EndReason:
    if isinstance(error, asyncio.CancelledError):
        return EndReason.CANCELLED
    if isinstance(error, Draining):
        return EndReason.DRAINED
    if isinstance(error, PoolFull | QuotaExceeded):
        return EndReason.QUEUE_TIMEOUT
    return EndReason.START_FAILED
