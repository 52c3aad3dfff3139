"""Errors of CDP calls."""

from __future__ import annotations

from typing import Final

SESSION_NOT_FOUND: Final = -32001
"""Chromium's error code for an unknown session."""


class CdpError(Exception):
    """Chromium responded to a call with an error."""

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
    """A command is longer than `pipe.MAX_COMMAND_BYTES` and was not sent."""
