"""The pool over a scripted browser: what it promises when things go wrong. The store is a real SQLite file."""

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
from browser_sessions.store import EmbeddedStore
from tests.harness.fakes.fake_browser import FakeLauncher, ManualClock, no_browser

ME = Principal("prn_me", Role.CLIENT, "me")
YOU = Principal("prn_you", Role.CLIENT, "you")


@dataclass
class House:
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
            while not condition():  # noqa: ASYNC110 - any state, also one that nobody announces
                await asyncio.sleep(0.001)

    async def quiet(self) -> None:
        """Returns when nothing is taken any more: places, contexts and sessions all agree on it."""
        pool = self.pool
        await self.until(lambda: pool.admission.taken == 0 and not pool.registry.sessions and self.contexts == 0)
        assert all(slot.taken == 0 for slot in pool.fleet.slots)


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    launcher, clock, store = FakeLauncher(), ManualClock(), EmbeddedStore(tmp_path / "sessions.db")
    await store.open()
    limits = PoolLimits(10, 4, 8, 86_400.0, 5.0)
    pool = Pool(launcher, store, clock, limits, node="node", work_dir=tmp_path / "work")
    yield House(pool, launcher, store, clock)
    launcher.gate.set()
    await pool.stop()
    await store.close()


async def test_a_created_session_is_active_in_memory_and_in_the_store(house: House) -> None:
    record = await house.create()
    assert record.status is SessionStatus.ACTIVE
    stored = await house.store.get(record.session_id)
    assert stored is not None, "on disk when it was acknowledged"
    async with asyncio.timeout(5):
        while stored is None or stored.status is not SessionStatus.ACTIVE:
            await asyncio.sleep(0.001)
            stored = await house.store.get(record.session_id)


async def test_sessions_of_one_principal_share_a_browser_and_of_two_never_do(house: House) -> None:
    for _ in range(4):
        await house.create(ME)
    await house.create(YOU)
    assert sorted(len(p.contexts) for p in house.launcher.processes) == [1, 4]


async def test_a_dedicated_session_has_a_browser_that_nobody_used_and_nobody_will(house: House) -> None:
    first = await house.create(ME)
    alone = await house.create(ME, SessionSpec(isolation=Isolation.BROWSER))
    await house.create(ME)
    assert sorted(len(p.contexts) for p in house.launcher.processes) == [1, 2]
    await house.pool.end(alone.session_id, EndReason.DELETED)
    await house.pool.end(first.session_id, EndReason.DELETED)
    house.pool.fleet.recycle()
    await house.until(lambda: len(house.launcher.running) == 1)


async def test_a_browser_that_takes_nothing_new_keeps_no_context_ready(house: House) -> None:
    await house.create()
    fleet = house.pool.fleet
    (process,) = (each for each in house.launcher.processes if each.contexts)
    kept = [process.keeps_ready]
    house.clock.advance(RECYCLE_AGE_S)
    fleet.recycle()
    kept.append(process.keeps_ready)
    for on in (False, True):
        fleet.keep_ready(on)
    kept.append(process.keeps_ready)
    assert kept == [True, False, False]


async def test_the_end_is_told_once_and_the_same_again(house: House) -> None:
    record = await house.create()
    house.clock.advance(3)
    ended = await house.pool.end(record.session_id, EndReason.DELETED)
    again = await house.pool.end(record.session_id, EndReason.OPERATOR)
    assert (ended.status, ended.end_reason) == (SessionStatus.CLOSED, EndReason.DELETED)
    assert again == ended
    assert await house.store.get(record.session_id) == ended
    await house.quiet()


async def test_a_slow_context_keeps_its_place_but_not_the_caller_waiting(house: House) -> None:
    record = await house.create()
    context = house.launcher.opened[0]
    context.closing.clear()
    ended = await house.pool.end(record.session_id, EndReason.DELETED)
    assert ended.status is SessionStatus.CLOSED
    assert house.pool.admission.taken == 1
    context.closing.set()
    await house.quiet()


async def test_a_dead_browser_is_told_at_once_and_the_next_create_works(house: House) -> None:
    mine, yours = await house.create(ME), await house.create(YOU)
    house.launcher.processes[0].die()
    told = house.pool.registry.known(mine.session_id)
    assert told is not None
    assert told.status is SessionStatus.CRASHED
    await house.until(lambda: mine.session_id not in house.pool.registry.sessions)
    stored = await house.store.get(mine.session_id)
    assert stored is not None
    assert (stored.status, stored.end_reason) == (SessionStatus.CRASHED, EndReason.BROWSER_DIED)
    assert house.pool.registry.sessions[yours.session_id].status is SessionStatus.ACTIVE
    assert (await house.create(ME)).status is SessionStatus.ACTIVE


