"""Creates many sessions at the same moment, in a separate process so that only the server's time is measured.

Reads a JSON object from standard input: `port`, `server` (its pid), and `creates`, a list of [API key, wait_seconds].
Opens all connections, sends every request, and only then reads. Each caller ends the session it gets. Writes a JSON
list of `Create`, in the order of sending.
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
class Create:
    """One create request and its outcome. Times are `time.monotonic` seconds."""

    key: str
    wait_seconds: float
    sent_at: float = 0.0
    answered_at: float = 0.0
    ran: float = 0.0
    """Processor time of the server's event loop from the first request to this response, which excludes other load on
    the machine. 0 where the system does not report it."""
    status: int = 0
    created_at: str = ""

    @property
    def took(self) -> float:
        return self.answered_at - self.sent_at


async def all_at_once(port: int, server: int, creates: Sequence[tuple[str, float]]) -> list[Create]:
    """The outcome of each, in the order of sending."""
    callers = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    output, _ = await callers.communicate(json.dumps({"port": port, "server": server, "creates": creates}).encode())
    return [Create(**each) for each in json.loads(output)]


class _Line:
    """The connection of one caller."""

    def __init__(self, port: int, create: Create) -> None:
        self.create = create
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = b""

    def greet(self) -> None:
        """Returns once the server has answered a first request and so has accepted the connection."""
        self.send("GET", "/healthz")
        while not self._read.endswith(b"}"):
            self._read += self.socket.recv(65536)
        self._read = b""

    def send(self, method: str, path: str, body: str = "") -> None:
        self.socket.sendall(
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {self.create.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )

    def read(self) -> bool:
        """Reads available data. True once the exchange is complete."""
        came = time.monotonic()
        self._read += (part := self.socket.recv(65536))
        head, ended, body = self._read.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]) if ended else 1
        if len(body) < length:
            return not part
        self._read = b""
        if self.create.status:  # its session has ended
            return True
        self.create.answered_at, self.create.status = came, int(head.split(b" ")[1])
        if self.create.status != 201:
            return True
        made: dict[str, Any] = json.loads(body)
        self.create.created_at = made["created_at"]
        self.send("DELETE", f"{_PATH}/{made['session_id']}")
        return False


def main() -> None:
    job = json.load(sys.stdin)
    lines = [_Line(job["port"], Create(*create)) for create in job["creates"]]
    for line in lines:
        line.greet()
    before = cpu_seconds(job["server"])
    for line in lines:
        line.create.sent_at = time.monotonic()
        line.send("POST", _PATH, json.dumps({"wait_seconds": line.create.wait_seconds}))
    with selectors.DefaultSelector() as ready:
        for line in lines:
            ready.register(line.socket, selectors.EVENT_READ, line)
        until = time.monotonic() + PATIENCE_S
        while ready.get_map() and time.monotonic() < until:
            for key, _ in ready.select(1.0):
                over = key.data.read()
                key.data.create.ran = key.data.create.ran or cpu_seconds(job["server"]) - before
                if over:
                    ready.unregister(key.fileobj)
    json.dump([asdict(line.create) for line in lines], sys.stdout)


if __name__ == "__main__":
    main()
