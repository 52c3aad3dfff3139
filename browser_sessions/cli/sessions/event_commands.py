"""events, logs: what happens in sessions, as it was kept or as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Annotated, Any, Final

import typer

from browser_sessions.api.models.event_models import SessionEvent
from browser_sessions.cli.exit_codes import ExitCode
from browser_sessions.cli.output import plain, show_json
from browser_sessions.cli.reports import CommandError, report_error
from browser_sessions.cli.service_command import Connection, service_command
from browser_sessions.cli.sessions.session_arguments import SessionId, complete_any, whole_id
from browser_sessions.client import Client, NotReachable, Unavailable
from browser_sessions.domain.event_types import of_types

RECONNECT_S: Final = 1.0
"""A restart takes three."""
LOGGED: Final = (
    "console",
    "page.error",
    "page.crashed",
    "network.failed",
    "egress.refused",
    "egress.failed",
    "egress.traffic_limit",
)
"""The types of events that `logs` prints."""

Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens, until Ctrl-C.")]
After = Annotated[
    str | None, typer.Option("--after", metavar="EVENT_ID", help="Only what came after this event, which --json names.")
]


@service_command
async def events(
    connection: Connection,
    session: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="A session id, or its beginning. Default with -f: all sessions.",
            autocompletion=complete_any,
        ),
    ] = None,
    follow: Follow = False,
    after: After = None,
    types: Annotated[
        list[str] | None,
        typer.Option("--type", "-t", metavar="TYPE", help="Such as page.navigated, or a group: page. Repeatable."),
    ] = None,
) -> None:
    """Print a session's events, oldest first. With --json, one line each."""
    if session is None and not follow:
        raise typer.BadParameter("name a session, or follow all of them with -f", param_hint="ID")
    await _print(connection, session, types, follow=follow, after=after)


@service_command
async def logs(connection: Connection, session: SessionId, follow: Follow = False, after: After = None) -> None:
    """Print a session's console, errors and failed requests.

    With --json, one line each.
    """
    await _print(connection, session, LOGGED, follow=follow, after=after)


async def _print(
    connection: Connection, session: str | None, types: Iterable[str] | None, *, follow: bool, after: str | None
) -> None:
    client = connection.client
    session_id = None if session is None else await whole_id(client, session)
    try:
        wanted = of_types(types or ())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--type") from None
    if follow or session_id is None:  # only sessions have a history
        found = _following(connection, session_id, after)
    else:
        found = _kept(client, session_id, after)
    try:
        async with aclosing(found):
            async for event in found:
                if not wanted(event.type):
                    continue
                if connection.as_json:
                    show_json(event.model_dump(mode="json"), lines=True)
                else:
                    typer.echo(event_line(event, with_session=session_id is None))
    except asyncio.CancelledError:
        raise typer.Exit(ExitCode.OK) from None  # Ctrl-C is how following ends


async def _kept(client: Client, session_id: str, after: str | None) -> AsyncGenerator[SessionEvent]:
    kept = (await client.history(session_id)).events
    ids = [each.id for each in kept]
    if after is not None and after not in ids:
        raise CommandError(ExitCode.NOT_FOUND, f"The session has no event {plain(after[:64])} any more.")
    for event in kept[ids.index(after) + 1 if after is not None else 0 :]:
        yield event


async def _following(connection: Connection, session_id: str | None, after: str | None) -> AsyncGenerator[SessionEvent]:
    """Goes on after the last event when the service was away."""
    client = connection.client
    last, away = after, False
    await client.healthz()  # a service that is away from the start is an error
    while True:
        try:
            if session_id is None:
                stream = client.events(last_event_id=last)
            else:
                stream = client.session_events(session_id, since="start" if last is None else None, last_event_id=last)
            async with aclosing(stream):
                async for event in stream:
                    last, away = event.id, False
                    yield event
            return
        except (NotReachable, Unavailable) as error:
            if not away:
                report_error(error, as_json=connection.as_json, hint="Waiting for it.")
            away = True
            await asyncio.sleep(RECONNECT_S)


def event_line(event: SessionEvent, *, with_session: bool) -> str:
    """`2026-11-24T21:40:02.118Z page.navigated url=https://example.org/ title=Example`."""
    when = f"{event.at:%Y-%m-%dT%H:%M:%S}.{event.at.microsecond // 1000:03}Z"
    parts = [when, event.session_id or "" if with_session else "", event.type]
    parts += [f"{name}={_value(value)}" for name, value in event.data.items() if value is not None]
    return plain(" ".join(part for part in parts if part))


def _value(value: Any) -> str:
    """On one line; quoted where it would not be one word."""
    text = " ".join(str(value).split())
    return f'"{text}"' if " " in text or not text else text
