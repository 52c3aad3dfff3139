"""Cleaning of untrusted text before it is sent or displayed."""

from __future__ import annotations

from browser_sessions.domain.limits import TEXT_CHARACTERS


def valid(text: str) -> str:
    """`text` as valid Unicode: lone surrogates, which JavaScript strings may contain, become U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def without_prefix(message: str) -> str:
    """The message of a validation error as it was raised: pydantic puts the exception's kind before it."""
    return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")


def clipped(text: str) -> str:
    """`text` as valid Unicode, truncated to `TEXT_CHARACTERS` with `…` at the end."""
    return valid(text if len(text) <= TEXT_CHARACTERS else text[: TEXT_CHARACTERS - 1] + "…")
