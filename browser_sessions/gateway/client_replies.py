"""What is said to one client, with its levels named as it names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from browser_sessions.cdp.messages import Command, event, refusal, result, without_session
from browser_sessions.cdp.websocket import ClientSocket
from browser_sessions.gateway.scope.client_scope import Event


class Replies:
    """To a client that stands at its browser's root or, with `root` set, at a page's: then messages of that session
    have no id for the client, and there is no browser's level."""

    def __init__(self, socket: ClientSocket) -> None:
        self.root: str | None = None
        """The CDP session of the page that the client stands at."""
        self._socket = socket

    def answer(self, command: Command, value: Mapping[str, Any]) -> None:
        self._socket.send(result(command.call_id, self._named(command.session_id), value))

    def pass_error(self, command: Command, error: Mapping[str, Any] | None) -> None:
        """An error that Chromium gave to a call of ours, as the answer to the client's."""
        told = error or {}
        self.refuse(command, int(told.get("code", -32603)), str(told.get("message", "Internal error")))

    def refuse(self, command: Command, code: int, text: str) -> None:
        self._socket.send(refusal(command.call_id, self._named(command.session_id), code, text))

    def emit(self, told: Event) -> None:
        if self.root is None or told.session_id is not None:
            self._socket.send(event(told.method, told.params, self._named(told.session_id)))

    def pass_on(self, message: bytes, session_id: bytes | None) -> None:
        """A message of Chromium; `session_id` stands at its end, None: the client's own browser session's does."""
        if session_id is None or (self.root is not None and session_id == self.root.encode()):
            message = without_session(message)
        self._socket.send(message)

    def _named(self, session_id: str | None) -> str | None:
        return None if session_id == self.root else session_id
