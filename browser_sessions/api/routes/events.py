"""Event streams: Server-Sent Events (WHATWG HTML, section 9.2) from the pool's journal. See docs/events.md.

A reader is a position, not a buffer: a slow one costs nothing and is notified that it missed events.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from browser_sessions.api.caller_credentials import Caller, identify
from browser_sessions.api.dependencies import Here, Services
from browser_sessions.api.query_parameters import metadata_filters
from browser_sessions.api.responses import problems
from browser_sessions.api.session_access import find
from browser_sessions.domain.errors import InvalidField, QuotaExceeded, Unauthenticated
from browser_sessions.domain.event_types import GAP, of_types
from browser_sessions.domain.principal import Action, Principal, may
from browser_sessions.domain.session import Session
from browser_sessions.events.journal import Event, Journal
from browser_sessions.events.session_archive import wire

router = APIRouter(prefix="/v1/browser", tags=["events"])

HEARTBEAT_S: Final = 15.0
"""Seconds. Proxies close a connection that is silent for 30 to 60. Also the delay until an expired token's stream
ends."""
GATHER_S: Final = 0.05
"""Seconds between two writes to one reader: events in between are sent together."""
RETRY_MS: Final = 2_000
"""Milliseconds until a browser reconnects after a lost connection."""
STREAMS_PER_PRINCIPAL: Final = 64
"""Open streams of one principal: dozens of tabs and scripts, not a leak that uses up all descriptors."""
_ID: Final = re.compile(r"([0-9a-f]{8})-([0-9]{1,15})")
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""The second makes nginx pass events on at once."""
_LINE_BREAKS: Final = tuple((each.encode(), b"\\u%04x" % ord(each)) for each in "\x85\u2028\u2029")
_TEXT: Final = "text/event-stream; charset=utf-8"
_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "An endless stream", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
    204: {"description": "The session has ended and its last event is known: do not reconnect"},
}

LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", max_length=64)]
LastEventIdQuery = Annotated[
    str | None, Query(max_length=64, description="As the header, for clients that cannot set headers")
]


Types = Annotated[
    list[str] | None, Query(alias="type", max_length=50, description="Only these, such as `page.crashed`, or `page`")
]
SessionIds = Annotated[
    list[Annotated[str, Field(pattern=r"^ses_[0-9a-f]{32}$")]] | None,
    Query(alias="session_id", max_length=100, description="Only of these sessions"),
]
_STREAM_PARAMETERS: Final = ("type", "session_id", "last_event_id")

Wanted = Callable[[Event], bool]


@dataclass(frozen=True, slots=True)
class Position:
    """A reader's position: the newest event it has, and why it missed some (`gap`)."""

    seq: int
    gap: str | None = None


def event_id(journal: Journal, seq: int) -> str:
    """The position as a string that is not valid in another run."""
    return f"{journal.boot}-{seq}"


def event_lines(fields: dict[str, Any]) -> bytes:
    """One event as text/event-stream. JSON has no line break, so one `data` line is enough; characters that some
    readers treat as line breaks are escaped too."""
    body = orjson.dumps(fields, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS, default=str)
    for character, escape in _LINE_BREAKS:
        body = body.replace(character, escape)
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (fields["id"].encode(), fields["type"].encode(), body)


def position_after(journal: Journal, last_id: str | None) -> Position:
    """The position after `last_id`; None: from now on."""
    if last_id is None:
        return Position(journal.newest)
    match = _ID.fullmatch(last_id)
    if match is None or match.group(1) != journal.boot or int(match.group(2)) > journal.newest:
        return Position(journal.newest, gap="restarted")
    return Position(int(match.group(2)))


@router.get("/events", response_class=StreamingResponse, responses=_STREAM | problems(401, 429))
async def stream_events(
    request: Request,
    services: Here,
    principal: Caller,
    types: Types = None,
    session_ids: SessionIds = None,
    header_id: LastEventId = None,
    last_event_id: LastEventIdQuery = None,
) -> Response:
    """Events of your sessions (operators: of all sessions and the pool) as Server-Sent Events.

    `metadata.<key>=<value>` filters by the sessions' metadata.
    """
    journal = services.pool.journal
    of_type, ids = _of_type(types), frozenset(session_ids or ())
    metadata = dict(metadata_filters(request.query_params, _STREAM_PARAMETERS))

    def wanted(event: Event) -> bool:
        if not of_type(event.kind) or (ids and event.session_id not in ids):
            return False
        return not metadata or metadata.items() <= _metadata(services, event.session_id).items()

    owner = None if may(principal, Action.VIEW) else principal.principal_id
    start = position_after(journal, header_id or last_event_id)
    reader = _Reader(journal, start, owner=owner, wanted=wanted)
    return _streaming(services, principal, partial(reader.read, _still_valid(request, services)))


@router.get(
    "/sessions/{session_id}/events", response_class=StreamingResponse, responses=_STREAM | problems(401, 404, 429, 503)
)
async def stream_session_events(
    request: Request,
    session_id: str,
    services: Here,
    principal: Caller,
    types: Types = None,
    since: Annotated[Literal["start"] | None, Query(description="Begin with the kept events of the session")] = None,
    header_id: LastEventId = None,
    last_event_id: LastEventIdQuery = None,
) -> Response:
    """Events of one session, until it has ended, as Server-Sent Events."""
    of_type = _of_type(types)
    found = await find(services.pool, principal, session_id)
    journal = services.pool.journal
    last_id = header_id or last_event_id
    if not isinstance(found, Session):
        return await _ended_stream(services, session_id, last_id, of_type, whole=since is not None)
    replay: list[Event] = []
    if last_id is None and since is not None:
        replay = journal.of(session_id)
    reader = _Reader(
        journal,
        position_after(journal, last_id),
        session_id=session_id,
        wanted=lambda event: of_type(event.kind),
        replay=replay,
    )
    return _streaming(services, principal, partial(reader.read, _still_valid(request, services)))