async def test_a_context_that_goes_by_itself_is_a_crash_of_its_session_alone(house: House) -> None:
    gone, stays = await house.create(), await house.create()
    house.launcher.opened[0].on_event(ContextEvent("context.died"))
    told = house.pool.registry.known(gone.session_id)
    assert told is not None
    assert told.status is SessionStatus.CRASHED
    assert house.pool.registry.sessions[stays.session_id].status is SessionStatus.ACTIVE


async def test_a_browser_that_dies_under_a_create_is_replaced_under_it(house: House) -> None:
    house.launcher.gate.clear()
    creating = asyncio.create_task(house.create())
    await house.until(lambda: house.launcher.opening == 1)
    house.launcher.processes[0].die()
    house.launcher.gate.set()
    record = await creating
    assert record.status is SessionStatus.ACTIVE
    assert len(house.launcher.processes) == 2


async def test_two_missed_probes_end_a_browser(house: House) -> None:
    record = await house.create()
    supervisor = Supervisor(house.pool.fleet)
    process = house.launcher.processes[0]
    process.hung = True
    await supervisor.turn()
    assert process in house.launcher.running
    await supervisor.turn()
    assert process not in house.launcher.running
    told = house.pool.registry.known(record.session_id)
    assert told is not None
    assert told.end_reason is EndReason.BROWSER_HUNG
    assert len(house.launcher.running) >= 1, "another stands ready"


async def test_a_browser_that_is_merely_swamped_is_given_time(house: House) -> None:
    await house.create()
    supervisor = Supervisor(house.pool.fleet)
    process = house.launcher.processes[0]
    process.hung = process.working = True
    for _ in range(14):
        await supervisor.turn()
    assert process in house.launcher.running
    process.working = False
    await supervisor.turn()
    assert process in house.launcher.running, "one miss in which it did nothing may be chance, whatever went before"
    await supervisor.turn()
    assert process not in house.launcher.running


async def test_pages_that_swamp_a_browser_are_ended_in_place_of_it(house: House) -> None:
    record = await house.create()
    supervisor = Supervisor(house.pool.fleet)
    process = house.launcher.processes[0]
    process.hung, process.working, process.loud = True, True, 4
    for turn in range(1, 12):
        await supervisor.turn()
        assert process.loud == 4 - max(0, (turn - 2) // 2) or not process.hung
    assert (process.loud, house.pool.fleet.slots[0].missed_probes) == (0, 0)
    assert house.pool.registry.sessions[record.session_id].status is SessionStatus.ACTIVE
    told = [event.data["misses"] for event in house.pool.journal.since(0)[0] if event.kind == "browser.swamped"]
    assert told == [4, 6, 8, 10]


async def test_failing_starts_back_off_and_recover(house: House) -> None:
    house.launcher.launch_error = no_browser()
    with pytest.raises(NoBrowser):
        await house.create()
    house.launcher.launch_error = None
    with pytest.raises(NoBrowser) as refusal:
        await house.create()
    assert refusal.value.retry_after > 0
    house.clock.advance(1.0)
    assert (await house.create()).status is SessionStatus.ACTIVE


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (StartPageFailed("net::ERR_FAILED"), SessionStatus.CLOSED, EndReason.START_PAGE_FAILED),
        (InvalidField(("body", "locale"), "no"), SessionStatus.CRASHED, EndReason.START_FAILED),
        (RuntimeError("bug"), SessionStatus.CRASHED, EndReason.START_FAILED),
    ],
)
async def test_a_create_that_fails_leaves_a_record_and_nothing_else(
    house: House, error: Exception, status: SessionStatus, reason: EndReason
) -> None:
    house.launcher.open_error = error
    with pytest.raises(type(error)):
        await house.create()
    await house.quiet()
    (record,) = await house.pool.registry.list(SessionQuery())
    assert (record.status, record.end_reason) == (status, reason)
    house.launcher.open_error = None


