"""Create, use and end sessions. Decisions are synchronous and in memory; the browser and the store follow."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from browser_sessions.chromium.ports import BrowserLauncher, ContextEvent, ContextHandle
from browser_sessions.domain.clock import Clock
from browser_sessions.domain.errors import IdempotencyMismatch, InvalidField, SessionNotFound
from browser_sessions.domain.ports import SessionQuery, SessionStore
from browser_sessions.domain.principal import Principal
from browser_sessions.domain.session import EndReason, Session, SessionRecord, SessionStatus
from browser_sessions.domain.session_spec import SessionSpec
from browser_sessions.events.journal import Journal
from browser_sessions.pool.admission import Admission
from browser_sessions.pool.background_tasks import Background
from browser_sessions.pool.browsers.fleet import Berth, Fleet
from browser_sessions.pool.live_session import Live
from browser_sessions.pool.pool_report import Health, PoolSnapshot, check, ended, readiness, snapshot
from browser_sessions.pool.registry import Registry
from browser_sessions.pool.session_start import Idempotency, PoolLimits, Starter
from browser_sessions.tracing import span

CLOSE_GRACE_S: Final = 0.5
"""How long an end waits for the context to go (it needs 10 to 30 ms) before it is told: the session takes nothing any
more either way, and its place stays taken until the context is gone."""
CLOSE_TIMEOUT_S: Final = 10.0
"""After this a context that does not close is left to its browser's end."""


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
        self._keyed: dict[tuple[str, str], asyncio.Future[None]] = {}
        """Creates under way by (owner, Idempotency-Key)."""
        self.background = Background()
        self._starter = Starter(self, work_dir)

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

    @contextmanager
    def using(self, session_id: str) -> Iterator[ContextHandle]:
        """The context of an active session, for one call: until the body is done the session cannot go idle. Raises as
        `touch`."""
        live = self.registry.live(session_id)
        assert live.handle is not None, "an active session has a context"
        live.session.begin_use(self.clock.monotonic())
        try:
            yield live.handle
        finally:
            live.session.end_use(self.clock.monotonic())

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
        session.extend(seconds)
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

    def begin(
        self, principal: Principal, spec: SessionSpec, *, wait_seconds: float = 0.0
    ) -> Coroutine[Any, Any, SessionRecord]:
        """As `create` for who has no Idempotency-Key, but placed, in the line or refused before it returns: of five
        hundred who ask in one moment, none takes part in the work of another. What it returns must be awaited."""
        return self._starter.begin(principal, spec, wait_seconds, None)

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
        `PageFailed`, `IdempotencyMismatch`, `StoreUnavailable`, `WrongState` (ended before it was ready). Whatever it
        raises, and when it is cancelled, nothing is left of the session but its record, and the Idempotency-Key is free
        again.
        """
        if idempotency is None:
            return await self.begin(principal, spec, wait_seconds=wait_seconds), True
        slot = (principal.principal_id, idempotency.key)
        while (under_way := self._keyed.get(slot)) is not None:
            await asyncio.shield(under_way)
        done = self._keyed[slot] = asyncio.get_running_loop().create_future()
        try:
            earlier = await self.registry.by_idempotency_key(*slot)
            if earlier is None:
                return await self._starter.begin(principal, spec, wait_seconds, idempotency), True
            if earlier.body_sha256 != idempotency.body_sha256:
                raise IdempotencyMismatch(
                    "This Idempotency-Key was used with another body. Use a new key for another session.",
                    session_id=earlier.session_id,
                )
            return earlier, False
        finally:
            del self._keyed[slot]
            done.set_result(None)

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
            if live.begun:
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
            live.ending = self.background.run(self._end(live, reason))
        return live.ending

    async def _end(self, live: Live, reason: EndReason) -> SessionRecord:
        with span("session.end", session_id=live.session.session_id, reason=reason.value):
            closing = self.background.run(self.close_context(live))
            if live.session.status is SessionStatus.CLOSING:
                await asyncio.wait([closing], timeout=CLOSE_GRACE_S)
                live.session.move(reason.status)
            return await self.retire(live)

    async def close_context(self, live: Live) -> None:
        """Closes the context; its places are free once it is gone."""
        assert live.handle is not None
        assert live.berth is not None
        try:
            await live.handle.close(timeout=CLOSE_TIMEOUT_S)
        finally:
            self.fleet.give_back(live.berth)
            self.admission.release(live.session.owner)

    async def retire(self, live: Live) -> SessionRecord:
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

    def happened(self, live: Live, event: ContextEvent) -> None:
        session = live.session
        if event.kind != "context.died":
            self.journal.publish(event.kind, session.session_id, session.owner, **event.data)
            return
        live.context_died = True
        if session.status is SessionStatus.ACTIVE:
            _ = self.begin_end(live, EndReason.CONTEXT_DIED)

    def drain(self) -> None:
        """Takes nothing new from now on: who waits or still starts is refused, who is active goes on."""
        self.fleet.keeps_spare = False
        self.admission.close()
        for live in list(self.registry.lives.values()):
            if live.session.status is SessionStatus.STARTING:
                self.cancel_start(live, EndReason.DRAINED)

    async def stop(self, reason: EndReason = EndReason.DRAINED) -> None:
        """Ends every session and every browser. Takes nothing new from the first line on."""
        self.drain()
        await asyncio.gather(*(self.end(sid, reason) for sid in list(self.registry.lives)), return_exceptions=True)
        await self.fleet.stop()
        await self.background.finished(within=CLOSE_TIMEOUT_S)
        self.journal.close()


__all__ = ["Idempotency", "Pool", "PoolLimits"]
