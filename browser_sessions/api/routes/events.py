"""Events as they happen: Server-Sent Events (WHATWG HTML, section 9.2) over positions in the pool's journal.

A reader is a position, not a buffer: one that reads slowly costs nothing and is told what it missed. docs/events.md.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from browser_sessions.api.caller_credentials import Caller, identify
from browser_sessions.api.dependencies import Here, Services
from browser_sessions.api.responses import problems
from browser_sessions.api.session_access import find
from browser_sessions.domain.errors import QuotaExceeded, Unauthenticated
from browser_sessions.domain.event_types import GAP
from browser_sessions.domain.principal import Action, Principal, may
from browser_sessions.domain.session import Session
from browser_sessions.events.journal import Event, Journal
from browser_sessions.events.session_archive import wire

router = APIRouter(prefix="/v1/browser", tags=["events"])

HEARTBEAT_S: Final = 15.0
"""Proxies cut a connection that is silent for 30 to 60 seconds. Also how late a revoked key's stream ends."""
GATHER_S: Final = 0.05
"""Between two writes to one reader: what happens meanwhile goes out together."""
RETRY_MS: Final = 2_000
"""How long a browser waits before it comes back after a lost connection."""
STREAMS_PER_PRINCIPAL: Final = 64
"""Streams that one principal may hold open: dozens of tabs and scripts, not a leak that takes every descriptor."""
_ID: Final = re.compile(r"([0-9a-f]{8})-([0-9]{1,15})")
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""The second is nginx's: pass on at once."""
_LINE_BREAKS: Final = tuple((each.encode(), b"\\u%04x" % ord(each)) for each in "\x85\u2028\u2029")
_TEXT: Final = "text/event-stream; charset=utf-8"
_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "A stream without end", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
    204: {"description": "The session has ended and its last event is known: do not come back"},
}

LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", max_length=64)]
LastEventIdQuery = Annotated[
    str | None, Query(max_length=64, description="As the header, for those who cannot set headers")
]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader is: the newest event it has, and whether it lost some on the way (`gap` says why)."""

    seq: int
    gap: str | None = None


def event_id(journal: Journal, seq: int) -> str:
    """Tells numbers of this run from those of another."""
    return f"{journal.boot}-{seq}"


def frame(fields: dict[str, Any]) -> bytes:
    """One event on the wire. JSON has no line break, so that one `data` line is enough; what only some readers take for
    one is escaped too."""
    body = orjson.dumps(fields, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS, default=str)
    for character, escape in _LINE_BREAKS:
        body = body.replace(character, escape)
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (fields["id"].encode(), fields["type"].encode(), body)


def place(journal: Journal, last_id: str | None) -> Place:
    """Where somebody is who has everything up to `last_id`; None: from now on."""
    if last_id is None:
        return Place(journal.newest)
    match = _ID.fullmatch(last_id)
    if match is None or match.group(1) != journal.boot or int(match.group(2)) > journal.newest:
        return Place(journal.newest, gap="restarted")
    return Place(int(match.group(2)))


@router.get("/events", response_class=StreamingResponse, responses=_STREAM | problems(401, 429))
async def stream_events(
    request: Request,
    services: Here,
    principal: Caller,
    header_id: LastEventId = None,
    last_event_id: LastEventIdQuery = None,
) -> Response:
    """Everything that happens to your sessions (operators: to all, and to the pool), as Server-Sent Events."""
    journal = services.pool.journal
    owner = None if may(principal, Action.VIEW) else principal.principal_id
    start = place(journal, header_id or last_event_id)
    reader = _Reader(journal, start, owner=owner)
    return _streaming(services, principal, reader.read(_still(request, services)))


@router.get(
    "/sessions/{session_id}/events", response_class=StreamingResponse, responses=_STREAM | problems(401, 404, 429, 503)
)
async def stream_session_events(
    request: Request,
    session_id: str,
    services: Here,
    principal: Caller,
    since: Annotated[Literal["start"] | None, Query(description="First everything that is kept of it")] = None,
    header_id: LastEventId = None,
    last_event_id: LastEventIdQuery = None,
) -> Response:
    """What happens to one session, until it has ended, as Server-Sent Events."""
    found = await find(services.pool, principal, session_id)
    journal = services.pool.journal
    last_id = header_id or last_event_id
    if not isinstance(found, Session):
        return await _told_afterwards(services, session_id, last_id, whole=since is not None)
    replay: list[Event] = []
    if last_id is None and since is not None:
        replay = journal.of(session_id)
    reader = _Reader(journal, place(journal, last_id), session_id=session_id, replay=replay)
    return _streaming(services, principal, reader.read(_still(request, services)))


class _Reader:
    def __init__(
        self,
        journal: Journal,
        start: Place,
        *,
        session_id: str | None = None,
        owner: str | None = None,
        replay: Iterable[Event] = (),
    ) -> None:
        self._journal = journal
        self._seq = start.seq
        self._session_id = session_id
        self._owner = owner
        self._first = [b"retry: %d\n\n" % RETRY_MS]
        if start.gap is not None:
            self._first.append(self._gap(start.gap))
        self._first += [frame(wire(journal, event)) for event in replay]

    async def read(self, still: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Ends after `session.ended` of the one session, when the service goes down, and when `still` says no."""
        journal = self._journal
        yield b"".join(self._first)
        while True:
            batch, missed = journal.since(self._seq, session_id=self._session_id, owner=self._owner)
            self._seq = journal.newest
            if missed:
                yield self._gap("too_old")
            if batch:
                if not still():
                    return
                yield b"".join(frame(wire(journal, event)) for event in batch)
                if self._session_id is not None and any(event.kind == "session.ended" for event in batch):
                    return
                await asyncio.sleep(GATHER_S)
            if journal.closed and journal.newest == self._seq:
                return
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await journal.news(self._seq)
            except TimeoutError:
                if not still():
                    return
                yield b": here\n\n"

    def _gap(self, reason: str) -> bytes:
        return frame(
            {
                "id": event_id(self._journal, self._seq),
                "type": GAP,
                "at": None,
                "session_id": self._session_id,
                "owner": None,
                "data": {"reason": reason},
            }
        )


def _still(request: Request, services: Services) -> Callable[[], bool]:
    """Whether the credential of the request is still good: streams outlive keys and tokens."""

    def still() -> bool:
        try:
            identify(services, request.scope)
        except Unauthenticated:
            return False
        return True

    return still


def _streaming(services: Services, principal: Principal, chunks: AsyncIterator[bytes]) -> Response:
    """Raises `QuotaExceeded` when the principal holds too many streams."""
    open_streams = services.streams
    if open_streams[principal.principal_id] >= STREAMS_PER_PRINCIPAL:
        raise QuotaExceeded(f"You hold {STREAMS_PER_PRINCIPAL} event streams open, as many as one may. Close some.")

    async def counted() -> AsyncIterator[bytes]:
        open_streams[principal.principal_id] += 1
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            open_streams[principal.principal_id] -= 1
            if not open_streams[principal.principal_id]:
                del open_streams[principal.principal_id]

    return StreamingResponse(counted(), media_type=_TEXT, headers=_HEADERS)


async def _told_afterwards(services: Services, session_id: str, last_id: str | None, *, whole: bool) -> Response:
    """The stream of a session that has ended: what its reader does not have yet, and no more after that."""
    story = await services.console.archive.events(session_id)
    if last_id is not None:
        ids = [event["id"] for event in story]
        if ids and last_id == ids[-1]:
            return Response(status_code=204)  # EventSource does not come back after this one
        story = story[ids.index(last_id) + 1 :] if last_id in ids else story
    elif not whole:
        story = story[-1:]
    if not story:
        return Response(status_code=204)
    body = b"".join([b"retry: %d\n\n" % RETRY_MS, *map(frame, story)])
    return Response(body, headers={**_HEADERS, "Content-Type": _TEXT})
