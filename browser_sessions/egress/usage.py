"""What a session's traffic came to, in all and by host, and what it may come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Final, TypeAlias

from browser_sessions.egress.rules import Refusal

Count: TypeAlias = Callable[[int], int]
"""Counts bytes before they are passed on. Returns how many may be: fewer at the session's limit."""
TOP_HOSTS: Final = 20
_MOST_HOSTS: Final = 512
"""Hosts counted one by one; a page that asks for more loses the smallest, not the sums."""
REPORTED_PER_S: Final = 20
"""Refusals, and as many failures."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A connection that is allowed and could not be made or used. `reason` is for people."""

    host: str
    port: int
    reason: str


class _PerSecond:
    """Lets `REPORTED_PER_S` of a second through."""

    def __init__(self) -> None:
        self._second = 0
        self._count = 0

    def allows(self, now: float) -> bool:
        if (second := int(now)) != self._second:
            self._second, self._count = second, 0
        self._count += 1
        return self._count <= REPORTED_PER_S


@dataclass(slots=True)
class HostUsage:
    """Bytes as they pass the proxy, heads included; up is from the browser."""

    host: str
    bytes_up: int = 0
    bytes_down: int = 0
    connections: int = 0
    refused: int = 0

    @property
    def bytes(self) -> int:
        return self.bytes_up + self.bytes_down


@dataclass(slots=True)
class Usage:
    """The same for a whole session."""

    bytes_up: int = 0
    bytes_down: int = 0
    connections: int = 0
    """Connections to origins or their upstream proxy."""
    refused: int = 0
    _hosts: dict[str, HostUsage] = field(default_factory=dict, repr=False)

    @property
    def bytes(self) -> int:
        return self.bytes_up + self.bytes_down

    @property
    def hosts(self) -> list[HostUsage]:
        """Those with the most traffic first, at most `TOP_HOSTS`."""
        return nlargest(TOP_HOSTS, self._hosts.values(), key=lambda host: (host.bytes, host.connections, host.refused))

    def of(self, host: str) -> HostUsage:
        if (usage := self._hosts.get(host)) is None:
            if len(self._hosts) >= _MOST_HOSTS:
                largest = nlargest(_MOST_HOSTS // 2, self._hosts.values(), key=lambda usage: usage.bytes)
                self._hosts = {usage.host: usage for usage in largest}
            usage = self._hosts[host] = HostUsage(host)
        return usage


class Meter:
    """Counts a session's traffic and keeps it within its limit; reports refusals, failures and that the limit is
    reached."""

    def __init__(
        self,
        usage: Usage,
        limit: int | None,
        on_limit: Callable[[], None],
        on_refused: Callable[[Refusal], None],
        on_failed: Callable[[Failed], None],
    ) -> None:
        """`limit`: bytes in both directions, None for no limit."""
        self.over_limit = False
        self._usage = usage
        self._limit = limit
        self._on_limit = on_limit
        self._on_refused = on_refused
        self._on_failed = on_failed
        self._refusals = _PerSecond()
        self._failures = _PerSecond()

    def connected(self, host: str) -> tuple[Count, Count]:
        """Counts a connection to `host`. Returns what counts its bytes up, and down."""
        usage, of_host, limit = self._usage, self._usage.of(host), self._limit
        usage.connections += 1
        of_host.connections += 1

        def up(count: int) -> int:
            if limit is not None and count > limit - usage.bytes:
                count = self._rest(limit)
            usage.bytes_up += count
            of_host.bytes_up += count
            return count

        def down(count: int) -> int:
            if limit is not None and count > limit - usage.bytes:
                count = self._rest(limit)
            usage.bytes_down += count
            of_host.bytes_down += count
            return count

        return up, down

    def refused(self, refusal: Refusal, now: float) -> None:
        """`now` in seconds of any clock. Counts every refusal, and reports those within the limit of a second."""
        self._usage.refused += 1
        self._usage.of(refusal.host).refused += 1
        if self._refusals.allows(now):
            self._on_refused(refusal)

    def failed(self, failed: Failed, now: float) -> None:
        """`now` as for `refused`."""
        if self._failures.allows(now):
            self._on_failed(failed)

    def _rest(self, limit: int) -> int:
        """What is left of the limit, by which it is used up."""
        if not self.over_limit:
            self.over_limit = True
            self._on_limit()
        return limit - self._usage.bytes
