"""GET of one session, the most frequent request.

FastAPI declares it (its OpenAPI entry is the contract's) and does not run it: solving dependencies and validating a
response of our own is most of what a FastAPI endpoint costs, routing and its middleware half of the rest. See
docs/decisions/0001-status-endpoint.md.
"""

from __future__ import annotations

from typing import Final

import orjson
from fastapi.routing import APIRoute
from starlette.datastructures import QueryParams
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from browser_sessions.api.caller_credentials import DeclaredByContract, identify
from browser_sessions.api.dependencies import Services
from browser_sessions.api.errors import is_bug, response_for
from browser_sessions.api.middleware.edge import STATUS_ROUTE
from browser_sessions.api.models.session_models import BrowserSessionResponse
from browser_sessions.api.query_parameters import refuse_unknown
from browser_sessions.api.session_access import find, live_summary, summary
from browser_sessions.domain.errors import BrowserSessionsError
from browser_sessions.domain.session import Session


def status_route() -> APIRoute:
    """The declaration of `get_browser_session`."""
    return APIRoute(
        STATUS_ROUTE, get_browser_session, methods=["GET"], tags=["sessions"], operation_id="get_browser_session"
    )


async def get_browser_session(session_id: str, _: DeclaredByContract) -> BrowserSessionResponse:
    """Get browser session information"""
    raise AssertionError("answered by StatusMiddleware")


class StatusMiddleware:
    """Answers `get_browser_session`, and passes all other requests on. Routing and the middleware for exceptions would
    cost as much again."""

    def __init__(self, app: ASGIApp, services: Services, route: APIRoute) -> None:
        self._app = app
        self._services = services
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        matched = _PATH.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else None
        if matched is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = self._route
        scope["path_params"] = matched.groupdict()
        try:
            body = await self._body(scope, matched["session_id"])
        except BrowserSessionsError as error:
            if is_bug(error):
                raise
            await response_for(error)(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _body(self, scope: Scope, session_id: str) -> bytes:
        pool = self._services.pool
        if scope["query_string"]:
            refuse_unknown(QueryParams(scope["query_string"]), ())
        found = await find(pool, identify(self._services, scope), session_id)
        fields = live_summary(found, pool.clock) if isinstance(found, Session) else summary(found)
        return orjson.dumps(fields, option=orjson.OPT_UTC_Z)  # the bytes that pydantic would make


_PATH: Final = compile_path(STATUS_ROUTE)[0]
