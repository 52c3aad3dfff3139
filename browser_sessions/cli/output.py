"""Output of commands: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:  # commands that print JSON do without it
    from rich.console import Console, RenderableType

UNLIMITED: Final = 2**31
"""Columns of a pipe or file: no table is cut."""

_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode categories that may control a terminal: control and format characters, surrogates, private use."""
_PADDING: Final = re.compile(r" +$", re.MULTILINE)


def plain(value: object) -> str:
    """Text of a page or of another user, without characters that could control the terminal."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in _UNSAFE else c for c in str(value))


def show(what: RenderableType) -> None:
    """To standard output, for people. Long lines of text are not wrapped, so that they can be copied."""
    from rich.text import Text

    target = console()
    if target.is_terminal:
        target.print(what, soft_wrap=isinstance(what, Text))
        return
    with target.capture() as captured:
        target.print(what, soft_wrap=isinstance(what, Text))
    typer.echo(_PADDING.sub("", captured.get()), nl=False)


def console() -> Console:
    """A new one each time: tests and pipes replace the streams."""
    from rich.console import Console

    return Console(
        width=None if sys.stdout.isatty() else UNLIMITED,
        # Rich's own NO_COLOR leaves bold and dim.
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        highlight=False,
        markup=False,
        emoji=False,
    )


def show_json(data: Any, *, lines: bool = False) -> None:
    """To standard output, for programs; `lines` puts it on one line. ASCII only: safe in every encoding."""
    typer.echo(json.dumps(data, indent=None if lines else 2))


def show_text(text: str) -> None:
    """A page's text to standard output: as it is in a pipe, without control characters on a terminal."""
    if sys.stdout.isatty():
        text = "\n".join("\t".join(map(plain, line.split("\t"))) for line in text.split("\n"))
    typer.echo(text, color=True)  # else click removes escape sequences from what goes into a pipe


def warn(sentence: str) -> None:
    """To standard error."""
    typer.echo(plain(sentence), err=True)


@contextmanager
def prompting() -> Iterator[None]:
    """Lets Ctrl-C interrupt a prompt at once; asyncio would wait for the answer before it cancels the task."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
