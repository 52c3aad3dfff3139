"""Arguments that several commands share: session ids, which the shell can complete, and metadata."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Final, TypeVar

import typer

from browser_sessions.cli.command_group import COMMON
from browser_sessions.cli.exit_codes import ExitCode
from browser_sessions.cli.output import plain
from browser_sessions.cli.reports import CommandError
from browser_sessions.cli.service_command import client_for
from browser_sessions.cli.tables import row_summary
from browser_sessions.client import Client
from browser_sessions.client.errors import ClientError
from browser_sessions.domain.errors import BrowserSessionsError
from browser_sessions.domain.session import FINAL

T = TypeVar("T")

OVERVIEW: Final = "/v1/browser/overview"
COMPLETION_TIMEOUT_S: Final = 2.0
"""A shell that waits longer after Tab seems to hang."""

_WHOLE_ID: Final = re.compile(r"ses_[0-9a-f]{32}")


def complete_any(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """(session id, status and title) of live and ended sessions, for the shell."""
    return [(row["session_id"], row_summary(row)) for row in _rows(ctx, incomplete)]


def complete_live(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """As `complete_any`, without ended sessions."""
    return [(row["session_id"], row_summary(row)) for row in _rows(ctx, incomplete) if row["status"] not in FINAL]


def _rows(ctx: typer.Context, incomplete: str) -> list[dict[str, Any]]:
    """Overview rows of sessions whose id starts with `incomplete`; none where the service does not answer."""

    async def overview(client: Client) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = (await client.call("GET", OVERVIEW))["sessions"]
        return rows

    return [row for row in asked(ctx, overview) or [] if row["session_id"].startswith(incomplete)]


async def session_of(client: Client, ctx: typer.Context) -> str:
    """The session of a command line that is being completed. Raises `CommandError`, `ClientError`."""
    # In front of an option without its value yet, the parser has sorted nothing.
    return await whole_id(client, ctx.params.get("session") or next(iter(ctx.args), ""))


def asked(ctx: typer.Context, ask: Callable[[Client], Awaitable[T]]) -> T | None:
    """What the service of the command line says; None where it does not: an error would be printed into that line."""
    options = {name: ctx.params.get(name) or ctx.find_root().params.get(name) for name in COMMON}
    if options["api_key_file"] == "-":
        return None  # standard input is for the command itself

    async def connected() -> T:
        client = client_for(options["url"], options["api_key_file"], options["data_dir"])
        async with client, asyncio.timeout(COMPLETION_TIMEOUT_S):
            return await ask(client)

    try:
        return asyncio.run(connected())
    except (ClientError, BrowserSessionsError, typer.BadParameter, TimeoutError):
        return None


SessionIds = Annotated[
    list[str],
    typer.Argument(
        metavar="ID...",
        help="Session ids, or prefixes that match one session; - reads them from standard input.",
        autocompletion=complete_live,
    ),
]
SessionId = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="A session id, or a prefix that matches one session.", autocompletion=complete_any
    ),
]
Metadata = Annotated[list[str] | None, typer.Option("--metadata", "-m", metavar="KEY=VALUE", help="Repeatable.")]


async def whole_id(client: Client, given: str) -> str:
    """The id of the one session that `given` matches; `ses_` may be left out. Raises `CommandError` for none or
    several."""
    prefix = given.lower()
    if _WHOLE_ID.fullmatch(prefix):
        return prefix
    if not re.fullmatch(r"(ses_)?[0-9a-f]{1,32}", prefix):
        raise CommandError(
            ExitCode.USAGE, f"{plain(given[:64])} is not a session id: ses_ and 1 to 32 hexadecimal digits."
        )
    wanted = "ses_" + prefix.removeprefix("ses_")
    found = [session.session_id async for session in client.iter_sessions() if session.session_id.startswith(wanted)]
    if not found:
        raise CommandError(
            ExitCode.NOT_FOUND, f"No session id starts with {wanted}. List sessions with 'browser-sessions ls'."
        )
    if len(found) > 1:
        raise CommandError(ExitCode.USAGE, f"{len(found)} session ids start with {wanted}. Give more of the id.")
    return found[0]


def metadata_pairs(texts: Sequence[str] | None) -> dict[str, str]:
    """Raises `BadParameter` for anything but KEY=VALUE."""
    pairs = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{plain(text[:64])!r} is not KEY=VALUE", param_hint="--metadata")
        pairs[key] = value
    return pairs
