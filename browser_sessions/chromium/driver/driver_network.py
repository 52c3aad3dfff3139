"""Keeps the `Network` domain of Playwright's CDP sessions disabled while nothing needs its events.

Playwright enables `Network` in every page that it attaches to and creates an object for each request. The service does
not use them, yet Chromium, our event loop and the driver process them all: 500 messages for a page of 70 resources. So
the driver's `Network.enable` gets an empty result, and the domain is enabled only during our own navigations, whose
response Playwright takes from these events.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from browser_sessions.cdp.messages import read

ENABLE: Final = "Network.enable"
DISABLE: Final = "Network.disable"
_NEEDS_NETWORK: Final = ("Network.", "Fetch.")
"""Other `Network` settings take effect only while the domain is enabled, and Playwright matches intercepted requests to
its events."""
NETWORK_EVENT: Final = b'{"method":"Network.'
_REQUEST: Final = b'{"method":"Network.requestWillBeSent","params":{'
_RESPONSE: Final = b'{"method":"Network.responseReceived",'
_DOCUMENT: Final = re.compile(rb'"requestId":"([^"]+)","loaderId":"\1"')
"""The request of a document has its loader's id. Most requests of subresources arrive before the document's
response."""

Post = Callable[[str, str], None]
"""Sends a method on one of the driver's CDP sessions: (method, session id)."""


class DriverNetwork:
    """One per browser. Knows the driver's CDP sessions on pages and on the frames and workers below them."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._page_of: dict[str, str] = {}
        """Page id by CDP session on the page, or on a frame or worker of it."""
        self._requested: set[str] = set()
        """Sessions on which Playwright has enabled the domain."""
        self._enabled: set[str] = set()
        """Sessions on which it is enabled in Chromium."""
        self._required: set[str] = set()
        """Sessions on which it stays enabled."""
        self._full_navigations: Counter[str] = Counter()
        """Number of running navigations that need all events, by page."""

    def attached(self, session_id: str, parent: str | None, target_id: str) -> None:
        self._page_of[session_id] = self._page_of.get(parent or "", target_id)

    def detached(self, session_id: str) -> None:
        self._page_of.pop(session_id, None)
        for sessions in (self._requested, self._enabled, self._required):
            sessions.discard(session_id)

    def forwards_command(self, method: str, session_id: str) -> bool:
        """Whether to forward a command of the driver to Chromium; if not, its result is empty. Enables the domain first
        if the command needs it."""
        if not method.startswith(_NEEDS_NETWORK):
            return True
        if method == ENABLE:
            self._requested.add(session_id)
            if self._stays_enabled(session_id):
                self._enabled.add(session_id)
                return True
            return False
        if session_id not in self._required:
            self._required.add(session_id)
            self._enable(session_id)
        return True

    @contextmanager
    def navigation(self, page_id: str, *, everything: bool) -> Iterator[None]:
        """Enables the domain within the block, at most until the response of the page's document arrives. With
        `everything`, forwards the events of all requests until the end of the block."""
        if everything:
            self._full_navigations[page_id] += 1
        for session_id in self._sessions(page_id):
            self._enable(session_id)
        try:
            yield
        finally:
            if everything:
                self._full_navigations -= Counter({page_id: 1})
            for session_id in self._sessions(page_id):
                self._disable(session_id)

    def forwards_event(self, message: bytes, session_id: str) -> bool:
        """Whether to forward a `Network` event to the driver. Disables the domain when the response of the page's
        document has arrived."""
        if session_id not in self._enabled or self._stays_enabled(session_id):
            return True
        if message.startswith(_REQUEST):
            return _DOCUMENT.match(message, len(_REQUEST)) is not None
        if message.startswith(_RESPONSE):
            params: dict[str, Any] = read(message)["params"]
            if params["requestId"] == params["loaderId"] and params.get("frameId") == self._page_of.get(session_id):
                self._disable(session_id)
        return True

    def _sessions(self, page_id: str) -> list[str]:
        return [session_id for session_id, each in self._page_of.items() if each == page_id]

    def _enable(self, session_id: str) -> None:
        if session_id in self._requested and session_id not in self._enabled:
            self._enabled.add(session_id)
            self._post(ENABLE, session_id)

    def _disable(self, session_id: str) -> None:
        if session_id in self._enabled and not self._stays_enabled(session_id):
            self._enabled.discard(session_id)
            self._post(DISABLE, session_id)

    def _stays_enabled(self, session_id: str) -> bool:
        return session_id in self._required or bool(self._full_navigations[self._page_of.get(session_id, "")])
