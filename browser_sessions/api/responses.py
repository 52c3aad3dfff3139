"""Error responses in the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

from browser_sessions.api.errors import PROBLEM_JSON

_WORDS: Final = {
    400: "The body cannot be parsed",
    401: "No credential, or an invalid one",
    403: "Not allowed for the caller's role",
    404: "Does not exist, or belongs to somebody else",
    409: "Not possible in the current state",
    413: "The body is too large",
    415: "The body is not JSON",
    429: "The caller's quota is used up; Retry-After says when to try again",
    503: "Temporarily unavailable; Retry-After says when to try again",
    504: "The browser did not respond in time",
}
_RETRY_AFTER: Final = {
    "Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer", "minimum": 1}, "required": True}
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an operation that may fail with these statuses."""
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
