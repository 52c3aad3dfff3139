"""A CDP client with little overhead: blocking, one call at a time.

`python -m tests.harness.clients.blocking_cdp URL own|first` reads 20 MB responses until it is killed and
prints one line for each.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
from typing import Any, Final
from urllib.parse import urlsplit

LARGE_BYTES: Final = 20 * 10**6
_MASK: Final = bytes(4)
"""A mask of zeros leaves the payload as it is."""


class Blocking:
    """Connects in the constructor."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        query = f"?{parts.query}" if parts.query else ""
        self._socket.sendall(
            f"GET {parts.path}{query} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._socket.recv(1)
        assert b" 101 " in head.split(b"\r\n", 1)[0], head

    def call(self, call_id: int, method: str, params: dict[str, Any], session_id: str | None = None) -> dict[str, Any]:
        """The whole response."""
        self.send(call_id, method, params, session_id)
        while True:
            response: dict[str, Any] = json.loads(self.frame())
            if response.get("id") == call_id:
                return response

    def send(self, call_id: int, method: str, params: dict[str, Any], session_id: str | None = None) -> None:
        message = {"id": call_id, "method": method, "params": params}
        if session_id is not None:
            message["sessionId"] = session_id
        payload = json.dumps(message).encode()
        length = (
            struct.pack("!BB", 0x81, 0x80 | len(payload))
            if len(payload) < 126
            else struct.pack("!BBH", 0x81, 0xFE, len(payload))
            if len(payload) < 65_536
            else struct.pack("!BBQ", 0x81, 0xFF, len(payload))
        )
        self._socket.sendall(length + _MASK + payload)

    def frame(self) -> bytes:
        """The next frame; the server sends unfragmented messages."""
        length = self._exactly(2)[1]
        if length >= 126:
            length = int.from_bytes(self._exactly(2 if length == 126 else 8))
        return self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        data = bytearray(count)
        view, done = memoryview(data), 0
        while done < count:
            read = self._socket.recv_into(view[done:])
            if not read:
                raise ConnectionError("closed")
            done += read
        return bytes(data)

    def page(self) -> str:
        """A CDP session on the first page."""
        targets = self.call(1, "Target.getTargets", {})["result"]["targetInfos"]
        return self.attach(next(info["targetId"] for info in targets if info["type"] == "page"))

    def own_page(self) -> str:
        """A CDP session on a new page in a new context."""
        context = self.call(1, "Target.createBrowserContext", {})["result"]["browserContextId"]
        params = {"url": "about:blank", "browserContextId": context}
        return self.attach(self.call(2, "Target.createTarget", params)["result"]["targetId"])

    def attach(self, target_id: str) -> str:
        attached = self.call(3, "Target.attachToTarget", {"targetId": target_id, "flatten": True})
        session_id: str = attached["result"]["sessionId"]
        return session_id

    def close(self) -> None:
        self._socket.close()


def main() -> None:
    url, which = sys.argv[1:]
    client = Blocking(url)
    at_page = client.own_page() if which == "own" else client.page()
    params = {"expression": f"'x'.repeat({LARGE_BYTES})", "returnByValue": True}
    while True:
        client.send(9, "Runtime.evaluate", params, at_page)
        while len(client.frame()) < LARGE_BYTES:
            pass
        sys.stdout.write("pulled\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