async def test_a_caller_who_leaves_while_it_starts_leaves_nothing(house: House) -> None:
    house.launcher.gate.clear()
    creating = asyncio.create_task(house.create())
    await house.until(lambda: house.launcher.opening == 1)
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    await house.quiet()
    (record,) = await house.pool.registry.list(SessionQuery())
    assert record.end_reason is EndReason.CANCELLED


async def test_callers_who_leave_at_any_moment_leave_nothing(house: House) -> None:
    chance = random.Random(7)
    tasks = []
    for _ in range(60):
        tasks.append(asyncio.create_task(house.create(wait=5.0)))
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        chance.choice(tasks).cancel()
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for session_id in list(house.pool.registry.sessions):
        await house.pool.end(session_id, EndReason.DELETED)
    await house.quiet()
    assert house.pool.admission.waiting == 0


async def test_ending_a_session_that_still_starts_stops_the_start(house: House) -> None:
    house.launcher.gate.clear()
    creating = asyncio.create_task(house.create())
    await house.until(lambda: house.launcher.opening == 1)
    (session_id,) = house.pool.registry.sessions
    ended = await house.pool.end(session_id, EndReason.DELETED)
    assert (ended.status, ended.end_reason) == (SessionStatus.CLOSED, EndReason.DELETED)
    with pytest.raises(WrongState, match="ended before it was ready"):
        await creating
    await house.quiet()


async def test_an_end_does_not_interrupt_the_undo_of_a_start_that_has_failed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = asyncio.Event()

    async def full(_: SessionRecord) -> None:
        await fails.wait()
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(house.store, "insert", full)
    creating = asyncio.create_task(house.create())
    await house.until(lambda: house.launcher.opened)
    (context,), (session_id,) = house.launcher.opened, house.pool.registry.sessions
    context.closing.clear()
    fails.set()
    await house.until(lambda: context.closing._waiters)  # the undo closes the context
    ends = [asyncio.create_task(house.pool.end(session_id, EndReason.DELETED)) for _ in range(2)]
    for _ in range(5):
        await asyncio.sleep(0)
    context.closing.set()
    assert {(await end).status for end in ends} == {SessionStatus.CLOSED}
    with pytest.raises(StoreUnavailable):
        await creating
    await house.quiet()


async def test_a_context_that_dies_before_its_session_is_stored_never_becomes_an_active_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, insert = asyncio.Event(), house.store.insert

    async def slow(record: SessionRecord) -> None:
        await stored.wait()
        await insert(record)

    monkeypatch.setattr(house.store, "insert", slow)
    creating = asyncio.create_task(house.create())
    await house.until(lambda: house.launcher.opened)
    house.launcher.opened[0].on_event(ContextEvent("context.died"))
    stored.set()
    with pytest.raises(NoBrowser):
        await creating
    (record,) = await house.pool.registry.list(SessionQuery())
    assert (record.status, record.end_reason) == (SessionStatus.CRASHED, EndReason.START_FAILED)
    await house.quiet()


async def test_a_queued_session_is_visible_and_gets_the_next_place(house: House) -> None:
    records = [await house.create(ME if n < 8 else YOU) for n in range(10)]
    waiting = asyncio.create_task(house.create(YOU, wait=30.0))
    await house.until(lambda: house.pool.admission.waiting == 1)
    (queued,) = await house.pool.registry.list(SessionQuery(statuses=frozenset({SessionStatus.QUEUED})))
    with pytest.raises(WrongState):
        house.pool.touch(queued.session_id)
    await house.pool.end(records[0].session_id, EndReason.DELETED)
    assert (await waiting).session_id == queued.session_id
    assert house.pool.admission.taken == 10


async def test_a_queue_that_takes_too_long_is_refused_and_recorded(house: House) -> None:
    for n in range(10):
        await house.create(ME if n < 8 else YOU)
    with pytest.raises(PoolFull):
        await house.create(YOU, wait=0.02)
    (record,) = await house.pool.registry.list(SessionQuery(statuses=frozenset({SessionStatus.CLOSED})))
    assert record.end_reason is EndReason.QUEUE_TIMEOUT


async def test_a_storm_is_never_over_the_limit(house: House) -> None:
    seen = 0

    async def one() -> None:
        nonlocal seen
        try:
            record = await house.create(random.choice((ME, YOU)), wait=random.choice((0.0, 5.0)))
        except BrowserSessionsError:
            return
        seen = max(seen, house.contexts)
        await house.pool.end(record.session_id, EndReason.DELETED)

    await asyncio.gather(*(one() for _ in range(200)))
    assert 0 < seen <= 10
    assert house.launcher.most_opening <= 4
    await house.quiet()


