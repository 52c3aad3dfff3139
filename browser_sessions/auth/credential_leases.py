"""Leases on credentials: a connection that outlives its request is notified when its credential is revoked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

REVOKED: Final = (1008, "the credential was revoked")
"""Close code and reason for a WebSocket whose credential is revoked (RFC 6455, section 7.4.1: policy violation)."""


class Leases:
    """The open connections of each credential (`key:<id>`, `user:<name>`, a sign-in's id). For one event loop."""

    def __init__(self) -> None:
        self._held: dict[str, set[asyncio.Event]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._held.values()))

    @contextmanager
    def hold(self, *credentials: str) -> Iterator[asyncio.Event]:
        """Yields an event that is set when one of the credentials is revoked."""
        revoked = asyncio.Event()
        for credential in credentials:
            self._held.setdefault(credential, set()).add(revoked)
        try:
            yield revoked
        finally:
            for credential in credentials:
                holders = self._held.get(credential, set())
                holders.discard(revoked)
                if not holders:
                    self._held.pop(credential, None)

    def revoke(self, credential: str) -> None:
        """Notifies all holders of the credential."""
        for revoked in self._held.pop(credential, ()):
            revoked.set()


async def until_revoked(revoked: asyncio.Event, connection: asyncio.Future[Any]) -> bool:
    """Waits until the connection has ended (False) or its credential was revoked (True). Cancels neither."""
    waiting: asyncio.Future[Any] = asyncio.ensure_future(revoked.wait())
    try:
        await asyncio.wait({waiting, connection}, return_when=asyncio.FIRST_COMPLETED)
        return not connection.done()
    finally:
        waiting.cancel()
