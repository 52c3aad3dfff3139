"""Findings of `doctor` for given measurements."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from browser_sessions.cli.node import doctor_findings
from browser_sessions.cli.node.doctor import examine, folder_at, missing_fonts
from browser_sessions.cli.node.doctor_findings import FONTS, Folder, State
from browser_sessions.cli.node.serve import greeting
from browser_sessions.domain.errors import SettingsError
from browser_sessions.domain.principal import Role
from browser_sessions.settings import load, unknown

GIB = 2**30


def folder(**fields: Any) -> Folder:
    values: dict[str, Any] = {
        "path": Path("/data"),
        "exists": True,
        "is_folder": True,
        "writable": True,
        "mode": 0o700,
        "free_bytes": 10 * GIB,
    } | fields
    return Folder(**values)


@pytest.mark.parametrize(
    ("fields", "state", "text"),
    [
        ({}, "ok", "/data: 10.0 GiB free."),
        ({"exists": False, "mode": 0o755}, "ok", "made at the first start"),
        ({"is_folder": False}, "problem", "cannot be a folder"),
        ({"writable": False}, "problem", "cannot be written by this user"),
        ({"free_bytes": 99 * 2**20}, "problem", "0.1 GiB free"),
        ({"free_bytes": GIB - 1}, "warning", "1.0 GiB free"),
        ({"mode": 0o750}, "warning", "mode 750"),
        ({"mode": 0o704}, "warning", "mode 704"),
    ],
)
def test_data_folder(fields: dict[str, Any], state: State, text: str) -> None:
    found = doctor_findings.on_folder(folder(**fields))
    assert found.state == state
    assert text in found.says
    assert bool(found.do) is (state != "ok")


@pytest.mark.parametrize("first", [True, False])
def test_priority_of_the_service(first: bool) -> None:
    found = doctor_findings.on_priority(first)

    assert (found.state, "LimitRTPRIO=1" in found.do) == (("ok", False) if first else ("warning", True))


@pytest.mark.parametrize(
    ("port", "refused", "holder", "state", "text"),
    [
        (8000, "", "", "ok", "127.0.0.1:8000 is free."),
        (0, "", "", "ok", "Any that is free"),
        (
            8000,
            "Address already in use",
            "browser-sessions 1, process 7",
            "ok",
            "in use by browser-sessions 1, process 7",
        ),
        (8000, "Address already in use", "", "problem", "cannot be used: Address already in use"),
    ],
)
def test_port(port: int, refused: str, holder: str, state: State, text: str) -> None:
    found = doctor_findings.on_port("127.0.0.1", port, refused, holder)
    assert found.state == state
    assert text in found.says


@pytest.mark.parametrize(
    ("on", "allow", "state", "text"),
    [
        (True, (), "ok", "serve --egress-allow 127.0.0.0/8,::1"),
        (True, ("10.0.0.0/8",), "ok", "public addresses, and 10.0.0.0/8"),
        (True, ("a.example", "*"), "warning", "EGRESS_ALLOW has *"),
        (False, (), "warning", "whatever this machine reaches"),
    ],
)
def test_egress(on: bool, allow: tuple[str, ...], state: State, text: str) -> None:
    found = doctor_findings.on_egress(on, allow)
    assert found.state == state
    assert text in found.says


@pytest.mark.parametrize(
    ("gib", "sessions", "state", "do"),
    [(8, 64, "ok", ""), (8, 128, "ok", ""), (8, 129, "warning", "to 64"), (0.05, 4, "warning", "to 1")],
)
def test_memory_for_the_allowed_number_of_sessions(gib: float, sessions: int, state: State, do: str) -> None:
    found = doctor_findings.on_memory(int(gib * GIB), sessions)
    assert found.state == state
    assert do in found.do


@pytest.mark.parametrize(("limit", "state"), [(1056, "ok"), (1055, "warning")])
def test_open_files_for_a_hundred_sessions(limit: int, state: State) -> None:
    found = doctor_findings.on_open_files(limit, 100)
    assert found.state == state
    assert "1056" in found.says
    assert ("ulimit -Hn 1056" in found.do) is (state == "warning")


@pytest.mark.parametrize(
    ("limit", "used", "state", "do"),
    [(None, 0, "ok", ""), (2300, 100, "ok", ""), (2300, 101, "warning", "to 99"), (100, 90, "warning", "to 1.")],
)
def test_threads_for_a_hundred_sessions(limit: int | None, used: int, state: State, do: str) -> None:
    found = doctor_findings.on_threads(limit, used, 100)
    assert found.state == state
    assert do in found.do


@pytest.mark.parametrize(("version", "state"), [((3, 11, 0), "ok"), ((3, 10, 9), "problem"), ((4, 0, 0), "ok")])
def test_python(version: tuple[int, int, int], state: State) -> None:
    assert doctor_findings.on_python(version).state == state


def test_a_full_chromium_is_a_warning_and_a_headless_shell_is_ok() -> None:
    assert doctor_findings.on_browser("Chromium 1", Path("/c"), "the system's", full=False).state == "ok"
    full = doctor_findings.on_browser("Chromium 1", Path("/c"), "the system's", full=True)
    assert full.state == "warning"
    assert "headless shell" in full.do


@pytest.mark.parametrize(
    ("missing", "state", "says", "do"),
    [
        ([], "ok", "There are fonts for Chinese, Japanese, Korean, emoji.", ""),
        (
            ["Chinese", "Korean"],
            "warning",
            "No font for Chinese, Korean: ",
            "On Debian: apt-get install fonts-noto-cjk",
        ),
        (["emoji"], "warning", "No font for emoji: ", "On Debian: apt-get install fonts-noto-color-emoji"),
        (list(FONTS), "warning", "emoji", "On Debian: apt-get install fonts-noto-cjk fonts-noto-color-emoji"),
        (
            None,
            "warning",
            "Not checked",
            "On Debian: apt-get install fontconfig fonts-noto-cjk fonts-noto-color-emoji",
        ),
    ],
)
def test_missing_fonts_are_a_warning_with_the_packages_to_install(
    missing: list[str] | None, state: State, says: str, do: str
) -> None:
    found = doctor_findings.on_fonts(missing)
    assert (found.check, found.state, found.do) == ("fonts", state, do)
    assert says in found.says


def test_missing_fonts_are_found_with_fontconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert missing_fonts() is None
    program = tmp_path / "fc-list"
    program.write_text('#!/bin/sh\ncase "$2" in :lang=ja|:charset=1f600) exit 0 ;; *) exit 1 ;; esac\n')
    program.chmod(0o755)
    assert missing_fonts() == ["Chinese", "Korean"]


def test_no_sandbox_is_a_warning_with_its_reason() -> None:
    assert doctor_findings.on_sandbox(True, "").state == "ok"
    without = doctor_findings.on_sandbox(False, "As root there is none.")
    assert without.state == "warning"
    assert "As root there is none." in without.says


def test_a_driver_that_is_root_is_a_warning_with_its_reason() -> None:
    assert doctor_findings.on_driver("").state == "ok"
    root = doctor_findings.on_driver("Nobody else can run it.")
    assert (root.state, root.says) == ("warning", "Nobody else can run it.")


def test_the_data_folder_is_examined_without_creating_it(tmp_path: Path) -> None:
    missing = folder_at(tmp_path / "a" / "b")
    assert (missing.exists, missing.is_folder, missing.writable) == (False, True, True)
    (tmp_path / "file").touch()
    assert not folder_at(tmp_path / "file" / "b").is_folder
    tmp_path.chmod(0o705)
    there = folder_at(tmp_path)
    assert (there.exists, there.mode) == (True, 0o705)
    assert not (tmp_path / "a").exists()


def test_an_invalid_setting_is_a_problem_and_stops_the_checks() -> None:
    found = examine({"port": "seven"}, {})
    assert [each.check for each in found] == ["python", "settings"]
    assert found[-1].state == "problem"
    assert "BROWSER_SESSIONS_PORT" in found[-1].says


def test_a_misspelt_setting_is_reported_with_the_likely_one() -> None:
    environ = {
        "BROWSER_SESSIONS_MAX_SESIONS": "5",
        "browser_sessions_port": "9000",
        "BROWSER_SESSIONS_API_KEY": "for clients",
        "BROWSER_SESSIONS_SERVICE_HOST": "10.0.0.1",
        "BROWSER_SESSIONS_PORT_8000_TCP_ADDR": "10.0.0.1",
        "OTHERS_PORT": "1",
    }
    assert unknown(environ) == [
        "BROWSER_SESSIONS_MAX_SESIONS is not a setting and has no effect. Did you mean BROWSER_SESSIONS_MAX_SESSIONS?"
    ]
    assert unknown({"BROWSER_SESSIONS_COLOUR": ""}) == ["BROWSER_SESSIONS_COLOUR is not a setting and has no effect."]


@pytest.mark.parametrize(("max_sessions", "share"), [(1, 1), (2, 1), (4, 3), (10, 8), (500, 375)])
def test_a_client_may_have_three_quarters_of_the_sessions_by_default(max_sessions: int, share: int) -> None:
    assert load(max_sessions=max_sessions).session_quotas == {Role.CLIENT: share}


def test_a_quota_that_was_set_is_for_all_roles_and_none_is_for_nobody() -> None:
    assert load(max_sessions_per_principal=2).session_quotas == dict.fromkeys(Role, 2)
    assert load(max_sessions_per_principal="none").session_quotas == {}


def test_a_port_set_by_kubernetes_has_a_specific_error() -> None:
    with pytest.raises(SettingsError, match=r"BROWSER_SESSIONS_PORT: must be a number; .*enableServiceLinks: false"):
        load(port="tcp://10.96.0.7:8000")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_new_admin_key_is_shown_on_a_terminal_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    own = SimpleNamespace(admin_key="bs_admin_new", admin_key_is_new=True)
    service: Any = SimpleNamespace(settings=SimpleNamespace(data_dir=tmp_path), secrets=own)
    shown = "\n".join(greeting(service, "http://127.0.0.1:8000"))
    assert ("bs_admin_new" in shown) is terminal
    assert str(tmp_path / "secrets" / "admin_api_key") in shown


def test_a_secret_leaves_the_environment_also_where_proc_shows_it() -> None:
    program = "from browser_sessions.settings import load; load(); print(open('/proc/self/environ').read())"
    secret = "a key of one's own"
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "BROWSER_SESSIONS_ADMIN_API_KEY": secret, "LAST": "as it was"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert secret not in ran.stdout
    assert "LAST=as it was" in ran.stdout


def test_the_limit_of_open_files_is_raised_to_the_hard_one() -> None:
    program = (
        "import resource; from browser_sessions.settings import raise_open_files_limit; raise_open_files_limit();"
        "print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    command = ["prlimit", "--nofile=100:200", sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "200 200\n"
