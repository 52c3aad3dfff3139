"""A viewer that is gone: each of the tasks that send to it learns so, and none takes it for a bug."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.websockets import WebSocket, WebSocketDisconnect

from browser_sessions.api.routes.live import _Socket


async def test_every_message_to_a_viewer_that_is_gone_says_so() -> None:
    gone = False

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        if gone:
            raise OSError("Connection reset by peer")

    websocket = WebSocket({"type": "websocket", "headers": []}, receive, send)
    await websocket.accept()
    socket = _Socket(websocket)
    await socket.send_text("{}")
    gone = True
    for _ in range(2):
        with pytest.raises(WebSocketDisconnect):
            await socket.send_text("{}")
        with pytest.raises(WebSocketDisconnect):
            await socket.send_bytes(b"")
