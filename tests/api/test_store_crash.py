"""Acknowledged writes survive a killed process and a full disk."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from browser_sessions.domain.errors import StoreUnavailable
from browser_sessions.domain.ports import SessionQuery
from browser_sessions.domain.session import SessionRecord, SessionStatus
from browser_sessions.store import EmbeddedStore
from tests.api.store_writer import CALLERS
from tests.contract.records import NOON, a_record
from tests.harness.paths import ROOT

WRITER = Path(__file__).with_name("store_writer.py")
ROUNDS = 20

# --- kill -9 ---


async def acknowledged_until_killed(path: Path, lines: int) -> dict[str, int]:
    """Starts a writer, kills it after `lines` lines of output, and returns id -> version of all acknowledged
    records."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(WRITER),
        str(path),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    output: list[bytes] = []
    try:
        async for line in process.stdout:
            output.append(line)
            if len(output) > lines:
                break
    finally:
        process.kill()
        output += (await process.stdout.read()).splitlines(keepends=True)
        status = await process.wait()
    assert status == -signal.SIGKILL, "the writer ended by itself"
    # The last line may be incomplete.
    acknowledged = [line.split() for line in output if line.endswith(b"\n")]
    return {session_id.decode(): int(version) for session_id, version in acknowledged if version != b"0"}


@pytest.mark.slow
async def test_acknowledged_records_survive_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    rng = random.Random(20260301)  # only decides when to kill
    everything: dict[str, int] = {}
    for _ in range(ROUNDS):
        acknowledged = await acknowledged_until_killed(path, rng.randrange(1, 200))
        everything |= acknowledged
        store = EmbeddedStore(path)
        await store.open()
        for session_id, version in acknowledged.items():
            await assert_whole(store, session_id, version)
        await store.close()
    with closing(sqlite3.connect(path)) as plain:
        assert plain.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        stored = dict(plain.execute("SELECT session_id, version FROM sessions"))
    lost = {session_id for session_id, version in everything.items() if stored.get(session_id, 0) < version}
    assert not lost
    assert len(everything) > ROUNDS
    # Each caller may have stored one record without an acknowledgement.
    assert len(stored) - len(everything) <= ROUNDS * CALLERS


async def assert_whole(store: EmbeddedStore, session_id: str, version: int) -> None:
    found = await store.get(session_id)
    assert found is not None, f"{session_id} was acknowledged and is gone"
    assert found.version >= version
    status = SessionStatus.ACTIVE if found.version == 2 else SessionStatus.QUEUED
    assert found == a_record(session_id=session_id, status=status, version=found.version)


# --- a full disk ---


LARGER_THAN_THE_DISK: Final = 2 * 2**20
"""Bytes. Between two writes, SQLite may reuse the space of its write-ahead log."""


@dataclass
class Disk:
    """A store on a disk that is nearly full until `free_space` is called."""

    store: EmbeddedStore
    free_space: Callable[[], Awaitable[None]]


async def run(*command: str | Path) -> bool:
    try:
        return await (await asyncio.create_subprocess_exec(*command)).wait() == 0
    except FileNotFoundError:
        return False


@pytest.fixture(params=["full file system", "size limit"])
async def disk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Disk]:
    """A file system of 4 MB mostly used by another file, or SQLite's page limit, which needs no root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    store = EmbeddedStore(folder / "sessions.db")
    if request.param == "size limit":
        await store.open()
        await limit_pages(store, 60)
        yield Disk(store, lambda: limit_pages(store, 1_000_000))
        await store.close()
        return
    if os.geteuid() != 0 or not await run("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder):
        pytest.skip("mounting needs root")
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(3 * 2**20))

    async def free_space() -> None:
        ballast.unlink()

    try:
        await store.open()
        yield Disk(store, free_space)
    finally:
        await store.close()
        assert await run("umount", "--lazy", folder)


async def limit_pages(store: EmbeddedStore, pages: int) -> None:
    assert store._opened is not None
    thread = store._opened.commits._thread
    await thread.run(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchall())


async def in_transaction(store: EmbeddedStore) -> bool:
    assert store._opened is not None
    return await store._opened.commits._thread.run(lambda connection: connection.in_transaction)


async def fill(store: EmbeddedStore) -> tuple[list[SessionRecord], StoreUnavailable]:
    """Inserts four records at a time until all are refused. Returns the stored records, oldest first, and the error."""
    inserted: list[SessionRecord] = []
    while True:
        at = NOON + timedelta(seconds=len(inserted))
        records = [replace(a_record(metadata={"fill": "x" * 500}), created_at=at, version=1) for _ in range(4)]
        outcomes = await asyncio.gather(*(store.insert(r) for r in records), return_exceptions=True)
        inserted += [record for record, outcome in zip(records, outcomes, strict=True) if outcome is None]
        refusals = [outcome for outcome in outcomes if outcome is not None]
        if len(refusals) == len(records):
            assert isinstance(refusals[0], StoreUnavailable)
            return inserted, refusals[0]
        assert len(inserted) < 20_000, "the disk does not fill up"


async def assert_stored(store: EmbeddedStore, records: list[SessionRecord]) -> None:
    stored = await store.list(SessionQuery(limit=100_000))
    assert sorted(stored, key=lambda r: r.session_id) == sorted(records, key=lambda r: r.session_id)


async def test_a_full_disk_refuses_writes_and_keeps_stored_records(disk: Disk) -> None:
    inserted, refusal = await fill(disk.store)
    assert "disk is full" in refusal.detail
    assert "no restart is needed" in refusal.detail
    assert len(inserted) >= 4
    assert not await in_transaction(disk.store), "an open transaction would block other writers"
    for call in (
        disk.store.insert(a_record(metadata={"fill": "x" * LARGER_THAN_THE_DISK})),
        disk.store.update(replace(inserted[0], options={"big": "x" * LARGER_THAN_THE_DISK}, version=2)),
    ):
        with pytest.raises(StoreUnavailable):
            await call
    await assert_stored(disk.store, inserted)
    assert await disk.store.get(inserted[0].session_id) == inserted[0]


async def test_the_store_recovers_by_itself_once_the_disk_has_space(disk: Disk) -> None:
    inserted, _ = await fill(disk.store)
    await disk.free_space()
    more = [replace(a_record(), version=1) for _ in range(20)]
    await asyncio.gather(*(disk.store.insert(record) for record in more))
    changed = replace(inserted[0], status=SessionStatus.ACTIVE, version=2)
    await disk.store.update(changed)
    await assert_stored(disk.store, [changed, *inserted[1:], *more])
    await disk.store.close()
    await disk.store.open()
    await assert_stored(disk.store, [changed, *inserted[1:], *more])


async def test_a_store_closed_on_a_full_disk_loses_nothing(disk: Disk) -> None:
    inserted, _ = await fill(disk.store)
    await disk.store.close()
    await disk.store.open()
    await assert_stored(disk.store, inserted)
