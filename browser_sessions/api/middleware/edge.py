"""The outermost middleware: request id, host check, body limit, security headers, metrics, request log."""

from __future__ import annotations

import re
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog
from fastapi import Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from browser_sessions.api.dependencies import ApiOptions
from browser_sessions.api.errors import INTERNAL, Kind, TooManyValues, problem_response, response_for
from browser_sessions.api.large_responses import PIECE_BYTES, UnsentResponses, dropped
from browser_sessions.api.middleware.origin import Hosts, apply_forwarded, networks
from browser_sessions.api.request_queue import RequestQueue
from browser_sessions.domain.principal import Principal
from browser_sessions.domain.text import has_more_values
from browser_sessions.telemetry import REQUEST_ID, Metrics

log = structlog.get_logger()

STATUS_ROUTE: Final = "/v1/browser/sessions/{session_id}"
QUIET: Final = frozenset({STATUS_ROUTE, "/healthz", "/readyz", "/metrics"})
"""Polled by machines: successful reads are counted, not logged."""
UNKNOWN_ROUTE: Final = "(none)"
CREATED: Final = "browser_sessions.created"
"""The key in a scope under which a route puts the id of the session that it has created, for log and span."""

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._\-]{1,64}")
_BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
_SECURITY: Final = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_STARTS: Final = frozenset({"http.response.start", "websocket.http.response.start"})
"""The first message of a response, and of one that rejects a WebSocket."""
_HOST_NOT_ALLOWED: Final = Kind(421, "host-not-allowed", "Host name not allowed")
_BAD_REQUEST: Final = Kind(400, "bad-request", "Bad request")
_TOO_LARGE: Final = Kind(413, "too-large", "Request body too large")
_UNSUPPORTED: Final = Kind(415, "unsupported-media-type", "Unsupported media type")
MAX_PARAMETERS: Final = 250
"""Of a URL's query. An event stream with all of its filters has fewer."""
DISCARDED_BYTES: Final = 64 * 2**20
PRINCIPAL_BODIES: Final = 64 * 2**20
"""Bytes of the bodies of a principal's requests under way; before it is known, of an address's. A thousand creates have
less, sixty-four of the largest have more."""
LARGE_BODY: Final = 4096
"""Bytes from which the values of a body are counted, and such bodies are read one after the other: a few hundred
unknown fields take 2 ms."""
MAX_VALUES: Final = 1000
"""Of a body: the largest have 200 egress rules in each of two lists."""
MAX_CREATE_VALUES: Final = 50_000
"""Of that of a create, whose `storage_state` has some thousands. They are read in 40 ms."""
_CREATE_PATH: Final = "/v1/browser/sessions"
_JSON: Final = re.compile(rb"application/(?:[^;\s]+\+)?json")
_FORM: Final = b"application/x-www-form-urlencoded"
_FORM_PATH: Final = "/v1/auth/token"
_UPLOAD_PATH: Final = re.compile("/v1/browser/sessions/[^/]+/uploads")
"""There a POST has a file of any type as its body, which the session's quota limits."""


class _HeadSent(Exception):
    """The response to HEAD is complete, and the endpoint would go on streaming."""


@dataclass(slots=True)
class _Response:
    """Passes the response on: notes its status, adds the common headers, drops the body for HEAD, sends a large one in
    pieces."""

    scope: Scope
    send: Send
    request_id: bytes
    unsent: UnsentResponses
    head: bool = False
    close_on_error: Callable[[], bool] = bool
    """Whether the body is too long to be read to its end after an error."""
    status: int = 0
    start: Message | None = None
    """The start of a large response, which is held back until there is a body."""
    dropped: int | None = None
    """Bytes of a body that exceeds what its caller may leave unread: nothing of the response is sent. No error, whose
    traceback would hold the body."""

    async def __call__(self, message: Message) -> None:
        if message["type"] in _STARTS:
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            present = {name for name, _ in headers}
            headers.append((b"x-request-id", self.request_id))
            headers += [pair for pair in _SECURITY if pair[0] not in present]
            if self.status >= 400 and self.close_on_error():
                headers.append((b"connection", b"close"))
            message["headers"] = headers
            self.start = self.dropped = None
            if not self.head and _length(headers) > PIECE_BYTES:
                self.start = message
                return
        elif self.head and message["type"] == "http.response.body":
            await self.send({"type": "http.response.body", "body": b"", "more_body": False})
            if message.get("more_body"):
                raise _HeadSent
            return
        elif len(message.get("body", b"")) > PIECE_BYTES:
            await self._in_pieces(message)
            return
        elif self.dropped is not None:
            return
        elif self.start is not None:
            await self._begin()
        await self.send(message)

    async def _in_pieces(self, message: Message) -> None:
        """A body counts as a whole until its end has left, because it is held as a whole."""
        body: bytes = message["body"]
        whose = holder(self.scope)
        if self.start is not None and not self.unsent.fits(whose, len(body)):
            self.start, self.dropped = None, len(body)
            return
        with self.unsent.holding(whose, len(body)):
            await self._begin()
            for at in range(0, len(body), PIECE_BYTES):
                piece = body[at : at + PIECE_BYTES]
                await self.send({"type": "http.response.body", "body": piece, "more_body": True})
            if not message.get("more_body", False):  # sent when the last piece has left
                await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _begin(self) -> None:
        if self.start is not None:
            start, self.start = self.start, None
            await self.send(start)


