"""Discovery of the service, and to which URLs the admin key is sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from browser_sessions.auth.secrets_file import admin_key_path, load_or_create
from browser_sessions.client import Client, SyncClient
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
    """The data folder of a running service (this process)."""
    load_or_create(tmp_path)
    announce(tmp_path, HERE, os.getpid())
    return tmp_path


def stored_key(folder: Path) -> str:
    return admin_key_path(folder).read_text().strip()


def test_a_service_on_the_same_machine_is_found_without_settings(folder: Path) -> None:
    target = discover(environ={"BROWSER_SESSIONS_DATA_DIR": str(folder)})
    assert (target.url, target.api_key) == (HERE, stored_key(folder))


def test_arguments_override_the_environment_and_that_the_data_folder(folder: Path) -> None:
    environ = {"BROWSER_SESSIONS_URL": "https://env.example.com", "BROWSER_SESSIONS_API_KEY": "env-key"}
    assert discover(data_dir=folder, environ=environ).url == "https://env.example.com"
    assert discover(data_dir=folder, environ=environ).api_key == "env-key"
    given = discover("https://given.example.com/", "given-key", folder, environ)
    assert (given.url, given.api_key) == ("https://given.example.com", "given-key")


def test_a_data_folder_may_be_named_as_text(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BROWSER_SESSIONS_URL", raising=False)
    for data_dir in (folder, str(folder)):
        assert Client(data_dir=data_dir).url == SyncClient(data_dir=data_dir).url == HERE


@pytest.mark.parametrize("url", [HERE, "http://localhost:4321", "http://[::1]:4321", HERE + "/"])
def test_the_stored_key_is_used_for_any_loopback_name_of_the_announced_service(folder: Path, url: str) -> None:
    assert discover(url, data_dir=folder, environ={}).api_key == stored_key(folder)


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
def test_the_stored_key_is_not_used_for_other_urls(folder: Path, url: str) -> None:
    assert discover(url, data_dir=folder, environ={}).api_key is None


def test_the_stored_key_is_not_used_once_the_announced_service_has_ended(tmp_path: Path) -> None:
    load_or_create(tmp_path)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    announce(tmp_path, HERE, ended.pid)
    ended.wait()
    assert announced_url(tmp_path) is None
    assert announced_pid(tmp_path) is None
    assert discover(data_dir=tmp_path, environ={}) == discover("http://127.0.0.1:8000", data_dir=tmp_path, environ={})
    assert discover(HERE, data_dir=tmp_path, environ={}).api_key is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs process start times from /proc")
def test_a_reused_pid_is_not_the_service(folder: Path) -> None:
    announced = json.loads((folder / "service.json").read_text())
    (folder / "service.json").write_text(json.dumps({**announced, "birth": "1"}))
    assert announced_url(folder) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"url": 3}', '{"url": "file:///etc", "pid": 1}', '{"url": "http://a", "pid": "x"}']
)
def test_an_invalid_announcement_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / "service.json").write_text(text)
    assert announced_url(tmp_path) is None
    assert discover(data_dir=tmp_path, environ={}).url == "http://127.0.0.1:8000"


def test_a_configured_admin_key_takes_precedence_over_the_stored_one(folder: Path) -> None:
    environ = {"BROWSER_SESSIONS_ADMIN_API_KEY": "set-by-the-operator"}
    assert discover(data_dir=folder, environ=environ).api_key == "set-by-the-operator"


def test_an_announcement_is_withdrawn_only_by_its_process(folder: Path) -> None:
    withdraw(folder, os.getpid() + 1)
    assert announced_pid(folder) == os.getpid()
    withdraw(folder, os.getpid())
    assert announced_pid(folder) is None
    withdraw(folder, os.getpid())


def test_an_announcement_is_private_and_has_a_connectable_url(tmp_path: Path) -> None:
    announce(tmp_path, "http://0.0.0.0:80", os.getpid())
    assert announced_url(tmp_path) == "http://127.0.0.1:80"
    announce(tmp_path, "http://[::]:80", os.getpid())
    assert announced_url(tmp_path) == "http://[::1]:80"
    assert (tmp_path / "service.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["service.json"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8000",
        "ftp://a",
        "http://",
        "http://a?b",
        "http://u:p@a",
        "http://:p@a",
        "http://a#b",
        "http://[::1",
    ],
)
def test_an_invalid_url_is_an_error(url: str) -> None:
    with pytest.raises(ValueError, match=r"must be the URL|Invalid IPv6"):
        discover(url or " ", environ={})


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"BROWSER_SESSIONS_PORT": "9000"}, "http://127.0.0.1:9000"),
        ({"BROWSER_SESSIONS_PORT": "0"}, "http://127.0.0.1:8000"),
        ({"BROWSER_SESSIONS_PORT": "x"}, "http://127.0.0.1:8000"),
        ({"BROWSER_SESSIONS_HOST": "0.0.0.0"}, "http://127.0.0.1:8000"),  # noqa: S104 - a possible setting
        ({"BROWSER_SESSIONS_HOST": "::"}, "http://[::1]:8000"),
        ({"BROWSER_SESSIONS_HOST": "10.1.2.3", "BROWSER_SESSIONS_PORT": "81"}, "http://10.1.2.3:81"),
    ],
)
def test_the_default_url_follows_the_services_settings(environ: dict[str, str], url: str) -> None:
    assert default_url(environ) == url


def test_service_and_client_agree_on_folder_key_and_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BROWSER_SESSIONS_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert data_folder() == default_data_dir() == tmp_path / "browser-sessions"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert data_folder() == default_data_dir()
    assert tmp_path / ADMIN_KEY_FILE == admin_key_path(tmp_path)
    assert default_url({}) == f"http://127.0.0.1:{Settings.model_fields['port'].default}"


async def test_the_key_is_not_in_reprs(folder: Path) -> None:
    target = discover(data_dir=folder, environ={})
    async with Client(HERE, target.api_key) as client:
        assert stored_key(folder) not in repr(target) + repr(client) + repr(client.__dict__)
