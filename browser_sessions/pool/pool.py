"""Create, use and end sessions. Decisions are synchronous and in memory; the browser and the store follow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog

from browser_sessions.model.clock import Clock
from browser_sessions.model.errors import (
    RETRY_AFTER_SECONDS,
    BrowserGone,
    BrowserSessionsError,
    BrowserTimeout,
    Draining,
    IdempotencyMismatch,
    InvalidField,
    NoBrowser,
    Overloaded,
    PoolFull,
    QuotaExceeded,
    SessionNotFound,
)
from browser_sessions.model.ports import BrowserLauncher, ContextEvent, ContextHandle, SessionQuery, SessionStore
from browser_sessions.model.principal import Principal
from browser_sessions.model.session import MOVES, EndReason, Session, SessionRecord, SessionStatus, new_session_id
from browser_sessions.model.spec import Isolation, SessionSpec
from browser_sessions.pool.admission import Admission, jittered
from browser_sessions.pool.fleet import Berth, Fleet
from browser_sessions.pool.journal import Journal
from browser_sessions.pool.live import Live
from browser_sessions.pool.registry import Registry
from browser_sessions.pool.report import Health, PoolSnapshot, check, ended, readiness, snapshot

log = structlog.get_logger()
T = TypeVar("T")

PARALLEL_OPENS: Final = 4
"""Contexts opened at once: two cores do 18 a second however many are tried, and more at once only makes each slower."""
CLOSE_GRACE_S: Final = 0.5
"""How long an end waits for the context to go (it needs 10 to 30 ms) before it is told: the session takes nothing any
more either way, and its place stays taken until the context is gone."""
CLOSE_TIMEOUT_S: Final = 10.0
"""After this a context that does not close is left to its browser's end."""
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