class Edge:
    """Pure ASGI, because every status request passes it: a task group or a Request object would cost speed."""

    def __init__(self, app: ASGIApp, options: ApiOptions, metrics: Metrics, unsent: UnsentResponses) -> None:
        self._app = app
        self._unsent = unsent
        self._metrics = metrics
        self._hosts = Hosts(options.listen_host, options.public_url, options.allowed_hosts)
        self._trusted = networks(options.trusted_proxies)
        self._max_body = options.max_body_bytes
        self._held: Counter[str] = Counter()
        """Bytes of the bodies of requests under way, by principal or address."""
        self._bodies = RequestQueue(pauses=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        if self._trusted:
            apply_forwarded(scope, self._trusted)
        host, request_id, length = _headers_of(scope)
        REQUEST_ID.set(request_id.decode("ascii"))
        head = scope["method"] == "HEAD"
        if head:  # as GET, without the body (RFC 9110, section 9.3.2)
            scope = {**scope, "method": "GET"}
        response = _Response(scope, send, request_id, self._unsent, head)
        try:
            if host is None:
                await _two_hosts()(scope, receive, response)
            elif scope["query_string"].count(b"&") >= MAX_PARAMETERS:
                await _too_many_parameters()(scope, receive, response)
            elif not self._hosts.allows(host):
                await _host_not_allowed()(scope, receive, response)
            elif scope["method"] not in _BODILESS and _UPLOAD_PATH.fullmatch(scope["path"]):
                response.close_on_error = partial(_is_endless, scope, length)
                refused = _unknown_type(scope["path"]) if _is_compressed(dict(scope["headers"])) else self._app
                await refused(scope, receive, response)
            elif length is not None and length > self._max_body:
                await self._too_large(length)(scope, receive, response)
            elif scope["method"] in _BODILESS:
                await self._app(scope, receive, response)
            elif _has_unknown_type(scope, length):
                await _unknown_type(scope["path"])(scope, receive, response)
            else:
                await self._with_body(scope, receive, response)
        except _HeadSent:
            pass
        except Exception:
            log.exception("http.failed", method=scope["method"], route=_route(scope))
            if response.status and response.start is None:
                raise  # the response has begun: closing the connection says that it is incomplete
            await problem_response(Kind(500, "internal", "Internal error"), INTERNAL)(scope, receive, response)
        if response.dropped is not None:
            await response_for(dropped(response.dropped))(scope, receive, response)
        seconds = time.perf_counter() - began
        route = _route(scope)
        self._metrics.answered(
            scope["method"], route, response.status, seconds, anonymous="browser_sessions.principal" not in scope
        )
        if response.status >= 400 or route not in QUIET or scope["method"] != "GET":
            _log(scope, "HEAD" if head else scope["method"], route, response.status, seconds)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._trusted:
            apply_forwarded(scope, self._trusted)
        began = time.perf_counter()
        host, request_id, _ = _headers_of(scope)
        REQUEST_ID.set(request_id.decode("ascii"))
        response = _Response(scope, send, request_id, self._unsent)
        try:
            if host is None:
                await refuse_websocket(scope, receive, response, _two_hosts())
            elif scope["query_string"].count(b"&") >= MAX_PARAMETERS:
                await refuse_websocket(scope, receive, response, _too_many_parameters())
            elif self._hosts.allows(host):
                await self._app(scope, receive, response)
            else:
                await refuse_websocket(scope, receive, response, _host_not_allowed())
        except OSError:
            raise  # the client has left; uvicorn logs any other
        except Exception:
            log.exception("websocket.failed", route=_route(scope))
            raise
        if response.status:  # rejected before the upgrade
            _log(scope, "GET", _route(scope), response.status, time.perf_counter() - began)

    async def _with_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Counts the body as it arrives: a chunked one has no Content-Length. A large one waits for its turn to be
        read: otherwise, all that came in an iteration of the loop would be read in the next."""
        taken: Counter[str] = Counter()
        parts: list[bytes] = []

        async def bounded() -> Message:
            message = await receive()
            if message["type"] == "http.request" and (size := len(message.get("body", b""))):
                whose = holder(scope)
                taken[whose] += size
                self._held[whose] += size
                if taken.total() > self._max_body:
                    raise HTTPException(413)
                if self._held[whose] > PRINCIPAL_BODIES:
                    raise HTTPException(429, headers={"Retry-After": "1"})
                parts.append(message["body"])
            if taken.total() > LARGE_BODY and not message.get("more_body", False):
                await self._bodies.turn(holder(scope))
                most = MAX_CREATE_VALUES if scope["path"] == _CREATE_PATH else MAX_VALUES
                if has_more_values(b"".join(parts), most):
                    raise TooManyValues(most)
            return message

        try:
            await self._app(scope, bounded, send)
        finally:
            self._held -= taken

    def _too_large(self, length: int) -> Response:
        """A body of ordinary size is read to its end: a client that still sends it when the connection is closed gets
        no response."""
        return problem_response(
            _TOO_LARGE,
            f"The request body is too large: at most {self._max_body} bytes are accepted.",
            headers={"Connection": "close"} if length > DISCARDED_BYTES else None,
        )


async def refuse_websocket(scope: Scope, receive: Receive, send: Send, response: Response) -> None:
    """Rejects an upgrade with an HTTP response where the server supports it, else with a bare 403."""
    if "websocket.http.response" in scope.get("extensions", {}):
        await response(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": ""})


def holder(scope: Scope) -> str:
    """Whose memory and time a request takes: its principal, or its address while the principal is not known."""
    principal: Principal | None = scope.get("browser_sessions.principal")
    address: str = (scope.get("client") or ("",))[0]
    return address if principal is None else principal.principal_id


def _headers_of(scope: Scope) -> tuple[bytes | None, bytes, int | None]:
    """(Host, request id, Content-Length) in one pass over the headers. Host is None if there are several: a proxy may
    have checked another one. A caller's request id is kept when harmless."""
    host: bytes | None = None
    several = False
    request_id: bytes | None = None
    length: int | None = None
    for name, value in scope["headers"]:
        if name == b"host":
            several = several or host is not None
            host = value
        elif name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            request_id = value
        elif name == b"content-length" and value.isdigit():
            length = int(value[:20])
    return None if several else host or b"", request_id or secrets.token_hex(8).encode(), length


def _length(headers: list[tuple[bytes, bytes]]) -> int:
    return next((int(value) for name, value in headers if name == b"content-length"), 0)


def _has_unknown_type(scope: Scope, length: int | None) -> bool:
    """Whether the request has a body that is not JSON (for a token: not a form), or is compressed."""
    headers = dict(scope["headers"])
    if not length and b"transfer-encoding" not in headers:
        return False
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    known = media_type == _FORM if scope["path"] == _FORM_PATH else _JSON.fullmatch(media_type)
    return not known or _is_compressed(headers)


def _is_endless(scope: Scope, length: int | None) -> bool:
    """Whether not to read a body to its end: it has none, or it is long and its sender unknown. Others would lose the
    response, for many clients do not look for it when the connection is closed while they send."""
    return length is None or (length > DISCARDED_BYTES and "browser_sessions.principal" not in scope)


def _is_compressed(headers: dict[bytes, bytes]) -> bool:
    return headers.get(b"content-encoding", b"identity").lower() != b"identity"


def _unknown_type(path: str) -> Response:
    if _UPLOAD_PATH.fullmatch(path):
        return problem_response(_UNSUPPORTED, "The file must be sent as it is, without Content-Encoding.")
    kind, media_type = ("a form", _FORM.decode()) if path == _FORM_PATH else ("JSON", "application/json")
    return problem_response(_UNSUPPORTED, f"The request body must be {kind}, sent as Content-Type: {media_type}.")


def _two_hosts() -> Response:
    return problem_response(_BAD_REQUEST, "The request has more than one Host header.")


def _too_many_parameters() -> Response:
    return problem_response(_BAD_REQUEST, f"The URL has more than {MAX_PARAMETERS} parameters.")


def _host_not_allowed() -> Response:
    return problem_response(
        _HOST_NOT_ALLOWED,
        "This service does not accept that host name. Its operator can add it to BROWSER_SESSIONS_ALLOWED_HOSTS.",
    )


def _route(scope: Scope) -> str:
    path: str = getattr(scope.get("route"), "path_format", UNKNOWN_ROUTE)
    return path


def session_id_of(scope: Scope) -> str | None:
    """The session in the path, or the one that the request has created (`CREATED`)."""
    session_id: str = scope.get("path_params", {}).get("session_id") or scope.get(CREATED, "")
    return session_id[:64] or None


def _log(scope: Scope, method: str, route: str, status: int, seconds: float) -> None:
    principal: Any = scope.get("browser_sessions.principal")
    facts = {
        "method": method,
        "route": route,
        "status": status,
        "ms": round(seconds * 1000, 2),
        "client": (scope.get("client") or ("",))[0],
        "principal_id": getattr(principal, "principal_id", None),
        "session_id": session_id_of(scope),
    }
    if status >= 500:
        log.warning("http.request", **facts)
    else:
        log.info("http.request", **facts)
