"""ls: sessions as a table, once or every second."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from browser_sessions.api.models.session_models import LIST_LIMIT, BrowserSessionList
from browser_sessions.cli.output import console, plain, show, show_json
from browser_sessions.cli.reports import report_error
from browser_sessions.cli.service_command import Connection, service_command
from browser_sessions.cli.sessions.session_arguments import OVERVIEW, Metadata, metadata_pairs
from browser_sessions.cli.tables import Row, sessions_table
from browser_sessions.client import ApiError, Client, NotReachable
from browser_sessions.client.paths import SESSIONS, list_query
from browser_sessions.domain.session import SessionStatus

REFRESH_S: Final = 1.0
"""Times in the table are whole seconds."""

_STATUSES: Final = ", ".join(SessionStatus)


@service_command
async def ls(
    connection: Connection,
    status: Annotated[
        list[str] | None, typer.Option("--status", "-s", help=f"Only this status ({_STATUSES}). Repeatable.")
    ] = None,
    metadata: Metadata = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Maximum number of sessions.")] = 50,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print ids only, one on a line.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh every second until Ctrl-C.")] = False,
) -> None:
    """List sessions, newest first.

    Yours, or all with an operator's key.
    """
    listing = _Listing(connection.client, status or [], metadata_pairs(metadata), limit)
    if watch:
        await _watch(listing, as_json=connection.as_json)
    elif connection.as_json:
        show_json(await listing.sessions())
    elif quiet:
        for session in (await listing.sessions())["sessions"]:
            typer.echo(session["session_id"])
    else:
        show(await listing.view())


class _Listing:
    """The query of one `ls`. Every method raises `NotReachable` and `ApiError`."""

    def __init__(self, client: Client, status: Sequence[str], metadata: Mapping[str, str], limit: int) -> None:
        self._client = client
        self._status = status
        self._metadata = metadata
        self._limit = limit

    async def sessions(self) -> dict[str, Any]:
        """At most `limit` sessions in the API's own shape, from as many pages as that takes."""
        listed: dict[str, Any] = {"sessions": [], "next_cursor": None}
        while True:
            query = list_query(
                status=self._status,
                metadata=self._metadata,
                limit=min(LIST_LIMIT, self._limit - len(listed["sessions"])),
                cursor=listed["next_cursor"],
            )
            page = await self._client.call("GET", SESSIONS, query=query)
            listed = {**page, "sessions": [*listed["sessions"], *page["sessions"]]}
            if listed["next_cursor"] is None or len(listed["sessions"]) >= self._limit:
                return listed

    async def view(self) -> Group:
        """The table. Titles, hosts and owners come from the overview, which has no filter by metadata and no pages."""
        listed = BrowserSessionList.model_validate(await self.sessions())
        if not listed.sessions:
            return Group(Text("No sessions."))
        overview = await self._client.call("GET", OVERVIEW)
        rows: dict[str, Row] = {row["session_id"]: row for row in overview["sessions"]}
        count = len(listed.sessions)
        more = " There are more: raise --limit." if listed.next_cursor else ""
        footer = Text(f"{count} session{'s' if count > 1 else ''}.{more}", style="dim")
        return Group(sessions_table(listed.sessions, rows, datetime.now(UTC), width=console().width), footer)


async def _watch(listing: _Listing, *, as_json: bool) -> None:
    """Refreshes until Ctrl-C, also while the service is away. Raises as the client does before the first answer."""
    view: Group | None = None
    away = False
    try:
        with Live(console=console(), auto_refresh=False, transient=False) as live:
            while True:
                problem: NotReachable | ApiError | None = None
                try:
                    if as_json:
                        show_json(await listing.sessions(), lines=True)
                    view = Group() if as_json else await listing.view()
                except (NotReachable, ApiError) as error:
                    if view is None or (isinstance(error, ApiError) and error.status < 500):
                        raise
                    problem = error
                if as_json and problem is not None and not away:
                    report_error(problem, as_json=True, hint="Waiting for it.")
                elif not as_json and view is not None:
                    shown = Group(view, Text(f"Not current: {plain(problem.detail)}" if problem else "", style="red"))
                    if live.console.is_terminal:
                        live.update(shown, refresh=True)
                    else:
                        show(shown)
                away = problem is not None
                await asyncio.sleep(REFRESH_S)
    except asyncio.CancelledError:
        raise typer.Exit(0) from None