class Pool:
    """All sessions of one node, on one event loop: nothing here locks."""

    def __init__(
        self,
        launcher: BrowserLauncher,
        store: SessionStore,
        clock: Clock,
        limits: PoolLimits,
        *,
        node: str,
        work_dir: Path,
    ) -> None:
        self.node = node
        self.clock = clock
        self.limits = limits
        self.draining = False
        self.shortage = ""
        """What the machine is short of: why creates are refused for now; empty when they are not. See shedding."""
        self.journal = Journal(clock)
        self.admission = Admission(limits.max_sessions, limits.max_sessions_per_principal)
        self.registry = Registry(store, clock, self.journal)
        self.fleet = Fleet(
            launcher,
            clock,
            self.journal,
            places=limits.max_sessions_per_browser,
            shared_between_principals=limits.share_browsers_between_principals,
            on_death=self._browser_died,
        )
        self.sessions: Mapping[str, Session] = self.registry.sessions
        self._launcher = launcher
        self._work_dir = work_dir
        self._opens = asyncio.Semaphore(PARALLEL_OPENS)
        self._keyed: dict[tuple[str, str], asyncio.Future[None]] = {}
        """Creates under way by (owner, Idempotency-Key)."""
        self._background: set[asyncio.Task[Any]] = set()

    @property
    def devices(self) -> Mapping[str, dict[str, Any]]:
        return self._launcher.devices

    # -- finding and using -----------------------------------------------------------------------------------------

    def known(self, session_id: str) -> Session | SessionRecord | None:
        """The live session, else a recently ended record. Memory only."""
        return self.registry.known(session_id)

    async def record(self, session_id: str) -> SessionRecord | None:
        return await self.registry.record(session_id)

    async def list(self, query: SessionQuery) -> Sequence[SessionRecord]:
        return await self.registry.list(query)

    def context(self, session_id: str) -> ContextHandle:
        """The context of an active session. Raises `WrongState`, `SessionNotFound`."""
        handle = self.registry.live(session_id).handle
        assert handle is not None, "an active session has a context"
        return handle

    def connections(self, session_id: str) -> int:
        live = self.registry.lives.get(session_id)
        return len(live.attached) if live else 0

    def touch(self, session_id: str) -> None:
        """Counts as activity. Raises `WrongState`, `SessionNotFound`: what was accepted is never followed by an early
        idle end."""
        self.registry.live(session_id).session.touch(self.clock.monotonic())

    async def extend(self, session_id: str, seconds: float) -> None:
        """Moves the hard limit by `seconds`. Raises `InvalidField` beyond the server's maximum, else as `touch`."""
        live = self.registry.live(session_id)
        session = live.session
        if session.hard_deadline is None:
            return
        longest = self.limits.max_lifetime_seconds
        if longest is not None and session.hard_deadline + seconds - session.created > longest:
            left = max(0.0, session.created + longest - session.hard_deadline)
            raise InvalidField(
                ("body", "extend_seconds"),
                f"must be at most {left:g}: this server lets a session live {longest:g} seconds in all",
            )
        session.hard_deadline += seconds
        session.dirty = True
        self.journal.publish("session.extended", session_id, session.owner, seconds=seconds)

    # -- telling ---------------------------------------------------------------------------------------------------

    @property
    def sandbox(self) -> bool:
        return self._launcher.sandbox

    @property
    def sandbox_reason(self) -> str:
        return self._launcher.sandbox_reason

    async def health(self, session_id: str) -> Health:
        """Probes the live browser now; answers within two seconds. Raises `SessionNotFound`."""
        live = self.registry.lives.get(session_id)
        if live is not None and live.handle is not None:
            return await check(self, live)
        record = await self.registry.record(session_id)
        if record is None:
            raise SessionNotFound(session_id)
        return ended(self, record.status, record.end_reason.value if record.end_reason else None)

    def state(self) -> PoolSnapshot:
        return snapshot(self)

    def ready(self) -> tuple[Sequence[str], Sequence[str]]:
        """(problems, warnings); ready when there are no problems."""
        return readiness(self)

    # -- creating --------------------------------------------------------------------------------------------------

    async def create(
        self,
        principal: Principal,
        spec: SessionSpec,
        *,
        wait_seconds: float = 0.0,
        idempotency: Idempotency | None = None,
    ) -> tuple[SessionRecord, bool]:
        """A new active session and True, or the one that the same Idempotency-Key made and False.

        Raises `PoolFull`, `QuotaExceeded`, `Draining`, `Overloaded`, `NoBrowser`, `BrowserTimeout`, `InvalidField`,
        `PageFailed`, `IdempotencyMismatch`, `StoreUnavailable`. Whatever it raises, and when it is cancelled, nothing
        is left of the session but its record, and the Idempotency-Key is free again.
        """
        if idempotency is None:
            return await self._create(self._new(principal, spec, wait_seconds, None), wait_seconds), True
        slot = (principal.principal_id, idempotency.key)
        while (under_way := self._keyed.get(slot)) is not None:
            await asyncio.shield(under_way)
        done = self._keyed[slot] = asyncio.get_running_loop().create_future()
        try:
            earlier = await self.registry.by_idempotency_key(*slot)
            if earlier is None:
                return await self._create(self._new(principal, spec, wait_seconds, idempotency), wait_seconds), True
            if earlier.body_sha256 != idempotency.body_sha256:
                raise IdempotencyMismatch(
                    "This Idempotency-Key was used with another body. Use a new key for another session.",
                    session_id=earlier.session_id,
                )
            return earlier, False
        finally:
            del self._keyed[slot]
            done.set_result(None)

    def _new(
        self, principal: Principal, spec: SessionSpec, wait_seconds: float, idempotency: Idempotency | None
    ) -> Live:
        now = self.clock.monotonic()
        session = Session(
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
        return Live(
            session,
            publish=lambda event, /, **data: self.journal.publish(event, session.session_id, session.owner, **data),
        )

    async def _create(self, live: Live, wait_seconds: float) -> SessionRecord:
        """Runs the start in a task of its own, so that an undo is never interrupted by a caller who leaves."""
        live.creating = self._spawn(self._start(live, wait_seconds))
        try:
            return await asyncio.shield(live.creating)
        except asyncio.CancelledError:
            if live.creating.cancelled():  # ended from elsewhere while it started
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise
                raise BrowserGone(
                    f"The session was ended while it started ({live.session.end_reason}).",
                    session_id=live.session.session_id,
                ) from None
            live.session.idempotency_key = None
            await asyncio.shield(self._spawn(self.end(live.session.session_id, EndReason.CANCELLED)))
            raise

    async def _start(self, live: Live, wait_seconds: float) -> SessionRecord:
        session = live.session
        async with AsyncExitStack() as undo:
            await self._admit(live, wait_seconds, undo)
            session.move(SessionStatus.STARTING)
            inserted = self._spawn(self.registry.save(live)) if session.version == 0 else None
            try:
                async with asyncio.timeout(self.limits.create_timeout_seconds):
                    await self._open(live)
            except TimeoutError:
                raise BrowserTimeout(
                    f"The session did not start within {self.limits.create_timeout_seconds:g} s. Try again.",
                    session_id=session.session_id,
                ) from None
            if inserted is not None:
                await asyncio.shield(inserted)
            assert live.berth is not None
            if live.berth.dead:
                raise NoBrowser("The browser died while the session started. Try again.", session_id=session.session_id)
            session.move(SessionStatus.ACTIVE)
            session.touch(self.clock.monotonic())
            undo.pop_all()
        # The record is on disk since it was inserted; that it became active need not be: a kill loses it either way.
        _ = self._spawn(self.registry.save(live))
        live.creating = None
        self.journal.publish(
            "session.active",
            session.session_id,
            session.owner,
            seconds=round(self.clock.monotonic() - session.created, 4),
            browser_id=live.berth.browser_id,
        )
        return session.record(self.clock)

    async def _admit(self, live: Live, wait_seconds: float, undo: AsyncExitStack) -> None:
        """Takes a place, now or after waiting. From then on `undo` gives it back and writes how the session ended."""
        session = live.session
        if self.shortage and not self.draining:
            self.admission.refused += 1
            raise Overloaded(f"{self.shortage} Try again later.", retry_after=jittered(RETRY_AFTER_SECONDS))
        try:
            self.admission.try_take(session.owner)
        except (PoolFull, QuotaExceeded):
            if wait_seconds <= 0:
                raise
            undo.push_async_exit(self._failed(live))
            self.registry.enlist(live)
            self.journal.publish("session.queued", session.session_id, session.owner, wait_seconds=wait_seconds)
            await self.registry.save(live)
            await self.admission.take(session.owner, wait_seconds)
            live.placed = True
        else:
            live.placed = True
            undo.push_async_exit(self._failed(live))
            self.registry.enlist(live)

    async def _open(self, live: Live) -> None:
        """A browser, a context in it, a page; elsewhere when the browser dies under it."""
        session = live.session
        for tries_left in reversed(range(OPEN_TRIES)):
            berth = await self.fleet.take(session.owner, dedicated=session.spec.isolation is Isolation.BROWSER)
            assert berth.process is not None
            try:
                async with self._opens:
                    live.handle = await berth.process.open_context(
                        session.spec,
                        self._work_dir / session.session_id,
                        lambda event: self._happened(live, event),
                        timeout=self.limits.create_timeout_seconds,
                    )
                live.berth = berth
                return
            except BrowserGone:
                self.fleet.give_back(berth)
                if tries_left == 0:
                    raise NoBrowser(
                        "The browser died while the session started. Try again.", session_id=session.session_id
                    ) from None
            except BaseException:
                self.fleet.give_back(berth)
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
        if live.handle is not None:
            await self._close_context(live)
        elif live.placed:
            self.admission.release(session.owner)
        session.end_reason = session.end_reason or _why(error)
        outcome = session.end_reason.status
        session.move(outcome if outcome in MOVES[session.status] else SessionStatus.CLOSED)
        session.ended = self.clock.monotonic()
        session.idempotency_key = None
        await self._retire(live)

    # -- ending ----------------------------------------------------------------------------------------------------

    async def end(self, session_id: str, reason: EndReason) -> SessionRecord:
        """Ends a session; returns its final record, of an ended one again. Raises `SessionNotFound`."""
        live = self.registry.lives.get(session_id)
        if live is None:
            record = await self.registry.record(session_id)
            if record is None:
                raise SessionNotFound(session_id)
            return record
        if live.creating is not None and live.ending is None and live.session.status is not SessionStatus.ACTIVE:
            self.cancel_start(live, reason)
            await asyncio.wait([live.creating])
            return await self.end(session_id, reason)
        return await asyncio.shield(self.begin_end(live, reason))

    def cancel_start(self, live: Live, reason: EndReason) -> None:
        """Stops the start of a session that is not active yet; its undo runs to the end."""
        if live.creating is not None and not live.cancelled:
            live.session.end_reason = live.session.end_reason or reason
            live.cancelled = True
            live.creating.cancel()

    def begin_end(self, live: Live, reason: EndReason) -> asyncio.Future[SessionRecord]:
        """The one way out of `active`. From the return on the session takes nothing any more, and its status says so.

        The future is the final record; who only wants the end need not wait for it.
        """
        if live.ending is None:
            session = live.session
            died = reason.status is SessionStatus.CRASHED
            session.move(SessionStatus.CRASHED if died else SessionStatus.CLOSING)
            session.end_reason = reason
            session.ended = self.clock.monotonic()
            live.dismiss(reason)
            live.ending = self._spawn(self._end(live, reason))
        return live.ending

    async def _end(self, live: Live, reason: EndReason) -> SessionRecord:
        closing = self._spawn(self._close_context(live))
        if live.session.status is SessionStatus.CLOSING:
            await asyncio.wait([closing], timeout=CLOSE_GRACE_S)
            live.session.move(reason.status)
        return await self._retire(live)

    async def _close_context(self, live: Live) -> None:
        """Closes the context; its places are free once it is gone."""
        assert live.handle is not None
        assert live.berth is not None
        try:
            await live.handle.close(timeout=CLOSE_TIMEOUT_S)
        finally:
            self.fleet.give_back(live.berth)
            self.admission.release(live.session.owner)

    async def _retire(self, live: Live) -> SessionRecord:
        record = await self.registry.retire(live)
        self.journal.publish(
            "session.ended",
            record.session_id,
            record.owner,
            status=record.status.value,
            reason=record.end_reason.value if record.end_reason else None,
            seconds=round((live.session.ended or live.session.created) - live.session.created, 3),
        )
        return record

    def _browser_died(self, berth: Berth, reason: EndReason) -> None:
        for live in list(self.registry.lives.values()):
            if live.berth is berth and live.session.status is SessionStatus.ACTIVE:
                _ = self.begin_end(live, reason)

    def _happened(self, live: Live, event: ContextEvent) -> None:
        session = live.session
        if event.kind != "context.died":
            self.journal.publish(event.kind, session.session_id, session.owner, **event.data)
        elif session.status is SessionStatus.ACTIVE:
            _ = self.begin_end(live, EndReason.CONTEXT_DIED)

    def drain(self) -> None:
        """Takes nothing new from now on; who waits for a place is refused, who has one goes on."""
        self.draining = True
        self.admission.close()

    async def stop(self, reason: EndReason = EndReason.DRAINED) -> None:
        """Ends every session and every browser. Takes nothing new from the first line on."""
        self.drain()
        await asyncio.gather(*(self.end(sid, reason) for sid in list(self.registry.lives)), return_exceptions=True)
        await self.fleet.stop()
        if self._background:
            await asyncio.wait(self._background, timeout=CLOSE_TIMEOUT_S)
        self.journal.close()

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work, name=getattr(work, "__qualname__", None))
        self._background.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, BrowserSessionsError):
            log.error("pool.task_failed", task=task.get_name(), exc_info=error)


def _why(error: BaseException) -> EndReason:
    if isinstance(error, asyncio.CancelledError):
        return EndReason.CANCELLED
    if isinstance(error, Draining):
        return EndReason.DRAINED
    if isinstance(error, PoolFull | QuotaExceeded):
        return EndReason.QUEUE_TIMEOUT
    return EndReason.START_FAILED


__all__ = ["Idempotency", "Pool", "PoolLimits"]
