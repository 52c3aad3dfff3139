"""Messages to one client, with CDP session ids as the client sees them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from browser_sessions.cdp.messages import Command, error_response, event, result, without_session
from browser_sessions.cdp.websocket import ClientSocket
from browser_sessions.gateway.scope.client_scope import Event


class Replies:
    """The client's root is the browser or, if `root` is set, a page. In the latter case messages of the page's session
    have no `sessionId`, and the client sees no browser level."""

    def __init__(self, socket: ClientSocket) -> None:
        self.root: str | None = None
        """The CDP session of the page that is the client's root."""
        self._socket = socket

    def answer(self, command: Command, value: Mapping[str, Any]) -> None:
        self._socket.send(result(command.call_id, self._client_id(command.session_id), value))

    def pass_error(self, command: Command, error: Mapping[str, Any] | None) -> None:
        """Responds with an error that Chromium returned for a call of ours."""
        fields = error or {}
        code, text = int(fields.get("code", -32603)), str(fields.get("message", "Internal error"))
        self.refuse(command, code, text, fields.get("data"))

    def refuse(self, command: Command, code: int, text: str, data: str | None = None) -> None:
        self._socket.send(error_response(command.call_id, self._client_id(command.session_id), code, text, data))

    def emit(self, to_emit: Event) -> None:
        if self.root is None or to_emit.session_id is not None:
            self._socket.send(event(to_emit.method, to_emit.params, self._client_id(to_emit.session_id)))

    def pass_on(self, message: bytes, session_id: bytes | None) -> None:
        """Forwards a message of Chromium that ends with `session_id`; None: with that of the client's own browser
        session."""
        if session_id is None or (self.root is not None and session_id == self.root.encode()):
            message = without_session(message)
        self._socket.send(message)

    def _client_id(self, session_id: str | None) -> str | None:
        return None if session_id == self.root else session_id
