"""Static checks of the console's files: small, self-contained, nothing inline, text never as HTML."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from browser_sessions.cli.sessions.end_reasons import WHY_ENDED
from browser_sessions.domain.session import EndReason
from tests.harness.paths import ROOT

WEB = ROOT / "browser_sessions" / "console" / "static"
ASSETS = WEB / "assets"
SCRIPTS = sorted(ASSETS.rglob("*.js"))
OWN = [path for path in SCRIPTS if path.parent.name != "vendor"]
STYLES = sorted(ASSETS.rglob("*.css"))

SCRIPT_BUDGET = 170_000
"""Bytes before compression, including vendored code, so that the console shows within a second."""
LARGEST_FILE_LINES = 300


def name(path: Path) -> str:
    return path.relative_to(ASSETS).as_posix()


def test_scripts_fit_the_budget() -> None:
    assert sum(path.stat().st_size for path in SCRIPTS) < SCRIPT_BUDGET


@pytest.mark.parametrize("path", OWN, ids=name)
def test_files_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LARGEST_FILE_LINES


def test_vendored_files_match_their_recorded_hashes() -> None:
    recorded = dict(
        re.findall(r"\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|", (ASSETS / "vendor" / "README.md").read_text())
    )
    actual = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (ASSETS / "vendor").glob("*.js")}

    assert recorded == actual


def test_vendored_files_have_a_licence_file() -> None:
    licences = {path.stem for path in (ASSETS / "vendor").glob("*.LICENSE")}

    assert licences == {path.stem for path in (ASSETS / "vendor").glob("*.js")} - {"preact-hooks"}


@pytest.mark.parametrize("path", OWN, ids=name)
def test_no_script_turns_text_into_html_or_code(path: Path) -> None:
    source = path.read_text()

    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "dangerouslySetInnerHTML", "document.write", "eval(",
                 "new Function", "srcdoc", "DOMParser", "createContextualFragment", "setAttribute("):  # fmt: skip
        assert word not in source, word
    assert not re.search(r"\shref=\$\{(?!sessionPath)", source), "a URL from a page must be text, never a link"
    assert not re.search(r'style="', source), "the policy forbids inline styles"


def test_the_page_has_no_inline_code_and_no_external_resources() -> None:
    page = (WEB / "index.html").read_text()

    assert not re.search(r"<script(?![^>]*\ssrc=)", page)
    assert not re.search(r"<style|\sstyle=|\son\w+=", page)
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert address.startswith("/assets/"), address
        assert (WEB / address.lstrip("/")).is_file(), address


def test_every_module_is_preloaded_by_the_page() -> None:
    page = (WEB / "index.html").read_text()
    preloaded = re.findall(r'rel="modulepreload" href="/assets/([^"]+)"', page)

    assert preloaded == [name(path) for path in SCRIPTS if name(path) not in ("app.js", "theme.js")]


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_imports_are_relative_and_exist(path: Path) -> None:
    for target in re.findall(r'(?:^|[;}\s])(?:import|from)\s*"([^"]+)"', path.read_text()):
        assert target.startswith("."), target
        assert (path.parent / target).resolve().is_file(), target


def test_pure_modules_import_only_pure_modules() -> None:
    for path in (ASSETS / "pure").glob("*.js"):
        for target in re.findall(r'from "([^"]+)"', path.read_text()):
            assert (path.parent / target).resolve().parent == ASSETS / "pure", f"{path.name} imports {target}"


def test_colours_are_defined_in_one_file() -> None:
    for path in [*STYLES, *OWN]:
        if path.name != "tokens.css":
            assert not re.search(r"#[0-9a-fA-F]{3,8}\b(?![\w-])|rgba?\(|hsla?\(", path.read_text()), path.name


@pytest.mark.parametrize("path", STYLES, ids=name)
def test_sizes_follow_the_browsers_font_size(path: Path) -> None:
    """Lines and offsets of up to three pixels may stay."""
    assert [size for size in re.findall(r"([\d.]+)px", path.read_text()) if float(size) > 3] == []


def luminance(colour: str) -> float:
    """Relative luminance: WCAG 2.2, https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


TOKENS = dict(re.findall(r"--([\w-]+): light-dark\((#\w+, #\w+)\)", (ASSETS / "css" / "tokens.css").read_text()))


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("text", ["text", "dim", "accent", "good", "warn", "bad"])
@pytest.mark.parametrize("ground", ["bg", "surface", "hover", "sunken", "accent-soft"])
def test_text_has_sufficient_contrast_on_every_background(text: str, ground: str, theme: int) -> None:
    """WCAG 2.2 AA, 1.4.3: at least 4.5 to 1."""
    ink, paper = (TOKENS[token].split(", ")[theme] for token in (text, ground))

    assert contrast(ink, paper) >= 4.5


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("ink", "paper", "least"), [("on-accent", "accent", 4.5), ("bad", "bad-soft", 4.5),
                                                     ("text", "bad-soft", 4.5), ("dim", "bad-soft", 4.5),
                                                     ("line-strong", "surface", 3.0)])  # fmt: skip
def test_adjacent_colours_have_sufficient_contrast(ink: str, paper: str, least: float, theme: int) -> None:
    """4.5 to 1 for text, 3 to 1 for anything else (WCAG 2.2, 1.4.3 and 1.4.11)."""
    assert contrast(TOKENS[ink].split(", ")[theme], TOKENS[paper].split(", ")[theme]) >= least


def test_every_end_reason_has_a_text_and_the_command_line_prints_the_same() -> None:
    texts = re.findall(r"^  (\w+): \"(.+)\",$", (ASSETS / "pure" / "ends.js").read_text(), re.MULTILINE)
    assert dict(texts) == WHY_ENDED
    assert sorted(WHY_ENDED) == sorted(EndReason)
