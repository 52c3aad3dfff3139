"""Sharing between principals: round-robin between them, first come, first served within one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items of principals, not ordered by their arrival but by whose turn it is."""

    def __init__(self) -> None:
        self._items: dict[str, deque[T]] = {}
        """By principal; the first principal is served next."""

    def __len__(self) -> int:
        return sum(len(items) for items in self._items.values())

    def __iter__(self) -> Iterator[T]:
        return (item for items in self._items.values() for item in items)

    def add(self, principal_id: str, item: T) -> None:
        self._items.setdefault(principal_id, deque()).append(item)

    def remove(self, principal_id: str, item: T) -> None:
        """No error if it is not queued."""
        items = self._items.get(principal_id)
        if items is not None and item in items:
            items.remove(item)
            if not items:
                del self._items[principal_id]

    def next(self, eligible: Callable[[str, T], bool] = lambda _principal_id, _item: True) -> T | None:
        """Removes and returns the first item of the next principal that is `eligible` with it; None if none is."""
        principal_id = next((who for who, items in self._items.items() if eligible(who, items[0])), None)
        if principal_id is None:
            return None
        items = self._items.pop(principal_id)
        item = items.popleft()
        if items:
            self._items[principal_id] = items
        return item

    def clear(self) -> None:
        self._items.clear()


class FairSemaphore:
    """A semaphore whose permits go to the principals that wait in turn."""

    def __init__(self, permits: int) -> None:
        self._free = permits
        self._waiting: FairQueue[asyncio.Future[None]] = FairQueue()
        """Empty while a permit is free."""

    def __repr__(self) -> str:
        return f"<FairSemaphore {self._free} free, {len(self._waiting)} waiting>"

    @asynccontextmanager
    async def permit(self, principal_id: str) -> AsyncIterator[None]:
        await self._acquire(principal_id)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, principal_id: str) -> None:
        if self._free:
            self._free -= 1
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(principal_id, granted)
        try:
            await granted
        except asyncio.CancelledError:
            self._waiting.remove(principal_id, granted)
            if not granted.cancelled():  # it was granted in the same iteration of the loop
                self._release()
            raise

    def _release(self) -> None:
        while (granted := self._waiting.next()) is not None:
            if not granted.done():  # else its caller has just been cancelled
                granted.set_result(None)
                return
        self._free += 1
