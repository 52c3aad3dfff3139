"""Output of commands: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import signal
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from browser_sessions.domain.errors import BrowserSessionsError

WRONG_USE: Final = 2
"""Exit code for wrong arguments, as of click and POSIX utilities."""
FAILED: Final = 1
INTERRUPTED: Final = 130
"""128 + SIGINT, as in shells."""
UNLIMITED: Final = 10_000
"""Columns of a pipe or file: wide enough that no table is cut."""

_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode categories that may control a terminal: control and format characters, surrogates, private use."""


def plain(value: object) -> str:
    """Text of a page or of another user, without characters that could control the terminal."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in _UNSAFE else c for c in str(value))


def show(what: RenderableType) -> None:
    """To standard output, for people. Long lines of text are not wrapped, so that they can be copied."""
    console().print(what, soft_wrap=isinstance(what, Text))


def console() -> Console:
    """A new one each time: tests and pipes replace the streams."""
    return Console(width=None if sys.stdout.isatty() else UNLIMITED, highlight=False, markup=False, emoji=False)


def show_json(data: Any, *, lines: bool = False) -> None:
    """To standard output, for programs; `lines` puts it on one line. ASCII only: safe in every encoding."""
    typer.echo(json.dumps(data, indent=None if lines else 2))


def warn(sentence: str) -> None:
    """To standard error."""
    typer.echo(plain(sentence), err=True)


@contextmanager
def complaints(code: int) -> Iterator[None]:
    """Prints a `BrowserSessionsError` as text and exits with `code`; exits silently at Ctrl-C."""
    try:
        yield
    except BrowserSessionsError as error:
        for line in error.detail.splitlines():
            warn(line)
        raise typer.Exit(code) from None
    except (KeyboardInterrupt, typer.Abort):
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def prompting() -> Iterator[None]:
    """Lets Ctrl-C interrupt a prompt at once; asyncio would wait for the answer before it cancels the task."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
