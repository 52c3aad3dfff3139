"""Load shedding: when creates are refused, and accepted again."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

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


def test_sufficient_or_unknown_resources_are_no_shortage() -> None:
    assert shortage(ENOUGH) == ""
    assert shortage(Sample(None, None, None)) == ""


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        (Sample(MEMORY_BYTES - 1, DISK_BYTES * 2, DESCRIPTORS * 2), "memory: 255 MB"),
        (Sample(MEMORY_BYTES * 2, DISK_BYTES - 1, DESCRIPTORS * 2), "disk of the data folder"),
        (Sample(MEMORY_BYTES * 2, DISK_BYTES * 2, DESCRIPTORS - 1), "descriptors: 31"),
        (replace(ENOUGH, work_disk_bytes=DISK_BYTES - 1), "disk of the work folder is nearly full: 63 MB"),
    ],
)
def test_each_shortage_is_reported_with_what_is_left(sample: Sample, text: str) -> None:
    assert text in shortage(sample)


def test_shedding_has_a_hysteresis() -> None:
    edge = Sample(MEMORY_BYTES, DISK_BYTES * 2, DESCRIPTORS * 2)
    assert shortage(edge) == ""
    assert shortage(edge, short_already=True) != ""
    assert shortage(ENOUGH, short_already=True) == ""


def test_this_machine_can_be_measured(tmp_path: Path) -> None:
    sample = measure(tmp_path, tmp_path)
    assert sample.memory_bytes is not None
    assert sample.memory_bytes > 0
    assert sample.disk_bytes is not None
    assert sample.disk_bytes > 0
    assert sample.work_disk_bytes is not None
    assert sample.work_disk_bytes > 0
    assert sample.descriptors is None or sample.descriptors > 0


def test_each_folder_is_measured_on_its_own_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, work = tmp_path / "data", tmp_path / "work"
    free = {data: 7, work: 5}
    monkeypatch.setattr(os, "statvfs", lambda folder: SimpleNamespace(f_bavail=free[folder], f_frsize=4096))
    sample = measure(data, work)
    assert (sample.disk_bytes, sample.work_disk_bytes) == (7 * 4096, 5 * 4096)


async def test_creates_are_refused_with_the_reason_and_accepted_again_later(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "sessions.db")
    await store.open()
    limits = PoolLimits(10, 4, {}, None, 5.0)
    pool = Pool(FakeLauncher(), store, ManualClock(), limits, node="node", work_dir=tmp_path)
    samples = [Sample(None, 0, None), ENOUGH]
    shedding = Shedding(pool.admission, pool.fleet, tmp_path, tmp_path, lambda *_: samples.pop(0))
    who = Principal("prn_me", Role.CLIENT, "me")
    try:
        before, _ = await pool.create(who, SessionSpec())
        await shedding.turn()
        with pytest.raises(Overloaded, match="nearly full") as refusal:
            await pool.create(who, SessionSpec(), wait_seconds=5)
        assert refusal.value.retry_after >= 5.0
        assert any("nearly full" in warning for warning in pool.report.readiness()[1])
        assert pool.admission.taken == 1, "existing sessions must stay, refused creates must use no slot"
        pool.touch(before.session_id)
        await shedding.turn()
        await pool.create(who, SessionSpec())
    finally:
        await pool.stop()
        await store.close()


async def test_spare_contexts_are_dropped_before_creates_are_refused_for_memory(
    tmp_path: Path,
) -> None:
    store = EmbeddedStore(tmp_path / "sessions.db")
    await store.open()
    pool = Pool(FakeLauncher(), store, ManualClock(), PoolLimits(10, 4, {}, None, 5.0), node="node", work_dir=tmp_path)
    free = [READY_BYTES, READY_BYTES - 1, READY_BYTES, ENOUGH.memory_bytes]
    shedding = Shedding(pool.admission, pool.fleet, tmp_path, tmp_path, lambda *_: Sample(free.pop(0), None, None))
    try:
        await pool.fleet.first()
        kept = []
        while free:
            await shedding.turn()
            assert pool.admission.shortage == ""
            await pool.create(Principal("prn_me", Role.CLIENT, "me"), SessionSpec(isolation=Isolation.BROWSER))
            kept.append({process.keeps_ready for _, process in pool.fleet.running})  # type: ignore[attr-defined]
        assert kept == [{True}, {False}, {False}, {True}], "including browsers started meanwhile"
    finally:
        await pool.stop()
        await store.close()
