"""When creates are refused early, and when they are taken again."""

from __future__ import annotations

from pathlib import Path

import pytest

from browser_sessions.domain.errors import Overloaded
from browser_sessions.domain.principal import Principal, Role
from browser_sessions.domain.session_spec import Isolation, SessionSpec
from browser_sessions.pool.manager import Pool, PoolLimits
from browser_sessions.pool.overload import (
    DESCRIPTORS,
    DISK_BYTES,
    MEMORY_BYTES,
    READY_BYTES,
    Sample,
    Shedding,
    measure,
    shortage,
)
from browser_sessions.store import EmbeddedStore
from tests.harness.fakes.fake_browser import FakeLauncher, ManualClock

ENOUGH = Sample(MEMORY_BYTES * 4, DISK_BYTES * 2, DESCRIPTORS * 2)


def test_enough_of_everything_is_no_shortage_and_what_nobody_tells_is_none_either() -> None:
    assert shortage(ENOUGH) == ""
    assert shortage(Sample(None, None, None)) == ""


@pytest.mark.parametrize(
    ("sample", "word"),
    [
        (Sample(MEMORY_BYTES - 1, DISK_BYTES * 2, DESCRIPTORS * 2), "memory: 255 MB"),
        (Sample(MEMORY_BYTES * 2, DISK_BYTES - 1, DESCRIPTORS * 2), "disk of the data folder"),
        (Sample(MEMORY_BYTES * 2, DISK_BYTES * 2, DESCRIPTORS - 1), "descriptors: 31"),
    ],
)
def test_each_shortage_is_named_with_what_is_left(sample: Sample, word: str) -> None:
    assert word in shortage(sample)


def test_a_node_on_the_edge_does_not_say_yes_and_no_by_turns() -> None:
    edge = Sample(MEMORY_BYTES, DISK_BYTES * 2, DESCRIPTORS * 2)
    assert shortage(edge) == ""
    assert shortage(edge, short_already=True) != ""
    assert shortage(ENOUGH, short_already=True) == ""


def test_this_machine_can_be_measured(tmp_path: Path) -> None:
    sample = measure(tmp_path)
    assert sample.memory_bytes is not None
    assert sample.memory_bytes > 0
    assert sample.disk_bytes is not None
    assert sample.disk_bytes > 0
    assert sample.descriptors is None or sample.descriptors > 0


async def test_creates_are_refused_with_the_reason_and_taken_again_by_themselves(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "sessions.db")
    await store.open()
    limits = PoolLimits(10, 4, None, None, 5.0)
    pool = Pool(FakeLauncher(), store, ManualClock(), limits, node="node", work_dir=tmp_path)
    samples = [Sample(None, 0, None), ENOUGH]
    shedding = Shedding(pool.admission, pool.fleet, tmp_path, lambda _: samples.pop(0))
    who = Principal("prn_me", Role.CLIENT, "me")
    try:
        before, _ = await pool.create(who, SessionSpec())
        await shedding.turn()
        with pytest.raises(Overloaded, match="nearly full") as refusal:
            await pool.create(who, SessionSpec(), wait_seconds=5)
        assert refusal.value.retry_after >= 5.0
        assert any("nearly full" in warning for warning in pool.report.readiness()[1])
        assert pool.admission.taken == 1, "who was there stays, who was refused took nothing"
        pool.touch(before.session_id)
        await shedding.turn()
        await pool.create(who, SessionSpec())
    finally:
        await pool.stop()
        await store.close()


async def test_contexts_are_kept_ready_only_while_there_is_memory_and_are_given_up_before_creates_are_refused(
    tmp_path: Path,
) -> None:
    store = EmbeddedStore(tmp_path / "sessions.db")
    await store.open()
    pool = Pool(
        FakeLauncher(), store, ManualClock(), PoolLimits(10, 4, None, None, 5.0), node="node", work_dir=tmp_path
    )
    free = [READY_BYTES, READY_BYTES - 1, READY_BYTES, ENOUGH.memory_bytes]
    shedding = Shedding(pool.admission, pool.fleet, tmp_path, lambda _: Sample(free.pop(0), None, None))
    try:
        await pool.fleet.first()
        kept = []
        while free:
            await shedding.turn()
            assert pool.admission.shortage == ""
            await pool.create(Principal("prn_me", Role.CLIENT, "me"), SessionSpec(isolation=Isolation.BROWSER))
            kept.append({process.keeps_ready for _, process in pool.fleet.running})  # type: ignore[attr-defined]
        assert kept == [{True}, {False}, {False}, {True}], "those that started meanwhile too"
    finally:
        await pool.stop()
        await store.close()
