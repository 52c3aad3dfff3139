"""The embedded store and its file: creation, refusal, locks, backups and concurrency."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from browser_sessions.domain.errors import SettingsError, StoreUnavailable
from browser_sessions.domain.ports import SessionQuery
from browser_sessions.domain.session import SessionStatus
from browser_sessions.store import EmbeddedStore, commits, embedded, rows, schema
from tests.contract.records import NOON, a_record


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[EmbeddedStore]:
    store = EmbeddedStore(path)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "sessions.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[EmbeddedStore]:
    async with opened(path) as store:
        yield store


async def on_writer(store: EmbeddedStore, statement: str) -> list[tuple[Any, ...]]:
    """The rows of `statement` on the store's writing connection."""
    assert store._opened is not None
    return await store._opened.commits._thread.run(lambda connection: connection.execute(statement).fetchall())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the write lock as another program."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


# --- the file ---


async def test_the_file_its_folder_and_its_log_are_private(store: EmbeddedStore, path: Path) -> None:
    await store.insert(a_record())
    assert mode(path.parent) == 0o700
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["sessions.db", "sessions.db-shm", "sessions.db-wal"]
    assert {mode(file) for file in files} == {0o600}


async def test_an_existing_folder_keeps_its_mode(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o750)
    async with opened(folder / "sessions.db"):
        assert mode(folder) == 0o750


async def test_closing_leaves_one_complete_file(path: Path) -> None:
    record = a_record()
    async with opened(path) as store:
        await store.insert(record)
    assert [file.name for file in path.parent.iterdir()] == ["sessions.db"]
    with closing(sqlite3.connect(path)) as plain:
        assert plain.execute("SELECT session_id FROM sessions").fetchall() == [(record.session_id,)]


async def test_the_closed_file_is_complete_even_while_another_program_has_it_open(path: Path, tmp_path: Path) -> None:
    record = a_record()
    store = EmbeddedStore(path)
    await store.open()
    await store.insert(record)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM sessions").fetchall() == [(1,)]
        await store.close()
        (tmp_path / "copy.db").write_bytes(path.read_bytes())
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT session_id FROM sessions").fetchall() == [(record.session_id,)]


async def test_commits_are_flushed_to_disk(store: EmbeddedStore) -> None:
    assert await on_writer(store, "PRAGMA journal_mode") == [("wal",)]
    assert await on_writer(store, "PRAGMA synchronous") == [(2,)]  # FULL: the log is flushed at every commit
    assert await on_writer(store, "PRAGMA foreign_keys") == [(1,)]


async def test_a_process_with_an_open_store_can_exit(path: Path) -> None:
    script = (
        "import asyncio, pathlib, sys\n"
        "from browser_sessions.store import EmbeddedStore\n"
        "store = EmbeddedStore(pathlib.Path(sys.argv[1]))\n"
        "asyncio.run(store.open())\n"
        "raise SystemExit(7)\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(path))
    async with asyncio.timeout(60):
        assert await process.wait() == 7


# --- schema versions ---


async def test_a_new_file_has_the_newest_version(store: EmbeddedStore) -> None:
    assert await on_writer(store, "PRAGMA user_version") == [(len(schema.MIGRATIONS),)]


async def test_a_database_of_a_newer_version_is_refused_and_not_changed(path: Path) -> None:
    async with opened(path) as store:
        await on_writer(store, "PRAGMA user_version = 99")
    with pytest.raises(SettingsError, match=r"sessions\.db cannot be used: it has schema version 99, .*up to \d"):
        await EmbeddedStore(path).open()
    with closing(sqlite3.connect(path)) as plain:
        assert plain.execute("PRAGMA user_version").fetchone() == (99,)


async def test_an_older_database_is_migrated_with_its_records(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = a_record()
    async with opened(path) as store:
        await store.insert(record)
    newest = len(schema.MIGRATIONS)
    added = ("ALTER TABLE users ADD COLUMN nickname TEXT", "UPDATE sessions SET owner_name = 'migrated'")
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, added))
    async with opened(path) as store:
        found = await store.get(record.session_id)
        assert found == replace(record, owner_name="migrated", version=1)
        assert await on_writer(store, "PRAGMA user_version") == [(newest + 1,)]
    async with opened(path):  # not a second time
        pass


async def test_a_failed_migration_leaves_the_database_unchanged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(path):
        pass
    broken = ("ALTER TABLE users ADD COLUMN nickname TEXT", "ALTER TABLE nowhere ADD COLUMN x TEXT")
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, broken))
        with pytest.raises(SettingsError, match="nowhere"):
            await EmbeddedStore(path).open()
    async with opened(path) as store:
        assert await on_writer(store, "PRAGMA user_version") == [(len(schema.MIGRATIONS),)]
        assert "nickname" not in [row[1] for row in await on_writer(store, "PRAGMA table_info(users)")]


