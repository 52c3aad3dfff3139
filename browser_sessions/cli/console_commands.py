"""watch, open: the operators' side of the command line."""

from __future__ import annotations

import sys
import webbrowser
from typing import Annotated

import typer

from browser_sessions.cli.output import show_json
from browser_sessions.cli.service_command import Talk, talking
from browser_sessions.cli.session_commands import OneId, Pairs, watching, whole_id


@talking
async def watch(
    talk: Talk,
    status: Annotated[list[str] | None, typer.Option("--status", "-s", help="Only these; may be repeated.")] = None,
    metadata: Pairs = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many, the newest first.")] = 50,
) -> None:
    """Watch the sessions, as the console lists them, until Ctrl-C."""
    await watching(talk, status, metadata, limit)


@talking
async def open_session(
    talk: Talk,
    session: OneId,
    browser: Annotated[bool, typer.Option(help="Open it; else only say where it is.")] = True,
) -> None:
    """Open the live view of a session in your browser."""
    address = f"{talk.client.url.rstrip('/')}/sessions/{await whole_id(talk.client, session)}"
    if talk.as_json:
        show_json({"url": address})
    else:
        typer.echo(address)
    if browser and sys.stdout.isatty():
        webbrowser.open(address)
