"""When an event stream ends."""

from __future__ import annotations

import asyncio

from browser_sessions.api.routes.events import Position, _Reader
from browser_sessions.domain.clock import SystemClock
from browser_sessions.events.journal import Journal


async def test_a_stream_without_events_ends_at_once_when_its_credential_is_revoked() -> None:
    revoked = asyncio.Event()
    chunks = _Reader(Journal(SystemClock()), Position(0), wanted=lambda _: True).read(lambda: True, revoked)
    assert (await anext(chunks)).startswith(b"retry:")
    reading = asyncio.ensure_future(anext(chunks, None))
    await asyncio.sleep(0)
    revoked.set()
    async with asyncio.timeout(5):
        assert await reading is None
