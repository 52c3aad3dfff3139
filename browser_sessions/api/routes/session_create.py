"""POST of a session, from the credential and the body to the response.

500 concurrent creates against a full pool must be rejected within 100 ms. FastAPI would solve dependencies and validate
the body first, which is most of what a rejection may cost. So FastAPI declares this operation and does not run it: the
credential and the body are read once, here, and a create that may not wait is rejected before its body is validated.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from typing import Annotated, Any, Final

import orjson
from fastapi import Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from browser_sessions.api.caller_credentials import Caller, identify
from browser_sessions.api.client_certificates import with_client_certificates
from browser_sessions.api.dependencies import Services
from browser_sessions.api.middleware.client_disconnect import unless_disconnected
from browser_sessions.api.middleware.edge import CREATED
from browser_sessions.api.models.create_body import CreateBrowserSession
from browser_sessions.api.models.session_models import BrowserSessionCreated
from browser_sessions.api.query_parameters import refuse_unknown
from browser_sessions.api.responses import problems
from browser_sessions.api.session_access import summary
from browser_sessions.api.spec_resolution import resolve
from browser_sessions.domain.errors import InvalidField
from browser_sessions.domain.session_spec import SessionSpec
from browser_sessions.pool.manager import Idempotency

PATH: Final = "/v1/browser/sessions"
MAX_FIELDS: Final = 1000
"""Of an object in the body: those of our models have a few dozen, those of a storage state hardly more."""
_IDEMPOTENCY_KEY: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")
_JSON_TYPE: Final = re.compile(r"application/(?:[^;\s]+\+)?json\s*(?:;|$)", re.IGNORECASE)


def create_route() -> APIRoute:
    """Declared as `create_browser_session`, answered by `_answer`."""
    route = APIRoute(
        PATH,
        create_browser_session,
        methods=["POST"],
        status_code=201,
        response_model=BrowserSessionCreated,
        responses=problems(400, 401, 403, 409, 413, 415, 429, 503, 504),
        tags=["sessions"],
        operation_id="create_browser_session",
    )
    route.app = _answer
    return route


async def create_browser_session(
    principal: Caller,
    body: CreateBrowserSession | None = None,
    idempotency_key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="Up to 255 printable ASCII characters; the same key and body within 24 h: the same session",
        ),
    ] = None,
) -> Any:
    """Create a session: an isolated browser context with one open page, ready to use."""
    raise AssertionError("answered by _answer")


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    services: Services = scope["app"].state.services
    pool = services.pool
    principal = identify(services, scope)
    refuse_unknown(request.query_params, ())
    fields = await _json_object(request)
    key = request.headers.get("idempotency-key")
    waits = fields.get("wait_seconds", 0) != 0
    if not waits and key is None:  # with a key, the session may exist already
        pool.admission.check(principal.principal_id, principal.role)
    asked = _validated(fields)
    if waits:
        await services.slow_requests.turn(principal.principal_id)
    spec = resolve(asked, pool.launcher.devices, services.options)
    if asked.client_certificates:
        spec = await with_client_certificates(spec, asked)
    if key is None:  # usually no await since the check above
        beginning = pool.starter.begin(principal, spec, wait_seconds=asked.wait_seconds)
        record, new = await unless_disconnected(request, beginning), True
    else:
        idempotency = Idempotency(_checked(key), digest(spec))
        creating = pool.create(principal, spec, wait_seconds=asked.wait_seconds, idempotency=idempotency)
        record, new = await unless_disconnected(request, creating)
    scope[CREATED] = record.session_id
    connect_url, live_url = services.addresses(request, record, principal)
    response = Response(
        orjson.dumps(summary(record) | {"connect_url": connect_url, "live_url": live_url}, option=orjson.OPT_UTC_Z),
        201,
        {"Location": f"{PATH}/{record.session_id}"} | ({} if new else {"Idempotency-Replayed": "true"}),
        "application/json",
    )
    await response(scope, receive, send)


async def _json_object(request: Request) -> dict[str, Any]:
    """The parsed body; empty when there is none. Raises `InvalidField`, `HTTPException`, with FastAPI's statuses."""
    body = await request.body()
    try:
        value = (
            json.loads(body, object_pairs_hook=_object)
            if body and _JSON_TYPE.match(request.headers.get("content-type", ""))
            else body or None
        )
    except json.JSONDecodeError as error:
        raise InvalidField(("body", error.pos), "JSON decode error", kind="json_invalid") from None
    except (ValueError, RecursionError):  # not UTF-8, too many digits, nested too deeply
        raise HTTPException(400) from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidField(("body",), "must be a JSON object, sent as Content-Type: application/json", kind="dict_type")
    return value


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raises `InvalidField`: each unknown field is an error, which takes far more than its characters."""
    if len(members) > MAX_FIELDS:
        raise InvalidField(("body",), f"has an object of more than {MAX_FIELDS} fields")
    return dict(members)


def _validated(fields: dict[str, Any]) -> CreateBrowserSession:
    """Raises `RequestValidationError`."""
    try:
        return CreateBrowserSession.model_validate(fields)
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in found]) from None


def digest(spec: SessionSpec) -> str:
    """SHA-256 in hexadecimal of what was asked for, however the JSON spells it: in any order, with defaults or not."""
    ordered = replace(
        spec, metadata=tuple(sorted(spec.metadata)), extra_http_headers=tuple(sorted(spec.extra_http_headers))
    )
    return hashlib.sha256(orjson.dumps(ordered, default=lambda _tls: None, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _checked(idempotency_key: str) -> str:
    if not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
        raise InvalidField(("header", "Idempotency-Key"), "must be 1 to 255 printable ASCII characters")
    return idempotency_key
