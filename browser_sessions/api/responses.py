"""What the OpenAPI document says of the answers that are no success."""

from __future__ import annotations

from typing import Any, Final

from browser_sessions.api.errors import PROBLEM_JSON

_WORDS: Final = {
    400: "The body cannot be read",
    401: "No credential, or a wrong one",
    403: "The caller's role may not do this",
    404: "There is no such thing, or it is somebody else's",
    409: "Not possible in this state",
    413: "The body is too large",
    429: "The caller's own limit is reached; Retry-After says when to try again",
    503: "Not now; Retry-After says when to try again",
    504: "The browser did not answer in time",
}
_RETRY_AFTER: Final = {
    "Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer", "minimum": 1}, "required": True}
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an operation that may answer with these problems."""
    return {status: _problem(status) for status in statuses}


def _problem(status: int) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": _WORDS[status],
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status in (429, 503):
        answer["headers"] = _RETRY_AFTER
    if status == 401:
        answer["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}, "required": True}}
    return answer
