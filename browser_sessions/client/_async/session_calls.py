"""Operations on sessions, except those on their pages and files."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, Unpack

from browser_sessions.api.models.event_models import SessionEvent, SessionHistory
from browser_sessions.api.models.live_models import ControlResponse, DevToolsResponse, LiveTicket
from browser_sessions.api.models.session_models import (
    LIST_LIMIT,
    BrowserSessionCreated,
    BrowserSessionDetails,
    BrowserSessionHealth,
    BrowserSessionList,
    BrowserSessionResponse,
)
from browser_sessions.client._async.event_stream import event_stream
from browser_sessions.client._async.transport import Transport, decoded, parsed
from browser_sessions.client.http_options import RESPONSE_TIMEOUT_S
from browser_sessions.client.paths import (
    EVENTS,
    SESSIONS,
    Query,
    events_query,
    list_query,
    not_empty,
    session_path,
    several,
)
from browser_sessions.client.session_options import SessionOptions, StatusName, documented

CDP: Final = "cdp/json"
StatusNames = StatusName | Iterable[StatusName]


class SessionCalls:
    """Every method raises `ClientError`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Query | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Any call of the API. Returns its JSON, or None for an empty response. `timeout` in seconds."""
        response = await self._transport.send(method, path, body=body, query=query, timeout=timeout)
        return decoded(response) if response.content else None

    @documented(SessionOptions)
    async def create(
        self, *, idempotency_key: str | None = None, **options: Unpack[SessionOptions]
    ) -> BrowserSessionCreated:
        """Creates a session, which the caller has to end. Returns it with its secret URLs."""
        return parsed(BrowserSessionCreated, await self._create(options, idempotency_key))

    async def create_from(self, body: Mapping[str, Any], *, idempotency_key: str | None = None) -> Any:
        """As `create`, with and returning plain JSON."""
        return decoded(await self._create(body, idempotency_key))

    async def _create(self, body: Mapping[str, Any], idempotency_key: str | None) -> Any:
        wait = body.get("wait_seconds")
        return await self._transport.send(
            "POST",
            SESSIONS,
            body=dict(body),
            headers={"Idempotency-Key": not_empty("idempotency_key", idempotency_key) or str(uuid.uuid4())},
            service_time=RESPONSE_TIMEOUT_S + wait if isinstance(wait, int | float) else None,
            retry=True,
        )

    async def list(
        self,
        *,
        status: StatusNames = (),
        limit: int = 50,
        cursor: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> BrowserSessionList:
        """One page of your sessions (operators: of all sessions), newest first; `limit` at most 500."""
        query = list_query(status=status, limit=limit, cursor=cursor, metadata=metadata)
        return parsed(BrowserSessionList, await self._transport.send("GET", SESSIONS, query=query))

    async def iter_sessions(
        self, *, status: StatusNames = (), metadata: Mapping[str, str] | None = None
    ) -> AsyncIterator[BrowserSessionResponse]:
        """All your sessions (operators: all sessions), newest first, loaded page by page."""
        statuses = several(status)  # an iterator would last for one page only
        cursor: str | None = None
        while True:
            query = list_query(status=statuses, metadata=metadata, limit=LIST_LIMIT, cursor=cursor)
            page = parsed(BrowserSessionList, await self._transport.send("GET", SESSIONS, query=query))
            for session in page.sessions:
                yield session
            cursor = page.next_cursor
            if cursor is None:
                return

    async def get(self, session_id: str) -> BrowserSessionResponse:
        """The session's current state. Does not count as activity."""
        return parsed(BrowserSessionResponse, await self._transport.send("GET", session_path(session_id)))

    async def details(self, session_id: str) -> BrowserSessionDetails:
        """All details of a session, with new connect and live URLs."""
        return parsed(BrowserSessionDetails, await self._transport.send("GET", session_path(session_id, "details")))

    async def health(self, session_id: str) -> BrowserSessionHealth:
        """Probes the live browser."""
        return parsed(BrowserSessionHealth, await self._transport.send("GET", session_path(session_id, "health")))

    async def keepalive(self, session_id: str, *, extend_seconds: float | None = None) -> BrowserSessionResponse:
        """Counts as activity; `extend_seconds` extends the maximum lifetime, within the server's limit."""
        body = None if extend_seconds is None else {"extend_seconds": extend_seconds}
        response = await self._transport.send("POST", session_path(session_id, "keepalive"), body=body)
        return parsed(BrowserSessionResponse, response)

    async def end(self, session_id: str) -> BrowserSessionResponse:
        """Ends a session and returns its final state. Idempotent."""
        return parsed(BrowserSessionResponse, await self._transport.send("DELETE", session_path(session_id)))

    async def storage_state(self, session_id: str) -> dict[str, Any]:
        """Cookies and local storage, for the option `storage_state` of a create. Keep it secret."""
        state: dict[str, Any] = decoded(await self._transport.send("GET", session_path(session_id, "storage-state")))
        return state

    # -- watching and controlling ----------------------------------------------------------------------------------

    def events(
        self,
        *,
        types: str | Iterable[str] = (),
        session_ids: str | Iterable[str] = (),
        metadata: Mapping[str, str] | None = None,
        last_event_id: str | None = None,
    ) -> AsyncGenerator[SessionEvent]:
        """Events of all your sessions (operators: of all, and of the pool), from now on or after `last_event_id`; only
        of these types (`page.crashed`) or groups (`page`), of these sessions, of sessions with this metadata.

        Endless. A lost stream continues where it was; an event `gap` says that some are missing.
        """
        query = events_query(types=types, session_ids=session_ids, metadata=metadata)
        return event_stream(self._transport, EVENTS, query=query, last_event_id=last_event_id)

    def session_events(
        self,
        session_id: str,
        *,
        types: str | Iterable[str] = (),
        since: Literal["start"] | None = None,
        last_event_id: str | None = None,
    ) -> AsyncGenerator[SessionEvent]:
        """Events of one session until it has ended: from now on, from its start, or after `last_event_id`; only of
        these types (`page.crashed`) or groups (`page`)."""
        path, query = session_path(session_id, "events"), events_query(types=types, since=since)
        return event_stream(self._transport, path, query=query, last_event_id=last_event_id, final="session.ended")

    async def history(self, session_id: str) -> SessionHistory:
        """The kept events of a session, oldest first, also after its end."""
        return parsed(SessionHistory, await self._transport.send("GET", session_path(session_id, "history")))

    async def thumbnail(self, session_id: str, *, width: int = 320) -> bytes | None:
        """A small JPEG of the newest page, at most a second old; the last one of an ended session. None: no picture."""
        path = session_path(session_id, "thumbnail")
        return (await self._transport.send("GET", path, query={"width": width})).content or None

    async def last_frame(self, session_id: str) -> bytes | None:
        """The last picture of a session, a JPEG, also after its end. None: no picture."""
        return (await self._transport.send("GET", session_path(session_id, "frame"))).content or None

    async def live_ticket(self, session_id: str) -> LiveTicket:
        """A new URL of the live view, valid for a minute. Keep it secret."""
        return parsed(LiveTicket, await self._transport.send("POST", session_path(session_id, "live-ticket")))

    async def control(self, session_id: str, action: Literal["take", "release"]) -> ControlResponse:
        """Takes or releases control of a session: while it is taken, its clients' commands wait."""
        response = await self._transport.send("POST", session_path(session_id, "control"), body={"action": action})
        return parsed(ControlResponse, response)

    async def devtools(self, session_id: str, page_id: str) -> str:
        """A URL that opens Chromium's DevTools for a page, valid for a minute. Keep it secret."""
        response = await self._transport.send("POST", session_path(session_id, "devtools"), body={"page_id": page_id})
        return self._transport.url + parsed(DevToolsResponse, response).url

    # -- CDP, for clients that do not read `connect_url` -------------------------------------------------------------

    async def cdp_version(self, session_id: str) -> dict[str, Any]:
        """Chromium's `/json/version` for a session. Its `webSocketDebuggerUrl` contains a ticket: keep it secret."""
        found: dict[str, Any] = decoded(await self._transport.send("GET", session_path(session_id, CDP, "version")))
        return found

    async def cdp_list(self, session_id: str) -> Sequence[dict[str, Any]]:
        """The session's pages, as Chromium's `/json/list` has them. Their URLs contain a ticket: keep them secret."""
        found: Sequence[dict[str, Any]] = decoded(
            await self._transport.send("GET", session_path(session_id, CDP, "list"))
        )
        return found

    async def cdp_protocol(self, session_id: str) -> dict[str, Any]:
        """Chromium's description of the protocol."""
        found: dict[str, Any] = decoded(await self._transport.send("GET", session_path(session_id, CDP, "protocol")))
        return found
