"""Examples in the docs are valid and links resolve."""

from __future__ import annotations

import ast
import configparser
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import typer
from typer.main import get_command

from browser_sessions.api.errors import TABLE
from browser_sessions.api.models.create_body import CreateBrowserSession
from browser_sessions.cli import app
from browser_sessions.cli.exit_codes import ExitCode
from browser_sessions.domain.session import SessionStatus
from browser_sessions.settings import PREFIX, Settings
from tests.harness.documents import PAGES, blocks
from tests.harness.newcomer import outputs
from tests.harness.paths import ROOT

OF_OTHERS: Final = {"HTTP_PROXY", "CONNECT_URL", "PLAYWRIGHT_BROWSERS_PATH", "SSL_CERT_FILE"} | {
    *("CAP_SYS_NICE", "RLIMIT_RTPRIO", "SCHED_RR")
}
OF_CLIENTS: Final = {"URL", "API_KEY"}
UNCHECKED: Final = frozenset({"js", "dockerfile", "caddy", "nginx", "java", "csharp", "go", "ruby", "mermaid", "text"})


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_relative_link_resolves(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    gone = [each for each in targets if "://" not in each and not (page.parent / each).exists()]
    assert gone == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_block_is_of_a_known_language_and_well_formed(page: Path) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for block in blocks(page):
        if block.language == "json":
            outputs(block.text)
        elif block.language == "yaml":
            pytest.importorskip("yaml").safe_load(block.text)
        elif block.language == "python":
            compile(block.text, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        elif block.language == "ini":
            unit = configparser.ConfigParser(strict=False, interpolation=None)
            unit.read_string(block.text)
            assert set(re.findall(rf"{PREFIX}[A-Z_]+", block.text)) <= known
        elif block.language == "bash":
            checked = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
            assert checked.returncode == 0, checked.stderr
        else:
            assert block.language in UNCHECKED, f"{named(page)}:{block.line}: {block.language!r} is not known"


OLD_CURL_OPTIONS: Final = {"--data-binary", "-F", "-H", "-N", "-OJ", "-X", "-d", "-i", "-o", "-s"}
"""All known to curl 7.74 of Debian 11. `--json`, for example, was added in 7.82."""


def curl_options(code: str) -> set[str]:
    """Options of `curl`, and of the `api` function that docs/api.md defines with it."""
    without_values = re.sub(r"""'[^']*'|"[^"]*\"""", "VALUE", code)
    commands = re.findall(r"(?m)\b(?:curl|api) ([^|;)\n]*)", without_values)
    return {word for command in commands for word in command.split() if word.startswith("-")}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_an_old_curl_knows_every_option(page: Path) -> None:
    code = "\n".join(block.text for block in blocks(page) if block.language == "bash")
    assert curl_options(code) <= OLD_CURL_OPTIONS
    assert "--json" in curl_options(f"{code}\ncurl --json '{{}}' $URL")


@pytest.mark.parametrize("page", ["settings", "telemetry", "performance"])
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


def test_the_api_page_documents_every_option_status_and_problem() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    names = [*CreateBrowserSession.model_fields, *(each.value for each in SessionStatus)]
    names += [kind.slug for kind in TABLE.values() if kind.slug != "unavailable"]  # only its children are raised
    assert [name for name in names if f"`{name}`" not in page] == []


@pytest.mark.parametrize("page", [page for page in PAGES if "decisions" not in page.parts], ids=named)
def test_only_existing_settings_are_mentioned(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    known = {name.upper() for name in Settings.model_fields} | OF_CLIENTS
    assert set(re.findall(rf"{PREFIX}([A-Z_]+)", text)) <= known
    if page.name in ("operations.md", "threat-model.md") or page.parent.name == "guides":
        assert set(re.findall(rf"`(?!ERR_|{PREFIX})([A-Z]+(?:_[A-Z]+)+)`", text)) <= known | OF_OTHERS


def test_every_test_of_the_threat_model_exists() -> None:
    page = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| threat")]
    tests = [re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row) for row in rows]
    assert all(tests)
    found = {file: (ROOT / file).read_text(encoding="utf-8") for each in tests for file, _ in each}
    assert [test for each in tests for file, test in each if f"def {test}(" not in found[file]] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_anchor_exists(page: Path) -> None:
    targets = re.findall(r"\]\(([^):#\s]*)#([^)\s]+)\)", page.read_text(encoding="utf-8"))
    assert [each for each in targets if each[1] not in anchors((page.parent / each[0]) if each[0] else page)] == []


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    headings = re.findall(r"(?m)^#+ (.+)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_docs_contain_no_secret(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"bs_[a-z0-9]{5,}_[A-Za-z0-9_\-]{20,}", text)
    assert not re.search(r"eyJ[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+", text)
