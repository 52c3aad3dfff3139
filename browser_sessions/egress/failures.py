"""Why a session got no connection: what the proxy has said to its browser, for the callers who asked for the page.

A response has an id of its own in the header `Proxy-Status`, which no site can know before. Of a tunnel Chromium says
only that it failed.
"""

from __future__ import annotations

from secrets import token_hex
from typing import Final

from cachetools import LRUCache

_MOST: Final = 256
"""Of each kind: a page that asks for more loses the oldest."""


class Failures:
    """Of one session; the texts are for people."""

    def __init__(self) -> None:
        self._tunnels: LRUCache[tuple[str, int], str] = LRUCache(_MOST)
        self._responses: LRUCache[str, str] = LRUCache(_MOST)

    def add_tunnel(self, host: str, port: int, text: str) -> None:
        self._tunnels[host, port] = text

    def add_response(self, text: str) -> str:
        """Returns the id of the response."""
        response_id = token_hex(16)
        self._responses[response_id] = text
        return response_id

    def of_tunnel(self, host: str, port: int) -> str | None:
        """The latest; `host` in lower case, without brackets or a dot at its end."""
        return self._tunnels.get((host, port))

    def of_response(self, response_id: str) -> str | None:
        return self._responses.get(response_id)
