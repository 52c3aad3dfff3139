"""show, health, keepalive, control, storage-state, open, end."""

from __future__ import annotations

import asyncio
import json
import sys
import webbrowser
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import typer
from rich.text import Text

from browser_sessions.api.models.session_models import (
    BrowserSessionDetails,
    BrowserSessionHealth,
    BrowserSessionResponse,
)
from browser_sessions.cli.exit_codes import ExitCode
from browser_sessions.cli.file_output import Output, destination, write
from browser_sessions.cli.output import prompting, show, show_json
from browser_sessions.cli.reports import CommandError, report_error
from browser_sessions.cli.service_command import Connection, service_command
from browser_sessions.cli.sessions.session_arguments import SessionId, SessionIds, whole_id
from browser_sessions.cli.tables import details_table, facts, health_summary, moment, status_text
from browser_sessions.client.errors import ClientError
from browser_sessions.client.paths import SESSIONS

CONCURRENT_ENDS: Final = 8
"""Enough to hide the round trip, too few to be a load."""


@service_command
async def show_session(connection: Connection, session: SessionId) -> None:
    """Show one session, with new addresses to connect and watch."""
    path = f"{SESSIONS}/{await whole_id(connection.client, session)}"
    found = await connection.client.call("GET", path + "/details")
    if connection.as_json:
        show_json(found)
        return
    details = BrowserSessionDetails.model_validate(found)
    health = None
    if details.status == "active":
        health = BrowserSessionHealth.model_validate(await connection.client.call("GET", path + "/health"))
    show(details_table(details, health, datetime.now(UTC)))


@service_command
async def health(connection: Connection, session: SessionId) -> None:
    """Probe a session's browser now. Exit code 1 when it is not healthy."""
    found = await connection.client.health(await whole_id(connection.client, session))
    if connection.as_json:
        show_json(found.model_dump(mode="json"))
    else:
        show(
            facts(
                [
                    ("health", health_summary(found)),
                    ("status", status_text(found.status)),
                    ("pages", found.pages),
                    ("connections", found.connections),
                ]
            )
        )
    if not found.healthy:
        raise typer.Exit(ExitCode.FAILED)


@service_command
async def keepalive(
    connection: Connection,
    session: SessionId,
    extend: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Also move the end of its lifetime, within the service's limit."),
    ] = None,
) -> None:
    """Count as use: the idle timeout starts again."""
    found = await connection.client.keepalive(await whole_id(connection.client, session), extend_seconds=extend)
    if connection.as_json:
        show_json(found.model_dump(mode="json"))
    else:
        show(facts([("session", found.session_id), ("ends", moment(found.expires_at, datetime.now(UTC)))]))


@service_command
async def open_session(
    connection: Connection,
    session: SessionId,
    browser: Annotated[bool, typer.Option(help="Open it; otherwise only print its address.")] = True,
) -> None:
    """Open a session's page of the console in your browser."""
    client = connection.client
    address = f"{client.url.rstrip('/')}/sessions/{await whole_id(client, session)}"
    if connection.as_json:
        show_json({"url": address})
    else:
        typer.echo(address)
    if browser and sys.stdout.isatty():
        webbrowser.open(address)


@service_command
async def control(
    connection: Connection,
    session: SessionId,
    action: Annotated[Literal["take", "release"], typer.Argument(metavar="take|release")],
) -> None:
    """Take control of a session, or release it.

    While it is taken, the clients' commands wait.
    """
    found = await connection.client.control(await whole_id(connection.client, session), action)
    if connection.as_json:
        show_json(found.model_dump(mode="json"))
    else:
        show(facts([("controlled by", found.controlled_by or "its clients"), ("waiting", found.waiting)]))


@service_command
async def storage_state(connection: Connection, session: SessionId, output: Output = None) -> None:
    """Write a session's cookies and local storage to a file.

    For 'create --storage-state'. Keep the file secret: only its owner may read it.
    """
    target = destination(output, as_json=False)
    found = await connection.client.storage_state(await whole_id(connection.client, session))
    write(json.dumps(found, indent=2).encode() + b"\n", target, as_json=connection.as_json, secret=True)


@service_command
async def end(
    connection: Connection,
    sessions: SessionIds,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """End sessions. With --json, one line each."""
    given = [each for name in sessions for each in (_ids_from_input() if name == "-" else [name])]
    ids = list(dict.fromkeys([await whole_id(connection.client, each) for each in given]))
    if len(ids) > 1 and not yes:
        if not sys.stdin.isatty():
            raise CommandError(
                ExitCode.USAGE, f"Not ended: {len(ids)} sessions need a confirmation. Add --yes to end them all."
            )
        with prompting():
            agreed = typer.confirm(f"End {len(ids)} sessions?", err=True)
        if not agreed:
            raise typer.Exit(ExitCode.FAILED)
    gate = asyncio.Semaphore(CONCURRENT_ENDS)

    async def end_one(session_id: str) -> Any:
        async with gate:
            return await connection.client.call("DELETE", f"{SESSIONS}/{session_id}")

    answers = await asyncio.gather(*map(end_one, ids), return_exceptions=True)
    codes: set[ExitCode] = set()
    for session_id, answer in zip(ids, answers, strict=True):
        if isinstance(answer, ClientError):
            answer.session_id = session_id
            codes.add(report_error(answer, as_json=connection.as_json, prefix=f"{session_id}: "))
        elif isinstance(answer, BaseException):
            raise answer
        elif connection.as_json:
            show_json(answer, lines=True)
        else:
            ended = BrowserSessionResponse.model_validate(answer)
            show(Text.assemble(ended.session_id, " ", status_text(ended.status)))
    if codes:
        raise typer.Exit(codes.pop() if len(codes) == 1 else ExitCode.FAILED)


def _ids_from_input() -> list[str]:
    """Words of standard input. None is no error: `ls --quiet | end -` ends what there is."""
    return sys.stdin.read().split()
