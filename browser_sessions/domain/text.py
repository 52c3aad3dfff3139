"""Text of strangers, made fit to be sent and shown. Pure."""

from __future__ import annotations

from browser_sessions.domain.limits import TEXT_CHARACTERS


def valid(text: str) -> str:
    """`text` as valid Unicode: JavaScript's strings may hold half of a surrogate pair, which becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def clipped(text: str) -> str:
    """At most `TEXT_CHARACTERS` of `text`, as valid Unicode; `…` at the end says that there was more."""
    return valid(text if len(text) <= TEXT_CHARACTERS else text[: TEXT_CHARACTERS - 1] + "…")
