"""How the command line speaks: answers on standard output, complaints on standard error, nothing in between."""

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
"""Exit code for what the caller has to set right before anything can start; POSIX utilities and click use it so."""
FAILED: Final = 1
INTERRUPTED: Final = 130
"""128 + SIGINT, as shells count it."""
WIDE: Final = 200
"""Columns when nobody looks: a pipe has no width, and cut ids are of no use to grep."""

_STEERING: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode categories that a terminal may act on: controls, direction marks, halves of characters, private ones."""


def plain(value: object) -> str:
    """Text of a page or of another user, fit to be shown in a terminal."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in _STEERING else c for c in str(value))


def show(what: RenderableType) -> None:
    """For people, on standard output. Long lines of text are left to the terminal: what it wraps can be copied."""
    console().print(what, soft_wrap=isinstance(what, Text))


def console() -> Console:
    """Made when it is used: tests and pipes replace the streams."""
    return Console(width=None if sys.stdout.isatty() else WIDE, highlight=False, markup=False, emoji=False)


def show_json(data: Any, *, lines: bool = False) -> None:
    """For programs, on standard output; `lines` puts it on one line. ASCII: safe in every terminal and encoding."""
    typer.echo(json.dumps(data, indent=None if lines else 2))


def say(sentence: str) -> None:
    """On standard error, so that it never gets into what a program reads."""
    typer.echo(plain(sentence), err=True)


@contextmanager
def complaints(code: int) -> Iterator[None]:
    """An error of ours becomes one sentence and the exit code `code`; Ctrl-C ends without a word."""
    try:
        yield
    except BrowserSessionsError as error:
        for line in error.detail.splitlines():
            say(line)
        raise typer.Exit(code) from None
    except (KeyboardInterrupt, typer.Abort):
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def asking() -> Iterator[None]:
    """While a person is asked, Ctrl-C interrupts at once: asyncio would cancel a task that waits for the answer."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
