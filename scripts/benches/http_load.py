"""Load of HTTP GETs over persistent connections, measured directly at the socket, without an HTTP library."""

from __future__ import annotations

import asyncio
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


class _Connection(asyncio.Protocol):
    """Sends the next request as soon as it has the whole response, until `stopping` is set."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._received = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None
        self.latencies: list[float] = []
        self.stopping = False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode("latin-1"))
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        if len(body) < length:
            return
        self.latencies.append(time.perf_counter() - self._sent_at)
        self._received = b""
        if self.stopping:
            self.done.set_result(None)
        else:
            self._send()

    def _send(self) -> None:
        assert self._transport is not None
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def load(url: str, path: str, headers: dict[str, str], *, connections: int, seconds: float) -> Load:
    """GETs `path` over `connections` connections at once for `seconds`."""
    host, _, port = url.removeprefix("http://").partition(":")
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
    request = "\r\n".join(lines).encode()
    loop = asyncio.get_running_loop()
    started_at = time.perf_counter()
    open_ = [
        (await loop.create_connection(lambda: _Connection(request), host, int(port)))[1] for _ in range(connections)
    ]
    await asyncio.sleep(seconds)
    for connection in open_:
        connection.stopping = True
    await asyncio.gather(*(connection.done for connection in open_))
    took = time.perf_counter() - started_at
    for connection in open_:
        connection.close()
    latencies = [latency for connection in open_ for latency in connection.latencies]
    return Load(len(latencies), took, latencies)
