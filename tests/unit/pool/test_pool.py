"""The pool over a fake browser and a real SQLite store, mostly in failure cases."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from browser_sessions.chromium.ports import ContextEvent
from browser_sessions.domain.errors import (
    BrowserSessionsError,
    Draining,
    IdempotencyMismatch,
    InvalidField,
    NoBrowser,
    PageFailed,
    PoolFull,
    QuotaExceeded,
    SessionNotFound,
    StartPageFailed,
    StoreUnavailable,
    WrongState,
)
from browser_sessions.domain.ports import SessionQuery
from browser_sessions.domain.principal import Principal, Role
from browser_sessions.domain.session import EndReason, SessionRecord, SessionStatus
from browser_sessions.domain.session_spec import Isolation, SessionSpec
from browser_sessions.pool.browsers.placement import RECYCLE_AGE_S
from browser_sessions.pool.browsers.supervisor import Supervisor
from browser_sessions.pool.manager import Idempotency, Pool, PoolLimits
from browser_sessions.pool.reaper import Reaper
from browser_sessions.pool.session_start import PARALLEL_OPENS
from browser_sessions.store import EmbeddedStore
from tests.harness.fakes.fake_browser import FakeLauncher, ManualClock, no_browser
from tests.harness.waiting import until

ME = Principal("prn_me", Role.CLIENT, "me")
YOU = Principal("prn_you", Role.CLIENT, "you")


@dataclass
class PoolHarness:
    pool: Pool
    launcher: FakeLauncher
    store: EmbeddedStore
    clock: ManualClock

    @property
    def contexts(self) -> int:
        return sum(len(p.contexts) for p in self.launcher.processes)

    async def create(self, who: Principal = ME, spec: SessionSpec | None = None, wait: float = 0.0) -> SessionRecord:
        record, new = await self.pool.create(who, spec or SessionSpec(), wait_seconds=wait)
        assert new
        return record

    async def until(self, condition: object) -> None:
        assert callable(condition)
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - any state, including those without an event
                await asyncio.sleep(0.001)

    async def quiet(self) -> None:
        """Waits until no slot, context or session is left."""
        pool = self.pool
        await self.until(lambda: pool.admission.taken == 0 and not pool.registry.sessions and self.contexts == 0)
        assert all(slot.taken == 0 for slot in pool.fleet.slots)


@pytest_asyncio.fixture
async def harness(tmp_path: Path) -> AsyncIterator[PoolHarness]:
    launcher, clock, store = FakeLauncher(), ManualClock(), EmbeddedStore(tmp_path / "sessions.db")
    await store.open()
    limits = PoolLimits(10, 4, {Role.CLIENT: 8}, 86_400.0, 5.0)
    pool = Pool(launcher, store, clock, limits, node="node", work_dir=tmp_path / "work")
    yield PoolHarness(pool, launcher, store, clock)
    launcher.gate.set()
    await pool.stop()
    await store.close()


async def test_a_created_session_is_active_in_memory_and_in_the_store(harness: PoolHarness) -> None:
    record = await harness.create()
    assert record.status is SessionStatus.ACTIVE
    stored = await harness.store.get(record.session_id)
    assert stored is not None, "it must be stored when create returns"
    async with asyncio.timeout(5):
        while stored is None or stored.status is not SessionStatus.ACTIVE:
            await asyncio.sleep(0.001)
            stored = await harness.store.get(record.session_id)


async def test_sessions_share_a_browser_only_within_a_principal(harness: PoolHarness) -> None:
    for _ in range(4):
        await harness.create(ME)
    await harness.create(YOU)
    assert sorted(len(p.contexts) for p in harness.launcher.processes) == [1, 4]


async def test_a_dedicated_session_has_an_unused_browser_that_is_not_reused(harness: PoolHarness) -> None:
    first = await harness.create(ME)
    alone = await harness.create(ME, SessionSpec(isolation=Isolation.BROWSER))
    await harness.create(ME)
    assert sorted(len(p.contexts) for p in harness.launcher.processes) == [1, 2]
    await harness.pool.end(alone.session_id, EndReason.DELETED)
    await harness.pool.end(first.session_id, EndReason.DELETED)
    harness.pool.fleet.recycle()
    await harness.until(lambda: len(harness.launcher.running) == 1)


async def test_a_recycled_browser_keeps_no_spare_context(harness: PoolHarness) -> None:
    await harness.create()
    fleet = harness.pool.fleet
    (process,) = (each for each in harness.launcher.processes if each.contexts)
    kept = [process.keeps_ready]
    harness.clock.advance(RECYCLE_AGE_S)
    fleet.recycle()
    kept.append(process.keeps_ready)
    for on in (False, True):
        fleet.keep_ready(on)
    kept.append(process.keeps_ready)
    assert kept == [True, False, False]


async def test_ending_a_session_again_returns_the_same_record(harness: PoolHarness) -> None:
    record = await harness.create()
    harness.clock.advance(3)
    ended = await harness.pool.end(record.session_id, EndReason.DELETED)
    again = await harness.pool.end(record.session_id, EndReason.OPERATOR)
    assert (ended.status, ended.end_reason) == (SessionStatus.CLOSED, EndReason.DELETED)
    assert again == ended
    assert await harness.store.get(record.session_id) == ended
    await harness.quiet()


async def test_a_slowly_closing_context_keeps_its_slot_but_end_returns(harness: PoolHarness) -> None:
    record = await harness.create()
    context = harness.launcher.opened[0]
    context.closing.clear()
    ended = await harness.pool.end(record.session_id, EndReason.DELETED)
    assert ended.status is SessionStatus.CLOSED
    assert harness.pool.admission.taken == 1
    context.closing.set()
    await harness.quiet()


async def test_the_final_record_is_stored_while_the_context_closes(
    harness: PoolHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("browser_sessions.pool.session_end.CLOSE_GRACE_S", 60.0)
    record = await harness.create()
    context = harness.launcher.opened[0]
    context.closing.clear()
    ending = asyncio.create_task(harness.pool.end(record.session_id, EndReason.DELETED))

    async def stored() -> bool:
        found = await harness.store.get(record.session_id)
        return found is not None and found.status is SessionStatus.CLOSED

    await until(stored, what="the final record")
    await until(lambda: context.closing._waiters, what="the context is closing")
    assert not ending.done(), "its slot is not free yet"
    context.closing.set()
    assert (await ending).status is SessionStatus.CLOSED
    assert harness.pool.admission.taken == 0
    await harness.quiet()


async def test_a_dead_browser_is_reported_at_once_and_the_next_create_works(harness: PoolHarness) -> None:
    mine, yours = await harness.create(ME), await harness.create(YOU)
    harness.launcher.processes[0].die()
    known = harness.pool.registry.known(mine.session_id)
    assert known is not None
    assert known.status is SessionStatus.CRASHED
    await harness.until(lambda: mine.session_id not in harness.pool.registry.sessions)
    stored = await harness.store.get(mine.session_id)
    assert stored is not None
    assert (stored.status, stored.end_reason) == (SessionStatus.CRASHED, EndReason.BROWSER_DIED)
    assert harness.pool.registry.sessions[yours.session_id].status is SessionStatus.ACTIVE
    assert (await harness.create(ME)).status is SessionStatus.ACTIVE


async def test_a_context_that_closes_by_itself_crashes_only_its_session(harness: PoolHarness) -> None:
    gone, unaffected = await harness.create(), await harness.create()
    harness.launcher.opened[0].on_event(ContextEvent("context.died"))
    known = harness.pool.registry.known(gone.session_id)
    assert known is not None
    assert known.status is SessionStatus.CRASHED
    assert harness.pool.registry.sessions[unaffected.session_id].status is SessionStatus.ACTIVE


async def test_a_browser_that_dies_during_a_create_is_replaced(harness: PoolHarness) -> None:
    harness.launcher.gate.clear()
    creating = asyncio.create_task(harness.create())
    await harness.until(lambda: harness.launcher.opening == 1)
    harness.launcher.processes[0].die()
    harness.launcher.gate.set()
    record = await creating
    assert record.status is SessionStatus.ACTIVE
    assert len(harness.launcher.processes) == 2


async def test_two_missed_probes_of_an_idle_browser_end_it(harness: PoolHarness) -> None:
    record = await harness.create()
    supervisor = Supervisor(harness.pool.fleet)
    process = harness.launcher.processes[0]
    process.hung = True
    await supervisor.turn()
    assert process in harness.launcher.running
    await supervisor.turn()
    assert process not in harness.launcher.running
    known = harness.pool.registry.known(record.session_id)
    assert known is not None
    assert known.end_reason is EndReason.BROWSER_HUNG
    assert len(harness.launcher.running) >= 1, "a spare browser must be running"


async def test_a_busy_browser_is_not_ended_after_missed_probes(harness: PoolHarness) -> None:
    await harness.create()
    supervisor = Supervisor(harness.pool.fleet)
    process = harness.launcher.processes[0]
    process.hung = process.working = True
    for _ in range(14):
        await supervisor.turn()
    assert process in harness.launcher.running
    process.working = False
    await supervisor.turn()
    assert process in harness.launcher.running, "a single miss without CPU use must not end it"
    await supervisor.turn()
    assert process not in harness.launcher.running


async def test_pages_that_overload_a_browser_are_killed_instead_of_it(harness: PoolHarness) -> None:
    record = await harness.create()
    supervisor = Supervisor(harness.pool.fleet)
    process = harness.launcher.processes[0]
    process.hung, process.working, process.loud = True, True, 4
    for round_number in range(1, 12):
        await supervisor.turn()
        assert process.loud == 4 - max(0, (round_number - 2) // 2) or not process.hung
    assert (process.loud, harness.pool.fleet.slots[0].missed_probes) == (0, 0)
    assert harness.pool.registry.sessions[record.session_id].status is SessionStatus.ACTIVE
    misses = [event.data["misses"] for event in harness.pool.journal.since(0)[0] if event.kind == "browser.swamped"]
    assert misses == [4, 6, 8, 10]


async def test_failed_starts_back_off_and_recover(harness: PoolHarness) -> None:
    harness.launcher.launch_error = no_browser()
    with pytest.raises(NoBrowser):
        await harness.create()
    harness.launcher.launch_error = None
    with pytest.raises(NoBrowser) as refusal:
        await harness.create()
    assert refusal.value.retry_after > 0
    harness.clock.advance(1.0)
    assert (await harness.create()).status is SessionStatus.ACTIVE


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (StartPageFailed("net::ERR_FAILED"), SessionStatus.CLOSED, EndReason.START_PAGE_FAILED),
        (InvalidField(("body", "locale"), "no"), SessionStatus.CLOSED, EndReason.INVALID_OPTIONS),
        (RuntimeError("bug"), SessionStatus.CRASHED, EndReason.START_FAILED),
    ],
)
async def test_a_failed_create_leaves_only_a_record(
    harness: PoolHarness, error: Exception, status: SessionStatus, reason: EndReason
) -> None:
    harness.launcher.open_error = error
    with pytest.raises(type(error)):
        await harness.create()
    await harness.quiet()
    (record,) = await harness.pool.registry.list(SessionQuery())
    assert (record.status, record.end_reason) == (status, reason)
    harness.launcher.open_error = None


async def test_a_create_cancelled_during_the_start_leaves_nothing(harness: PoolHarness) -> None:
    harness.launcher.gate.clear()
    creating = asyncio.create_task(harness.create())
    await harness.until(lambda: harness.launcher.opening == 1)
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    await harness.quiet()
    (record,) = await harness.pool.registry.list(SessionQuery())
    assert record.end_reason is EndReason.CANCELLED


async def test_creates_cancelled_at_any_moment_leave_nothing(harness: PoolHarness) -> None:
    rng = random.Random(7)
    tasks = []
    for _ in range(60):
        tasks.append(asyncio.create_task(harness.create(wait=5.0)))
        for _ in range(rng.randrange(4)):
            await asyncio.sleep(0)
        rng.choice(tasks).cancel()
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for session_id in list(harness.pool.registry.sessions):
        await harness.pool.end(session_id, EndReason.DELETED)
    await harness.quiet()
    assert harness.pool.admission.waiting == 0


async def test_ending_a_starting_session_cancels_the_start(harness: PoolHarness) -> None:
    harness.launcher.gate.clear()
    creating = asyncio.create_task(harness.create())
    await harness.until(lambda: harness.launcher.opening == 1)
    (session_id,) = harness.pool.registry.sessions
    ended = await harness.pool.end(session_id, EndReason.DELETED)
    assert (ended.status, ended.end_reason) == (SessionStatus.CLOSED, EndReason.DELETED)
    with pytest.raises(WrongState, match="ended before it was ready"):
        await creating
    await harness.quiet()


async def test_an_end_does_not_interrupt_the_cleanup_of_a_failed_start(
    harness: PoolHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = asyncio.Event()

    async def full(_: SessionRecord) -> None:
        await fails.wait()
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(harness.store, "insert", full)
    creating = asyncio.create_task(harness.create())
    await harness.until(lambda: harness.launcher.opened)
    (context,), (session_id,) = harness.launcher.opened, harness.pool.registry.sessions
    context.closing.clear()
    fails.set()
    await harness.until(lambda: context.closing._waiters)  # the cleanup closes the context
    ends = [asyncio.create_task(harness.pool.end(session_id, EndReason.DELETED)) for _ in range(2)]
    for _ in range(5):
        await asyncio.sleep(0)
    context.closing.set()
    assert {(await end).status for end in ends} == {SessionStatus.CLOSED}
    with pytest.raises(StoreUnavailable):
        await creating
    await harness.quiet()


async def test_a_session_whose_context_dies_before_it_is_stored_does_not_become_active(
    harness: PoolHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, insert = asyncio.Event(), harness.store.insert

    async def slow(record: SessionRecord) -> None:
        await stored.wait()
        await insert(record)

    monkeypatch.setattr(harness.store, "insert", slow)
    creating = asyncio.create_task(harness.create())
    await harness.until(lambda: harness.launcher.opened)
    harness.launcher.opened[0].on_event(ContextEvent("context.died"))
    stored.set()
    with pytest.raises(NoBrowser):
        await creating
    (record,) = await harness.pool.registry.list(SessionQuery())
    assert (record.status, record.end_reason) == (SessionStatus.CRASHED, EndReason.START_FAILED)
    await harness.quiet()


async def test_a_queued_session_is_listed_and_gets_the_next_slot(harness: PoolHarness) -> None:
    records = [await harness.create(ME if n < 8 else YOU) for n in range(10)]
    waiting = asyncio.create_task(harness.create(YOU, wait=30.0))
    await harness.until(lambda: harness.pool.admission.waiting == 1)
    (queued,) = await harness.pool.registry.list(SessionQuery(statuses=frozenset({SessionStatus.QUEUED})))
    with pytest.raises(WrongState):
        harness.pool.touch(queued.session_id)
    await harness.pool.end(records[0].session_id, EndReason.DELETED)
    assert (await waiting).session_id == queued.session_id
    assert harness.pool.admission.taken == 10


async def test_a_queue_timeout_is_refused_and_recorded(harness: PoolHarness) -> None:
    for n in range(10):
        await harness.create(ME if n < 8 else YOU)
    with pytest.raises(PoolFull):
        await harness.create(YOU, wait=0.02)
    (record,) = await harness.pool.registry.list(SessionQuery(statuses=frozenset({SessionStatus.CLOSED})))
    assert record.end_reason is EndReason.QUEUE_TIMEOUT


async def test_concurrent_creates_never_exceed_the_limits(harness: PoolHarness) -> None:
    seen = 0

    async def one() -> None:
        nonlocal seen
        try:
            record = await harness.create(random.choice((ME, YOU)), wait=random.choice((0.0, 5.0)))
        except BrowserSessionsError:
            return
        seen = max(seen, harness.contexts)
        await harness.pool.end(record.session_id, EndReason.DELETED)

    await asyncio.gather(*(one() for _ in range(200)))
    assert 0 < seen <= 10
    assert harness.launcher.most_opening <= PARALLEL_OPENS
    await harness.quiet()


async def test_another_principals_context_is_opened_second_however_many_wait(harness: PoolHarness) -> None:
    launcher, admission = harness.launcher, harness.pool.admission
    admission.capacity, admission.quotas = 100, {}
    launcher.gate.clear()
    mine = [asyncio.create_task(harness.create(ME)) for _ in range(PARALLEL_OPENS + 30)]
    await harness.until(lambda: launcher.asked == len(mine))
    yours = asyncio.create_task(harness.create(YOU, SessionSpec(user_agent="yours")))
    await harness.until(lambda: launcher.asked == len(mine) + 1)
    launcher.gate.set()
    await asyncio.gather(*mine, yours)
    assert [context.spec.user_agent for context in launcher.opened].index("yours") == PARALLEL_OPENS + 1


async def test_start_pages_that_hang_delay_no_other_create(harness: PoolHarness) -> None:
    harness.launcher.site.clear()
    loading = [asyncio.create_task(harness.create(ME, SessionSpec(start_url="https://a.example"))) for _ in range(8)]
    await harness.until(lambda: harness.launcher.asked == 8)
    await harness.create(YOU)
    assert not any(task.done() for task in loading)
    harness.launcher.site.set()
    await asyncio.gather(*loading)


async def test_repeated_creates_with_an_idempotency_key_give_one_session(harness: PoolHarness) -> None:
    key = Idempotency("k", "body-1")
    results = await asyncio.gather(*(harness.pool.create(ME, SessionSpec(), idempotency=key) for _ in range(5)))
    assert len({record.session_id for record, _ in results}) == 1
    assert sorted(new for _, new in results) == [False, False, False, False, True]
    with pytest.raises(IdempotencyMismatch):
        await harness.pool.create(ME, SessionSpec(), idempotency=Idempotency("k", "body-2"))
    _, new = await harness.pool.create(YOU, SessionSpec(), idempotency=key)
    assert new


async def test_a_failed_create_frees_its_idempotency_key(harness: PoolHarness) -> None:
    key = Idempotency("k", "body")
    harness.launcher.open_error = PageFailed("net::ERR_FAILED")
    with pytest.raises(PageFailed):
        await harness.pool.create(ME, SessionSpec(), idempotency=key)
    harness.launcher.open_error = None
    _, new = await harness.pool.create(ME, SessionSpec(), idempotency=key)
    assert new


async def test_the_reaper_ends_only_expired_sessions(harness: PoolHarness) -> None:
    quiet = await harness.create(spec=SessionSpec(idle_timeout_seconds=10))
    used = await harness.create(spec=SessionSpec(idle_timeout_seconds=10))
    old = await harness.create(spec=SessionSpec(idle_timeout_seconds=None, max_lifetime_seconds=12))
    free = await harness.create(spec=SessionSpec(idle_timeout_seconds=None, max_lifetime_seconds=None))
    reaper = Reaper(harness.pool)
    harness.clock.advance(9.9)
    harness.pool.touch(used.session_id)
    await reaper.turn()
    assert len(harness.pool.registry.sessions) == 4
    harness.clock.advance(0.1)
    await reaper.turn()
    with pytest.raises(WrongState):
        harness.pool.touch(quiet.session_id)
    harness.clock.advance(2.0)
    await reaper.turn()
    await harness.until(lambda: len(harness.pool.registry.sessions) == 2)
    reasons = {r.session_id: r.end_reason for r in await harness.pool.registry.list(SessionQuery())}
    assert reasons == {
        quiet.session_id: EndReason.IDLE,
        old.session_id: EndReason.LIFETIME,
        used.session_id: None,
        free.session_id: None,
    }


async def test_extending_moves_the_hard_deadline_up_to_the_maximum(harness: PoolHarness) -> None:
    record = await harness.create(spec=SessionSpec(idle_timeout_seconds=None, max_lifetime_seconds=100))
    await harness.pool.extend(record.session_id, 50)
    assert harness.pool.registry.sessions[record.session_id].hard_deadline == harness.clock.now + 150
    with pytest.raises(InvalidField, match="at most"):
        await harness.pool.extend(record.session_id, 86_400)


async def test_an_end_is_kept_while_the_store_is_full(harness: PoolHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    record = await harness.create()

    async def full(_: SessionRecord) -> None:
        raise StoreUnavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(harness.store, "update", full)
        ended = await harness.pool.end(record.session_id, EndReason.DELETED)
        assert ended.status is SessionStatus.CLOSED
        (listed,) = await harness.pool.registry.list(SessionQuery())
        assert listed.status is SessionStatus.CLOSED
        with pytest.raises(StoreUnavailable):
            await harness.pool.registry.save_late()
    await harness.pool.registry.save_late()
    stored = await harness.store.get(record.session_id)
    assert stored is not None
    assert stored.status is SessionStatus.CLOSED


async def test_an_end_is_stored_after_a_write_whose_result_was_lost(harness: PoolHarness) -> None:
    record = await harness.create()
    session = harness.pool.registry.sessions[record.session_id]
    await harness.until(lambda: session.version == 2)
    session.version = 1  # as if the result of the last write had been lost
    await harness.pool.end(record.session_id, EndReason.DELETED)
    stored = await harness.store.get(record.session_id)
    assert stored is not None
    assert (stored.status, stored.end_reason) == (SessionStatus.CLOSED, EndReason.DELETED)


async def test_a_create_that_cannot_be_stored_leaves_no_context(
    harness: PoolHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_: SessionRecord) -> None:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(harness.store, "insert", full)
    with pytest.raises(StoreUnavailable):
        await harness.create()
    await harness.quiet()


async def test_activity_is_flushed_to_the_store(harness: PoolHarness) -> None:
    record = await harness.create()
    harness.clock.advance(42)
    harness.pool.touch(record.session_id)
    await harness.pool.registry.flush_activity()
    stored = await harness.store.get(record.session_id)
    assert stored is not None
    assert (stored.last_activity - record.last_activity).total_seconds() == 42


async def test_draining_refuses_creates_and_keeps_active_sessions(harness: PoolHarness) -> None:
    record = await harness.create()
    harness.pool.drain()
    with pytest.raises(Draining):
        await harness.create()
    harness.pool.touch(record.session_id)
    await harness.pool.stop()
    ended = await harness.pool.registry.record(record.session_id)
    assert ended is not None
    assert (ended.status, ended.end_reason) == (SessionStatus.CLOSED, EndReason.DRAINED)
    assert not harness.launcher.running


async def test_a_starting_session_is_refused_when_the_drain_begins(harness: PoolHarness) -> None:
    harness.launcher.gate.clear()
    creating = asyncio.create_task(harness.create())
    await harness.until(lambda: harness.launcher.opening == 1)
    harness.pool.drain()
    with pytest.raises(Draining):
        await creating
    (record,) = await harness.pool.registry.list(SessionQuery())
    assert (record.status, record.end_reason) == (SessionStatus.CLOSED, EndReason.DRAINED)


async def test_an_unknown_session_cannot_be_ended(harness: PoolHarness) -> None:
    with pytest.raises(SessionNotFound):
        await harness.pool.end("ses_unknown", EndReason.DELETED)


async def test_live_and_ended_sessions_are_listed_newest_first(harness: PoolHarness) -> None:
    ids = []
    for n in range(6):
        harness.clock.advance(1)
        ids.append((await harness.create(ME if n % 2 else YOU)).session_id)
    for session_id in ids[:3]:
        await harness.pool.end(session_id, EndReason.DELETED)
    listed = await harness.pool.registry.list(SessionQuery(limit=4))
    assert [r.session_id for r in listed] == ids[:1:-1]
    last = listed[-1]
    rest = await harness.pool.registry.list(SessionQuery(before=(last.created_at, last.session_id)))
    assert [r.session_id for r in rest] == [ids[1], ids[0]]


async def test_creates_are_admitted_or_refused_synchronously(harness: PoolHarness) -> None:
    begun = [harness.pool.starter.begin(ME, SessionSpec()) for _ in range(8)]
    with pytest.raises(QuotaExceeded):
        await harness.pool.starter.begin(ME, SessionSpec())
    begun += [harness.pool.starter.begin(YOU, SessionSpec()) for _ in range(2)]
    with pytest.raises(PoolFull):
        await harness.pool.starter.begin(YOU, SessionSpec())
    assert harness.pool.admission.taken == 10
    made = await asyncio.gather(*begun)
    assert {record.status for record in made} == {SessionStatus.ACTIVE}


async def test_a_start_cancelled_before_its_first_step_leaves_nothing(harness: PoolHarness) -> None:
    placed = harness.pool.starter.begin(ME, SessionSpec())
    for number in range(9):
        harness.pool.admission.ask(f"other-{number}", 0)
    waiting = harness.pool.starter.begin(YOU, SessionSpec(), wait_seconds=60)
    assert (harness.pool.admission.taken, harness.pool.admission.waiting) == (10, 1)
    for live in list(harness.pool.registry.lives.values()):
        harness.pool.starter.cancel(live, EndReason.OPERATOR)
    for beginning in (placed, waiting):
        with pytest.raises(WrongState):
            await beginning
    for number in range(9):
        harness.pool.admission.release(f"other-{number}")
    assert harness.pool.admission.waiting == 0
    await harness.quiet()


async def test_a_drain_right_after_a_create_began_refuses_it(harness: PoolHarness) -> None:
    beginning = harness.pool.starter.begin(ME, SessionSpec())
    harness.pool.drain()
    with pytest.raises(Draining):
        await beginning
    await harness.quiet()


async def test_a_browser_stopped_during_its_start_is_closed_once_started(harness: PoolHarness) -> None:
    fleet = harness.pool.fleet
    harness.launcher.starting.clear()
    waiting = asyncio.create_task(fleet.ensure_spare())
    await harness.until(lambda: fleet.slots)
    stopping = asyncio.create_task(fleet.stop())
    await harness.until(lambda: not fleet.slots)
    harness.launcher.starting.set()
    await asyncio.gather(waiting, stopping)
    assert len(harness.launcher.processes) == 1
    assert harness.launcher.running == []
