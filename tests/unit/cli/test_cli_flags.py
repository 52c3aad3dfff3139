"""Flags of `serve` and the settings page of the docs match the settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from browser_sessions.cli.node.setting_flags import described, parameters, values_of
from browser_sessions.domain.errors import SettingsError
from browser_sessions.settings import Settings, load
from tests.harness.paths import ROOT


def test_every_setting_has_a_flag() -> None:
    assert [setting.name for setting in described()] == list(Settings.model_fields)
    assert len(parameters()) == len(Settings.model_fields)


def test_exactly_the_secrets_are_read_from_files() -> None:
    secrets = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    assert secrets == {setting.name for setting in described() if setting.flag.endswith("-file")}
    assert "admin_api_key" in secrets


def test_every_flag_has_a_description() -> None:
    assert [setting.name for setting in described() if not setting.description.endswith((".", "`: all."))] == []


def test_flags_are_converted_to_settings(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("0123456789abcdef\n")
    given = {
        "port": "0",
        "data_dir": str(tmp_path),
        "admin_api_key_file": str(key),
        "max_lifetime_seconds": "none",
        "allowed_hosts": "a.example.com, b.example.com",
        "require_sandbox": False,
        "host": None,
    }
    values = values_of(given)
    assert "host" not in values
    settings = load(**values)
    assert settings.port == 0
    assert settings.admin_api_key is not None
    assert settings.admin_api_key.get_secret_value() == "0123456789abcdef"
    assert settings.max_lifetime_seconds is None
    assert settings.allowed_hosts == ("a.example.com", "b.example.com")
    assert settings.host == "127.0.0.1"


def test_a_key_file_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--admin-api-key-file: .* No such file"):
        values_of({"admin_api_key_file": str(tmp_path / "none")})


@pytest.mark.parametrize(
    ("name", "allowed", "default"),
    [
        ("port", "at least 0, at most 65535", "8000"),
        ("max_sessions", "at least 1, at most 10000", "half of the memory in sessions of 64 MiB"),
        ("max_lifetime_seconds", "more than 0, at most 2592000 or `none`", "86400"),
        ("require_sandbox", "", "no"),
        ("admin_api_key", "at least 16 characters", ""),
        ("log_format", "", "console"),
    ],
)
def test_bounds_and_defaults_are_described(name: str, allowed: str, default: str) -> None:
    setting = next(each for each in described() if each.name == name)
    assert setting.allowed == allowed
    assert setting.default.startswith(default)


def test_the_settings_page_contains_no_facts_of_the_generating_machine() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert str(Path.home()) not in page.replace("~/", "")
    assert not re.search(r"\b\d{3,}\b sessions", page)
