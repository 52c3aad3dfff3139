"""Decodes and encodes CDP messages. Pure.

Commands of clients are always decoded and encoded anew, so that Chromium reads exactly what the policy has checked,
whatever their whitespace, escapes and duplicate keys. Messages of Chromium are forwarded unchanged, and decoded only
where the service needs them. Source of the wire format and of the error texts: Chromium 156.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import orjson

from browser_sessions.domain.text import has_more_values

FIRST_OWN_ID: Final = 2_000_000_000
"""Ids reserved for our own calls on a client's session: 147 million, up to the largest that Chromium accepts."""
LAST_ID: Final = 2**31 - 1
FIRST_ID: Final = -(2**31)
"""Negative ids are valid: Playwright uses them for internal calls."""

SMALL_BYTES: Final = 2**18
"""Smaller messages are decoded without counting values: the worst one (90,000 empty objects) takes 7 ms."""
MAX_TOKENS: Final = 200_000
"""Values in a larger message: more would block the event loop for longer than 15 ms, and 96 MiB could become gigabytes
of objects. Large legitimate messages are a few long strings."""

MAX_DEPTH: Final = 300
"""Nesting levels of a command, itself included, that are not empty: as many as Chromium reads. Its error for a deeper
one has no id, so the client would not get it."""
_CONTAINERS: Final = (dict, list)
_LOOKED_AT: Final = 20_000
"""Values whose nesting is measured one by one, in 2 ms."""

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600


