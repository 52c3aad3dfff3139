"""Errors as responses: the one table that maps them to HTTP, and RFC 9457 problem details made from it."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import Scope

from browser_sessions.domain import errors
from browser_sessions.domain.text import clipped, without_prefix

PROBLEM_JSON: Final = "application/problem+json"
CALLER_LEFT: Final = 499
"""The client closed the connection: nginx's status; the RFCs have none."""
JITTER: Final = 0.5
"""`Retry-After` is up to half as long again, at random: callers refused together do not come back together."""
MAX_ERRORS: Final = 50
"""Validation errors in one response: a large body does not make a large response."""


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the table: the HTTP status, the last part of the problem's type, its title."""

    status: int
    slug: str
    title: str


TABLE: Final[Mapping[type[BaseException], Kind]] = {
    errors.Unauthenticated: Kind(401, "unauthenticated", "Not signed in"),
    errors.Forbidden: Kind(403, "forbidden", "Not allowed"),
    errors.NotFound: Kind(404, "not-found", "Not found"),
    errors.SessionNotFound: Kind(404, "session-not-found", "No such session"),
    errors.PageNotFound: Kind(404, "page-not-found", "No such page"),
    errors.DownloadNotFound: Kind(404, "download-not-found", "No such download"),
    errors.UploadNotFound: Kind(404, "upload-not-found", "No such upload"),
    errors.KeyNotFound: Kind(404, "not-found", "Not found"),
    errors.WrongState: Kind(409, "wrong-state", "Not possible in the current state"),
    errors.IllegalTransition: Kind(500, "internal", "Internal error"),
    errors.Conflict: Kind(409, "conflict", "Conflict"),
    errors.NameTaken: Kind(409, "name-taken", "Name taken"),
    errors.IdempotencyMismatch: Kind(409, "idempotency-mismatch", "Idempotency-Key reused"),
    errors.BrowserGone: Kind(409, "browser-gone", "Browser died"),
    errors.PageFailed: Kind(409, "page-failed", "Page load or action failed"),
    errors.StartPageFailed: Kind(409, "page-failed", "Page load failed"),
    errors.ScriptFailed: Kind(409, "script-failed", "Script failed"),
    errors.UploadTooLarge: Kind(413, "upload-too-large", "Quota of uploads exceeded"),
    errors.QuotaExceeded: Kind(429, "quota-exceeded", "Quota exceeded"),
    errors.Unavailable: Kind(503, "unavailable", "Temporarily unavailable"),
    errors.PoolFull: Kind(503, "pool-full", "No free capacity"),
    errors.Draining: Kind(503, "draining", "Shutting down"),
    errors.NoBrowser: Kind(503, "no-browser", "Browser could not be started"),
    errors.Overloaded: Kind(503, "overloaded", "Out of memory, disk or file descriptors"),
    errors.StoreUnavailable: Kind(503, "store-unavailable", "Session store unavailable"),
    errors.EgressUnavailable: Kind(503, "egress-unavailable", "Egress proxy unavailable"),
    errors.BrowserMissing: Kind(503, "browser-missing", "No browser installed"),
    errors.DevToolsUnavailable: Kind(503, "devtools-unavailable", "DevTools not available"),
    errors.BrowserTimeout: Kind(504, "browser-timeout", "Browser did not respond"),
    errors.BrowserSessionsError: Kind(500, "internal", "Internal error"),
}
INTERNAL: Final = "Something went wrong inside the service. Try again; its log has the details."
_ROUTER: Final[Mapping[int, tuple[str, str, str]]] = {
    400: ("bad-request", "Bad request", "The request could not be parsed. Send well-formed JSON."),
    404: ("not-found", "Not found", "There is nothing at this path. All operations are listed at /docs."),
    405: ("method-not-allowed", "Method not allowed", "This path does not support this method. See /docs."),
    413: ("too-large", "Request body too large", "The request body is too large: at most 1 MB is accepted."),
    429: (
        "quota-exceeded",
        "Quota exceeded",
        "The bodies of your requests under way have more than 64 MB. Send fewer at once.",
    ),
    426: (
        "upgrade-required",
        "WebSocket only",
        "This path is for WebSockets. Connect to it with ws: or wss:.",
    ),
}


class TooManyValues(HTTPException):
    """The body's values would take too long to read."""

    def __init__(self, most: int) -> None:
        super().__init__(413, f"The request body has more than {most} values.")


def no_route() -> Response:
    """The response to an unknown path."""
    slug, title, detail = _ROUTER[404]
    return problem_response(Kind(404, slug, title), detail)


def kind_of(error: BaseException) -> Kind:
    """The row of the error's class, or of its nearest ancestor that has one."""
    return next((TABLE[cls] for cls in type(error).__mro__ if cls in TABLE), TABLE[errors.BrowserSessionsError])


def retry_after(seconds: float) -> str:
    """`seconds` with jitter, as a whole number: at least 1, never less than `seconds`."""
    return str(max(1, math.ceil(seconds * (1 + JITTER * random.random()))))  # noqa: S311 - spreads load, guards nothing


