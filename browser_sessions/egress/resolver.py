"""Names to addresses, for one session: slow lookups of one session must not delay those of another."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from cachetools import TTLCache

from browser_sessions.egress.addresses import Address, canonical

Lookup: TypeAlias = Callable[[str, int], Sequence[str]]
"""The addresses of a name for a port, most preferred first; runs in a thread. Raises `OSError`."""

LOOKUPS_AT_ONCE: Final = 8
"""Threads of a session. Chromium itself starts 6 connections at once for a host, most often to few hosts."""
LOOKUP_S: Final = 5.0
CACHED_S: Final = 30.0
_MOST_CACHED: Final = 256


class NotResolved(Exception):
    """The text says why, for people."""


def is_localhost(name: str) -> bool:
    """RFC 6761: always this machine. Not every system's resolver knows the names below localhost, Chromium does."""
    return f".{name.removesuffix('.').lower()}".endswith(".localhost")


def system_lookup(name: str, port: int) -> list[str]:
    if is_localhost(name):
        return ["127.0.0.1", "::1"]
    # As bytes: a `str` would be encoded with IDNA first, which names with `_` do not pass.
    found = socket.getaddrinfo(name.encode("ascii"), port, type=socket.SOCK_STREAM)
    return [str(address[4][0]) for address in found]


class Resolver:
    """Threads, not a pool: a stuck lookup keeps its thread for longer than the service may take to stop."""

    def __init__(self, lookup: Lookup = system_lookup) -> None:
        self._lookup = lookup
        self._slots = asyncio.Semaphore(LOOKUPS_AT_ONCE)
        self._cached: TTLCache[str, tuple[Address, ...]] = TTLCache(_MOST_CACHED, CACHED_S)
        self._running: dict[str, asyncio.Task[tuple[Address, ...]]] = {}

    async def resolve(self, name: str, port: int) -> tuple[Address, ...]:
        """At least one address. Raises `NotResolved`."""
        if (known := self._cached.get(name)) is not None:
            return known
        if (task := self._running.get(name)) is None:
            task = self._running[name] = asyncio.create_task(self._resolve(name, port))
            task.add_done_callback(lambda ended: self._ended(name, ended))
        try:
            async with asyncio.timeout(LOOKUP_S):
                return await asyncio.shield(task)
        except TimeoutError:
            raise NotResolved(f"The name {name} could not be resolved within {LOOKUP_S:g} s.") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise NotResolved(f"The name {name} could not be resolved: {reason}.") from None

    def close(self) -> None:
        for task in self._running.values():
            task.cancel()

    async def _resolve(self, name: str, port: int) -> tuple[Address, ...]:
        async with asyncio.timeout(LOOKUP_S):
            await self._slots.acquire()
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[str]] = loop.create_future()
        threading.Thread(target=self._look_up, args=(name, port, loop, found), daemon=True, name="egress-dns").start()
        addresses = tuple(dict.fromkeys(canonical(text) for text in await found))
        if not addresses:
            raise OSError(None, "it has no address")
        self._cached[name] = addresses
        return addresses

    def _ended(self, name: str, task: asyncio.Task[tuple[Address, ...]]) -> None:
        self._running.pop(name, None)
        if not task.cancelled():
            task.exception()  # seen, also when nobody waits any more

    def _look_up(
        self, name: str, port: int, loop: asyncio.AbstractEventLoop, found: asyncio.Future[Sequence[str]]
    ) -> None:
        result: Sequence[str] | Exception
        try:
            result = self._lookup(name, port)
        except (OSError, ValueError) as error:
            result = error
        try:
            loop.call_soon_threadsafe(self._looked_up, found, result)
        except RuntimeError:  # the loop has been closed
            return

    def _looked_up(self, found: asyncio.Future[Sequence[str]], result: Sequence[str] | Exception) -> None:
        self._slots.release()
        if found.cancelled():
            return
        if isinstance(result, Exception):
            found.set_exception(result)
        else:
            found.set_result(result)
