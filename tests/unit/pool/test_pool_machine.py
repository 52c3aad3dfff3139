"""Random interleavings of session operations and faults, over the pool, a real store, a fake browser and a manual
clock: no illegal transition, no expiry before an acknowledged deadline, nothing left at the end."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from browser_sessions.chromium.ports import ContextEvent
from browser_sessions.domain.errors import BrowserSessionsError, Conflict, WrongState
from browser_sessions.domain.principal import Principal, Role
from browser_sessions.domain.session import TRANSITIONS, EndReason, SessionRecord, SessionStatus
from browser_sessions.domain.session_spec import Isolation, SessionSpec
from browser_sessions.pool.browsers.supervisor import Supervisor
from browser_sessions.pool.manager import Pool, PoolLimits
from browser_sessions.pool.reaper import Reaper
from browser_sessions.store import EmbeddedStore
from tests.harness.fakes.fake_browser import FakeLauncher, FakeProcess, ManualClock

PRINCIPALS = (Principal("prn_a", Role.CLIENT, "a"), Principal("prn_b", Role.CLIENT, "b"))
CAPACITY = 5
T = TypeVar("T")


class Client:
    """A connected client, notified once of the session's end."""

    def __init__(self, drives: bool) -> None:
        self.drives = drives
        self.end_reasons: list[EndReason] = []

    def session_ended(self, reason: EndReason) -> None:
        self.end_reasons.append(reason)


