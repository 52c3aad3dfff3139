"""How a CDP call fails."""

from __future__ import annotations

from typing import Final

SESSION_NOT_FOUND: Final = -32001
"""Chromium's code for a call on a session that it does not know."""


class CdpError(Exception):
    """Chromium answered a call with an error object."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message


class CdpClosed(Exception):
    """The browser's pipe is closed; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class MessageTooLong(Exception):
    """A command is longer than `pipe.MAX_COMMAND_BYTES`. Nothing of it was sent."""
