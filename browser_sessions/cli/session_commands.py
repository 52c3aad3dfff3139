"""ls, show, create, end."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from browser_sessions.api.models import (
    LIST_LIMIT,
    BrowserSessionCreated,
    BrowserSessionDetails,
    BrowserSessionHealth,
    BrowserSessionList,
    BrowserSessionResponse,
)
from browser_sessions.cli.output import FAILED, WRONG_USE, asking, console, plain, say, show, show_json
from browser_sessions.cli.service_command import Talk, talking
from browser_sessions.cli.tables import details_table, duration, facts, sessions_table, status_text
from browser_sessions.client import ApiError, Client, NotReachable
from browser_sessions.client.api_calls import SESSIONS, list_query
from browser_sessions.client.errors import ClientError
from browser_sessions.domain.errors import BrowserSessionsError
from browser_sessions.domain.session import SessionStatus

WATCH_EVERY_S: Final = 1.0
"""The times in the table are whole seconds."""
ENDING_AT_ONCE: Final = 8
"""Ends under way at a time: enough to hide the way there and back, too few to be a burden."""

_WHOLE_ID: Final = re.compile(r"ses_[0-9a-f]{32}")
_STATUSES: Final = ", ".join(SessionStatus)
_VIEWPORT: Final = re.compile(r"(\d{1,5})[xX](\d{1,5})")

Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Session ids, or beginnings that fit one session.")]
OneId = Annotated[str, typer.Argument(metavar="ID", help="A session id, or a beginning that fits one session.")]
Pairs = Annotated[list[str] | None, typer.Option("--metadata", "-m", metavar="KEY=VALUE", help="May be repeated.")]


@talking
async def ls(
    talk: Talk,
    status: Annotated[
        list[str] | None, typer.Option("--status", "-s", help=f"Only these ({_STATUSES}); may be repeated.")
    ] = None,
    metadata: Pairs = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many, the newest first.")] = 50,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again every second, until Ctrl-C.")] = False,
) -> None:
    """List sessions, newest first: yours, or everybody's with an operator's key."""
    if watch:
        await watching(talk, status, metadata, limit)
        return
    found = await _listed(talk.client, status or [], _pairs(metadata), limit)
    if talk.as_json:
        show_json(found)
    else:
        show(_list_view(BrowserSessionList.model_validate(found), datetime.now(UTC), whole_ids=not _looked_at()))


@talking
async def show_session(talk: Talk, session: OneId) -> None:
    """Show everything about one session, with fresh addresses to connect and to watch."""
    path = f"{SESSIONS}/{await whole_id(talk.client, session)}"
    found = await talk.client.call("GET", path + "/details")
    if talk.as_json:
        show_json(found)
        return
    details = BrowserSessionDetails.model_validate(found)
    health = None
    if details.status == SessionStatus.ACTIVE:
        health = BrowserSessionHealth.model_validate(await talk.client.call("GET", path + "/health"))
    show(details_table(details, health, datetime.now(UTC)))


@talking
async def create(
    talk: Talk,
    start_url: Annotated[str | None, typer.Argument(metavar="[URL]", help="Where its page goes first.")] = None,
    viewport: Annotated[str | None, typer.Option(metavar="WIDTHxHEIGHT", help="CSS pixels, such as 1280x720.")] = None,
    user_agent: Annotated[str | None, typer.Option(metavar="TEXT")] = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="A Playwright device, such as 'iPhone 15'.")
    ] = None,
    locale: Annotated[str | None, typer.Option(metavar="TAG", help="Such as de-CH.")] = None,
    timezone: Annotated[str | None, typer.Option(metavar="NAME", help="Such as Europe/Zurich.")] = None,
    color_scheme: Annotated[str | None, typer.Option(metavar="light|dark|no-preference")] = None,
    isolation: Annotated[
        str | None, typer.Option(metavar="context|browser", help="browser: a Chromium process of its own.")
    ] = None,
    idle_timeout: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="Ends after so long without use; none: never for that.")
    ] = None,
    max_lifetime: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="Ends so long after it was created; none: no limit.")
    ] = None,
    wait: Annotated[float | None, typer.Option(metavar="SECONDS", help="How long to wait for a free place.")] = None,
    metadata: Pairs = None,
    json_body: Annotated[
        str | None,
        typer.Option(
            metavar="JSON|FILE|-",
            help="Any other field of CreateBrowserSession: JSON itself, a file that holds it, or - for standard "
            "input. Use a file for what is secret. Options above win.",
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
        body["metadata"] = {**body.get("metadata", {}), **_pairs(metadata)}
    made = await talk.client.create_from(body)
    if talk.as_json:
        show_json(made)
        return
    session = BrowserSessionCreated.model_validate(made)
    left = None if session.expires_at is None else (session.expires_at - datetime.now(UTC)).total_seconds()
    show(
        facts(
            [
                ("session", session.session_id),
                ("status", status_text(session.status)),
                ("ends in", "never" if left is None else f"{duration(left)}, later when it is used"),
                ("connect", session.connect_url),
                ("watch", session.live_url),
            ]
        )
    )


@talking
async def end(
    talk: Talk,
    sessions: Ids,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask when it is more than one.")] = False,
) -> None:
    """End sessions. The JSON is one line for each."""
    ids = list(dict.fromkeys([await whole_id(talk.client, each) for each in sessions]))
    if len(ids) > 1 and not yes:
        if not sys.stdin.isatty():
            say(f"That is {len(ids)} sessions, and nobody is there to ask: say --yes to end them all.")
            raise typer.Exit(WRONG_USE)
        with asking():
            agreed = typer.confirm(f"End {len(ids)} sessions?", err=True)
        if not agreed:
            raise typer.Exit(FAILED)
    gate = asyncio.Semaphore(ENDING_AT_ONCE)

    async def end_one(session_id: str) -> Any:
        async with gate:
            return await talk.client.call("DELETE", f"{SESSIONS}/{session_id}")

    answers = await asyncio.gather(*map(end_one, ids), return_exceptions=True)
    failed = False
    for session_id, answer in zip(ids, answers, strict=True):
        if isinstance(answer, ClientError):
            failed = True
            say(f"{session_id}: {answer.detail}")
        elif isinstance(answer, BaseException):
            raise answer
        elif talk.as_json:
            show_json(answer, lines=True)
        else:
            ended = BrowserSessionResponse.model_validate(answer)
            show(Text.assemble(ended.session_id, " ", status_text(ended.status)))
    if failed:
        raise typer.Exit(FAILED)


async def whole_id(client: Client, beginning: str) -> str:
    """The one session whose id begins so; `ses_` may be left out. Raises `BrowserSessionsError` for none or several."""
    if _WHOLE_ID.fullmatch(beginning):
        return beginning
    if not re.fullmatch(r"(ses_)?[0-9a-f]{1,32}", beginning):
        raise BrowserSessionsError(f"{plain(beginning[:64])} is no session id: those are ses_ and hexadecimal digits.")
    wanted = "ses_" + beginning.removeprefix("ses_")
    found = [session.session_id async for session in client.iter_sessions() if session.session_id.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise BrowserSessionsError(f"No session begins with {wanted}. List them with 'browser-sessions ls'.")
    raise BrowserSessionsError(f"{len(found)} sessions begin with {wanted}. Give more of the id.")


async def _listed(client: Client, status: Sequence[str], metadata: Mapping[str, str], limit: int) -> dict[str, Any]:
    """As many as asked for, of as many pages as it takes, in the API's own shape."""
    listed: dict[str, Any] = {"sessions": [], "next_cursor": None}
    while True:
        query = list_query(
            status=status,
            metadata=metadata,
            limit=min(LIST_LIMIT, limit - len(listed["sessions"])),
            cursor=listed["next_cursor"],
        )
        page = await client.call("GET", SESSIONS, query=query)
        listed = {**page, "sessions": [*listed["sessions"], *page["sessions"]]}
        if listed["next_cursor"] is None or len(listed["sessions"]) >= limit:
            return listed


