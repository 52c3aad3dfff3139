"""A WebSocket client that sends whatever it is told to, byte by byte."""

from __future__ import annotations

import asyncio
import struct
from typing import Final
from urllib.parse import urlsplit

from websockets.frames import Opcode

from tests.harness.clients.ws_frames import masked

CLOSED: Final = 1006
"""Instead of a close code: the connection ended without one."""
_PING: Final = b"still there?"


class RawWebSocket:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, url: str, headers: dict[str, str]) -> RawWebSocket:
        """Connects to an http:// or ws:// address. Fails if the upgrade is refused."""
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        sent = {
            "Host": parts.netloc,
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version": "13",
            **headers,
        }
        lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        return cls(reader, writer)

    async def send(self, data: bytes) -> int | None:
        """Sends `data` and a ping. The code with which the server closes, None if it answers the ping."""
        try:
            self._writer.write(data + masked(Opcode.PING, _PING))
            await self._writer.drain()
            while True:
                opcode, payload = await self._frame()
                if opcode == Opcode.CLOSE:
                    return struct.unpack("!H", payload[:2])[0] if payload else 1005
                if opcode == Opcode.PONG and payload == _PING:
                    return None
        except (ConnectionError, asyncio.IncompleteReadError):
            return CLOSED

    async def close(self) -> None:
        self._writer.close()

    async def _frame(self) -> tuple[int, bytes]:
        first, length = await self._reader.readexactly(2)
        if length == 126:
            (length,) = struct.unpack("!H", await self._reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self._reader.readexactly(8))
        return first & 0x0F, await self._reader.readexactly(length)
