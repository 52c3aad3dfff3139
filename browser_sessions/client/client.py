"""The client: finds the service, holds the connection to it, and makes sessions for `with` blocks."""

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
"""With the service's own Retry-After between them, half a minute of a full pool."""


class Client(ApiCalls):
    """A connection to one service. Use it as `async with Client() as client:`, or call `aclose` at the end.

    Without `url` and `api_key` it looks into `BROWSER_SESSIONS_URL` and `BROWSER_SESSIONS_API_KEY`, then for the
    service of this user on this machine. Calls that change nothing, ends and creates are tried up to `attempts` times
    when the connection is lost or the service is busy; a create carries an Idempotency-Key, so it makes one session.

    Every method raises `NotReachable` and `ApiError`; the constructor raises `ValueError` for an address that is none.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        data_dir: Path | None = None,
        attempts: int = ATTEMPTS,
        carrier: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        target = discover(url, api_key, data_dir)
        self.url = target.url
        self.has_key = target.api_key is not None
        super().__init__(Transport(target, attempts, carrier))

    def __repr__(self) -> str:
        return f"<Client {self.url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connection. Sessions live on."""
        await self._transport.aclose()

    @asynccontextmanager
    async def session(self, **options: Unpack[SessionOptions]) -> AsyncIterator[Session]:
        """A session for a `with` block: created before it, ended after it, also when the block raises."""
        session = Session(self, await self.create(**options))
        try:
            yield session
        except BaseException as error:
            await session.end_after(error)
            raise
        await session.end()
