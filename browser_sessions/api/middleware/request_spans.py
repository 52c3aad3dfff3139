"""A span for every request; the outermost middleware where tracing is on.

Our own, because FastAPI's telemetry and OpenTelemetry's ASGI instrumentation record whole URLs, and those of WebSockets
contain tickets.
"""

from __future__ import annotations

from typing import Final

from opentelemetry.propagate import extract
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from browser_sessions.api.middleware.edge import session_id_of
from browser_sessions.telemetry import REQUEST_ID
from browser_sessions.tracing import PREFIX

UNTRACED: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Polled by machines."""
_PROPAGATED: Final = frozenset({b"traceparent", b"tracestate", b"baggage"})
_STARTS: Final = frozenset({"http.response.start", "websocket.http.response.start"})


class Traced:
    """Pure ASGI. Names follow OpenTelemetry's semantic conventions for HTTP servers."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] in UNTRACED:
            await self._app(scope, receive, send)
            return
        method = scope.get("method", "GET")
        carrier = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _PROPAGATED}
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] in _STARTS:
                status = message["status"]
            elif message["type"] == "websocket.accept":
                status = 101
            await send(message)

        with self._tracer.start_as_current_span(
            method,
            extract(carrier),
            SpanKind.SERVER,
            {"http.request.method": method},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                await self._app(scope, receive, answer)
            finally:
                route = getattr(scope.get("route"), "path_format", None)
                if route is not None:
                    span.update_name(f"{method} {route}")
                    span.set_attribute("http.route", route)
                if session_id := session_id_of(scope):
                    span.set_attribute(PREFIX + "session_id", session_id)
                if status:
                    span.set_attribute("http.response.status_code", status)
                span.set_attribute(PREFIX + "request_id", REQUEST_ID.get())
                if status >= 500 or not status:
                    span.set_status(Status(StatusCode.ERROR))
