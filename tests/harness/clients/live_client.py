"""A viewer for tests: the live protocol as the console uses it."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

Message = dict[str, Any]


@dataclass
class Shown:
    header: Message
    jpeg: bytes = field(repr=False)


class LiveClient:
    """Acknowledges every frame at once unless `stalled`."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.messages: list[Message] = []
        self.frames: list[Shown] = []
        self.drawn = 0
        """Frames received so far."""
        self.stalled = False
        self.closed: tuple[int, str] | None = None
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def until(self, wanted: Callable[[], Any], *, within: float = 20.0, what: str = "") -> Any:
        """The value of `wanted` once it is true; evaluated after each message."""
        try:
            async with asyncio.timeout(within):
                while not (value := wanted()):
                    if self.closed is not None:
                        raise AssertionError(f"closed {self.closed} before {what or wanted}: {self.messages[-3:]}")
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(
                f"not within {within} s: {what or wanted}; last messages {self.messages[-8:]}"
            ) from None
        return value

    async def message(self, kind: str, test: Callable[[Message], Any] = lambda _: True) -> Message:
        """The first message of a kind, including those received already."""
        found: Message = await self.until(
            lambda: next((each for each in self.messages if each["type"] == kind and test(each)), None), what=kind
        )
        return found

    async def frame(self, after: int = 0) -> Shown:
        """The newest frame once more than `after` have been received."""
        await self.until(lambda: len(self.frames) > after, what="a frame")
        return self.frames[-1]

    async def end(self, *, within: float = 20.0) -> tuple[int, str]:
        """The close code and reason."""
        async with asyncio.timeout(within):
            await asyncio.wait({self._reading})
        assert self.closed is not None
        return self.closed

    async def _read(self) -> None:
        try:
            async for data in self.socket:
                if isinstance(data, str):
                    self.messages.append(json.loads(data))
                else:
                    self._drew(data)
                    if not self.stalled:
                        await self.send("ack", seq=self.frames[-1].header["seq"])
                self._news.set()
        except ConnectionClosed:
            pass
        self.closed = (self.socket.close_code or 0, self.socket.close_reason or "")
        self._news.set()

    def _drew(self, data: bytes) -> None:
        (length,) = struct.unpack_from(">I", data)
        header = json.loads(data[4 : 4 + length])
        self.drawn += 1
        self.frames.append(Shown(header, data[4 + length :]))
        if len(self.frames) > 200:
            del self.frames[:100]

    async def close(self) -> None:
        await self.socket.close()
        await asyncio.wait({self._reading})


@asynccontextmanager
async def watching(url: str, headers: dict[str, str] | None = None, **options: Any) -> AsyncIterator[LiveClient]:
    """Connects a viewer to a ws:// address."""
    socket = await connect(url, additional_headers=headers, max_size=None, proxy=None, compression=None, **options)
    client = LiveClient(socket)
    try:
        yield client
    finally:
        await client.close()
