"""The API as methods, with responses as models of `api.models`."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final, Unpack
from urllib.parse import quote

from browser_sessions.api.models import (
    LIST_LIMIT,
    BrowserSessionCreated,
    BrowserSessionDetails,
    BrowserSessionHealth,
    BrowserSessionList,
    BrowserSessionResponse,
    DownloadList,
    DownloadResponse,
    KeyCreated,
    KeyList,
    KeyResponse,
    NavigationResponse,
    PageContent,
    PageList,
    PageResponse,
    PoolState,
    UserList,
    UserResponse,
)
from browser_sessions.client.session_options import RoleName, SessionOptions, WaitUntil
from browser_sessions.client.transport import RESPONSE_TIMEOUT_S, Query, Transport, decoded

SESSIONS: Final = "/v1/browser/sessions"
GRACE_S: Final = 10.0
"""Added to a timeout that the service was given: for the network, and for the service's cleanup after a timeout."""


class ApiCalls:
    """The API of one service. Every method raises `NotReachable` and `ApiError`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Query | None = None,
        timeout: float = RESPONSE_TIMEOUT_S,
    ) -> Any:
        """Any call of the API. Returns its JSON, or None for an empty response. `timeout` in seconds."""
        retry = method in _IDEMPOTENT
        response = await self._transport.send(method, path, body=body, query=query, timeout=timeout, retry=retry)
        return decoded(response) if response.content else None

    # -- sessions --------------------------------------------------------------------------------------------------

    async def create(
        self, *, idempotency_key: str | None = None, **options: Unpack[SessionOptions]
    ) -> BrowserSessionCreated:
        """Creates a session, which the caller has to end; the options are the fields of `CreateBrowserSession`."""
        return BrowserSessionCreated.model_validate(await self.create_from(options, idempotency_key=idempotency_key))

    async def create_from(self, body: Mapping[str, Any], *, idempotency_key: str | None = None) -> Any:
        """As `create`, with and returning plain JSON."""
        wait = body.get("wait_seconds", 0.0)
        response = await self._transport.send(
            "POST",
            SESSIONS,
            body=dict(body),
            headers={"Idempotency-Key": idempotency_key or str(uuid.uuid4())},
            timeout=RESPONSE_TIMEOUT_S + (wait if isinstance(wait, int | float) else 0.0),
            retry=True,
        )
        return decoded(response)

    async def get(self, session_id: str) -> BrowserSessionResponse:
        """The session's current state. Does not count as activity."""
        return BrowserSessionResponse.model_validate(await self.call("GET", _session(session_id)))

    async def details(self, session_id: str) -> BrowserSessionDetails:
        """All details of a session, with new connect and live URLs."""
        return BrowserSessionDetails.model_validate(await self.call("GET", _session(session_id) + "/details"))

    async def health(self, session_id: str) -> BrowserSessionHealth:
        """Probes the live browser."""
        return BrowserSessionHealth.model_validate(await self.call("GET", _session(session_id) + "/health"))

    async def keepalive(self, session_id: str, *, extend_seconds: float | None = None) -> BrowserSessionResponse:
        """Counts as activity; `extend_seconds` extends the maximum lifetime, within the server's limit."""
        body = None if extend_seconds is None else {"extend_seconds": extend_seconds}
        found = await self.call("POST", _session(session_id) + "/keepalive", body=body)
        return BrowserSessionResponse.model_validate(found)

    async def end(self, session_id: str) -> BrowserSessionResponse:
        """Ends a session and returns its final state. Idempotent."""
        return BrowserSessionResponse.model_validate(await self.call("DELETE", _session(session_id)))

    async def iter_sessions(
        self, *, status: Iterable[str] = (), metadata: Mapping[str, str] | None = None
    ) -> AsyncIterator[BrowserSessionResponse]:
        """All your sessions (operators: all sessions), newest first, loaded page by page."""
        cursor: str | None = None
        while True:
            page = await self.list(status=status, metadata=metadata, limit=LIST_LIMIT, cursor=cursor)
            for session in page.sessions:
                yield session
            cursor = page.next_cursor
            if cursor is None:
                return

    # -- pages -----------------------------------------------------------------------------------------------------

    async def pages(self, session_id: str) -> Sequence[PageResponse]:
        """Open pages, oldest first. Does not count as activity."""
        return PageList.model_validate(await self.call("GET", _session(session_id) + "/pages")).pages

    async def open_page(self, session_id: str, url: str | None = None) -> PageResponse:
        """Opens a page, empty or at `url`."""
        body = None if url is None else {"url": url}
        return PageResponse.model_validate(await self.call("POST", _session(session_id) + "/pages", body=body))

    async def close_page(self, session_id: str, page_id: str) -> None:
        """Closes a page."""
        await self._transport.send("DELETE", _page(session_id, page_id))

    async def navigate(
        self,
        session_id: str,
        page_id: str,
        url: str,
        *,
        wait_until: WaitUntil = "load",
        timeout_seconds: float = 30.0,
    ) -> NavigationResponse:
        """Navigates the page to a URL and waits for `wait_until`."""
        found = await self.call(
            "POST",
            _page(session_id, page_id) + "/navigate",
            body={"url": url, "wait_until": wait_until, "timeout_seconds": timeout_seconds},
            timeout=timeout_seconds + GRACE_S,
        )
        return NavigationResponse.model_validate(found)

    async def storage_state(self, session_id: str) -> dict[str, Any]:
        """Cookies and local storage, for the option `storage_state` of a create. Keep it secret."""
        state: dict[str, Any] = await self.call("GET", _session(session_id) + "/storage-state")
        return state

    async def evaluate(self, session_id: str, page_id: str, expression: str, *, timeout_seconds: float = 30.0) -> Any:
        """The JSON value of a JavaScript expression; a promise is awaited."""
        found = await self.call(
            "POST",
            _page(session_id, page_id) + "/evaluate",
            body={"expression": expression, "timeout_seconds": timeout_seconds},
            timeout=timeout_seconds + GRACE_S,
        )
        return found["result"]

    async def screenshot(
        self,
        session_id: str,
        page_id: str,
        *,
        image_format: str = "png",
        quality: int | None = None,
        full_page: bool = False,
    ) -> bytes:
        """A screenshot, `png` or `jpeg` (with a `quality` of 1 to 100)."""
        query: dict[str, str | int | list[str]] = {"format": image_format, "full_page": str(full_page).lower()}
        if quality is not None:
            query["quality"] = quality
        return (await self._transport.send("GET", _page(session_id, page_id) + "/screenshot", query=query)).content

    async def content(self, session_id: str, page_id: str) -> PageContent:
        """The page's current HTML, URL and title."""
        return PageContent.model_validate(await self.call("GET", _page(session_id, page_id) + "/content"))

    async def pdf(self, session_id: str, page_id: str) -> bytes:
        """The page as a PDF."""
        return (await self._transport.send("GET", _page(session_id, page_id) + "/pdf")).content

    async def downloads(self, session_id: str) -> Sequence[DownloadResponse]:
        """The session's downloads, oldest first."""
        return DownloadList.model_validate(await self.call("GET", _session(session_id) + "/downloads")).downloads

    async def download(self, session_id: str, download_id: str) -> bytes:
        """The content of a completed download."""
        return (await self._transport.send("GET", f"{_session(session_id)}/downloads/{quote(download_id)}")).content

    async def delete_download(self, session_id: str, download_id: str) -> None:
        """Deletes a download, which frees its share of the quota; cancels one in progress."""
        await self._transport.send("DELETE", f"{_session(session_id)}/downloads/{quote(download_id)}")

    # -- operators and admins --------------------------------------------------------------------------------------

    async def pool(self) -> PoolState:
        """Capacity, browser processes and the queue (operators)."""
        return PoolState.model_validate(await self.call("GET", "/v1/browser/pool"))

    async def keys(self) -> Sequence[KeyResponse]:
        """All API keys, revoked ones included, without their secrets (admins)."""
        return KeyList.model_validate(await self.call("GET", "/v1/auth/keys")).keys

    async def create_key(self, name: str, *, role: RoleName = "client", principal_id: str | None = None) -> KeyCreated:
        """Creates an API key (admins). Only this response contains its `key`."""
        body = {"name": name, "role": role, "principal_id": principal_id}
        return KeyCreated.model_validate(await self.call("POST", "/v1/auth/keys", body=body))

    async def revoke_key(self, key_id: str) -> KeyResponse:
        """Revokes a key at once (admins)."""
        return KeyResponse.model_validate(await self.call("DELETE", f"/v1/auth/keys/{quote(key_id, safe='')}"))

    async def users(self) -> Sequence[UserResponse]:
        """All users (admins)."""
        return UserList.model_validate(await self.call("GET", "/v1/auth/users")).users

    async def create_user(self, username: str, password: str, *, role: RoleName = "client") -> UserResponse:
        """Creates a user who signs in with a password (admins)."""
        body = {"username": username, "password": password, "role": role}
        return UserResponse.model_validate(await self.call("POST", "/v1/auth/users", body=body))

    async def remove_user(self, username: str) -> UserResponse:
        """Removes a user and revokes their tokens and keys at once (admins)."""
        return UserResponse.model_validate(await self.call("DELETE", f"/v1/auth/users/{quote(username, safe='')}"))

    async def list(
        self,
        *,
        status: Iterable[str] = (),
        limit: int = 50,
        cursor: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> BrowserSessionList:
        """One page of your sessions (operators: of all sessions), newest first; `limit` at most 500."""
        query = list_query(status=status, limit=limit, cursor=cursor, metadata=metadata)
        return BrowserSessionList.model_validate(await self.call("GET", SESSIONS, query=query))


_IDEMPOTENT: Final = frozenset({"GET", "DELETE"})
"""Methods that are retried. A POST whose response was lost may have been executed."""


def list_query(
    *, status: Iterable[str], limit: int, cursor: str | None = None, metadata: Mapping[str, str] | None = None
) -> Query:
    """The query of a list call."""
    query: dict[str, str | int | list[str]] = {"limit": limit}
    if statuses := [*status]:
        query["status"] = statuses
    if cursor is not None:
        query["cursor"] = cursor
    return query | {f"metadata.{key}": value for key, value in (metadata or {}).items()}


def _session(session_id: str) -> str:
    return f"{SESSIONS}/{quote(session_id, safe='')}"


def _page(session_id: str, page_id: str) -> str:
    return f"{_session(session_id)}/pages/{quote(page_id, safe='')}"
