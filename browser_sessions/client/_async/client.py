"""The client: finds the service, keeps the connection to it, and provides sessions for blocks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from os import PathLike
from types import TracebackType
from typing import Final, Self, Unpack

import httpx

from browser_sessions.api.models.session_models import BrowserSessionCreated, BrowserSessionResponse
from browser_sessions.client._async.operations import Operations
from browser_sessions.client._async.session_handle import Session
from browser_sessions.client._async.transport import Transport
from browser_sessions.client.concurrency import async_begin, async_finish
from browser_sessions.client.discovery import Target, discover, folder_of
from browser_sessions.client.errors import InvalidArgument, NotReachable
from browser_sessions.client.http_options import HttpOptions
from browser_sessions.client.retries import ATTEMPTS
from browser_sessions.client.session_options import SessionOptions, documented

END_S: Final = 15.0
"""Time to end a session after its block, also when the program is being cancelled: longer than a restart of the
service. After that, the session's own timeouts end it."""


class Client(Operations):
    """A connection to one service. Use it as `async with Client() as client:`, or call `aclose` at the end.

    `url` and `api_key` default to `BROWSER_SESSIONS_URL` and `BROWSER_SESSIONS_API_KEY`, then to the service of this
    user on this machine; `token` is used instead of a key. GET, DELETE and creates are tried up to `attempts` times
    when the connection is lost or the service is busy; creates carry an Idempotency-Key, so that a retry does not
    create a second session.

    Every method raises `ClientError`, and so does the constructor. `transport` replaces httpx's own in tests.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        token: str | None = None,
        data_dir: str | PathLike[str] | None = None,
        attempts: int = ATTEMPTS,
        transport: httpx.AsyncBaseTransport | None = None,
        **http: Unpack[HttpOptions],
    ) -> None:
        if token is not None and api_key is not None:
            raise InvalidArgument("Give either api_key or token: the service would ignore the token.")
        for name, value in (("url", url), ("api_key", api_key), ("token", token)):
            if value is not None and not isinstance(value, str):  # without the value, which may be secret
                raise InvalidArgument(f"{name} must be a str, not {type(value).__name__}.")
            if name != "url" and not (value or "").isascii():
                raise InvalidArgument(f"{name} must be ASCII.")
        if isinstance(attempts, bool) or not isinstance(attempts, int):
            raise InvalidArgument(f"attempts must be a whole number, not {attempts!r:.80}.")
        folder = folder_of(data_dir)
        try:
            target = discover(url, api_key, folder)
        except ValueError as error:
            raise InvalidArgument(f"url {error}") from None
        if token is not None:
            target = Target(target.url, None)
        self.url = target.url
        self.has_key = (target.api_key or token) is not None
        super().__init__(Transport(target, token, attempts, http, transport))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connection. Sessions continue."""
        await self._transport.aclose()

    @documented(SessionOptions)
    @asynccontextmanager
    async def session(self, **options: Unpack[SessionOptions]) -> AsyncIterator[Session]:
        """A session for an `async with` block; it is ended after the block, also if that raises or is cancelled."""

        async def end(created: BrowserSessionCreated) -> BrowserSessionResponse:
            return await self.end(created.session_id)

        created = await async_begin(partial(self.create, **options), end, within=END_S)
        session = Session(self, created)
        try:
            yield session
        except BaseException as error:
            if not await async_finish(partial(session.end_on_error, error), within=END_S):
                error.add_note(f"Session {session.id} was not ended within {END_S:g} s. Its timeouts will end it.")
            raise
        if not await async_finish(session.end, within=END_S):
            raise NotReachable(self.url, f"session {session.id} was not ended within {END_S:g} s")

    async def attach(self, session_id: str) -> Session:
        """A handle of a session that exists. The session goes on: only its `end` ends it."""
        return Session(self, await self.details(session_id))
