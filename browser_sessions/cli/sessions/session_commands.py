"""show, create, end, open."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import webbrowser
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from browser_sessions.api.models import (
    BrowserSessionCreated,
    BrowserSessionDetails,
    BrowserSessionHealth,
    BrowserSessionResponse,
)
from browser_sessions.cli.output import FAILED, WRONG_USE, prompting, show, show_json, warn
from browser_sessions.cli.service_command import Connection, service_command
from browser_sessions.cli.sessions.session_arguments import Metadata, SessionId, SessionIds, metadata_pairs, whole_id
from browser_sessions.cli.tables import details_table, duration, facts, status_text
from browser_sessions.client.api_calls import SESSIONS
from browser_sessions.client.errors import ClientError
from browser_sessions.domain.session import SessionStatus

CONCURRENT_ENDS: Final = 8
"""Enough to hide the round trip, too few to be a load."""

_VIEWPORT: Final = re.compile(r"(\d{1,5})[xX](\d{1,5})")


@service_command
async def show_session(connection: Connection, session: SessionId) -> None:
    """Show one session, with fresh addresses to connect to and to watch."""
    path = f"{SESSIONS}/{await whole_id(connection.client, session)}"
    found = await connection.client.call("GET", path + "/details")
    if connection.as_json:
        show_json(found)
        return
    details = BrowserSessionDetails.model_validate(found)
    health = None
    if details.status == SessionStatus.ACTIVE:
        health = BrowserSessionHealth.model_validate(await connection.client.call("GET", path + "/health"))
    show(details_table(details, health, datetime.now(UTC)))


@service_command
async def create(
    connection: Connection,
    start_url: Annotated[str | None, typer.Argument(metavar="[URL]", help="The first page's address.")] = None,
    viewport: Annotated[
        str | None, typer.Option(metavar="WIDTHxHEIGHT", help="CSS pixels, for example 1280x720.")
    ] = None,
    user_agent: Annotated[str | None, typer.Option(metavar="TEXT")] = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="A Playwright device, for example 'iPhone 15'.")
    ] = None,
    locale: Annotated[str | None, typer.Option(metavar="TAG", help="For example de-CH.")] = None,
    timezone: Annotated[str | None, typer.Option(metavar="NAME", help="For example Europe/Zurich.")] = None,
    color_scheme: Annotated[str | None, typer.Option(metavar="light|dark|no-preference")] = None,
    isolation: Annotated[
        str | None,
        typer.Option(metavar="context|browser", help="browser: a Chromium process of its own."),
    ] = None,
    idle_timeout: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="End after this time without use, or none.")
    ] = None,
    max_lifetime: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="End this long after its creation, or none.")
    ] = None,
    wait: Annotated[float | None, typer.Option(metavar="SECONDS", help="How long to wait for free capacity.")] = None,
    metadata: Metadata = None,
    json_body: Annotated[
        str | None,
        typer.Option(
            metavar="JSON|FILE|-",
            help="Other fields of CreateBrowserSession: JSON, a file, or - for standard input. Put secrets into a "
            "file. The options above take precedence.",
        ),
    ] = None,
) -> None:
    """Create a session."""
    body = _json_object(json_body) | {
        name: value
        for name, value in {
            "start_url": start_url,
            "user_agent": user_agent,
            "device": device,
            "locale": locale,
            "timezone_id": timezone,
            "color_scheme": color_scheme,
            "isolation": isolation,
            "wait_seconds": wait,
        }.items()
        if value is not None
    }
    if viewport is not None:
        body["viewport_width"], body["viewport_height"] = _sides(viewport)
    if idle_timeout is not None:
        body["idle_timeout_seconds"] = _seconds(idle_timeout, "--idle-timeout")
    if max_lifetime is not None:
        body["max_lifetime_seconds"] = _seconds(max_lifetime, "--max-lifetime")
    if metadata:
        body["metadata"] = {**body.get("metadata", {}), **metadata_pairs(metadata)}
    made = await connection.client.create_from(body)
    if connection.as_json:
        show_json(made)
        return
    session = BrowserSessionCreated.model_validate(made)
    left = None if session.expires_at is None else (session.expires_at - datetime.now(UTC)).total_seconds()
    show(
        facts(
            [
                ("session", session.session_id),
                ("status", status_text(session.status)),
                ("ends in", "never" if left is None else f"{duration(left)}, extended by use"),
                ("connect", session.connect_url),
                ("watch", session.live_url),
            ]
        )
    )


@service_command
async def end(
    connection: Connection,
    sessions: SessionIds,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """End sessions. With --json, one line each."""
    ids = list(dict.fromkeys([await whole_id(connection.client, each) for each in sessions]))
    if len(ids) > 1 and not yes:
        if not sys.stdin.isatty():
            warn(f"Not ended: {len(ids)} sessions need a confirmation. Add --yes to end them all.")
            raise typer.Exit(WRONG_USE)
        with prompting():
            agreed = typer.confirm(f"End {len(ids)} sessions?", err=True)
        if not agreed:
            raise typer.Exit(FAILED)
    gate = asyncio.Semaphore(CONCURRENT_ENDS)

    async def end_one(session_id: str) -> Any:
        async with gate:
            return await connection.client.call("DELETE", f"{SESSIONS}/{session_id}")

    answers = await asyncio.gather(*map(end_one, ids), return_exceptions=True)
    failed = False
    for session_id, answer in zip(ids, answers, strict=True):
        if isinstance(answer, ClientError):
            failed = True
            warn(f"{session_id}: {answer.detail}")
        elif isinstance(answer, BaseException):
            raise answer
        elif connection.as_json:
            show_json(answer, lines=True)
        else:
            ended = BrowserSessionResponse.model_validate(answer)
            show(Text.assemble(ended.session_id, " ", status_text(ended.status)))
    if failed:
        raise typer.Exit(FAILED)


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


def _sides(text: str) -> tuple[int, int]:
    match = _VIEWPORT.fullmatch(text)
    if match is None:
        raise typer.BadParameter("must be WIDTHxHEIGHT, for example 1280x720", param_hint="--viewport")
    return int(match.group(1)), int(match.group(2))


def _seconds(text: str, option: str) -> float | None:
    if text.lower() in ("none", "null"):
        return None
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter("must be a number of seconds or none", param_hint=option) from None


def _json_object(given: str | None) -> dict[str, Any]:
    if given is None:
        return {}
    try:
        if given == "-":
            text = sys.stdin.read()
        else:
            text = given if given.lstrip().startswith("{") else Path(given).read_text(encoding="utf-8")
        found = json.loads(text)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise typer.BadParameter(f"is neither JSON nor a file with JSON: {why}", param_hint="--json-body") from None
    if not isinstance(found, dict):
        raise typer.BadParameter("must be a JSON object", param_hint="--json-body")
    return found
