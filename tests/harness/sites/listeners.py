"""Listeners on several loopback addresses that record whoever reaches them, over TCP or UDP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

ADDRESSES: Final = ("127.0.0.1", "127.0.0.2", "::1")
_RESPONSE: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"


class Listeners:
    """`hits` has (protocol, address) of every connection and datagram; `port` is the same on all addresses."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.hits: list[tuple[str, str]] = []

    async def connected(self, address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hits.append(("tcp", address))
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(_RESPONSE)
            await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass
        finally:
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, listeners: Listeners, address: str) -> None:
        self._listeners, self._address = listeners, address

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._listeners.hits.append(("udp", self._address))


@asynccontextmanager
async def listeners() -> AsyncIterator[Listeners]:
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        with socket.socket() as tried:
            tried.bind(("127.0.0.1", 0))
            found = Listeners(tried.getsockname()[1])
        for address in ADDRESSES:

            async def connected(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str = address
            ) -> None:
                await found.connected(address, reader, writer)

            server = await asyncio.start_server(connected, address, found.port)
            stack.callback(server.close)
            transport, _ = await loop.create_datagram_endpoint(
                lambda address=address: _Datagrams(found, address),  # type: ignore[misc]
                local_addr=(address, found.port),
            )
            stack.callback(transport.close)
        yield found
