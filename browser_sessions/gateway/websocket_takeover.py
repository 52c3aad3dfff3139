"""Hands a WebSocket over to the gateway after uvicorn's handshake: docs/decisions/0003-gateway-data-path.md."""

from __future__ import annotations

from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

EXTENSION: Final = "browser_sessions.take_over"
"""The ASGI scope extension with the function that hands the transport over."""


class TakeOverProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol with the extension `EXTENSION`."""

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        scope: Any = getattr(self, "scope", None)
        if scope is not None:  # None if the handshake was invalid
            scope["extensions"][EXTENSION] = self.take_over

    async def send(self, message: Any) -> None:
        """Marks the handshake as complete after a rejection, which uvicorn would log as an error otherwise."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True

    def take_over(self, successor: Any) -> None:
        """Hands the transport to `successor`. To be called right after `websocket.accept` was sent, before any await.

        uvicorn tracks `successor` from then on: it calls `successor.shutdown` when it stops, until `successor.closed`
        is done.
        """
        self.stop_keepalive()
        self.connections.discard(self)
        self.connections.add(successor)
        successor.closed.add_done_callback(lambda _: self.connections.discard(successor))
        self.transport.set_protocol(successor)
        successor.connection_made(self.transport)
