"""A gateway client that sends arbitrary messages and records every frame it receives."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.harness.waiting import PATIENCE_S


class Raw:
    """Create with `raw`."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.close_code: int | None = None
        self.close_reason = ""
        self.closed = asyncio.Event()
        self._more = asyncio.Event()
        self._pending: dict[Any, asyncio.Future[dict[str, Any]]] = {}
        self._ids = itertools.count(1)
        self._reader = asyncio.create_task(self._read())

    def begin(
        self, method: str, params: dict[str, Any] | None = None, session_id: str | None = None
    ) -> tuple[int, str]:
        """(id, frame) of a command, not sent yet."""
        message: dict[str, Any] = {"id": next(self._ids), "method": method, "params": params or {}}
        if session_id is not None:
            message["sessionId"] = session_id
        return message["id"], json.dumps(message)

    def response(self, call_id: int) -> asyncio.Future[dict[str, Any]]:
        return self._pending.setdefault(call_id, asyncio.get_running_loop().create_future())

    async def ask(
        self, method: str, params: dict[str, Any] | None = None, session_id: str | None = None
    ) -> dict[str, Any]:
        """The whole response, which may be an error."""
        call_id, frame = self.begin(method, params, session_id)
        response = self.response(call_id)
        await self.socket.send(frame)
        async with asyncio.timeout(PATIENCE_S):
            return await response

    async def call(
        self, method: str, params: dict[str, Any] | None = None, session_id: str | None = None
    ) -> dict[str, Any]:
        """The result; fails on an error."""
        response = await self.ask(method, params, session_id)
        assert "result" in response, (method, response)
        result: dict[str, Any] = response["result"]
        return result

    async def value(self, expression: str, session_id: str | None = None) -> Any:
        """The value of an expression in the page."""
        arguments = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        return (await self.call("Runtime.evaluate", arguments, session_id))["result"].get("value")

    async def event(self, method: str, matches: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        """The first event that matches, received already or later; the whole message."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for message in self.events:
                    if message["method"] == method and matches(message):
                        return message
                await self.more()

    async def more(self) -> None:
        """Returns when events have been received since the call."""
        self._more.clear()
        await self._more.wait()

    async def attach(self, target_id: str) -> str:
        """A CDP session on a target."""
        response = await self.call("Target.attachToTarget", {"targetId": target_id, "flatten": True})
        session_id: str = response["sessionId"]
        return session_id

    async def page(self) -> tuple[str, str]:
        """The first page: its target id and a CDP session on it."""
        targets = (await self.call("Target.getTargets"))["targetInfos"]
        target_id = next(info["targetId"] for info in targets if info["type"] == "page")
        return target_id, await self.attach(target_id)

    async def new_page(self) -> str:
        """The target id of a page in a new context, like that of a session."""
        context = (await self.call("Target.createBrowserContext"))["browserContextId"]
        params = {"url": "about:blank", "browserContextId": context}
        target_id: str = (await self.call("Target.createTarget", params))["targetId"]
        return target_id

    async def auto_attach(self, *, wait: bool = True) -> None:
        await self.call("Target.setAutoAttach", {"autoAttach": True, "waitForDebuggerOnStart": wait, "flatten": True})

    async def _read(self) -> None:
        try:
            async for frame in self.socket:
                assert isinstance(frame, str)
                self.frames.append(frame)
                message = json.loads(frame)
                if "method" in message:
                    self.events.append(message)
                    self._more.set()
                elif (response := self._pending.pop(message.get("id"), None)) is not None and not response.done():
                    response.set_result(message)
        except ConnectionClosed:
            pass
        self.close_code, self.close_reason = self.socket.close_code, self.socket.close_reason or ""
        self.closed.set()
        for response in self._pending.values():
            response.cancel()

    async def close(self) -> None:
        await self.socket.close()
        await self._reader


@asynccontextmanager
async def raw(url: str, **options: Any) -> AsyncIterator[Raw]:
    """Connects to a `connect_url`; `options` are those of `websockets.connect`."""
    chosen: dict[str, Any] = {"max_size": None, "compression": None, "proxy": None, "close_timeout": 2, **options}
    async with connect(url, ping_interval=None, **chosen) as socket:
        client = Raw(socket)
        try:
            yield client
        finally:
            await client.close()