class PoolMachine(RuleBasedStateMachine):
    """`promised` is the model: the time before which a session must not expire, according to acknowledged activity."""

    sessions: Bundle[str] = Bundle("sessions")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.clock, self.launcher = ManualClock(), FakeLauncher()
        self.promised: dict[str, float] = {}
        self.last: dict[str, SessionStatus] = {}
        self.clients: list[tuple[str, Client]] = []
        self.reasons: dict[str, EndReason] = {}
        self.calls: list[tuple[str, contextlib.ExitStack]] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    async def _settled(self) -> None:
        """Waits for all background work."""
        async with asyncio.timeout(10):
            while self.pool.background or self.pool.fleet._background:  # noqa: ASYNC110 - two task sets without a common event
                await asyncio.sleep(0.0005)

    @initialize()
    def begin(self) -> None:
        store = EmbeddedStore(Path(self.folder.name) / "sessions.db")
        self.run(store.open())
        self.store = store
        limits = PoolLimits(CAPACITY, 2, {Role.CLIENT: 4}, 1000.0, 5.0)
        self.pool = Pool(self.launcher, store, self.clock, limits, node="node", work_dir=Path(self.folder.name))
        self.reaper, self.supervisor = Reaper(self.pool), Supervisor(self.pool.fleet)

    @rule(
        target=sessions,
        who=st.sampled_from(PRINCIPALS),
        idle=st.sampled_from([None, 5.0, 20.0]),
        lifetime=st.sampled_from([None, 30.0, 90.0]),
        isolation=st.sampled_from(Isolation),
    )
    def create(self, who: Principal, idle: float | None, lifetime: float | None, isolation: Isolation) -> Any:
        spec = SessionSpec(idle_timeout_seconds=idle, max_lifetime_seconds=lifetime, isolation=isolation)
        try:
            record, _ = self.run(self.pool.create(who, spec))
        except BrowserSessionsError:
            assert self.pool.admission.taken >= CAPACITY or self.pool.admission._held[who.principal_id] >= 4
            return multiple()
        assert record.status is SessionStatus.ACTIVE
        self._promise(record.session_id)
        return record.session_id

    @rule(seconds=st.sampled_from([0.5, 3.0, 4.9, 5.0, 12.0, 20.0]), jump=st.sampled_from([0.0, -3600.0, 3600.0]))
    def time_passes(self, seconds: float, jump: float) -> None:
        """Advances the monotonic clock and runs the reaper. Jumps of the wall clock must have no effect."""
        self.clock.advance(seconds)
        self.clock.jump += timedelta(seconds=jump)
        for session_id, _ in self.calls:
            if session_id in self.pool.registry.sessions:  # a pending call counts as activity up to now
                self._promise(session_id)
        due = {s.session_id for s in self.pool.registry.sessions.values() if self._due(s.session_id)}
        self.run(self.reaper.turn())
        self.run(self._settled())
        assert not due & {s.session_id for s in self.pool.registry.sessions.values()}, "sessions that are due must end"

    @rule()
    def short_time_passes(self) -> None:
        self.time_passes(seconds=3.0, jump=0.0)

    @rule(session_id=sessions)
    def touch(self, session_id: str) -> None:
        try:
            self.pool.touch(session_id)
        except WrongState:
            return
        assert self.pool.registry.sessions[session_id].status is SessionStatus.ACTIVE
        self._promise(session_id)

    @rule(session_id=sessions)
    def call_begins(self, session_id: str) -> None:
        with contextlib.ExitStack() as call:
            try:
                call.enter_context(self.pool.using(session_id))
            except WrongState:
                return
            self.calls.append((session_id, call.pop_all()))

    @rule(data=st.data())
    def call_ends(self, data: st.DataObject) -> None:
        if self.calls:
            session_id, call = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
            call.close()
            if session_id in self.pool.registry.sessions:
                self._promise(session_id)

    @rule(session_id=sessions, seconds=st.sampled_from([10.0, 500.0, 5000.0]))
    def extend(self, session_id: str, seconds: float) -> None:
        try:
            self.run(self.pool.extend(session_id, seconds))
        except BrowserSessionsError:
            return
        self.touch(session_id)

    @rule(session_id=sessions, drives=st.booleans())
    def attach(self, session_id: str, drives: bool) -> None:
        client = Client(drives)
        try:
            self.pool.registry.live(session_id).attach(client)
        except WrongState:
            return
        self.clients.append((session_id, client))

    @rule(session_id=sessions, who=st.sampled_from(PRINCIPALS), take=st.booleans())
    def control(self, session_id: str, who: Principal, take: bool) -> None:
        live = self.pool.registry.lives.get(session_id)
        if live is None:
            return
        try:
            if take:
                live.control.take(who)
            else:
                live.control.release(who)
        except Conflict:
            assert live.control.holder is not None
            assert live.control.holder != who

    @rule(session_id=sessions, again=st.booleans())
    def delete(self, session_id: str, again: bool) -> None:
        first = self.run(self.pool.end(session_id, EndReason.DELETED))
        assert first.status.final
        if again:
            assert self.run(self.pool.end(session_id, EndReason.OPERATOR)) == first

    @rule(data=st.data())
    def browser_dies(self, data: st.DataObject) -> None:
        if not self.launcher.running:
            return
        process: FakeProcess = data.draw(st.sampled_from(self.launcher.running))

        async def die() -> None:
            process.die()

        self.run(die())

    @rule(data=st.data())
    def browser_hangs(self, data: st.DataObject) -> None:
        if not self.launcher.running:
            return
        process: FakeProcess = data.draw(st.sampled_from(self.launcher.running))
        process.hung = True

        async def probe() -> None:
            await self.supervisor.turn()
            await self.supervisor.turn()

        self.run(probe())
        assert process not in self.launcher.running

    @rule(session_id=sessions)
    def context_dies(self, session_id: str) -> None:
        live = self.pool.registry.lives.get(session_id)
        if live is None or live.context is None or live.session.status is not SessionStatus.ACTIVE:
            return
        died, context = ContextEvent("context.died"), live.context

        async def die() -> None:
            context.on_event(died)  # type: ignore[attr-defined]

        self.run(die())

    @invariant()
    def every_transition_is_in_the_table(self) -> None:
        if not hasattr(self, "pool"):
            return
        self.run(self._settled())
        for session_id in set(self.pool.registry.sessions) | set(self.pool.registry.recent):
            known = self.pool.registry.known(session_id)
            assert known is not None
            before = self.last.get(session_id)
            if before is not None and before is not known.status:
                assert _reachable(before, known.status), f"{before} to {known.status}"
            self.last[session_id] = known.status

    @invariant()
    def no_session_expires_before_its_acknowledged_deadline(self) -> None:
        if not hasattr(self, "pool"):
            return
        for session_id, until in self.promised.items():
            known = self.pool.registry.recent.get(session_id)
            if known is not None and known.end_reason in (EndReason.IDLE, EndReason.LIFETIME):
                assert self.clock.now >= until, f"{session_id} ended {until - self.clock.now} s early"

    @invariant()
    def slots_contexts_and_sessions_agree(self) -> None:
        if not hasattr(self, "pool"):
            return
        assert self.pool.admission.taken == len(self.pool.registry.sessions) <= CAPACITY
        assert sum(len(p.contexts) for p in self.launcher.processes) == len(self.pool.registry.sessions)
        assert sum(b.taken for b in self.pool.fleet.slots) == len(self.pool.registry.sessions)

    @invariant()
    def the_end_is_reported_once_to_connected_clients(self) -> None:
        for session_id, client in self.clients:
            assert len(client.end_reasons) == (session_id not in self.pool.registry.sessions)

    def _promise(self, session_id: str) -> None:
        deadline = self.pool.registry.sessions[session_id].deadline(self.clock.now)
        if deadline is not None:
            self.promised[session_id] = deadline

    def _due(self, session_id: str) -> bool:
        deadline = self.pool.registry.sessions[session_id].deadline(self.clock.now)
        return deadline is not None and deadline <= self.clock.now

    def teardown(self) -> None:
        if hasattr(self, "pool"):
            known: list[SessionRecord] = list(self.pool.registry.recent.values())
            self.run(self.pool.stop())
            for record in known:
                assert self.run(self.store.get(record.session_id)) == record, "memory and store must agree"
            assert not self.launcher.running
            self.run(self.store.close())
        self.loop.close()
        self.folder.cleanup()


def _reachable(before: SessionStatus, after: SessionStatus) -> bool:
    """Whether `after` is reachable from `before`: between two checks there may be several transitions."""
    return any(step is after or _reachable(step, after) for step in TRANSITIONS[before])


TestPoolMachine = pytest.mark.slow(PoolMachine.TestCase)
TestPoolMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