async def watching(talk: Talk, status: Sequence[str] | None, metadata: Sequence[str] | None, limit: int) -> None:
    """Looks every second until Ctrl-C. Raises as the client does while nothing was seen yet."""
    await _watch(talk, status or [], _pairs(metadata), limit)


async def _watch(talk: Talk, status: Sequence[str], metadata: Mapping[str, str], limit: int) -> None:
    """Looks again and again. A service that goes away is told and waited for; Ctrl-C is the way to stop, no error."""
    seen: BrowserSessionList | None = None
    trouble = ""
    try:
        with Live(console=console(), auto_refresh=False, transient=False) as live:
            while True:
                try:
                    found = await _listed(talk.client, status, metadata, limit)
                    seen, trouble = BrowserSessionList.model_validate(found), ""
                    if talk.as_json:
                        show_json(found, lines=True)
                except (NotReachable, ApiError) as error:
                    if seen is None or (isinstance(error, ApiError) and error.status < 500):
                        raise
                    trouble = error.detail
                    if talk.as_json:
                        say(trouble)
                if not talk.as_json and seen is not None:
                    view = _list_view(seen, datetime.now(UTC), whole_ids=not _looked_at())
                    note = Text(f"Not current: {plain(trouble)}", style="red") if trouble else Text("")
                    if live.console.is_terminal:
                        live.update(Group(view, note), refresh=True)
                    else:
                        show(Group(view, note))  # nothing there can be drawn over: one below the other
                await asyncio.sleep(WATCH_EVERY_S)
    except asyncio.CancelledError:
        raise typer.Exit(0) from None


def _list_view(listed: BrowserSessionList, now: datetime, *, whole_ids: bool) -> Group:
    if not listed.sessions:
        return Group(Text("No sessions."))
    count = len(listed.sessions)
    more = " There are more: raise --limit." if listed.next_cursor else ""
    words = f"{count} session{'s' if count > 1 else ''}.{more}"
    return Group(sessions_table(listed.sessions, now, whole_ids=whole_ids), Text(words, style="dim"))


def _looked_at() -> bool:
    return sys.stdout.isatty()


def _pairs(texts: Sequence[str] | None) -> dict[str, str]:
    pairs = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{plain(text[:64])!r} is no KEY=VALUE", param_hint="--metadata")
        pairs[key] = value
    return pairs


def _sides(text: str) -> tuple[int, int]:
    match = _VIEWPORT.fullmatch(text)
    if match is None:
        raise typer.BadParameter("must be WIDTHxHEIGHT, such as 1280x720", param_hint="--viewport")
    return int(match.group(1)), int(match.group(2))


def _seconds(text: str, option: str) -> float | None:
    if text.lower() in ("none", "null"):
        return None
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter("must be a number of seconds, or none", param_hint=option) from None


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
        raise typer.BadParameter(f"is no JSON, and no file that holds any: {why}", param_hint="--json-body") from None
    if not isinstance(found, dict):
        raise typer.BadParameter("must be a JSON object", param_hint="--json-body")
    return found
