"""The service's secrets: created once, private, and the same for concurrent starts."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from browser_sessions.auth.secrets_file import Secrets, admin_key_path, load_or_create
from browser_sessions.domain.errors import SettingsError


def test_the_first_start_creates_secrets_and_the_second_reads_them(tmp_path: Path) -> None:
    first, second = load_or_create(tmp_path), load_or_create(tmp_path)
    assert first.admin_key_is_new
    assert not second.admin_key_is_new
    assert first.admin_key == second.admin_key == admin_key_path(tmp_path).read_text().strip()
    assert (first.token_secret, first.ticket_secret) == (second.token_secret, second.ticket_secret)
    assert len({first.admin_key, first.token_secret.decode(), first.ticket_secret.decode()}) == 3
    assert min(len(first.token_secret), len(first.ticket_secret)) >= 32


def test_secrets_are_readable_by_the_owner_only(tmp_path: Path) -> None:
    load_or_create(tmp_path / "data")
    folder = tmp_path / "data" / "secrets"
    assert folder.stat().st_mode & 0o777 == 0o700
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == ["admin_api_key", "ticket_secret", "token_secret"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_loosened_file_modes_are_restored(tmp_path: Path) -> None:
    load_or_create(tmp_path)
    (tmp_path / "secrets").chmod(0o755)
    admin_key_path(tmp_path).chmod(0o644)
    load_or_create(tmp_path)
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert admin_key_path(tmp_path).stat().st_mode & 0o777 == 0o600


def test_a_configured_admin_key_is_used_and_not_stored(tmp_path: Path) -> None:
    assert load_or_create(tmp_path, "an-admin-key-of-my-own").admin_key == "an-admin-key-of-my-own"
    assert not admin_key_path(tmp_path).exists()


def test_concurrent_starts_use_the_same_secrets(tmp_path: Path) -> None:
    count = 8
    together = Barrier(count)

    def start(_: int) -> Secrets:
        together.wait()
        return load_or_create(tmp_path)

    with ThreadPoolExecutor(count) as pool:
        found = list(pool.map(start, range(count)))
    assert len({(one.admin_key, one.token_secret, one.ticket_secret) for one in found}) == 1
    assert sum(one.admin_key_is_new for one in found) == 1
    assert len(list((tmp_path / "secrets").iterdir())) == 3, "no temporary file may remain"


def test_an_empty_secret_file_is_an_error(tmp_path: Path) -> None:
    load_or_create(tmp_path)
    (tmp_path / "secrets" / "token_secret").write_text("")
    with pytest.raises(SettingsError, match="is empty"):
        load_or_create(tmp_path)


def test_a_data_folder_that_cannot_be_created_is_an_error_with_the_settings_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="BROWSER_SESSIONS_DATA_DIR"):
        load_or_create(tmp_path / "file" / "data")


def test_a_repr_contains_no_secret(tmp_path: Path) -> None:
    made = load_or_create(tmp_path)
    assert made.admin_key not in repr(made)
    assert made.token_secret.decode() not in repr(made)
    assert os.environ.get("BROWSER_SESSIONS_ADMIN_API_KEY") != made.admin_key
