"""The page that a command is for: an id or its beginning, which the shell can complete."""

from __future__ import annotations

from typing import Annotated

import typer

from browser_sessions.cli.exit_codes import ExitCode
from browser_sessions.cli.output import plain
from browser_sessions.cli.reports import CommandError
from browser_sessions.cli.sessions.session_arguments import asked, session_of
from browser_sessions.client import Client


def complete_page(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """(page id, title or address) of the session's pages."""

    async def pages(client: Client) -> list[tuple[str, str]]:
        found = await client.pages(await session_of(client, ctx))
        return [(each.page_id, plain(each.title or each.url)) for each in found]

    return [each for each in asked(ctx, pages) or [] if each[0].startswith(incomplete)]


Page = Annotated[
    str | None,
    typer.Option(
        "--page",
        metavar="PAGE_ID",
        help="From 'pages ls', or its beginning. Default: the session's first page.",
        autocompletion=complete_page,
    ),
]
PageId = Annotated[
    str, typer.Argument(metavar="PAGE_ID", help="From 'pages ls', or its beginning.", autocompletion=complete_page)
]


async def page_of(client: Client, session_id: str, page: str | None, *, may_open: bool = False) -> str:
    """The id of the one page that `page` matches, or of the first. Raises `CommandError`, `ClientError`."""
    found = [each.page_id for each in await client.pages(session_id)]
    if not found and may_open and page is None:
        return (await client.open_page(session_id)).page_id
    if not found:
        session = await client.details(session_id)
        if session.ended_at is not None:
            raise CommandError(ExitCode.FAILED, f"The session is {session.status} ({session.end_reason}).")
        raise CommandError(ExitCode.NOT_FOUND, "The session has no open page. Open one with 'goto' or 'pages open'.")
    if page is None:
        return found[0]
    matching = [each for each in found if each.lower().startswith(page.lower())]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise CommandError(ExitCode.USAGE, f"{len(matching)} page ids start with {plain(page[:64])}. Give more of it.")
    raise CommandError(
        ExitCode.NOT_FOUND, f"No page id of the session starts with {plain(page[:64])}. List them with 'pages ls'."
    )
