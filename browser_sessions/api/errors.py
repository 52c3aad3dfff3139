"""Errors as answers: the one table that knows HTTP, and RFC 9457 problem details made from it."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import Scope

from browser_sessions.api.models import Problem
from browser_sessions.domain import errors
from browser_sessions.domain.text import clipped

PROBLEM_JSON: Final = "application/problem+json"
CALLER_LEFT: Final = 499
"""What nginx made the usual number for it; the RFCs have none."""
JITTER: Final = 0.5
"""A refused herd is told to come back at moments up to half as late again, so that it does not come back as a herd."""
MAX_ERRORS_TOLD: Final = 50
"""Errors that an answer holds: what came in does not come back at any length."""


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
    errors.KeyNotFound: Kind(404, "not-found", "Not found"),
    errors.WrongState: Kind(409, "wrong-state", "Not possible in this state"),
    errors.IllegalTransition: Kind(500, "internal", "Internal error"),
    errors.Conflict: Kind(409, "conflict", "Conflict"),
    errors.IdempotencyMismatch: Kind(409, "idempotency-mismatch", "Idempotency-Key reused"),
    errors.BrowserGone: Kind(409, "browser-gone", "The browser died"),
    errors.PageFailed: Kind(409, "page-failed", "The page refused"),
    errors.QuotaExceeded: Kind(429, "quota-exceeded", "Too much at once"),
    errors.Unavailable: Kind(503, "unavailable", "Not now"),
    errors.PoolFull: Kind(503, "pool-full", "Every place is taken"),
    errors.Draining: Kind(503, "draining", "Going down"),
    errors.NoBrowser: Kind(503, "no-browser", "No browser starts"),
    errors.Overloaded: Kind(503, "overloaded", "The machine is short of something"),
    errors.StoreUnavailable: Kind(503, "store-unavailable", "Records cannot be stored"),
    errors.BrowserMissing: Kind(503, "browser-missing", "No browser on this machine"),
    errors.DevToolsUnavailable: Kind(503, "devtools-unavailable", "DevTools not available"),
    errors.BrowserTimeout: Kind(504, "browser-timeout", "The browser did not answer"),
    errors.BrowserSessionsError: Kind(500, "internal", "Internal error"),
}
INTERNAL: Final = "Something went wrong inside the service. Try again; its log has the details."
_ROUTER: Final[Mapping[int, tuple[str, str, str]]] = {
    400: ("bad-request", "Bad request", "The request could not be read. Send well-formed JSON."),
    404: ("not-found", "Not found", "There is nothing at this address. All calls are listed at /docs."),
    405: ("method-not-allowed", "Method not allowed", "This address does not take this method. See /docs."),
    413: ("too-large", "Too large", "The body is too large. The most that is taken is 1 MB."),
}


def nowhere() -> Response:
    """There is nothing at the address."""
    slug, title, detail = _ROUTER[404]
    return problem_response(Kind(404, slug, title), detail)


def kind_of(error: BaseException) -> Kind:
    """The row for an error: its own, or the nearest one along its class's ancestry."""
    return next((TABLE[cls] for cls in type(error).__mro__ if cls in TABLE), TABLE[errors.BrowserSessionsError])


def retry_after(seconds: float) -> str:
    """A whole number of seconds, at least one, never sooner than `seconds`, jittered."""
    return str(max(1, math.ceil(seconds * (1 + JITTER * random.random()))))  # noqa: S311 - spreads load, guards nothing


def problem_response(
    kind: Kind, detail: str, *, session_id: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """RFC 9457, with what is empty left out."""
    problem = Problem(
        type=f"urn:browser-sessions:problem:{kind.slug}",
        title=kind.title,
        status=kind.status,
        detail=clipped(detail),
        session_id=None if session_id is None else clipped(session_id),
    )
    return Response(problem.model_dump_json(exclude_none=True), kind.status, headers=headers, media_type=PROBLEM_JSON)


def invalid_response(found: Iterable[Mapping[str, Any]]) -> Response:
    """FastAPI's 422 body, without what the caller sent: it may hold secrets."""
    detail = [
        {
            "loc": [part if isinstance(part, int) else clipped(str(part)) for part in error["loc"]],
            "msg": clipped(str(error["msg"]).removeprefix("Value error, ")),
            "type": str(error["type"]),
        }
        for error in list(found)[:MAX_ERRORS_TOLD]
    ]
    return Response(json.dumps({"detail": detail}), 422, media_type="application/json")


def response_for(error: BaseException) -> Response:
    """The answer to any error of ours."""
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


def install(app: FastAPI) -> None:
    """Every error of the app is answered from here."""

    async def known(_request: Request, error: Exception) -> Response:
        if kind_of(error).status == 500 and not isinstance(error, errors.InvalidField):
            raise error  # a bug of ours: the middleware logs it with its traceback
        return response_for(error)

    async def invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return invalid_response(map(_in_characters, error.errors()))

    async def router(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        slug, title, detail = _ROUTER.get(error.status_code, ("http-error", "Error", str(error.detail)))
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(sorted(_methods(app, request.scope)))
        return problem_response(Kind(error.status_code, slug, title), detail, headers=headers)

    async def gone(_request: Request, _error: Exception) -> Response:
        return Response(status_code=CALLER_LEFT)  # for the log and the metrics: nobody reads it

    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(errors.BrowserSessionsError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, router)


def _in_characters(error: Mapping[str, Any]) -> Mapping[str, Any]:
    """In the words of who sent it: pydantic speaks of items when a string was validated by us before it was measured,
    and of attributes when a body is no object or does not say that it is JSON."""
    context = error.get("ctx", {})
    if error["type"] == "model_attributes_type" and error["loc"] == ("body",):
        return {**error, "msg": "must be a JSON object, sent as Content-Type: application/json", "type": "dict_type"}
    if isinstance(error.get("input"), str) and error["type"] == "too_long":
        return {**error, "msg": f"must have at most {context['max_length']} characters", "type": "string_too_long"}
    if isinstance(error.get("input"), str) and error["type"] == "too_short":
        return {**error, "msg": f"must have at least {context['min_length']} characters", "type": "string_too_short"}
    return error


def _methods(app: FastAPI, scope: Scope) -> set[str]:
    """Every method that some route takes at this path: RFC 9110, section 10.2.1, wants them all."""
    candidates = ("GET", "POST", "PUT", "PATCH", "DELETE")
    found = {
        method
        for method in candidates
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in app.routes)
    }
    return found | {"HEAD"} if "GET" in found else found
