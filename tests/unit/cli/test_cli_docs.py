"""Examples in the docs are valid and links resolve."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from browser_sessions.api.errors import TABLE
from browser_sessions.api.models import CreateBrowserSession
from browser_sessions.cli import app
from browser_sessions.cli.exit_codes import ExitCode
from browser_sessions.domain.session import EndReason, SessionStatus
from browser_sessions.settings import PREFIX, Settings
from tests.harness.paths import ROOT

OURS = [
    ROOT / "README.md",
    *(ROOT / "docs" / name for name in ("README.md", "api.md", "architecture.md", "cli.md", "operations.md")),
]
PAGES = sorted({*OURS, *(ROOT / "docs").rglob("*.md")})


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"))


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_relative_link_resolves(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    gone = [each for each in targets if "://" not in each and not (page.parent / each).exists()]
    assert gone == []


@pytest.mark.parametrize("page", OURS, ids=named)
def test_every_json_block_is_json(page: Path) -> None:
    for block in blocks(page, "json"):
        json.loads(block)


@pytest.mark.parametrize("page", OURS, ids=named)
def test_every_shell_block_is_shell(page: Path) -> None:
    for block in blocks(page, "bash"):
        checked = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("page", OURS, ids=named)
def test_every_python_block_is_python(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, str(page), "exec", flags=0x2000)  # PyCF_ALLOW_TOP_LEVEL_AWAIT


@pytest.mark.parametrize("page", ["settings", "telemetry"])
def test_generated_pages_are_up_to_date(page: str) -> None:
    script = f"scripts/gen_{page}_doc.py"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    checked = subprocess.run([sys.executable, script, "--check"], check=False, cwd=ROOT, env=environment)
    assert checked.returncode == 0, f"run: python {script}"


def test_the_command_line_page_has_every_command_and_exit_code() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    group: Any = get_command(app)
    context = typer.Context(group)
    commands = set()
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        commands |= {f"{name} {each}" for each in getattr(command, "commands", {})} or {name}
    rows = re.findall(r"(?m)^\| `([^`]+)`.* \| (?!`)", page.split("## Commands", 1)[1])
    documented = {" ".join(re.findall(r"^[a-z -]+", row)[0].split()) for row in rows}
    assert {each.removesuffix(" take") for each in documented} == commands
    codes = re.findall(r"(?m)^\| (\d+) \|", page)
    assert [int(code) for code in codes] == list(ExitCode)


def test_every_end_reason_is_documented() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert [reason for reason in EndReason if f"`{reason.value}`" not in page] == []


def test_the_api_page_documents_every_option_status_and_problem() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    names = [*CreateBrowserSession.model_fields, *(each.value for each in SessionStatus)]
    names += [kind.slug for kind in TABLE.values() if kind.slug != "unavailable"]  # only its children are raised
    assert [name for name in names if f"`{name}`" not in page] == []


def test_the_operations_page_mentions_only_existing_settings() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    known = {name.upper() for name in Settings.model_fields}
    assert set(re.findall(rf"{PREFIX}([A-Z_]+)", page)) <= known
    assert set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", page)) <= known


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_docs_contain_no_secret(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"bs_[a-z0-9]{5,}_[A-Za-z0-9_\-]{20,}", text)
    assert not re.search(r"eyJ[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+", text)
