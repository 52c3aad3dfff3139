"""Errors on standard error, as text or, with --json, as one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import typer

from browser_sessions.cli.exit_codes import ExitCode, exit_code
from browser_sessions.cli.output import warn
from browser_sessions.client.errors import ApiError, ClientError, NotTrusted
from browser_sessions.domain.errors import BrowserSessionsError

_TITLES: Final = {
    ExitCode.FAILED: "Failed",
    ExitCode.USAGE: "Wrong usage",
    ExitCode.NOT_FOUND: "Not found",
    ExitCode.REFUSED: "Refused",
    ExitCode.NO_SERVICE: "No service",
}
"""Of errors that are not the API's, which have titles of their own."""


class CommandError(BrowserSessionsError):
    """An error of a command itself, with its exit code."""

    def __init__(self, code: ExitCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def report(code: ExitCode, detail: str, *, as_json: bool, hint: str = "", **facts: Any) -> None:
    """Prints an error. `facts` are for programs only."""
    if code == ExitCode.BROKEN_PIPE:
        return
    if as_json:
        title = facts.pop("title", "") or _TITLES[code]
        known = {"title": title, "detail": detail, "hint": hint, "exit_code": int(code), **facts}
        typer.echo(json.dumps({name: value for name, value in known.items() if value or name == "exit_code"}), err=True)
        return
    for line in [*detail.splitlines(), *hint.splitlines()]:
        warn(line)


def report_error(error: ClientError, *, as_json: bool, hint: str = "", prefix: str = "") -> ExitCode:
    """Prints what the service answered, or that there is none. `prefix` is for people. Returns the exit code."""
    code = exit_code(error)
    facts: dict[str, Any] = {"session_id": error.session_id}
    if isinstance(error, ApiError):
        facts |= {
            "title": error.title,
            "type": error.type,
            "status": error.status,
            "retry_after": error.retry_after,
            "errors": list(error.errors),
        }
    elif isinstance(error, NotTrusted):
        facts["title"] = "Certificate not trusted"
    report(code, error.detail if as_json else prefix + error.detail, as_json=as_json, hint=hint, **facts)
    return code


@contextmanager
def reporting(code: ExitCode = ExitCode.FAILED, *, as_json: bool = False) -> Iterator[None]:
    """Reports a `BrowserSessionsError` and exits with its code, or `code`; exits silently at Ctrl-C."""
    try:
        yield
    except CommandError as error:
        report(error.code, error.detail, as_json=as_json)
        raise typer.Exit(error.code) from None
    except BrowserSessionsError as error:
        report(code, error.detail, as_json=as_json)
        raise typer.Exit(code) from None
    except (KeyboardInterrupt, typer.Abort):
        raise typer.Exit(ExitCode.INTERRUPTED) from None
