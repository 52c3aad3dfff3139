"""uvicorn makes the handshake and ASGI decides; then the gateway takes the connection over. See docs/decisions/0003."""

from __future__ import annotations

from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

EXTENSION: Final = "browser_sessions.take_over"
"""Where the scope of a WebSocket holds the function that hands the transport over."""


class TakeOverProtocol(WebSocketsSansIOProtocol):
    """uvicorn's own, plus one function in the scope's extensions."""

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        scope: Any = getattr(self, "scope", None)
        if scope is not None:  # none where the handshake itself was refused
            scope["extensions"][EXTENSION] = self.take_over

    async def send(self, message: Any) -> None:
        """A refusal is a whole handshake too: uvicorn forgets that, and calls it an error in its log."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True

    def take_over(self, successor: Any) -> None:
        """Hands the transport to `successor`, right after `websocket.accept` was sent and before any other await.

        uvicorn's bookkeeping follows: it calls `successor.shutdown` when it stops, until `successor.closed` is done.
        """
        self.stop_keepalive()
        self.connections.discard(self)
        self.connections.add(successor)
        successor.closed.add_done_callback(lambda _: self.connections.discard(successor))
        self.transport.set_protocol(successor)
        successor.connection_made(self.transport)