async def test_the_same_key_and_body_is_one_session_and_another_body_is_refused(house: House) -> None:
    key = Idempotency("k", "body-1")
    results = await asyncio.gather(*(house.pool.create(ME, SessionSpec(), idempotency=key) for _ in range(5)))
    assert len({record.session_id for record, _ in results}) == 1
    assert sorted(new for _, new in results) == [False, False, False, False, True]
    with pytest.raises(IdempotencyMismatch):
        await house.pool.create(ME, SessionSpec(), idempotency=Idempotency("k", "body-2"))
    _, new = await house.pool.create(YOU, SessionSpec(), idempotency=key)
    assert new


async def test_a_failed_create_frees_its_idempotency_key(house: House) -> None:
    key = Idempotency("k", "body")
    house.launcher.open_error = PageFailed("net::ERR_FAILED")
    with pytest.raises(PageFailed):
        await house.pool.create(ME, SessionSpec(), idempotency=key)
    house.launcher.open_error = None
    _, new = await house.pool.create(ME, SessionSpec(), idempotency=key)
    assert new


async def test_the_reaper_ends_what_is_due_and_nothing_else(house: House) -> None:
    quiet = await house.create(spec=SessionSpec(idle_timeout_seconds=10))
    used = await house.create(spec=SessionSpec(idle_timeout_seconds=10))
    old = await house.create(spec=SessionSpec(idle_timeout_seconds=None, max_lifetime_seconds=12))
    free = await house.create(spec=SessionSpec(idle_timeout_seconds=None, max_lifetime_seconds=None))
    reaper = Reaper(house.pool)
    house.clock.advance(9.9)
    house.pool.touch(used.session_id)
    await reaper.turn()
    assert len(house.pool.registry.sessions) == 4
    house.clock.advance(0.1)
    await reaper.turn()
    with pytest.raises(WrongState):
        house.pool.touch(quiet.session_id)
    house.clock.advance(2.0)
    await reaper.turn()
    await house.until(lambda: len(house.pool.registry.sessions) == 2)
    reasons = {r.session_id: r.end_reason for r in await house.pool.registry.list(SessionQuery())}
    assert reasons == {
        quiet.session_id: EndReason.IDLE,
        old.session_id: EndReason.LIFETIME,
        used.session_id: None,
        free.session_id: None,
    }


async def test_extending_moves_the_hard_limit_within_the_maximum(house: House) -> None:
    record = await house.create(spec=SessionSpec(idle_timeout_seconds=None, max_lifetime_seconds=100))
    await house.pool.extend(record.session_id, 50)
    assert house.pool.registry.sessions[record.session_id].hard_deadline == house.clock.now + 150
    with pytest.raises(InvalidField, match="at most"):
        await house.pool.extend(record.session_id, 86_400)


