"""The project's Markdown pages: their tables and code blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.harness.paths import ROOT

PAGES: Final = (ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md")))


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced code block. `note` is what follows the language on its first line; `output` is the block that begins
    where this one ends."""

    line: int
    language: str
    note: str
    text: str
    output: Block | None = None


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"(?ms)^```(\w*) ?([^\n]*)\n(.*?)^```$", text)
    made: list[Block] = []
    for each in reversed(list(found)):
        line = text.count("\n", 0, each.start()) + 1
        end = line + each.group().count("\n") + 1
        output = made[-1] if made and made[-1].line == end else None
        made.append(Block(line, each[1], each[2], each[3], output))
    return made[::-1]


def rows(page: str, *columns: str) -> list[tuple[str, ...]]:
    """The cells of every row of the page's tables with these columns. Fails if there is none."""
    head = re.escape(f"| {' | '.join(columns)} |")
    tables = re.findall(rf"(?m)^{head}\n\|[-|]+\|\n((?:\|.*\|\n)+)", text_of(page))
    assert tables, f"{page} has no table with the columns {columns}"
    lines = "".join(tables).splitlines()
    return [tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]) for line in lines]


def codes(cell: str) -> list[str]:
    """What is written as code in a cell."""
    return re.findall(r"`([^`]+)`", cell)
