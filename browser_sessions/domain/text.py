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


def has_more_values(json: bytes, most: int) -> bool:
    """Whether a JSON text has more than `most` values, each of which takes more memory and time than its characters; so
    has one that is not UTF-8, which cannot be counted. Runs at C speed and creates few objects."""
    if b"\0" in json:
        return True
    unescaped = json.replace(rb"\\", b"").replace(rb"\"", b"")  # escapes occur inside strings only
    if unescaped.count(b'"') > 4 * most:  # those of a name and of a value
        return True
    outside = b"".join(unescaped.split(b'"')[::2])
    return outside.count(b",") + outside.count(b"[") + outside.count(b"{") > most
