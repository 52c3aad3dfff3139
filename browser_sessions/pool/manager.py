"""The pool manager. Decides synchronously and in memory; the browser and the store follow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from browser_sessions.background_tasks import Background
from browser_sessions.chromium.ports import BrowserLauncher, ContextHandle
from browser_sessions.domain.clock import Clock
from browser_sessions.domain.errors import IdempotencyMismatch, InvalidField, SessionNotFound
from browser_sessions.domain.ports import SessionStore
from browser_sessions.domain.principal import Principal
from browser_sessions.domain.session import EndReason, SessionRecord, SessionStatus
from browser_sessions.domain.session_spec import SessionSpec
from browser_sessions.events.journal import Journal
from browser_sessions.pool.admission import Admission
from browser_sessions.pool.browsers.fleet import BrowserSlot, Fleet
from browser_sessions.pool.pool_report import PoolReport
from browser_sessions.pool.registry import Registry
from browser_sessions.pool.session_egress import SessionEgress
from browser_sessions.pool.session_end import CLOSE_TIMEOUT_S, Ender
from browser_sessions.pool.session_start import Idempotency, PoolLimits, Starter


class Pool:
    """All sessions of one node, on one event loop, without locks.

    Its parts are public; the pool itself has only what needs more than one of them.
    """

    def __init__(
        self,
        launcher: BrowserLauncher,
        store: SessionStore,
        clock: Clock,
        limits: PoolLimits,
        *,
        node: str,
        work_dir: Path,
        egress: SessionEgress | None = None,
    ) -> None:
        """`egress` decides what a session may reach; None without the egress proxy."""
        self.node = node
        self.clock = clock
        self.limits = limits
        self.launcher = launcher
        self.journal = Journal(clock)
        self.background = Background()
        self.admission = Admission(limits.max_sessions, limits.max_sessions_per_principal)
        self.registry = Registry(store, clock, self.journal)
        self.fleet = Fleet(
            launcher,
            clock,
            self.journal,
            capacity=limits.max_sessions_per_browser,
            shared_between_principals=limits.share_browsers_between_principals,
            on_death=self._browser_died,
        )
        self.ender = Ender(self.admission, self.registry, self.fleet, self.journal, clock, self.background)
        self.starter = Starter(
            self.admission,
            self.registry,
            self.fleet,
            self.ender,
            self.journal,
            clock,
            limits,
            self.background,
            node=node,
            work_dir=work_dir,
            egress=egress,
        )
        self.report = PoolReport(self.admission, self.registry, self.fleet, launcher, clock, node, self.ender.traffic)
        self._keyed: dict[tuple[str, str], asyncio.Future[None]] = {}
        """Creates under way by (owner, Idempotency-Key)."""

    # -- using -----------------------------------------------------------------------------------------------------

    def context(self, session_id: str) -> ContextHandle:
        """The context of an active session. Raises `WrongState`, `SessionNotFound`."""
        return self.registry.live(session_id).opened.context

    def touch(self, session_id: str) -> None:
        """Postpones the idle timeout. Raises `WrongState`, `SessionNotFound`."""
        self.registry.live(session_id).session.touch(self.clock.monotonic())

    @contextmanager
    def using(self, session_id: str) -> Iterator[ContextHandle]:
        """The context of an active session for one call: the idle timeout does not run meanwhile. Raises as `touch`."""
        live = self.registry.live(session_id)
        context = live.opened.context
        live.session.begin_use(self.clock.monotonic())
        try:
            yield context
        finally:
            live.session.end_use(self.clock.monotonic())

    async def extend(self, session_id: str, seconds: float) -> None:
        """Postpones the end of the lifetime. Raises `InvalidField` beyond the server's maximum, else as `touch`."""
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

    def credential_revoked(self, credential: str) -> None:
        """Releases control that was taken with it."""
        for live in self.registry.lives.values():
            live.control.revoked(credential)

    # -- creating --------------------------------------------------------------------------------------------------

    async def create(
        self,
        principal: Principal,
        spec: SessionSpec,
        *,
        wait_seconds: float = 0.0,
        idempotency: Idempotency | None = None,
    ) -> tuple[SessionRecord, bool]:
        """A new active session and True, or the earlier one with the same Idempotency-Key and False.

        Raises `PoolFull`, `QuotaExceeded`, `Draining`, `Overloaded`, `NoBrowser`, `BrowserTimeout`, `InvalidField`,
        `StartPageFailed`, `IdempotencyMismatch`, `StoreUnavailable`, `WrongState` (ended before it was ready). Whatever
        it raises, and when it is cancelled, nothing is left of the session but its record, and the Idempotency-Key is
        free again.
        """
        if idempotency is None:
            return await self.starter.begin(principal, spec, wait_seconds=wait_seconds), True
        slot = (principal.principal_id, idempotency.key)
        while (under_way := self._keyed.get(slot)) is not None:
            await asyncio.shield(under_way)
        done = self._keyed[slot] = asyncio.get_running_loop().create_future()
        try:
            earlier = await self.registry.by_idempotency_key(*slot)
            if earlier is None:
                beginning = self.starter.begin(principal, spec, wait_seconds=wait_seconds, idempotency=idempotency)
                return await beginning, True
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
        """Ends a session and returns its final record; idempotent. Raises `SessionNotFound`."""
        live = self.registry.lives.get(session_id)
        if live is None:
            record = await self.registry.record(session_id)
            if record is None:
                raise SessionNotFound(session_id)
            return record
        if (start := self.starter.cancel(live, reason)) is not None:
            await asyncio.wait([start])
            return await self.end(session_id, reason)
        return await asyncio.shield(self.ender.begin(live, reason))

    def _browser_died(self, slot: BrowserSlot, reason: EndReason) -> None:
        for live in list(self.registry.lives.values()):
            if live.session.status is SessionStatus.ACTIVE and live.opened.slot is slot:
                _ = self.ender.begin(live, reason)

    def drain(self) -> None:
        """Rejects creates from now on, queued and starting ones too; active sessions continue."""
        self.fleet.keeps_spare = False
        self.admission.close()
        for live in list(self.registry.lives.values()):
            if live.session.status is SessionStatus.STARTING:
                self.starter.cancel(live, EndReason.DRAINED)

    async def stop(self, reason: EndReason = EndReason.DRAINED) -> None:
        """Ends every session and every browser, and rejects creates."""
        self.drain()
        await asyncio.gather(*(self.end(sid, reason) for sid in list(self.registry.lives)), return_exceptions=True)
        await self.fleet.stop()
        await self.background.finished(within=CLOSE_TIMEOUT_S)
        self.journal.close()


__all__ = ["Idempotency", "Pool", "PoolLimits"]
