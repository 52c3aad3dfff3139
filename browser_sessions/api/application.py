"""Assembles the FastAPI application."""

from __future__ import annotations

import functools
from typing import Any, Final

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute
from starlette.types import Lifespan, Receive, Scope, Send

from browser_sessions import tracing
from browser_sessions.api import errors, openapi_document
from browser_sessions.api.dependencies import Services
from browser_sessions.api.middleware.edge import Edge, refuse_websocket
from browser_sessions.api.query_parameters import check_query
from browser_sessions.api.routes import (
    accounts,
    cdp,
    console_overview,
    devtools,
    downloads,
    events,
    health,
    live,
    one_line,
    pages,
    sessions,
    sign_in,
    storage_state,
    uploads,
)
from browser_sessions.api.routes.session_create import create_route
from browser_sessions.api.routes.session_status import StatusMiddleware, status_route
from browser_sessions.console import static_files

DESCRIPTION: Final = (
    "Live browser sessions: real headless Chromium, isolated contexts, exact expiry. Send an API key as X-API-Key, or "
    "a token from POST /v1/auth/token as Authorization: Bearer. The WebSocket addresses stand in x-websockets."
)

_NO_TELEMETRY: Final[TelemetryConfig] = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""FastAPI's own telemetry records whole URLs, tickets included; `request_spans` does not."""
_STATUS: Final = status_route()
_ROUTERS: Final = tuple(
    package.router
    for package in (
        *(sessions, pages, storage_state, downloads, uploads, cdp, one_line, events, console_overview),
        *(live, devtools, sign_in, accounts, health),
    )
)


def build_api(services: Services, lifespan: Lifespan[Any] | None = None) -> FastAPI:
    """The application over `services`. No CORS: pages of other sites may not call it."""
    app = FastAPI(
        title="browser-sessions",
        version=services.version,
        description=DESCRIPTION,
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
        servers=[{"url": services.options.public_url or "/"}],  # "/": wherever the document came from
        generate_unique_id_function=_operation_id,
        dependencies=[Depends(check_query)],
    )
    app.state.services = services
    app.router.routes.extend(_routes())
    app.router.default = _no_route
    openapi_document.install(app)
    errors.install(app)
    app.add_middleware(StatusMiddleware, services=services, route=_STATUS)
    app.add_middleware(Edge, options=services.options, metrics=services.metrics, unsent=services.unsent)
    if (tracer := tracing.tracer()) is not None:
        from browser_sessions.api.middleware.request_spans import Traced  # OpenTelemetry is an extra

        app.add_middleware(Traced, tracer=tracer)
    return app


@functools.cache
def _routes() -> tuple[BaseRoute, ...]:
    """All routes. FastAPI takes 20 ms to prepare them, so the applications of a process share them."""
    router = APIRouter(dependencies=[Depends(check_query)], generate_unique_id_function=_operation_id)
    for each in _ROUTERS:
        router.include_router(each)
    # Creates come before the rest: no other pattern is tried before theirs.
    return _STATUS, create_route(), *router.routes, *static_files.ROUTES


async def _no_route(scope: Scope, receive: Receive, send: Send) -> None:
    """No route matches. Starlette would reject a WebSocket with a bare 403."""
    if scope["type"] == "websocket":
        await refuse_websocket(scope, receive, send, errors.no_route())
    else:
        raise HTTPException(404)


def _operation_id(route: APIRoute) -> str:
    """The endpoint's name: what generated clients call their functions."""
    return route.name


__all__ = ["build_api"]
