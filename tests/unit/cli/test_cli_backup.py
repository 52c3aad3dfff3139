"""backup and restore as files: what is copied, with which permissions, and what is refused."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from browser_sessions.store.database_connection import connect_writer
from tests.harness.fakes.api_service import bs


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with a database in use: a transaction is only in its write-ahead log."""
    for name in [each for each in os.environ if each.startswith("BROWSER_SESSIONS_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "data"
    monkeypatch.setenv("BROWSER_SESSIONS_DATA_DIR", str(folder))
    connect_writer(folder / "sessions.db").close()
    for path, content in {
        "secrets/admin_api_key": "bs_admin_x\n",
        "secrets/ticket_secret": "t1\n",
        "secrets/token_secret": "t2\n",
        "archive/ses_1.jpg": "picture",
        "node": "n1\n",
        "later/deep/file": "of a later version",
        "lock": "1",
        "service.json": "{}",
        "work/sessions/file": "a browser's",
        "devtools/156.zip": "made again",
        ".node.part": "being written",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    (folder / "lock").chmod(0o600)
    os.utime(folder / "archive" / "ses_1.jpg", (1_000, 1_000))
    return folder


def files(folder: Path) -> dict[str, int]:
    """Files and folders below, with their permissions."""
    return {str(each.relative_to(folder)): stat.S_IMODE(each.stat().st_mode) for each in folder.rglob("*")}


BACKUP = {
    "sessions.db": 0o600,
    "secrets": 0o700,
    "secrets/admin_api_key": 0o600,
    "secrets/ticket_secret": 0o600,
    "secrets/token_secret": 0o600,
    "archive": 0o700,
    "archive/ses_1.jpg": 0o600,
    "node": 0o600,
    "later": 0o700,
    "later/deep": 0o700,
    "later/deep/file": 0o600,
}


def add_user(database: Path, name: str) -> sqlite3.Connection:
    connection = sqlite3.connect(database)
    connection.execute("INSERT INTO users VALUES (?, 'client', 'prn_1', 'hash', 0)", (name,))
    connection.commit()
    return connection


def users(database: Path) -> list[str]:
    connection = sqlite3.connect(database)
    try:
        return sorted(name for (name,) in connection.execute("SELECT username FROM users"))
    finally:
        connection.close()


def test_a_backup_has_everything_but_what_is_made_again_and_only_its_owner_reads_it(data: Path, tmp_path: Path) -> None:
    writer = add_user(data / "sessions.db", "ann")
    assert bs("backup", str(tmp_path / "new" / "b")).exit_code == 0
    writer.close()
    assert files(tmp_path / "new" / "b") == BACKUP
    assert stat.S_IMODE((tmp_path / "new" / "b").stat().st_mode) == 0o700
    assert users(tmp_path / "new" / "b" / "sessions.db") == ["ann"]
    assert (tmp_path / "new" / "b" / "archive" / "ses_1.jpg").stat().st_mtime == 1_000


def test_a_second_backup_brings_the_folder_up_to_date(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "b"
    assert bs("backup", str(folder)).exit_code == 0
    (folder / "secrets").chmod(0o755)
    (folder / "notes").write_text("somebody's own")
    (data / "archive" / "ses_1.jpg").unlink()
    (data / "archive" / "ses_2.jpg").write_text("picture")
    (data / "secrets" / "admin_api_key").write_text("bs_admin_y\n")
    add_user(data / "sessions.db", "ben").close()
    again = bs("backup", str(folder), "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout)["files"] == 7
    found = files(folder)
    del found["notes"]
    assert found == {name.replace("ses_1", "ses_2"): mode for name, mode in BACKUP.items()}
    assert (folder / "secrets" / "admin_api_key").read_text() == "bs_admin_y\n"
    assert users(folder / "sessions.db") == ["ben"]


def test_a_restore_gives_the_data_back(data: Path, tmp_path: Path) -> None:
    add_user(data / "sessions.db", "ann").close()
    bs("backup", str(tmp_path / "b"))
    elsewhere = tmp_path / "other" / "data"
    restored = bs("restore", str(tmp_path / "b"), "--data-dir", str(elsewhere))
    assert restored.exit_code == 0, restored.output
    found = files(elsewhere)
    del found["lock"]
    assert found == BACKUP
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o700
    assert users(elsewhere / "sessions.db") == ["ann"]
    assert (elsewhere / "archive" / "ses_1.jpg").stat().st_mtime == 1_000


def test_a_restore_replaces_data_only_when_forced(data: Path, tmp_path: Path) -> None:
    bs("backup", str(tmp_path / "b"))
    writer = add_user(data / "sessions.db", "ben")
    log = (data / "sessions.db-wal").read_bytes()
    (data / "archive" / "ses_2.jpg").write_text("later")
    refused = bs("restore", str(tmp_path / "b"))
    assert refused.exit_code == 4
    assert refused.stderr == f"{data} has data already. Replace it with --force.\n"
    assert users(data / "sessions.db") == ["ben"]
    writer.close()
    (data / "sessions.db-wal").write_bytes(log)  # as after kill -9
    assert bs("restore", str(tmp_path / "b"), "--force").exit_code == 0
    assert users(data / "sessions.db") == []
    assert [each.name for each in (data / "archive").iterdir()] == ["ses_1.jpg"]
    assert (data / "devtools" / "156.zip").exists()


def test_a_restore_refuses_while_a_service_holds_the_folder(data: Path, tmp_path: Path) -> None:
    bs("backup", str(tmp_path / "b"))
    with (data / "lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = bs("restore", str(tmp_path / "b"), "--force", "--json")
    assert refused.exit_code == 4
    assert f"another server (process 1) uses {data}" in json.loads(refused.stderr)["detail"]


@pytest.mark.parametrize("start", [0, 100, 8192])
def test_a_damaged_backup_replaces_nothing(data: Path, tmp_path: Path, start: int) -> None:
    bs("backup", str(tmp_path / "b"))
    with (tmp_path / "b" / "sessions.db").open("r+b") as database:
        database.seek(start)
        database.write(b"\xff" * 4096)
    (tmp_path / "b" / "node").write_text("n2\n")
    refused = bs("restore", str(tmp_path / "b"), "--force")
    assert refused.exit_code == 1
    assert "damaged or not a database" in refused.stderr
    assert (data / "node").read_text() == "n1\n"
    assert users(data / "sessions.db") == []
    assert not list(data.glob(".browser-sessions-*"))


def test_an_incomplete_backup_replaces_nothing(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_user(data / "sessions.db", "ann").close()
    before = files(data)
    cases = {
        "sessions.db": f"{tmp_path}/0/sessions.db cannot be used: it is empty.",
        "secrets": "has no token_secret, ticket_secret, admin_api_key",
        "secrets/token_secret": "has no token_secret,",
        "secrets/admin_api_key": "has no admin_api_key,",
    }
    for number, (removed, named) in enumerate(cases.items()):
        backup = tmp_path / str(number)
        assert bs("backup", str(backup)).exit_code == 0
        if removed == "secrets":
            shutil.rmtree(backup / removed)
        else:
            (backup / removed).write_bytes(b"")
        refused = bs("restore", str(backup), "--force")
        assert (refused.exit_code, named in refused.stderr) == (1, True), refused.output
        assert files(data) == before
        assert users(data / "sessions.db") == ["ann"]
    monkeypatch.setenv("BROWSER_SESSIONS_ADMIN_API_KEY", "bs_admin_of_the_settings")
    assert bs("restore", str(tmp_path / "3"), "--force").exit_code == 0


def test_a_folder_that_is_no_place_for_a_backup_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine" / "secrets").mkdir(parents=True)
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "lock").touch()
    for folder, code, text in (
        (data / "backups", 2, "is inside the data folder"),
        (tmp_path / "mine", 4, "is no backup, but has secrets"),
        (tmp_path / "live", 4, "is the data folder of another service"),
        (data / "node" / "x", 2, "is inside the data folder"),
        (Path("/proc/nowhere"), 1, "/proc/nowhere: No such file or directory."),
    ):
        refused = bs("backup", str(folder))
        assert (refused.exit_code, text in refused.stderr) == (code, True), refused.stderr
    assert not (data / "backups").exists()
    nothing = bs("backup", str(tmp_path / "b"), "--data-dir", str(tmp_path / "empty"))
    assert (nothing.exit_code, "there is no database" in nothing.stderr) == (3, True)
    missing = bs("restore", str(tmp_path / "mine"))
    assert (missing.exit_code, "holds no backup" in missing.stderr) == (3, True)


def test_a_database_elsewhere_is_found_and_put_back(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "db" / "records.sqlite"
    connect_writer(database).close()
    add_user(database, "ann").close()
    (data / "sessions.db").unlink()
    monkeypatch.setenv("BROWSER_SESSIONS_STORE_URL", f"sqlite:///{database}")
    assert bs("backup", str(tmp_path / "b")).exit_code == 0
    database.unlink()
    assert bs("restore", str(tmp_path / "b"), "--force").exit_code == 0
    assert users(database) == ["ann"]
    assert not (data / "sessions.db").exists()
