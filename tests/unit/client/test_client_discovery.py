"""Where the service is, and who gets the admin key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from browser_sessions.auth.secrets_file import admin_key_path, load_or_create
from browser_sessions.client import Client
from browser_sessions.client.discovery import (
    ADMIN_KEY_FILE,
    announce,
    announced_pid,
    announced_url,
    data_folder,
    default_url,
    discover,
    withdraw,
)
from browser_sessions.settings import Settings, default_data_dir

HERE = "http://127.0.0.1:4321"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The data folder of a service that runs (as this process)."""
    load_or_create(tmp_path)
    announce(tmp_path, HERE, os.getpid())
    return tmp_path


def kept_key(folder: Path) -> str:
    return admin_key_path(folder).read_text().strip()


def test_nothing_needs_to_be_set_for_a_service_on_the_same_machine(folder: Path) -> None:
    target = discover(environ={"BROWSER_SESSIONS_DATA_DIR": str(folder)})
    assert (target.url, target.api_key) == (HERE, kept_key(folder))


def test_what_is_given_wins_over_the_environment_and_that_over_the_folder(folder: Path) -> None:
    environ = {"BROWSER_SESSIONS_URL": "https://env.example.com", "BROWSER_SESSIONS_API_KEY": "env-key"}
    assert discover(data_dir=folder, environ=environ).url == "https://env.example.com"
    assert discover(data_dir=folder, environ=environ).api_key == "env-key"
    given = discover("https://given.example.com/", "given-key", folder, environ)
    assert (given.url, given.api_key) == ("https://given.example.com", "given-key")


@pytest.mark.parametrize("url", [HERE, "http://localhost:4321", "http://[::1]:4321", HERE + "/"])
def test_the_kept_key_goes_to_the_announced_service_by_any_of_its_names(folder: Path, url: str) -> None:
    assert discover(url, data_dir=folder, environ={}).api_key == kept_key(folder)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:4322",
        "https://127.0.0.1:4321",
        "http://browsers.example.com:4321",
        "http://127.0.0.1.example.com:4321",
        "http://192.0.2.1:4321",
    ],
)
def test_the_kept_key_goes_nowhere_else(folder: Path, url: str) -> None:
    assert discover(url, data_dir=folder, environ={}).api_key is None


def test_the_kept_key_is_not_sent_to_whoever_took_the_place_of_a_service_that_ended(tmp_path: Path) -> None:
    load_or_create(tmp_path)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    announce(tmp_path, HERE, ended.pid)
    ended.wait()
    assert announced_url(tmp_path) is None
    assert announced_pid(tmp_path) is None
    assert discover(data_dir=tmp_path, environ={}) == discover("http://127.0.0.1:8000", data_dir=tmp_path, environ={})
    assert discover(HERE, data_dir=tmp_path, environ={}).api_key is None


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells when a process began")
def test_a_pid_that_is_used_again_is_not_the_service(folder: Path) -> None:
    told = json.loads((folder / "service.json").read_text())
    (folder / "service.json").write_text(json.dumps({**told, "birth": "1"}))
    assert announced_url(folder) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"url": 3}', '{"url": "file:///etc", "pid": 1}', '{"url": "http://a", "pid": "x"}']
)
def test_a_broken_announcement_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "service.json").write_text(text)
    assert announced_url(tmp_path) is None
    assert discover(data_dir=tmp_path, environ={}).url == "http://127.0.0.1:8000"


def test_a_key_from_the_services_own_setting_is_taken_before_the_kept_one(folder: Path) -> None:
    environ = {"BROWSER_SESSIONS_ADMIN_API_KEY": "set-by-the-operator"}
    assert discover(data_dir=folder, environ=environ).api_key == "set-by-the-operator"


def test_only_the_service_itself_takes_back_its_announcement(folder: Path) -> None:
    withdraw(folder, os.getpid() + 1)
    assert announced_pid(folder) == os.getpid()
    withdraw(folder, os.getpid())
    assert announced_pid(folder) is None
    withdraw(folder, os.getpid())


def test_an_announcement_is_for_its_owner_alone_and_names_an_address_that_can_be_opened(tmp_path: Path) -> None:
    announce(tmp_path, "http://0.0.0.0:80", os.getpid())
    assert announced_url(tmp_path) == "http://127.0.0.1:80"
    announce(tmp_path, "http://[::]:80", os.getpid())
    assert announced_url(tmp_path) == "http://[::1]:80"
    assert (tmp_path / "service.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["service.json"]


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8000", "ftp://a", "http://", "http://a?b", "http://u:p@a", "http://a#b", "http://[::1"]
)
def test_an_address_that_is_none_is_told(url: str) -> None:
    with pytest.raises(ValueError, match=r"must be the URL|Invalid IPv6"):
        discover(url or " ", environ={})


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"BROWSER_SESSIONS_PORT": "9000"}, "http://127.0.0.1:9000"),
        ({"BROWSER_SESSIONS_PORT": "0"}, "http://127.0.0.1:8000"),
        ({"BROWSER_SESSIONS_PORT": "x"}, "http://127.0.0.1:8000"),
        ({"BROWSER_SESSIONS_HOST": "0.0.0.0"}, "http://127.0.0.1:8000"),  # noqa: S104 - what a service may be set to
        ({"BROWSER_SESSIONS_HOST": "::"}, "http://[::1]:8000"),
        ({"BROWSER_SESSIONS_HOST": "10.1.2.3", "BROWSER_SESSIONS_PORT": "81"}, "http://10.1.2.3:81"),
    ],
)
def test_the_default_address_is_that_of_a_service_with_the_same_settings(environ: dict[str, str], url: str) -> None:
    assert default_url(environ) == url


def test_service_and_client_agree_on_folder_key_and_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BROWSER_SESSIONS_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert data_folder() == default_data_dir() == tmp_path / "browser-sessions"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert data_folder() == default_data_dir()
    assert tmp_path / ADMIN_KEY_FILE == admin_key_path(tmp_path)
    assert default_url({}) == f"http://127.0.0.1:{Settings.model_fields['port'].default}"


async def test_the_key_is_in_no_representation(folder: Path) -> None:
    target = discover(data_dir=folder, environ={})
    async with Client(HERE, target.api_key) as client:
        assert kept_key(folder) not in repr(target) + repr(client) + repr(client.__dict__)