def problem_response(
    kind: Kind, detail: str, *, session_id: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """RFC 9457, without empty members."""
    problem = Problem(
        type=f"urn:browser-sessions:problem:{kind.slug}",
        title=kind.title,
        status=kind.status,
        detail=clipped(detail),
        session_id=None if session_id is None else clipped(session_id),
    )
    return Response(problem.model_dump_json(exclude_none=True), kind.status, headers=headers, media_type=PROBLEM_JSON)


def invalid_response(found: Iterable[Mapping[str, Any]]) -> Response:
    """FastAPI's 422 body without the input, which may contain secrets."""
    detail = [
        {
            "loc": [part if isinstance(part, int) else clipped(str(part)) for part in error["loc"]],
            "msg": clipped(without_prefix(str(error["msg"]))),
            "type": str(error["type"]),
        }
        for error in list(found)[:MAX_ERRORS]
    ]
    return Response(json.dumps({"detail": detail}), 422, media_type="application/json")


def response_for(error: BaseException) -> Response:
    """The response to any error of ours."""
    if isinstance(error, errors.InvalidField):
        return invalid_response([{"loc": error.loc, "msg": error.detail, "type": error.kind}])
    kind = kind_of(error)
    if not isinstance(error, errors.BrowserSessionsError) or kind.status == 500:
        return problem_response(TABLE[errors.BrowserSessionsError], INTERNAL)
    headers: dict[str, str] = {}
    if isinstance(error, errors.Unavailable | errors.QuotaExceeded):
        headers["Retry-After"] = retry_after(error.retry_after)
    if kind.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="browser-sessions"'
    return problem_response(kind, error.detail, session_id=error.session_id, headers=headers)


def is_bug(error: BaseException) -> bool:
    """Whether the error is to be raised, so that the outermost middleware logs it with its traceback."""
    return kind_of(error).status == 500 and not isinstance(error, errors.InvalidField)


def install(app: FastAPI) -> None:
    """Registers the handlers for all errors of the application."""

    async def known(_request: Request, error: Exception) -> Response:
        if is_bug(error):
            raise error
        return response_for(error)

    async def invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return invalid_response(map(_in_characters, error.errors()))

    async def router(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        status, headers = error.status_code, dict(error.headers or {})
        if status == 404 and any(_matches(app, {**request.scope, "type": "websocket"})):
            status, headers = 426, {"Upgrade": "websocket", "Connection": "Upgrade"}
        slug, title, detail = _ROUTER.get(status, ("http-error", "Error", str(error.detail)))
        if isinstance(error, TooManyValues):
            detail = error.detail
        if status == 405:
            headers["Allow"] = ", ".join(sorted(_methods(app, request.scope)))
        return problem_response(Kind(status, slug, title), detail, headers=headers)

    async def gone(_request: Request, _error: Exception) -> Response:
        return Response(status_code=CALLER_LEFT)  # for the log and the metrics only

    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(errors.BrowserSessionsError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, router)


_LENGTH: Final = "a length, such as 2cm, 20mm, 1in or 96px"
_EXPECTED: Final = {
    "timezone_id": "a time zone of the IANA database, such as Europe/Berlin",
    "locale": "a language tag, such as de-DE",
    "permissions": "names of permissions, such as geolocation",
    "username": "1 to 64 letters, digits or any of . _ @ -, and not begin with a dot",
    "grant_type": "password",
    "origin": "an origin, such as https://example.com",
    "clip": "x,y,width,height in CSS pixels, such as 0,0,400,300",
    **dict.fromkeys(("width", "height", *(f"margin_{side}" for side in ("top", "right", "bottom", "left"))), _LENGTH),
    "page_ranges": "pages, such as 1-5, 8",
    "session_id": "the id of a session",
    "principal_id": "the id of a principal: letters, digits, _ and -",
}
"""What a field's regular expression says, in words."""


_MEMBERS: Final = {
    "egress": "allow and deny",
    "proxy": "server, and bypass, username and password if needed",
    "geolocation": "latitude and longitude",
    "http_credentials": "username and password",
    "client_certificates": "origin, cert and key",
}
"""Of objects in requests."""


def _in_characters(error: Mapping[str, Any]) -> Mapping[str, Any]:
    """The message in the caller's terms: pydantic writes of items where our own validator of a string ran before its
    length check, and of attributes where a body is no object or is not sent as JSON."""
    context = error.get("ctx", {})
    if error["type"] == "model_attributes_type" and error["loc"] == ("body",):
        return {**error, "msg": "must be a JSON object, sent as Content-Type: application/json", "type": "dict_type"}
    if error["type"] in ("model_type", "model_attributes_type"):
        members = next((_MEMBERS[part] for part in reversed(error["loc"]) if part in _MEMBERS), "")
        return {**error, "msg": f"must be an object{members and f' with {members}'}", "type": "dict_type"}
    if error["type"] == "string_pattern_mismatch":
        fields = [part for part in error["loc"] if part in _EXPECTED]
        return {**error, "msg": f"must be {_EXPECTED[fields[-1]]}"} if fields else error
    if isinstance(error.get("input"), str) and error["type"] == "too_long":
        return {**error, "msg": f"must have at most {context['max_length']} characters", "type": "string_too_long"}
    if isinstance(error.get("input"), str) and error["type"] == "too_short":
        return {**error, "msg": f"must have at least {context['min_length']} characters", "type": "string_too_short"}
    return error


def _matches(app: FastAPI, scope: Scope) -> Iterator[bool]:
    """For each route, whether it would answer this scope."""
    return (route.matches(scope)[0] is Match.FULL for route in app.routes)


def _methods(app: FastAPI, scope: Scope) -> set[str]:
    """All methods supported at this path, as RFC 9110, section 10.2.1, requires for `Allow`."""
    candidates = ("GET", "POST", "PUT", "PATCH", "DELETE")
    found = {method for method in candidates if any(_matches(app, {**scope, "method": method}))}
    return found | {"HEAD"} if "GET" in found else found
