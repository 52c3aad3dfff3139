"""Limits on wrong passwords: a number of attempts in a sliding window, in bounded memory."""

from __future__ import annotations

import ipaddress
import math
from collections import deque
from collections.abc import Hashable
from typing import Final

from cachetools import LRUCache

from browser_sessions.domain.clock import Clock
from browser_sessions.domain.errors import QuotaExceeded

ATTEMPTS_PER_NAME_AND_ADDRESS: Final = 10
ATTEMPTS_PER_ADDRESS: Final = 30
ATTEMPTS_PER_NAME: Final = 100
"""From all addresses: an attacker with many of them tries 144,000 passwords a day, out of more than 10^16 of twelve
letters."""
WINDOW_S: Final = 60.0
"""People mistype a few times a minute."""
MAX_KEYS: Final = 10_000
"""Tracked at once, about 5 MB; beyond that the least recently used one is dropped."""
SUBSCRIBER_BITS: Final = 64
"""Of an IPv6 address: one subscriber has all addresses with this prefix (RFC 6177)."""


class Throttle:
    """Allows `attempts` in `window_seconds` for each key."""

    def __init__(self, clock: Clock, *, attempts: int, window_seconds: float, max_keys: int = MAX_KEYS) -> None:
        self._clock = clock
        self._attempts = attempts
        self._window = window_seconds
        self._attempted_at: LRUCache[Hashable, deque[float]] = LRUCache(max_keys)

    def __len__(self) -> int:
        return len(self._attempted_at)

    def check(self, key: Hashable) -> None:
        """Raises `QuotaExceeded` if the key's window is full."""
        now = self._clock.monotonic()
        times = self._attempted_at.get(key)
        if times and len(times) == self._attempts and now - times[0] < self._window:
            wait = self._window - (now - times[0])
            text = f"Too many sign-in attempts. Wait {math.ceil(wait)} s before the next one."
            raise QuotaExceeded(text, retry_after=wait)

    def count(self, key: Hashable) -> None:
        """Counts an attempt."""
        self._attempted_at.setdefault(key, deque(maxlen=self._attempts)).append(self._clock.monotonic())

    def take_back(self, key: Hashable) -> None:
        """Takes the last attempt back."""
        if times := self._attempted_at.get(key):
            times.pop()

    def reset(self, key: Hashable) -> None:
        """Drops the key's attempts."""
        self._attempted_at.pop(key, None)


class SignInThrottle:
    """Limits wrong passwords for a name from an address, for an address, and for a name.

    Nobody locks another out: the last two limits do not hold where the name has signed in from that address before.
    """

    def __init__(self, clock: Clock) -> None:
        self._pairs = Throttle(clock, attempts=ATTEMPTS_PER_NAME_AND_ADDRESS, window_seconds=WINDOW_S)
        self._addresses = Throttle(clock, attempts=ATTEMPTS_PER_ADDRESS, window_seconds=WINDOW_S)
        self._names = Throttle(clock, attempts=ATTEMPTS_PER_NAME, window_seconds=WINDOW_S)
        self._signed_in: LRUCache[tuple[str, str], None] = LRUCache(MAX_KEYS)
        """Names and the addresses that they have signed in from."""

    def knows(self, name: str, address: str) -> bool:
        """Whether the name has signed in from that address."""
        return (name, _subscriber(address)) in self._signed_in

    def attempt(self, name: str, address: str) -> None:
        """Counts an attempt. Raises `QuotaExceeded` beyond a limit; a rejected attempt does not count."""
        limits = self._limits(name, address)
        for throttle, key in limits:
            throttle.check(key)
        for throttle, key in limits:
            throttle.count(key)

    def succeeded(self, name: str, address: str) -> None:
        """The last attempt had the right password."""
        for throttle, key in self._limits(name, address):
            throttle.take_back(key)
        pair = (name, _subscriber(address))
        self._pairs.reset(pair)
        self._signed_in[pair] = None

    def _limits(self, name: str, address: str) -> list[tuple[Throttle, Hashable]]:
        subscriber = _subscriber(address)
        limits: list[tuple[Throttle, Hashable]] = [(self._pairs, (name, subscriber))]
        if not self.knows(name, address):
            limits += [(self._addresses, subscriber), (self._names, name)]
        return limits


def _subscriber(address: str) -> str:
    """An IPv4 address as it is, of an IPv6 one the prefix."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    mapped = found.ipv4_mapped
    return str(mapped or int(found) >> (128 - SUBSCRIBER_BITS))