async def test_a_store_that_is_full_loses_no_end(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    record = await house.create()

    async def full(_: SessionRecord) -> None:
        raise StoreUnavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(house.store, "update", full)
        ended = await house.pool.end(record.session_id, EndReason.DELETED)
        assert ended.status is SessionStatus.CLOSED
        (listed,) = await house.pool.registry.list(SessionQuery())
        assert listed.status is SessionStatus.CLOSED
        with pytest.raises(StoreUnavailable):
            await house.pool.registry.save_late()
    await house.pool.registry.save_late()
    stored = await house.store.get(record.session_id)
    assert stored is not None
    assert stored.status is SessionStatus.CLOSED


async def test_a_write_that_was_applied_unheard_does_not_lose_the_end(house: House) -> None:
    record = await house.create()
    session = house.pool.registry.sessions[record.session_id]
    await house.until(lambda: session.version == 2)
    session.version = 1  # as if the answer to the last write had been lost
    await house.pool.end(record.session_id, EndReason.DELETED)
    stored = await house.store.get(record.session_id)
    assert stored is not None
    assert (stored.status, stored.end_reason) == (SessionStatus.CLOSED, EndReason.DELETED)


async def test_a_store_that_refuses_a_create_leaves_no_context(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(_: SessionRecord) -> None:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(house.store, "insert", full)
    with pytest.raises(StoreUnavailable):
        await house.create()
    await house.quiet()


async def test_activity_is_stored_in_one_go(house: House) -> None:
    record = await house.create()
    house.clock.advance(42)
    house.pool.touch(record.session_id)
    await house.pool.registry.flush_activity()
    stored = await house.store.get(record.session_id)
    assert stored is not None
    assert (stored.last_activity - record.last_activity).total_seconds() == 42


async def test_draining_refuses_creates_and_lets_the_living_live(house: House) -> None:
    record = await house.create()
    house.pool.drain()
    with pytest.raises(Draining):
        await house.create()
    house.pool.touch(record.session_id)
    await house.pool.stop()
    ended = await house.pool.registry.record(record.session_id)
    assert ended is not None
    assert (ended.status, ended.end_reason) == (SessionStatus.CLOSED, EndReason.DRAINED)
    assert not house.launcher.running


async def test_a_create_that_still_starts_is_refused_when_the_drain_begins(house: House) -> None:
    house.launcher.gate.clear()
    creating = asyncio.create_task(house.create())
    await house.until(lambda: house.launcher.opening == 1)
    house.pool.drain()
    with pytest.raises(Draining):
        await creating
    (record,) = await house.pool.registry.list(SessionQuery())
    assert (record.status, record.end_reason) == (SessionStatus.CLOSED, EndReason.DRAINED)


async def test_an_unknown_session_cannot_be_ended(house: House) -> None:
    with pytest.raises(SessionNotFound):
        await house.pool.end("ses_unknown", EndReason.DELETED)


async def test_listing_goes_newest_first_through_live_and_ended(house: House) -> None:
    ids = []
    for n in range(6):
        house.clock.advance(1)
        ids.append((await house.create(ME if n % 2 else YOU)).session_id)
    for session_id in ids[:3]:
        await house.pool.end(session_id, EndReason.DELETED)
    listed = await house.pool.registry.list(SessionQuery(limit=4))
    assert [r.session_id for r in listed] == ids[:1:-1]
    last = listed[-1]
    rest = await house.pool.registry.list(SessionQuery(before=(last.created_at, last.session_id)))
    assert [r.session_id for r in rest] == [ids[1], ids[0]]


async def test_a_herd_is_placed_and_refused_before_anything_else_runs(house: House) -> None:
    begun = [house.pool.starter.begin(ME, SessionSpec()) for _ in range(8)]
    with pytest.raises(QuotaExceeded):
        await house.pool.starter.begin(ME, SessionSpec())
    begun += [house.pool.starter.begin(YOU, SessionSpec()) for _ in range(2)]
    with pytest.raises(PoolFull):
        await house.pool.starter.begin(YOU, SessionSpec())
    assert house.pool.admission.taken == 10
    made = await asyncio.gather(*begun)
    assert {record.status for record in made} == {SessionStatus.ACTIVE}


async def test_a_start_that_is_stopped_before_its_first_step_leaves_nothing(house: House) -> None:
    placed = house.pool.starter.begin(ME, SessionSpec())
    for number in range(9):
        house.pool.admission.ask(f"other-{number}", 0)
    waiting = house.pool.starter.begin(YOU, SessionSpec(), wait_seconds=60)
    assert (house.pool.admission.taken, house.pool.admission.waiting) == (10, 1)
    for live in list(house.pool.registry.lives.values()):
        house.pool.starter.cancel(live, EndReason.OPERATOR)
    for beginning in (placed, waiting):
        with pytest.raises(WrongState):
            await beginning
    for number in range(9):
        house.pool.admission.release(f"other-{number}")
    assert house.pool.admission.waiting == 0
    await house.quiet()


async def test_a_drain_in_the_moment_of_a_create_refuses_it(house: House) -> None:
    beginning = house.pool.starter.begin(ME, SessionSpec())
    house.pool.drain()
    with pytest.raises(Draining):
        await beginning
    await house.quiet()


async def test_a_browser_that_is_still_starting_when_it_is_to_end_is_closed_once_it_has_started(house: House) -> None:
    fleet = house.pool.fleet
    house.launcher.starting.clear()
    waiting = asyncio.create_task(fleet.ensure_spare())
    await house.until(lambda: fleet.slots)
    stopping = asyncio.create_task(fleet.stop())
    await house.until(lambda: not fleet.slots)
    house.launcher.starting.set()
    await asyncio.gather(waiting, stopping)
    assert len(house.launcher.processes) == 1
    assert house.launcher.running == []
