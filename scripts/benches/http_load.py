"""Load of HTTP GETs over persistent connections, measured directly at the socket, without an HTTP library."""

from __future__ import annotations

import asyncio
import select
import socket
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """Results of one round. Times are in seconds."""

    requests: int
    seconds: float
    latencies: list[float]

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


class _Connection:
    """Sends the next request as soon as it has the whole response."""

    def __init__(self, address: tuple[str, int], request: bytes) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request
        self._received = b""
        self._sent_at = 0.0

    def send(self) -> None:
        self._sent_at = time.perf_counter()
        self.socket.sendall(self._request)

    def receive(self) -> float | None:
        """Seconds from request to response if that is complete now."""
        self._received += self.socket.recv(65536)
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"[: len(head)]):
            raise RuntimeError(head.decode("latin-1"))
        if not separator or len(body) < int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]):
            return None
        self._received = b""
        return time.perf_counter() - self._sent_at


async def load(url: str, path: str, headers: dict[str, str], *, connections: int, seconds: float) -> Load:
    """GETs `path` over `connections` connections at once for `seconds`. Polls instead of sleeping: an idle client
    is woken for each response, which on a virtual machine costs the server a fifth of what the response does."""
    host, _, port = url.removeprefix("http://").partition(":")
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
    return await asyncio.to_thread(_load, (host, int(port)), "\r\n".join(lines).encode(), connections, seconds)


def _load(address: tuple[str, int], request: bytes, connections: int, seconds: float) -> Load:
    found = {each.socket.fileno(): each for each in (_Connection(address, request) for _ in range(connections))}
    latencies: list[float] = []
    with select.epoll() as poll:
        for descriptor, connection in found.items():
            poll.register(descriptor, select.EPOLLIN)
            connection.send()
        started_at = time.perf_counter()
        while (took := time.perf_counter() - started_at) < seconds:
            for descriptor, _ in poll.poll(0):
                latency = found[descriptor].receive()
                if latency is not None:
                    latencies.append(latency)
                    found[descriptor].send()
    for connection in found.values():
        connection.socket.close()
    return Load(len(latencies), took, latencies)
