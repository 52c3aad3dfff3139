"""The contract of `SessionStore`: one suite for every backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from browser_sessions.domain.egress_rules import EgressRules
from browser_sessions.domain.errors import Conflict, StoreUnavailable
from browser_sessions.domain.ports import SessionQuery, SessionStore
from browser_sessions.domain.principal import ApiKey, Role, User
from browser_sessions.domain.session import FINAL, EndReason, SessionRecord, SessionStatus
from browser_sessions.domain.session_spec import Isolation
from browser_sessions.store import EmbeddedStore
from tests.contract.any_record import any_record, printable
from tests.contract.records import NOON, a_record

LIVE = [status for status in SessionStatus if status not in FINAL]
SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)

Connect = Callable[[], SessionStore]


@pytest.fixture(params=["embedded"])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Connect:
    """Creates stores over the same data, not opened yet."""
    backends: dict[str, Connect] = {"embedded": lambda: EmbeddedStore(tmp_path / "data" / "sessions.db")}
    return backends[request.param]


@pytest.fixture
async def store(connect: Connect) -> AsyncIterator[SessionStore]:
    opened = connect()
    await opened.open()
    yield opened
    await opened.close()


async def stored(store: SessionStore, **values: Any) -> SessionRecord:
    record = a_record(**values)
    await store.insert(record)
    return replace(record, version=1)


# --- open and close ---


async def test_records_survive_closing_and_opening(store: SessionStore, connect: Connect) -> None:
    record = await stored(store, metadata={"team": "blue"})
    await store.close()
    again = connect()
    await again.open()
    try:
        assert await again.get(record.session_id) == record
    finally:
        await again.close()


async def test_a_closed_store_can_be_opened_again(store: SessionStore) -> None:
    record = await stored(store)
    await store.close()
    await store.open()
    assert await store.get(record.session_id) == record


async def test_opening_and_closing_twice_is_allowed(store: SessionStore) -> None:
    record = await stored(store)
    await store.open()
    assert await store.get(record.session_id) == record
    await store.close()
    await store.close()


async def test_another_process_sees_stored_records_at_once(store: SessionStore, connect: Connect) -> None:
    other = connect()
    await other.open()
    try:
        record = await stored(store)
        assert await other.get(record.session_id) == record
        await other.update(replace(record, version=2))
        assert (await got(store, record)).version == 2
    finally:
        await other.close()


async def got(store: SessionStore, record: SessionRecord) -> SessionRecord:
    found = await store.get(record.session_id)
    assert found is not None
    return found


CALLS: dict[str, Callable[[SessionStore], Awaitable[Any]]] = {
    "insert": lambda s: s.insert(a_record()),
    "update": lambda s: s.update(a_record(version=2)),
    "flush_activity": lambda s: s.flush_activity([("ses_1", NOON, None)]),
    "get": lambda s: s.get("ses_1"),
    "by_idempotency_key": lambda s: s.by_idempotency_key("prn_ada", "k"),
    "list": lambda s: s.list(SessionQuery()),
    "mark_lost": lambda s: s.mark_lost("node-1", NOON),
    "purge": lambda s: s.purge(NOON, NOON),
    "put_key": lambda s: s.put_key(a_key()),
    "keys": lambda s: s.keys(),
    "put_user": lambda s: s.put_user(a_user()),
    "remove_user": lambda s: s.remove_user("ada"),
    "users": lambda s: s.users(),
    "put_sign_out": lambda s: s.put_sign_out("sgn_1", NOON),
    "sign_outs": lambda s: s.sign_outs(),
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_closed_store_is_unavailable(store: SessionStore, call: str) -> None:
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await CALLS[call](store)


async def test_close_completes_pending_writes(store: SessionStore) -> None:
    records = [a_record() for _ in range(300)]  # more than one group
    writes = [asyncio.create_task(store.insert(record)) for record in records]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*writes)
    await store.open()
    assert all([await store.get(record.session_id) for record in records])


# --- insert, get, by_idempotency_key ---


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(any_record)
async def test_any_record_round_trips(store: SessionStore, record: SessionRecord) -> None:
    await store.insert(record)
    found = await got(store, record)
    assert found == replace(record, version=1)
    assert list(found.metadata) == list(record.metadata)
    assert type(found.status) is SessionStatus
    assert type(found.isolation) is Isolation
    assert found.created_at.tzinfo is UTC


async def test_times_of_other_zones_are_returned_in_utc(store: SessionStore) -> None:
    tokyo = datetime.fromisoformat("2026-03-01T09:00:00.000001+09:00")
    found = await got(store, await stored(store, created_at=tokyo))
    assert found.created_at == tokyo
    assert found.created_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize("version", [0, 1, 7])
async def test_a_new_record_gets_version_1(store: SessionStore, version: int) -> None:
    record = a_record(version=version)
    await store.insert(record)
    assert (await got(store, record)).version == 1


async def test_an_id_can_be_stored_once(store: SessionStore) -> None:
    record = await stored(store)
    with pytest.raises(Conflict) as caught:
        await store.insert(replace(record, owner="prn_eve", status=SessionStatus.ACTIVE))
    assert caught.value.session_id == record.session_id
    assert await store.get(record.session_id) == record


async def test_an_idempotency_key_can_be_stored_once_for_an_owner(store: SessionStore) -> None:
    first = await stored(store, idempotency_key="k", body_sha256="one")
    second = a_record(idempotency_key="k", body_sha256="two")
    with pytest.raises(Conflict, match="Idempotency-Key"):
        await store.insert(second)
    assert await store.get(second.session_id) is None
    assert await store.by_idempotency_key("prn_ada", "k") == first


async def test_idempotency_keys_are_separate_per_owner(store: SessionStore) -> None:
    ours = await stored(store, idempotency_key="k")
    theirs = await stored(store, idempotency_key="k", owner="prn_eve")
    assert await store.by_idempotency_key("prn_ada", "k") == ours
    assert await store.by_idempotency_key("prn_eve", "k") == theirs
    assert await store.by_idempotency_key("prn_ada", "K") is None
    assert await store.by_idempotency_key("prn_bob", "k") is None


async def test_sessions_without_a_key_do_not_conflict(store: SessionStore) -> None:
    await stored(store)
    await stored(store)
    assert len(await store.list(SessionQuery())) == 2


@pytest.mark.parametrize("session_id", ["ses_unknown", "", "%", "ses_' OR 1=1 --", "\x00"])
async def test_an_unknown_id_is_none(store: SessionStore, session_id: str) -> None:
    await stored(store)
    assert await store.get(session_id) is None


# --- update ---


async def test_an_update_stores_all_changes(store: SessionStore) -> None:
    record = await stored(store, idempotency_key="k", body_sha256="b")
    later = replace(
        record,
        status=SessionStatus.EXPIRED,
        last_activity=NOON + MICROSECOND,
        expires_at=NOON + SECOND,
        ended_at=NOON + 2 * SECOND,
        end_reason=EndReason.IDLE,
        max_lifetime_seconds=None,
        version=2,
    )
    await store.update(later)
    assert await store.get(record.session_id) == later


async def test_an_update_without_the_key_frees_it(store: SessionStore) -> None:
    """A failed create must not block its own retry."""
    failed = await stored(store, idempotency_key="k", body_sha256="b")
    await store.update(replace(failed, status=SessionStatus.CRASHED, idempotency_key=None, version=2))
    assert (await got(store, failed)).idempotency_key is None
    again = await stored(store, idempotency_key="k", body_sha256="b")
    assert await store.by_idempotency_key("prn_ada", "k") == again


async def test_a_refused_update_without_the_key_keeps_it(store: SessionStore) -> None:
    record = await stored(store, idempotency_key="k")
    with pytest.raises(Conflict):
        await store.update(replace(record, idempotency_key=None, version=3))
    assert await store.by_idempotency_key("prn_ada", "k") == record


@pytest.mark.parametrize("version", [0, 1, 2, 4, 5])
async def test_an_update_from_another_version_than_the_stored_one_is_refused(store: SessionStore, version: int) -> None:
    record = await stored(store)
    second = replace(record, version=2)
    await store.update(second)
    with pytest.raises(Conflict) as caught:
        await store.update(replace(record, status=SessionStatus.ACTIVE, version=version))
    assert caught.value.session_id == record.session_id
    assert await store.get(record.session_id) == second


async def test_an_update_of_an_unknown_record_is_refused(store: SessionStore) -> None:
    record = a_record(version=1)
    with pytest.raises(Conflict):
        await store.update(record)
    assert await store.get(record.session_id) is None


async def test_one_of_many_concurrent_updates_from_a_version_succeeds(store: SessionStore) -> None:
    record = await stored(store)
    contenders = [replace(record, owner_name=str(n), version=2) for n in range(30)]
    outcomes = await asyncio.gather(*(store.update(c) for c in contenders), return_exceptions=True)
    winners = [c for c, outcome in zip(contenders, outcomes, strict=True) if outcome is None]
    assert len(winners) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 29
    assert await store.get(record.session_id) == winners[0]


# --- flush_activity ---


@pytest.mark.parametrize("status", LIVE)
async def test_flushing_activity_does_not_change_the_version(store: SessionStore, status: SessionStatus) -> None:
    record = await stored(store, status=status, expires_at=NOON + SECOND)
    used, expires = NOON + 5 * SECOND + MICROSECOND, NOON + 305 * SECOND
    await store.flush_activity((r.session_id, used, expires) for r in [record])
    assert await store.get(record.session_id) == replace(record, last_activity=used, expires_at=expires)
    await store.flush_activity([(record.session_id, used, None)])
    moved = await got(store, record)
    assert moved == replace(record, last_activity=used, expires_at=None)
    await store.update(replace(moved, version=2))


@pytest.mark.parametrize("status", sorted(FINAL))
async def test_flushing_activity_does_not_change_final_records(store: SessionStore, status: SessionStatus) -> None:
    record = await stored(store, status=status, ended_at=NOON)
    live = await stored(store)
    await store.flush_activity([(r.session_id, NOON + SECOND, None) for r in (record, live)])
    assert await store.get(record.session_id) == record
    assert (await got(store, live)).last_activity == NOON + SECOND


async def test_flushing_no_activity_or_that_of_unknown_sessions_is_allowed(store: SessionStore) -> None:
    record = await stored(store)
    await store.flush_activity([])
    await store.flush_activity([("ses_unknown", NOON, None), (record.session_id, NOON + SECOND, None)])
    assert (await got(store, record)).last_activity == NOON + SECOND
    assert await store.get("ses_unknown") is None


# --- list ---


def newest_first(records: list[SessionRecord]) -> list[SessionRecord]:
    return sorted(records, key=lambda r: (r.created_at, r.session_id), reverse=True)


async def test_lists_are_sorted_newest_first_then_by_id(store: SessionStore) -> None:
    offsets = [3, 1, 2, 2, 2, 1, 4, 0]
    records = [await stored(store, created_at=NOON + n * MICROSECOND) for n in offsets]
    assert await store.list(SessionQuery()) == newest_first(records)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
async def test_pages_contain_every_record_once_even_with_equal_times(store: SessionStore, limit: int) -> None:
    records = [await stored(store, created_at=NOON + (n // 6) * MICROSECOND) for n in range(20)]
    seen: list[SessionRecord] = []
    query = SessionQuery(limit=limit)
    while page := await store.list(query):
        assert len(page) <= limit
        seen += page
        query = replace(query, before=(page[-1].created_at, page[-1].session_id))
    assert seen == newest_first(records)


async def test_pages_stay_consistent_while_sessions_are_created(store: SessionStore) -> None:
    records = newest_first([await stored(store, created_at=NOON + n * SECOND) for n in range(4)])
    first = await store.list(SessionQuery(limit=2))
    await stored(store, created_at=NOON + 9 * SECOND)
    rest = await store.list(SessionQuery(limit=2, before=(first[-1].created_at, first[-1].session_id)))
    assert [*first, *rest] == records


async def test_a_page_can_start_after_a_removed_record(store: SessionStore) -> None:
    records = [await stored(store, created_at=NOON + n * SECOND) for n in (0, 1, 3)]
    assert await store.list(SessionQuery(before=(NOON + 2 * SECOND, "ses_gone"))) == newest_first(records[:2])


async def test_the_default_limit_is_50(store: SessionStore) -> None:
    await asyncio.gather(*(stored(store) for _ in range(60)))
    assert len(await store.list(SessionQuery())) == 50
    assert len(await store.list(SessionQuery(limit=500))) == 60


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("team", "blue"),
        ("a.b", "dots"),
        ("$", "path"),
        ("$.a[0]", "path"),
        ('"', "a quote"),
        ("'; DROP TABLE sessions; --", "x"),
        ("back\\slash", 'say "\\"'),
        ("schlüssel", "größe"),
        ("🔑", "🦊"),
        ("", ""),
        ("%", "_"),
        ("number", "1"),
        ("null", "null"),
    ],
)
async def test_metadata_is_matched_by_exact_key_and_value(store: SessionStore, key: str, value: str) -> None:
    wanted = await stored(store, metadata={"other": "x", key: value})
    for metadata in ({}, {key: value + "x"}, {key + "x": value}, {value or "v": key + "!"}, {key.upper() + "K": value}):
        await stored(store, metadata=metadata)
    assert await store.list(SessionQuery(metadata=((key, value),))) == [wanted]


async def test_all_metadata_filters_must_match(store: SessionStore) -> None:
    both = await stored(store, metadata={"a": "1", "b": "2"})
    await stored(store, metadata={"a": "1", "b": "3"})
    await stored(store, metadata={"a": "1"})
    assert await store.list(SessionQuery(metadata=(("a", "1"), ("b", "2")))) == [both]
    assert await store.list(SessionQuery(metadata=(("a", "1"), ("a", "2")))) == []


def matches(record: SessionRecord, query: SessionQuery) -> bool:
    return (
        (query.owner is None or record.owner == query.owner)
        and (query.statuses is None or record.status in query.statuses)
        and all(record.metadata.get(key) == value for key, value in query.metadata)
        and (query.before is None or (record.created_at, record.session_id) < query.before)
    )


owners = st.sampled_from(["prn_ada", "prn_eve", "prn_böb"])
few_moments = st.integers(0, 3).map(lambda n: NOON + n * MICROSECOND)
pairs = st.tuples(st.sampled_from(["a", "b.c", 'd"']) | printable, st.sampled_from(["1", "ü"]) | printable)
queries = st.builds(
    SessionQuery,
    owner=st.none() | owners,
    statuses=st.none() | st.frozensets(st.sampled_from(SessionStatus)),
    metadata=st.lists(pairs, max_size=2).map(tuple),
    before=st.none() | st.tuples(few_moments, st.sampled_from(["ses_0", "ses_7", "ses_f"])),
    limit=st.integers(1, 12),
)
records = st.builds(
    a_record,
    owner=owners,
    status=st.sampled_from(SessionStatus),
    metadata=st.lists(pairs, max_size=2).map(dict),
    created_at=few_moments,
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    fresh=st.lists(records, min_size=1, max_size=6), wanted=st.lists(queries, min_size=1, max_size=6), data=st.data()
)
async def test_lists_contain_exactly_the_matching_records(
    store: SessionStore, fresh: list[SessionRecord], wanted: list[SessionQuery], data: st.DataObject
) -> None:
    await asyncio.gather(*(store.insert(record) for record in fresh))
    everything = await store.list(SessionQuery(limit=10_000))  # including earlier examples
    one = everything[data.draw(st.integers(0, 1000)) % len(everything)]  # the list grows from example to example
    wanted.append(SessionQuery(metadata=tuple(one.metadata.items())))
    for query in wanted:
        expected = [record for record in everything if matches(record, query)][: query.limit]
        assert await store.list(query) == expected


# --- mark_lost ---


async def test_live_sessions_of_a_node_are_marked_lost(store: SessionStore) -> None:
    alive = [await stored(store, status=status) for status in LIVE]
    ended = [await stored(store, status=status, ended_at=NOON) for status in sorted(FINAL)]
    elsewhere = [await stored(store, status=status, node="node-2") for status in LIVE]
    at = NOON + SECOND + MICROSECOND
    assert await store.mark_lost("node-1", at) == len(alive)
    for record in alive:
        assert await store.get(record.session_id) == replace(
            record, status=SessionStatus.LOST, end_reason=EndReason.NODE_LOST, ended_at=at, version=2
        )
    for record in ended + elsewhere:
        assert await store.get(record.session_id) == record
    assert await store.mark_lost("node-1", at + SECOND) == 0


async def test_a_lost_session_can_no_longer_be_updated(store: SessionStore) -> None:
    record = await stored(store, status=SessionStatus.ACTIVE)
    await store.mark_lost("node-1", NOON)
    with pytest.raises(Conflict):
        await store.update(replace(record, version=2))
    assert (await got(store, record)).status is SessionStatus.LOST


# --- purge ---


async def test_purge_removes_only_sessions_ended_before_the_given_time(store: SessionStore) -> None:
    gone = [await stored(store, status=s, ended_at=NOON - MICROSECOND) for s in sorted(FINAL)]
    kept = [await stored(store, status=s, ended_at=NOON) for s in sorted(FINAL)]
    kept += [await stored(store, status=s, created_at=NOON - 1000 * SECOND) for s in LIVE]
    assert await store.purge(NOON, NOON - 2000 * SECOND) == len(gone)
    assert await store.list(SessionQuery()) == newest_first(kept)
    assert await store.purge(NOON, NOON - 2000 * SECOND) == 0


async def test_purge_removes_old_idempotency_keys_also_of_live_sessions(store: SessionStore) -> None:
    old = await stored(store, idempotency_key="old", body_sha256="b", created_at=NOON - MICROSECOND)
    young = await stored(store, idempotency_key="young", body_sha256="b", created_at=NOON)
    assert await store.purge(NOON - 1000 * SECOND, NOON) == 0
    assert await store.by_idempotency_key("prn_ada", "old") is None
    assert await store.by_idempotency_key("prn_ada", "young") == young
    assert await store.get(old.session_id) == replace(old, idempotency_key=None, body_sha256=None)


async def test_an_update_does_not_restore_a_purged_idempotency_key(store: SessionStore) -> None:
    old = await stored(store, idempotency_key="k", created_at=NOON - SECOND)
    await store.purge(NOON - 1000 * SECOND, NOON)
    new = await stored(store, idempotency_key="k")
    await store.update(replace(old, status=SessionStatus.ACTIVE, version=2))
    assert (await got(store, old)).status is SessionStatus.ACTIVE
    assert await store.by_idempotency_key("prn_ada", "k") == new


async def test_purge_of_many_removes_all_while_sessions_are_created(store: SessionStore) -> None:
    count = 403  # two steps and a part of one
    ended = {"status": SessionStatus.CLOSED, "ended_at": NOON - SECOND, "created_at": NOON - SECOND}
    await asyncio.gather(*(stored(store, idempotency_key=str(n), **ended) for n in range(count)))
    purge = asyncio.create_task(store.purge(NOON, NOON))
    new: list[SessionRecord] = []
    while not purge.done():
        new.append(await stored(store))
    assert await purge == count
    assert await store.list(SessionQuery(limit=5_000)) == newest_first(new)


# --- keys and users ---


def a_key(**values: Any) -> ApiKey:
    defaults: dict[str, Any] = {
        "key_id": "key_1",
        "principal_id": "prn_ada",
        "name": "CI ☕",
        "role": Role.CLIENT,
        "secret_sha256": "ab" * 32,
        "created_at": NOON,
    }
    return ApiKey(**(defaults | values))


def a_user(**values: Any) -> User:
    defaults: dict[str, Any] = {
        "username": "ada",
        "principal_id": "prn_ada",
        "role": Role.OPERATOR,
        "password_hash": "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA",
        "created_at": NOON,
    }
    return User(**(defaults | values))


async def test_keys_are_listed_oldest_first(store: SessionStore) -> None:
    assert await store.keys() == []
    young = a_key(key_id="key_1", created_at=NOON + MICROSECOND)
    rules = EgressRules(("*.shop.example",), ("10.0.0.0/8:443",))
    old = a_key(key_id="key_2", role=Role.ADMIN, revoked_at=NOON + SECOND, egress=rules)
    await store.put_key(young)
    await store.put_key(old)
    assert await store.keys() == [old, young]


async def test_putting_a_key_again_replaces_it(store: SessionStore) -> None:
    await store.put_key(a_key())
    changed = a_key(
        principal_id="prn_eve",
        name="n",
        role=Role.ADMIN,
        secret_sha256="cd" * 32,
        created_at=NOON + SECOND,
        revoked_at=NOON + 2 * SECOND,
    )
    await store.put_key(changed)
    assert await store.keys() == [changed]


async def test_users_can_be_stored_replaced_and_removed(store: SessionStore) -> None:
    assert await store.users() == []
    ada, eve = a_user(), a_user(username="eve", created_at=NOON + SECOND)
    await store.put_user(eve)
    await store.put_user(ada)
    assert await store.users() == [ada, eve]
    changed = a_user(principal_id="prn_2", role=Role.ADMIN, password_hash="$argon2id$other")
    await store.put_user(changed)
    assert await store.users() == [changed, eve]
    assert await store.remove_user("ada") is True
    assert await store.remove_user("ada") is False
    assert await store.users() == [eve]


async def test_sign_outs_are_kept_until_a_purge_after_their_sign_in_would_have_expired(store: SessionStore) -> None:
    for _ in range(2):
        await store.put_sign_out("sgn_1", NOON)
    await store.put_sign_out("sgn_2", NOON + SECOND)
    assert sorted(await store.sign_outs()) == ["sgn_1", "sgn_2"]
    await store.purge(NOON + SECOND, NOON)
    assert list(await store.sign_outs()) == ["sgn_2"]


# --- concurrency ---


async def test_concurrent_callers_get_the_result_of_their_own_call(store: SessionStore) -> None:
    """Four concurrent callers use each key: one succeeds, and no unrelated call gets a conflict."""
    contended = [a_record(idempotency_key=f"key-{n % 50}") for n in range(200)]
    alone = [a_record() for _ in range(100)]
    outcomes = await asyncio.gather(*(store.insert(r) for r in contended), return_exceptions=True)
    others = asyncio.gather(*(store.insert(r) for r in alone), store.mark_lost("nowhere", NOON), store.put_key(a_key()))
    await others
    accepted = [record for record, outcome in zip(contended, outcomes, strict=True) if outcome is None]
    assert sorted(r.idempotency_key or "" for r in accepted) == sorted(f"key-{n}" for n in range(50))
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 150
    expected = newest_first([replace(r, version=1) for r in accepted + alone])
    assert await store.list(SessionQuery(limit=1_000)) == expected


async def test_callers_read_their_own_acknowledged_writes(store: SessionStore) -> None:
    async def write_and_read(name: str) -> None:
        record = await stored(store, owner_name=name)
        for version in range(2, 8):
            later = replace(record, viewport_width=version, version=version)
            await store.update(later)
            assert await store.get(record.session_id) == later
            assert later in await store.list(SessionQuery(limit=100))

    await asyncio.gather(*(write_and_read(str(n)) for n in range(10)))


async def test_writes_of_one_caller_are_applied_in_the_order_of_the_calls(store: SessionStore) -> None:
    record = await stored(store)
    await asyncio.gather(*(store.update(replace(record, version=n)) for n in range(2, 60)))
    assert (await got(store, record)).version == 59


@pytest.mark.parametrize("after", range(8))
async def test_cancelled_callers_do_not_affect_others(store: SessionStore, after: int) -> None:
    """Callers are cancelled after 0 to 7 loop iterations: before, during and after the commit of their group."""
    records = [await stored(store) for _ in range(12)]
    tasks = [
        asyncio.create_task(store.update(replace(record, status=SessionStatus.ACTIVE, version=2))) for record in records
    ]
    for _ in range(after):
        await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert outcomes[1::2] == [None] * 6
    await stored(store)  # queued after them, so all of them are completed
    for record, outcome in zip(records, outcomes, strict=True):
        version = (await got(store, record)).version
        assert version == 2 or (version == 1 and isinstance(outcome, asyncio.CancelledError))
