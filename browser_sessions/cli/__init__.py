"""The command line, `browser-sessions`. See docs/cli.md."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated, ClassVar, Final

import typer

from browser_sessions.cli.command_group import (
    ApiKeyFile,
    AsJson,
    CommandGroup,
    DataDir,
    Url,
    new_app,
    options_before,
    wants_json,
)
from browser_sessions.cli.standard_output import checked, reporting_failure

EXIT_CODES: Final = (
    "Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 not found, 4 refused (key, role, quota or no capacity), "
    "5 no service responds."
)


class _Commands(CommandGroup):
    places: ClassVar = {
        "serve": "node.serve:serve",
        "drain": "node.drain:drain",
        "doctor": "node.doctor:doctor",
        "backup": "node.backup:backup",
        "restore": "node.backup:restore",
        "ls": "sessions.session_list:ls",
        "create": "sessions.create:create",
        "show": "sessions.session_commands:show_session",
        "open": "sessions.session_commands:open_session",
        "health": "sessions.session_commands:health",
        "keepalive": "sessions.session_commands:keepalive",
        "goto": "sessions.page_commands:goto",
        "evaluate": "sessions.page_commands:evaluate",
        "content": "sessions.page_commands:content",
        "screenshot": "sessions.page_commands:screenshot",
        "pdf": "sessions.page_commands:pdf",
        "pages": "sessions.page_commands:pages",
        "events": "sessions.event_commands:events",
        "logs": "sessions.event_commands:logs",
        "downloads": "sessions.download_commands:downloads",
        "upload": "sessions.upload_commands:upload",
        "uploads": "sessions.upload_commands:uploads",
        "storage-state": "sessions.session_commands:storage_state",
        "control": "sessions.session_commands:control",
        "end": "sessions.session_commands:end",
        "pool": "pool:pool",
        "keys": "account_commands:keys",
        "users": "account_commands:users",
        "version": "version:version",
    }


app = new_app(name="browser-sessions", cls=_Commands, epilog=EXIT_CODES, add_completion=True)


def _version(wanted: bool) -> None:
    if wanted:
        from browser_sessions.cli.version import version

        version()
        raise typer.Exit


@app.callback()
def _every_command(
    ctx: typer.Context,
    url: Url = None,
    api_key_file: ApiKeyFile = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    _wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Live browser sessions in headless Chromium: isolated, watchable, with exact expiry.

    Options of every command that uses a service may stand before or after it.
    """
    options_before(ctx, {"url": url, "api_key_file": api_key_file, "data_dir": data_dir, "as_json": as_json})


def main() -> None:
    """The entry point."""
    if isinstance(sys.stderr, TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")
    sys.stdout = checked(sys.stdout)
    with reporting_failure(as_json=wants_json(sys.argv[1:])):
        try:
            app()
        finally:
            sys.stdout.flush()


__all__ = ["app", "main"]
