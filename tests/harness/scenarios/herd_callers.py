"""Many who create a session in one moment, in a process of their own: what they wait for is the server alone.

Reads a JSON object from standard input: `port`, `server` (its pid), and `asks`, a list of [API key, wait_seconds].
Connects everybody, as clients that keep their connections are, sends every request, and only then reads. A session that
is made is ended by who asked for it. Writes a JSON list of `Ask`, in the order of sending.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from browser_sessions.chromium.launch.process_group import cpu_seconds
from tests.harness.paths import ROOT

PATIENCE_S: Final = 120.0
_PATH: Final = "/v1/browser/sessions"


@dataclass
class Ask:
    """One who asks, and what became of it. Seconds of `time.monotonic`."""

    key: str
    wait_seconds: float
    sent: float = 0.0
    answered: float = 0.0
    ran: float = 0.0
    """Processor time of the server's event loop from the first sending to this answer: what others on the machine take
    is not in it. 0 where the system does not tell."""
    status: int = 0
    created_at: str = ""

    @property
    def took(self) -> float:
        return self.answered - self.sent


async def all_at_once(port: int, server: int, asks: Sequence[tuple[str, float]]) -> list[Ask]:
    """What each was told, in the order of sending."""
    callers = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    told, _ = await callers.communicate(json.dumps({"port": port, "server": server, "asks": asks}).encode())
    return [Ask(**each) for each in json.loads(told)]


class _Line:
    """One connection of one who asks."""

    def __init__(self, port: int, ask: Ask) -> None:
        self.ask = ask
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = b""

    def greet(self) -> None:
        """Returns when the server has answered a first request, and so has taken the connection."""
        self.send("GET", "/healthz")
        while not self._read.endswith(b"}"):
            self._read += self.socket.recv(65536)
        self._read = b""

    def send(self, method: str, path: str, body: str = "") -> None:
        self.socket.sendall(
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {self.ask.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )

    def heard(self) -> bool:
        """Reads what is there. True once nothing more will come."""
        came = time.monotonic()
        self._read += (part := self.socket.recv(65536))
        head, ended, body = self._read.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]) if ended else 1
        if len(body) < length:
            return not part
        self._read = b""
        if self.ask.status:  # its session has ended
            return True
        self.ask.answered, self.ask.status = came, int(head.split(b" ")[1])
        if self.ask.status != 201:
            return True
        made: dict[str, Any] = json.loads(body)
        self.ask.created_at = made["created_at"]
        self.send("DELETE", f"{_PATH}/{made['session_id']}")
        return False


def main() -> None:
    job = json.load(sys.stdin)
    lines = [_Line(job["port"], Ask(*ask)) for ask in job["asks"]]
    for line in lines:
        line.greet()
    before = cpu_seconds(job["server"])
    for line in lines:
        line.ask.sent = time.monotonic()
        line.send("POST", _PATH, json.dumps({"wait_seconds": line.ask.wait_seconds}))
    with selectors.DefaultSelector() as ready:
        for line in lines:
            ready.register(line.socket, selectors.EVENT_READ, line)
        until = time.monotonic() + PATIENCE_S
        while ready.get_map() and time.monotonic() < until:
            for key, _ in ready.select(1.0):
                over = key.data.heard()
                key.data.ask.ran = key.data.ask.ran or cpu_seconds(job["server"]) - before
                if over:
                    ready.unregister(key.fileobj)
    json.dump([asdict(line.ask) for line in lines], sys.stdout)


if __name__ == "__main__":
    main()
