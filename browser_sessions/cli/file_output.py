"""Content for a file or standard output."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from browser_sessions.cli.exit_codes import ExitCode
from browser_sessions.cli.output import show_json
from browser_sessions.cli.reports import CommandError

Output = Annotated[
    str | None,
    typer.Option(
        "--output", "-o", metavar="FILE|-", help="Where to write it. Default: standard output, if that is no terminal."
    ),
]
STANDARD_OUTPUT: Final = "-"


def destination(output: str | None, *, as_json: bool) -> str:
    """Called before the work is done. Raises `BadParameter` for bytes on a terminal, or among JSON."""
    if output is None and (as_json or _on_terminal()):
        why = "--json describes a file" if as_json else "standard output is a terminal"
        raise typer.BadParameter(f"name a file: {why}", param_hint="--output")
    return output or STANDARD_OUTPUT


def _on_terminal() -> bool:
    return sys.stdout.isatty()


def write(content: bytes, output: str, *, as_json: bool, secret: bool = False) -> None:
    """To a file, which only its owner may read if it is `secret`, or to standard output. Raises `CommandError`."""
    if output == STANDARD_OUTPUT:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return
    try:
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600 if secret else 0o666)
        with os.fdopen(handle, "wb") as file:
            if secret:  # the file may have been there before
                os.fchmod(handle, 0o600)
            file.write(content)
    except OSError as error:
        raise not_written(output, error) from error
    written(Path(output), as_json=as_json)


def written(file: Path, *, as_json: bool) -> None:
    if as_json:
        show_json({"file": str(file), "bytes": file.stat().st_size})


def not_written(file: str, error: OSError) -> CommandError:
    return CommandError(ExitCode.FAILED, f"{file} cannot be written: {error.strerror or error}.")