class InvalidMessage(ValueError):
    """An invalid command. `call_id` is None if unknown; `as_response()` is the error response that Chromium would
    send."""

    def __init__(self, code: int, message: str, call_id: int | None = None, session_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.call_id = call_id
        self.session_id = session_id

    def as_response(self) -> bytes:
        return error_response(self.call_id, self.session_id, self.code, self.message)


@dataclass(frozen=True, slots=True)
class Command:
    """A client's command."""

    call_id: int
    method: str
    params: dict[str, Any]
    session_id: str | None = None


def decode(payload: bytes) -> Command:
    """A client's text frame as a command. Raises `InvalidMessage`. Of duplicate keys the last counts, at top
    level too, where Chromium refuses them."""
    raw = _loads(payload)
    if not isinstance(raw, dict):
        raise InvalidMessage(INVALID_REQUEST, "Message must be an object")
    call_id = raw.pop("id", None)
    if isinstance(call_id, float) and call_id.is_integer():
        call_id = int(call_id)  # Chromium accepts 1.0 as 1
    if not isinstance(call_id, int) or isinstance(call_id, bool) or not FIRST_ID <= call_id <= LAST_ID:
        raise InvalidMessage(INVALID_REQUEST, "Message must have integer 'id' property")
    if call_id >= FIRST_OWN_ID:
        raise InvalidMessage(INVALID_REQUEST, f"Message must have an 'id' below {FIRST_OWN_ID}", call_id)
    method = raw.pop("method", None)
    if not isinstance(method, str) or not method:
        raise InvalidMessage(INVALID_REQUEST, "Message must have string 'method' property", call_id)
    session_id = raw.pop("sessionId", "")
    if not isinstance(session_id, str):
        raise InvalidMessage(INVALID_REQUEST, "Message may have string 'sessionId' property", call_id)
    params = raw.pop("params", None) or {}  # Chromium accepts null and [] as no params
    if not isinstance(params, dict):
        raise InvalidMessage(INVALID_REQUEST, "Message may have object 'params' property", call_id)
    if raw:
        text = "Message has property other than 'id', 'method', 'sessionId', 'params'"
        raise InvalidMessage(INVALID_REQUEST, text, call_id)
    command = Command(call_id, method, params, session_id or None)  # an empty session id means the root session
    if payload.count(b"[") + payload.count(b"{") > MAX_DEPTH and _is_too_deep(params):
        text = f"JSON: nested more than {MAX_DEPTH} levels deep"
        raise InvalidMessage(PARSE_ERROR, text, call_id, command.session_id)
    return command


def encode(call_id: int, method: str, params: Mapping[str, Any], session_id: str | None) -> bytes:
    """A command for Chromium. Raises `InvalidMessage` if the params are nested too deeply to be encoded."""
    message: dict[str, Any] = {"id": call_id, "method": method, "params": params}
    if session_id is not None:
        message["sessionId"] = session_id
    return _dumps(message, call_id)


def result(call_id: int, session_id: str | None, value: Mapping[str, Any]) -> bytes:
    """The response to a client's command."""
    message: dict[str, Any] = {"id": call_id, "result": value}
    if session_id is not None:
        message["sessionId"] = session_id
    return _dumps(message, call_id)


def error_response(call_id: int | None, session_id: str | None, code: int, text: str, data: str | None = None) -> bytes:
    """The error response to a client's command."""
    message: dict[str, Any] = {} if call_id is None else {"id": call_id}
    message["error"] = {"code": code, "message": text} | ({} if data is None else {"data": data})
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
"""Length of a session id: 128 bits in hexadecimal digits."""
_TAIL_BYTES: Final = len(_SESSION) + _SESSION_BYTES + 2


def session_of(message: bytes) -> bytes | None:
    """The session id at the end of a message of Chromium, None for the root session. It cannot be part of another
    value: quotes inside a string are escaped, and no other member of a message is a string."""
    if message[-_TAIL_BYTES : -_SESSION_BYTES - 2] == _SESSION and message[-2:] == b'"}':
        return message[-_SESSION_BYTES - 2 : -2]
    return None


def without_session(message: bytes) -> bytes:
    """The message of a non-root session, without its session id."""
    return message[:-_TAIL_BYTES] + b"}"


_NAVIGATION_FAILED: Final = b'"errorText":"net::ERR_'
_NAVIGATED_BYTES: Final = 2048
"""Longer than any response to `Page.navigate`."""


def failed_navigation(response: bytes) -> tuple[str, str] | None:
    """The frame id and the error, if this is the response to a `Page.navigate` that failed."""
    if len(response) > _NAVIGATED_BYTES or _NAVIGATION_FAILED not in response:
        return None
    value = read(response).get("result", {})
    frame_id, error = value.get("frameId"), value.get("errorText")
    return (frame_id, error) if isinstance(frame_id, str) and isinstance(error, str) else None


def event_method(message: bytes) -> bytes | None:
    """The method of an event of Chromium; None for a response."""
    if not message.startswith(_EVENT):
        return None
    return message[len(_EVENT) : message.index(b'"', len(_EVENT))]


def is_own_response(message: bytes) -> bool:
    """Whether a message of Chromium is the response to a call of ours on a client's session."""
    match = _CALL_ID.match(message)
    return match is not None and int(match.group(1)) >= FIRST_OWN_ID


def read(payload: bytes) -> dict[str, Any]:
    """Decodes a message of Chromium. `InvalidMessage` is a bug here."""
    message = _loads(payload)
    if not isinstance(message, dict):
        raise InvalidMessage(INVALID_REQUEST, "Message must be an object")
    return message


def dump(message: Mapping[str, Any]) -> bytes:
    """A message of Chromium that was edited after `read`."""
    return _dumps(message, None)


def _is_too_deep(params: dict[str, Any]) -> bool:
    """Whether a command with these params, its second level, has more than `MAX_DEPTH`, or many values and more levels
    than orjson encodes (254)."""
    level: list[Any] = [params]
    left = _LOOKED_AT
    for _ in range(MAX_DEPTH - 1):
        left -= sum(map(len, level))
        if left < 0:
            return not _is_encoded(params)
        values = chain.from_iterable([each.values() if isinstance(each, dict) else each for each in level])
        level = [value for value in values if value and isinstance(value, _CONTAINERS)]
        if not level:
            return False
    return True


def _is_encoded(params: dict[str, Any]) -> bool:
    try:
        orjson.dumps(params)
    except TypeError:
        return False
    return True


def _loads(payload: bytes) -> Any:
    if len(payload) > SMALL_BYTES and has_more_values(payload, MAX_TOKENS):
        text = f"Message of more than {SMALL_BYTES} bytes has more than {MAX_TOKENS} values"
        raise InvalidMessage(INVALID_REQUEST, text)
    try:
        return orjson.loads(payload)
    except (ValueError, RecursionError) as error:
        if rb"\u" not in payload:
            raise InvalidMessage(PARSE_ERROR, f"JSON: {error}") from None
    try:  # JavaScript strings may contain lone surrogates, which Chromium accepts and orjson does not
        return json.loads(payload, parse_int=_number, parse_float=_number, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidMessage(PARSE_ERROR, f"JSON: {error}") from None


def _number(text: str) -> int | float:
    """As orjson reads it: Python reads 1e400 as infinity, which would be sent as null."""
    number: int | float = orjson.loads(text)
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _dumps(message: Mapping[str, Any], call_id: int | None) -> bytes:
    try:
        return orjson.dumps(message)
    except (TypeError, ValueError):
        pass
    try:  # for lone surrogates
        return json.dumps(message, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (ValueError, RecursionError) as error:
        raise InvalidMessage(PARSE_ERROR, f"JSON: {error}", call_id) from None
