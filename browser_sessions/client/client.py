"""The client: finds the service, keeps the connection to it, and provides sessions for `async with` blocks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self, Unpack

import httpx

from browser_sessions.client.api_calls import ApiCalls
from browser_sessions.client.discovery import discover
from browser_sessions.client.session_handle import Session
from browser_sessions.client.session_options import SessionOptions
from browser_sessions.client.transport import Transport

ATTEMPTS: Final = 5
"""With the service's Retry-After between them, half a minute of a full pool."""


class Client(ApiCalls):
    """A connection to one service. Use it as `async with Client() as client:`, or call `aclose` at the end.

    `url` and `api_key` default to `BROWSER_SESSIONS_URL` and `BROWSER_SESSIONS_API_KEY`, then to the service of this
    user on this machine. GET, DELETE and creates are tried up to `attempts` times when the connection is lost or the
    service is busy; creates carry an Idempotency-Key, so that a retry does not create a second session.

    Every method raises `NotReachable` and `ApiError`; the constructor raises `ValueError` for an invalid URL.
    `transport` replaces httpx's own in tests.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        data_dir: Path | None = None,
        attempts: int = ATTEMPTS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        target = discover(url, api_key, data_dir)
        self.url = target.url
        self.has_key = target.api_key is not None
        super().__init__(Transport(target, attempts, transport))

    def __repr__(self) -> str:
        return f"<Client {self.url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connection. Sessions continue."""
        await self._transport.aclose()

    @asynccontextmanager
    async def session(self, **options: Unpack[SessionOptions]) -> AsyncIterator[Session]:
        """A session for an `async with` block; it is ended after the block, also if that raises."""
        session = Session(self, await self.create(**options))
        try:
            yield session
        except BaseException as error:
            await session.end_on_error(error)
            raise
        await session.end()
