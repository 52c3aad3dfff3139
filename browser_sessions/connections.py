"""Limits on open connections: in all, and from one address."""

from __future__ import annotations

import ipaddress
import time
from collections import Counter
from collections.abc import Iterable
from typing import Final

import structlog

log = structlog.get_logger()

LOG_EVERY_S: Final = 10.0
"""Between two lines about refused connections: whoever opens thousands must not fill the log."""
IPV6_PREFIX: Final = 64
"""Bits of an IPv6 address that count: a network of this size is the least that anybody gets."""


class Connections:
    """Counts connections by their transports, which stay the same when a connection becomes a WebSocket.

    `exempt`: networks whose addresses have no limit of their own, besides loopback: those of proxies, which connect for
    everybody.
    """

    def __init__(self, limit: int, limit_per_address: int, exempt: Iterable[str] = ()) -> None:
        self._limit = limit
        self._limit_per_address = limit_per_address
        self._exempt = tuple(ipaddress.ip_network(text, strict=False) for text in exempt)
        self._origins: dict[object, str | None] = {}
        self._by_origin: Counter[str] = Counter()
        self._unlogged = 0
        self._logged_at = -LOG_EVERY_S

    def open(self, transport: object, address: str) -> bool:
        """Counts a new connection. False if it is beyond a limit."""
        origin = self._origin(address)
        if len(self._origins) >= self._limit:
            self._refused("all", self._limit, address)
            return False
        if origin is not None:
            if self._by_origin[origin] >= self._limit_per_address:
                self._refused("address", self._limit_per_address, address)
                return False
            self._by_origin[origin] += 1
        self._origins[transport] = origin
        return True

    def close(self, transport: object) -> None:
        """The connection is closed. Does nothing if it was not counted."""
        origin = self._origins.pop(transport, None)
        if origin is not None:
            self._by_origin[origin] -= 1
            if not self._by_origin[origin]:
                del self._by_origin[origin]

    @property
    def count(self) -> int:
        """Open connections."""
        return len(self._origins)

    def _origin(self, address: str) -> str | None:
        """What counts as one address; None where nothing does."""
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return None  # a Unix socket
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        if parsed.is_loopback or any(parsed in network for network in self._exempt):
            return None
        if isinstance(parsed, ipaddress.IPv6Address):
            return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))
        return str(parsed)

    def _refused(self, which: str, limit: int, address: str) -> None:
        self._unlogged += 1
        now = time.monotonic()
        if now - self._logged_at >= LOG_EVERY_S:
            log.warning("connections.refused", limit_of=which, limit=limit, client=address, count=self._unlogged)
            self._unlogged, self._logged_at = 0, now
