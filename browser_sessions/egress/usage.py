"""What a session's traffic came to, in all and by host."""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import nlargest
from typing import Final

TOP_HOSTS: Final = 20
_MOST_HOSTS: Final = 512
"""Hosts counted one by one; a page that asks for more loses the smallest, not the sums."""


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
