"""Connections outlive the request that opened them: each holds a lease on its credential, and hears when that stops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

STOPPED: Final = (1008, "the credential was revoked")
"""Close code and words for a WebSocket whose credential stops under it (RFC 6455, section 7.4.1: policy violation)."""


class Leases:
    """Who is connected by which credential (`key:<id>`, `user:<name>`), on one event loop."""

    def __init__(self) -> None:
        self._held: dict[str, set[asyncio.Event]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._held.values()))

    @contextmanager
    def hold(self, credential: str) -> Iterator[asyncio.Event]:
        """Inside, the event is set as soon as the credential stops."""
        stopped = asyncio.Event()
        holders = self._held.setdefault(credential, set())
        holders.add(stopped)
        try:
            yield stopped
        finally:
            holders.discard(stopped)
            if not holders and self._held.get(credential) is holders:
                del self._held[credential]

    def stop(self, credential: str) -> None:
        """Tells everybody who holds it."""
        for stopped in self._held.pop(credential, ()):
            stopped.set()


async def until_stopped(stopped: asyncio.Event, connection: asyncio.Future[Any]) -> bool:
    """Returns when the connection has ended (False) or its credential has stopped (True). Cancels neither."""
    waiting: asyncio.Future[Any] = asyncio.ensure_future(stopped.wait())
    try:
        await asyncio.wait({waiting, connection}, return_when=asyncio.FIRST_COMPLETED)
        return not connection.done()
    finally:
        waiting.cancel()
