"""Reads Server-Sent Events in tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

Event = dict[str, Any]


class Stream:
    """Events of one response; `events` has all received so far."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.events: list[Event] = []
        self.ended = False
        self._lines = response.aiter_lines()

    async def read(self) -> Event | None:
        """The next event, None when the stream has ended."""
        fields: dict[str, str] = {}
        async for line in self._lines:
            if line == "" and "data" in fields:
                event: Event = json.loads(fields["data"])
                assert event["id"] == fields["id"]
                assert event["type"] == fields["event"]
                self.events.append(event)
                return event
            name, separator, value = line.partition(": ")
            if separator and name:
                fields[name] = value
        self.ended = True
        return None

    async def until(self, wanted: str | Callable[[Event], bool], *, within: float = 20.0) -> Event:
        """The next event of a type, or for which `wanted` is true."""
        test = wanted if callable(wanted) else lambda event: event["type"] == wanted
        async with asyncio.timeout(within):
            while (event := await self.read()) is not None:
                if test(event):
                    return event
        raise AssertionError(f"the stream ended without it; it had {[event['type'] for event in self.events]}")

    async def to_end(self, *, within: float = 20.0) -> list[Event]:
        async with asyncio.timeout(within):
            while await self.read() is not None:
                pass
        return self.events


@asynccontextmanager
async def stream(
    client: httpx.AsyncClient, path: str, *, last_id: str | None = None, **params: str | list[str]
) -> AsyncIterator[Stream]:
    headers = {"Last-Event-ID": last_id} if last_id else {}
    async with client.stream("GET", path, params=params, headers=headers, timeout=60.0) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Stream(response)
