"""One CDP message, decoded no further than needed. Pure.

What a client sends is decoded whole and encoded anew from what was decoded: spacing, escapes and keys named twice
cannot make Chromium read something else than what was decided on. What Chromium sends is passed on as it came, unless
its first bytes say that it must be read. Source of the wire format and of the errors' texts: Chromium 156.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

FIRST_OWN_ID: Final = 2_000_000_000
"""Ids from here on are ours on a client's session: 147 million, up to the largest that Chromium takes (2^31 - 1)."""
LAST_ID: Final = 2**31 - 1
FIRST_ID: Final = -(2**31)
"""Playwright uses ids below zero for calls of its own, so they pass."""

SMALL_BYTES: Final = 2**20
"""Below this a message is decoded without counting first: the worst one (350,000 empty objects) takes 25 ms."""
MAX_TOKENS: Final = 400_000
"""Values in a larger message: more would stop the event loop for longer than a bad small one does, and a message of
256 MB could make gigabytes of objects. A large honest message is a few long strings."""

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600


class Malformed(ValueError):
    """Not a command. `call_id` is None where it could not be told; `as_answer()` is what Chromium would say."""

    def __init__(self, code: int, message: str, call_id: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.call_id = call_id

    def as_answer(self) -> bytes:
        return refusal(self.call_id, None, self.code, self.message)


@dataclass(frozen=True, slots=True)
class Command:
    """What a client sent."""

    call_id: int
    method: str
    params: dict[str, Any]
    session_id: str | None = None


def decode(payload: bytes) -> Command:
    """A client's text frame as a command. Raises `Malformed`."""
    raw = _loads(payload)
    if not isinstance(raw, dict):
        raise Malformed(INVALID_REQUEST, "Message must be an object")
    call_id = raw.pop("id", None)
    if isinstance(call_id, float) and call_id.is_integer():
        call_id = int(call_id)  # Chromium takes 1.0 for 1
    if not isinstance(call_id, int) or isinstance(call_id, bool) or not FIRST_ID <= call_id <= LAST_ID:
        raise Malformed(INVALID_REQUEST, "Message must have integer 'id' property")
    if call_id >= FIRST_OWN_ID:
        raise Malformed(INVALID_REQUEST, f"Message must have an 'id' below {FIRST_OWN_ID}", call_id)
    method = raw.pop("method", None)
    if not isinstance(method, str) or not method:
        raise Malformed(INVALID_REQUEST, "Message must have string 'method' property", call_id)
    session_id = raw.pop("sessionId", "")
    if not isinstance(session_id, str):
        raise Malformed(INVALID_REQUEST, "Message may have string 'sessionId' property", call_id)
    params = raw.pop("params", None) or {}  # Chromium takes null and [] for no params
    if not isinstance(params, dict):
        raise Malformed(INVALID_REQUEST, "Message may have object 'params' property", call_id)
    if raw:
        text = "Message has property other than 'id', 'method', 'sessionId', 'params'"
        raise Malformed(INVALID_REQUEST, text, call_id)
    return Command(call_id, method, params, session_id or None)  # an empty session id is the browser itself


def encode(call_id: int, method: str, params: Mapping[str, Any], session_id: str | None) -> bytes:
    """A command for Chromium. Raises `Malformed` when the params are nested too deep to be sent on."""
    message: dict[str, Any] = {"id": call_id, "method": method, "params": params}
    if session_id is not None:
        message["sessionId"] = session_id
    return _dumps(message, call_id)


def result(call_id: int, session_id: str | None, value: Mapping[str, Any]) -> bytes:
    """The answer to a client's command."""
    message: dict[str, Any] = {"id": call_id, "result": value}
    if session_id is not None:
        message["sessionId"] = session_id
    return _dumps(message, call_id)


def refusal(call_id: int | None, session_id: str | None, code: int, text: str) -> bytes:
    """The error answer to a client's command."""
    message: dict[str, Any] = {} if call_id is None else {"id": call_id}
    message["error"] = {"code": code, "message": text}
    if session_id is not None:
        message["sessionId"] = session_id
    return _dumps(message, call_id)


def event(method: str, params: Mapping[str, Any], session_id: str | None) -> bytes:
    """An event for a client."""
    message: dict[str, Any] = {"method": method, "params": params}
    if session_id is not None:
        message["sessionId"] = session_id
    return _dumps(message, None)


_CALL_ID: Final = re.compile(rb'\{"id":(-?[0-9]{1,10})[,}]')
_EVENT: Final = b'{"method":"'
_SESSION: Final = b',"sessionId":"'
_SESSION_BYTES: Final = 32
"""Of a session id: Chromium makes them of 128 bits, in hexadecimal digits."""
_TAIL_BYTES: Final = len(_SESSION) + _SESSION_BYTES + 2


def session_of(message: bytes) -> bytes | None:
    """The session that a message of Chromium belongs to, by its last bytes; None: the browser's root. Inside a string
    the quotes would be escaped, and no other member of a message is a string."""
    if message[-_TAIL_BYTES : -_SESSION_BYTES - 2] == _SESSION and message[-2:] == b'"}':
        return message[-_SESSION_BYTES - 2 : -2]
    return None


def without_session(message: bytes) -> bytes:
    """The message without the session id at its end."""
    return message[:-_TAIL_BYTES] + b"}"


def event_method(message: bytes) -> bytes | None:
    """The method of an event of Chromium's; None for an answer."""
    if not message.startswith(_EVENT):
        return None
    return message[len(_EVENT) : message.index(b'"', len(_EVENT))]


def own_id(message: bytes) -> bool:
    """Whether a message of Chromium answers a call of ours on a client's session."""
    match = _CALL_ID.match(message)
    return match is not None and int(match.group(1)) >= FIRST_OWN_ID


def read(payload: bytes) -> dict[str, Any]:
    """A frame of Chromium that must be read. Raises `Malformed`, which is then a bug of ours."""
    message = _loads(payload)
    if not isinstance(message, dict):
        raise Malformed(INVALID_REQUEST, "Message must be an object")
    return message


def _loads(payload: bytes) -> Any:
    if len(payload) > SMALL_BYTES:
        _count_tokens(payload)
    try:
        return orjson.loads(payload)
    except (ValueError, RecursionError) as error:
        if rb"\u" not in payload:
            raise Malformed(PARSE_ERROR, f"JSON: {error}") from None
    try:  # half a surrogate pair: JavaScript's strings may hold one and Chromium takes it, orjson does not
        return json.loads(payload, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Malformed(PARSE_ERROR, f"JSON: {error}") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _dumps(message: Mapping[str, Any], call_id: int | None) -> bytes:
    try:
        return orjson.dumps(message)
    except (TypeError, ValueError):
        pass
    try:  # the same half surrogate pair
        return json.dumps(message, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (ValueError, RecursionError) as error:
        raise Malformed(PARSE_ERROR, f"JSON: {error}", call_id) from None


def _count_tokens(payload: bytes) -> None:
    """Raises `Malformed` when more than `MAX_TOKENS` values stand outside of strings. Every step runs at C speed, and
    none makes many more objects than that."""
    if _marks(payload) <= MAX_TOKENS:
        return  # also with those inside strings
    bare = payload.replace(rb"\\", b"").replace(rb"\"", b"")  # what is escaped stands inside a string
    if bare.count(b'"') <= 2 * MAX_TOKENS and sum(map(_marks, bare.split(b'"')[::2])) <= MAX_TOKENS:
        return
    raise Malformed(INVALID_REQUEST, f"Message of more than {SMALL_BYTES} bytes has more than {MAX_TOKENS} values")


def _marks(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")