async def test_a_new_file_can_be_opened_concurrently(path: Path) -> None:
    stores = [EmbeddedStore(path) for _ in range(6)]
    await asyncio.gather(*(store.open() for store in stores))
    await asyncio.gather(*(store.insert(a_record()) for store in stores))
    assert len(await stores[0].list(SessionQuery())) == 6
    await asyncio.gather(*(store.close() for store in stores))


# --- unusable files ---


async def filled(path: Path) -> None:
    async with opened(path) as store:
        await asyncio.gather(*(store.insert(a_record()) for _ in range(300)))


async def test_a_file_that_is_not_a_database_is_refused_and_not_changed(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"my diary\n" * 1000)
    with pytest.raises(SettingsError, match=r"sessions\.db is damaged or not a database"):
        await EmbeddedStore(path).open()
    assert path.read_bytes() == b"my diary\n" * 1000


async def test_a_truncated_database_is_refused(path: Path) -> None:
    await filled(path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(SettingsError, match="damaged"):
        await EmbeddedStore(path).open()


async def test_a_database_with_a_damaged_page_is_refused(path: Path) -> None:
    await filled(path)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xa5" * 4096)
    with pytest.raises(SettingsError, match="damaged"):
        await EmbeddedStore(path).open()


async def test_the_database_of_another_program_is_refused_and_not_changed(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()
    with pytest.raises(SettingsError, match="another program"):
        await EmbeddedStore(path).open()
    assert path.read_bytes() == before


async def test_an_invalid_path_is_refused_with_the_settings_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "sessions.db", tmp_path):
        with pytest.raises(SettingsError, match="BROWSER_SESSIONS_DATA_DIR") as caught:
            await EmbeddedStore(path).open()
        assert str(path) in caught.value.detail


async def run(*command: str | Path) -> bool:
    try:
        return await (await asyncio.create_subprocess_exec(*command)).wait() == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("exists", [True, False])
async def test_a_read_only_folder_is_refused(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "ro"
    folder.mkdir()
    if not await run("mount", "-t", "tmpfs", "tmpfs", folder):
        pytest.skip("no permission to mount")
    try:
        if exists:
            await filled(folder / "sessions.db")
        assert await run("mount", "-o", "remount,ro", folder)
        with pytest.raises(SettingsError, match="BROWSER_SESSIONS_DATA_DIR"):
            await EmbeddedStore(folder / "sessions.db").open()
    finally:
        assert await run("umount", "--lazy", folder)


async def test_a_refused_store_opens_once_the_cause_is_removed(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"my diary\n" * 1000)
    store = EmbeddedStore(path)
    with pytest.raises(SettingsError):
        await store.open()
    path.unlink()
    await store.open()
    await store.insert(a_record())
    await store.close()


# --- other processes, slow disks ---


async def test_a_lock_of_another_process_is_reported_and_temporary(store: EmbeddedStore, path: Path) -> None:
    await on_writer(store, "PRAGMA busy_timeout = 20")
    record = a_record()
    with locked(path):
        outcomes = await asyncio.gather(
            store.insert(record), store.insert(a_record()), store.purge(NOON, NOON), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 3
        assert "it is locked by another process" in str(outcomes[0])
    await store.insert(record)
    assert [r.session_id for r in await store.list(SessionQuery())] == [record.session_id]


async def test_reads_do_not_wait_for_writes(store: EmbeddedStore, path: Path) -> None:
    record = a_record(idempotency_key="k")
    await store.insert(record)
    await on_writer(store, "PRAGMA busy_timeout = 60000")
    with locked(path):
        write = asyncio.create_task(store.insert(a_record()))
        assert await store.get(record.session_id)
        assert await store.by_idempotency_key(record.owner, "k")
        assert len(await store.list(SessionQuery())) == 1
        assert await store.keys() == []
        assert not write.done()
    await write


async def test_a_hanging_disk_is_reported_after_the_timeout(
    store: EmbeddedStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await on_writer(store, "PRAGMA busy_timeout = 60000")
    monkeypatch.setattr(embedded, "TIMEOUT_SECONDS", 0.05)
    started, waiting = a_record(), a_record()
    with locked(path):
        first = asyncio.create_task(store.insert(started))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        second = asyncio.create_task(store.insert(waiting))
        for write in (first, second):
            with pytest.raises(StoreUnavailable, match="did not respond within"):
                await write
    monkeypatch.undo()
    await store.insert(a_record())
    assert await store.get(started.session_id) is not None  # had begun and was completed later
    assert await store.get(waiting.session_id) is None  # had not begun and was dropped


# --- group commit ---


async def test_concurrent_writes_share_a_commit(store: EmbeddedStore) -> None:
    """200 sessions that expire at once need at most two disk flushes."""
    records = [a_record() for _ in range(200)]
    await asyncio.gather(*(store.insert(record) for record in records))
    statements: list[str] = []
    assert store._opened is not None
    run = store._opened.commits._thread.run
    await run(lambda connection: connection.set_trace_callback(statements.append))
    await asyncio.gather(*(store.update(replace(record, version=2)) for record in records))
    await run(lambda connection: connection.set_trace_callback(None))
    assert sum(statement.startswith("UPDATE sessions") for statement in statements) == 200
    assert 1 <= statements.count("COMMIT") <= 2


async def test_the_size_of_a_transaction_is_bounded(store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "MAX_GROUP", 7)
    await asyncio.gather(*(store.insert(a_record()) for _ in range(50)))
    assert len(await store.list(SessionQuery())) == 50


async def test_a_transaction_left_open_does_not_block_the_next(store: EmbeddedStore) -> None:
    first, second = a_record(), a_record()
    await store.insert(first)
    await on_writer(store, "BEGIN IMMEDIATE")
    await on_writer(store, "DELETE FROM sessions")
    await store.insert(second)
    assert {record.session_id for record in await store.list(SessionQuery())} == {first.session_id, second.session_id}


async def test_a_store_error_fails_its_group_and_releases_the_lock(store: EmbeddedStore, path: Path) -> None:
    await on_writer(store, "DROP TABLE users")
    record = a_record()
    outcomes = await asyncio.gather(store.insert(record), store.remove_user("ada"), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 2
    assert await store.get(record.session_id) is None
    with locked(path):
        pass
    await store.insert(record)


async def test_an_invalid_record_fails_without_its_group(store: EmbeddedStore) -> None:
    """For example with a lone surrogate, which a database cannot store as text."""
    good = [a_record() for _ in range(4)]
    outcomes = await asyncio.gather(
        store.insert(good[0]),
        store.insert(good[1]),
        store.insert(a_record(user_agent="\ud800")),
        store.insert(a_record(viewport_width=2**70)),
        store.insert(good[2]),
        store.insert(a_record(owner=None)),
        store.insert(good[3]),
        return_exceptions=True,
    )
    assert [type(a) for a in outcomes if a is not None] == [UnicodeEncodeError, OverflowError, sqlite3.IntegrityError]
    stored = {record.session_id for record in await store.list(SessionQuery())}
    assert stored == {record.session_id for record in good}


@pytest.mark.parametrize("iterations", [1, 2, 3])
async def test_cancelling_the_writing_task_fails_pending_writes(store: EmbeddedStore, iterations: int) -> None:
    write = asyncio.create_task(store.insert(a_record()))
    for _ in range(iterations):
        await asyncio.sleep(0)
    assert store._opened is not None
    task = store._opened.commits._task
    assert task is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await write
    await store.insert(a_record())


# --- indexes, backup ---


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (SessionQuery(), "sessions_newest"),
        (SessionQuery(before=(NOON, "ses_7")), "sessions_newest"),
        (SessionQuery(owner="prn_ada"), "sessions_of_owner"),
        (SessionQuery(owner="prn_ada", before=(NOON, "ses_7")), "sessions_of_owner"),
        (SessionQuery(statuses=frozenset({SessionStatus.ACTIVE})), "sessions_live"),
        (SessionQuery(owner="prn_ada", statuses=frozenset({SessionStatus.ACTIVE})), "sessions_live"),
    ],
)
async def test_listings_use_an_index_without_sorting(store: EmbeddedStore, query: SessionQuery, index: str) -> None:
    statement, parameters = rows.listing(query)
    assert store._opened is not None
    plan = await store._opened.listings.run(
        lambda connection: connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
    )
    steps = [row[3] for row in plan]
    assert len(steps) == 1
    assert f"INDEX {index}" in steps[0]


async def test_the_index_of_live_sessions_covers_every_live_status(store: EmbeddedStore) -> None:
    """A status added to the model needs a migration."""
    [(sql,)] = await on_writer(store, "SELECT sql FROM sqlite_master WHERE name = 'sessions_live'")
    assert schema.LIVE_ONLY in sql


def vacuum_into(path: Path, target: Path) -> None:
    """A backup as described in docs/operations.md."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("VACUUM INTO ?", (str(target),))


async def test_a_backup_of_a_busy_store_is_complete(store: EmbeddedStore, path: Path, tmp_path: Path) -> None:
    before = [a_record() for _ in range(100)]
    await asyncio.gather(*(store.insert(record) for record in before))
    target = tmp_path / "copy.db"
    backup = asyncio.create_task(asyncio.to_thread(vacuum_into, path, target))
    while not backup.done():
        await store.insert(a_record())
    await backup
    async with opened(target) as copy:
        assert [await copy.get(r.session_id) for r in before] == [replace(r, version=1) for r in before]


def test_the_repr_has_file_and_state() -> None:
    assert repr(EmbeddedStore(Path("/data/sessions.db"))) == "<EmbeddedStore '/data/sessions.db' closed>"
