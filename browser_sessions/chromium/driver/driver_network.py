"""What Playwright's driver hears of the network: nothing, until somebody asks for what only the network tells.

Playwright enables `Network` in every page that it attaches to and makes an object of every request. Nobody here listens
to those, and Chromium, our loop and the driver pay for each: a page of 70 resources makes 500 messages. So it is told
that the domain is on, and it is switched on for a navigation of ours only, whose answer Playwright finds there.
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
_NEEDS: Final = ("Network.", "Fetch.")
"""Whatever else Playwright sets here takes effect only while the domain is on, and requests that it intercepts it knows
by the network's events."""
EVENT: Final = b'{"method":"Network.'
_REQUEST: Final = b'{"method":"Network.requestWillBeSent","params":{'
_RESPONSE: Final = b'{"method":"Network.responseReceived",'
_DOCUMENT: Final = re.compile(rb'"requestId":"([^"]+)","loaderId":"\1"')
"""A document's request has its loader's id. Those of what is in the document mostly come before its response does."""

Post = Callable[[str, str], None]
"""Sends a method on one of the driver's CDP sessions: (method, session id)."""


class DriverNetwork:
    """Of one browser, by CDP session of the driver's: pages, and the frames and workers below them."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._page_of: dict[str, str] = {}
        """Page by CDP session on it, or on a part of it."""
        self._wanted: set[str] = set()
        """Where Playwright believes that the domain is on."""
        self._on: set[str] = set()
        self._needed: set[str] = set()
        """Where it stays on."""
        self._listening: Counter[str] = Counter()
        """Navigations under way that want to hear everything, by page."""

    def attached(self, session_id: str, parent: str | None, target_id: str) -> None:
        self._page_of[session_id] = self._page_of.get(parent or "", target_id)

    def detached(self, session_id: str) -> None:
        self._page_of.pop(session_id, None)
        for sessions in (self._wanted, self._on, self._needed):
            sessions.discard(session_id)

    def passes(self, method: str, session_id: str) -> bool:
        """Whether a command of the driver is to be sent on; else it is done. What has to be said before it is sent."""
        if not method.startswith(_NEEDS):
            return True
        if method == ENABLE:
            self._wanted.add(session_id)
            if self._stays_on(session_id):
                self._on.add(session_id)
                return True
            return False
        if session_id not in self._needed:
            self._needed.add(session_id)
            self._turn_on(session_id)
        return True

    @contextmanager
    def navigation(self, page_id: str, *, everything: bool) -> Iterator[None]:
        """Has the driver hear of a navigation of the page: until its document has begun to come or, with `everything`,
        of all requests until the body is done."""
        if everything:
            self._listening[page_id] += 1
        for session_id in self._sessions(page_id):
            self._turn_on(session_id)
        try:
            yield
        finally:
            if everything:
                self._listening -= Counter({page_id: 1})
            for session_id in self._sessions(page_id):
                self._turn_off(session_id)

    def hears(self, message: bytes, session_id: str) -> bool:
        """Whether the driver is to have an event of the network. Once it has the response of a page's document, it
        hears nothing more."""
        if session_id not in self._on or self._stays_on(session_id):
            return True
        if message.startswith(_REQUEST):
            return _DOCUMENT.match(message, len(_REQUEST)) is not None
        if message.startswith(_RESPONSE):
            params: dict[str, Any] = read(message)["params"]
            if params["requestId"] == params["loaderId"] and params.get("frameId") == self._page_of.get(session_id):
                self._turn_off(session_id)
        return True

    def _sessions(self, page_id: str) -> list[str]:
        return [session_id for session_id, each in self._page_of.items() if each == page_id]

    def _turn_on(self, session_id: str) -> None:
        if session_id in self._wanted and session_id not in self._on:
            self._on.add(session_id)
            self._post(ENABLE, session_id)

    def _turn_off(self, session_id: str) -> None:
        if session_id in self._on and not self._stays_on(session_id):
            self._on.discard(session_id)
            self._post(DISABLE, session_id)

    def _stays_on(self, session_id: str) -> bool:
        return session_id in self._needed or bool(self._listening[self._page_of.get(session_id, "")])