def _of_type(types: list[str] | None) -> Callable[[str], bool]:
    """Whether an event's type is one of these, or belongs to one of these groups (`page`). Raises `InvalidField`."""
    try:
        return of_types(types or ())
    except ValueError as error:
        raise InvalidField(("query", "type"), str(error)) from None


def _metadata(services: Services, session_id: str | None) -> dict[str, str]:
    """Of a session in memory: a live one, or one that has ended recently."""
    known = services.pool.registry.known(session_id or "")
    if known is None:
        return {}
    return dict(known.spec.metadata) if isinstance(known, Session) else dict(known.metadata)


class _Reader:
    def __init__(
        self,
        journal: Journal,
        start: Position,
        *,
        session_id: str | None = None,
        owner: str | None = None,
        wanted: Wanted,
        replay: Iterable[Event] = (),
    ) -> None:
        self._journal = journal
        self._seq = start.seq
        self._session_id = session_id
        self._owner = owner
        self._wanted = wanted
        self._first = [b"retry: %d\n\n" % RETRY_MS]
        if start.gap is not None:
            self._first.append(self._gap(start.gap))
        self._first += [event_lines(wire(journal, event)) for event in replay if wanted(event)]

    async def read(self, still_valid: Callable[[], bool], revoked: asyncio.Event) -> AsyncIterator[bytes]:
        """Ends after `session.ended` of the one session, at shutdown, when `revoked` is set, and when `still_valid`
        returns False."""
        journal = self._journal
        yield b"".join(self._first)
        while True:
            batch, missed = journal.since(self._seq, session_id=self._session_id, owner=self._owner)
            self._seq = journal.newest
            if missed:
                yield self._gap("too_old")
            if batch:
                if not still_valid():
                    return
                if lines := b"".join(event_lines(wire(journal, event)) for event in batch if self._wanted(event)):
                    yield lines
                if self._session_id is not None and any(event.kind == "session.ended" for event in batch):
                    return
                await asyncio.sleep(GATHER_S)
            if journal.closed and journal.newest == self._seq:
                return
            if not await self._news(revoked):
                if revoked.is_set() or not still_valid():
                    return
                yield b": here\n\n"

    async def _news(self, revoked: asyncio.Event) -> bool:
        """Whether there is an event; False when it is time for a heartbeat, or `revoked` is set."""
        news = asyncio.ensure_future(self._journal.news(self._seq))
        stopped = asyncio.ensure_future(revoked.wait())
        try:
            done, _ = await asyncio.wait({news, stopped}, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
            return news in done and stopped not in done
        finally:
            news.cancel()
            stopped.cancel()

    def _gap(self, reason: str) -> bytes:
        return event_lines(
            {
                "id": event_id(self._journal, self._seq),
                "type": GAP,
                "at": self._journal.clock.wall(),
                "session_id": self._session_id,
                "owner": None,
                "data": {"reason": reason},
            }
        )


def _still_valid(request: Request, services: Services) -> Callable[[], bool]:
    """Whether the credential of the request is still valid: streams outlive keys and tokens."""

    def still_valid() -> bool:
        try:
            identify(services, request.scope)
        except Unauthenticated:
            return False
        return True

    return still_valid


def _streaming(
    services: Services, principal: Principal, chunks: Callable[[asyncio.Event], AsyncIterator[bytes]]
) -> Response:
    """`chunks` gets an event that is set when the principal's credential is revoked. Raises `QuotaExceeded` when the
    principal has too many streams open."""
    open_streams = services.streams
    if open_streams[principal.principal_id] >= STREAMS_PER_PRINCIPAL:
        raise QuotaExceeded(f"You have {STREAMS_PER_PRINCIPAL} open event streams, which is the limit. Close some.")

    async def counted() -> AsyncIterator[bytes]:
        open_streams[principal.principal_id] += 1
        try:
            with services.keyring.lease(principal) as revoked:
                async for chunk in chunks(revoked):
                    yield chunk
        finally:
            open_streams[principal.principal_id] -= 1
            if not open_streams[principal.principal_id]:
                del open_streams[principal.principal_id]

    return StreamingResponse(counted(), media_type=_TEXT, headers=_HEADERS)


def _known(event_id: str, last_id: str) -> bool:
    """Whether a reader at `last_id`, which may be of a transient event, has had the event."""
    event, last = _ID.fullmatch(event_id), _ID.fullmatch(last_id)
    if event is None or last is None or event.group(1) != last.group(1):
        return False
    return int(event.group(2)) <= int(last.group(2))


async def _ended_stream(
    services: Services, session_id: str, last_id: str | None, of_type: Callable[[str], bool], *, whole: bool
) -> Response:
    """The stream of an ended session: the events that the reader does not have yet."""
    events = await services.console.archive.events(session_id)
    if last_id is not None:
        events = [event for event in events if not _known(event["id"], last_id)]
    elif not whole:
        events = events[-1:]
    events = [event for event in events if of_type(event["type"])]
    if not events:
        return Response(status_code=204)  # EventSource does not reconnect after a 204
    body = b"".join([b"retry: %d\n\n" % RETRY_MS, *map(event_lines, events)])
    return Response(body, headers={**_HEADERS, "Content-Type": _TEXT})
