"""GET of one session, the most frequent request.

FastAPI declares it (its OpenAPI entry is the contract's) and does not run it: solving dependencies and validating a
response of our own is most of what a FastAPI endpoint costs. See docs/decisions/0001-status-endpoint.md.
"""

from __future__ import annotations

import orjson
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from browser_sessions.api.caller_credentials import DeclaredByContract, identify
from browser_sessions.api.dependencies import Services
from browser_sessions.api.middleware.edge import STATUS_ROUTE
from browser_sessions.api.models import BrowserSessionResponse
from browser_sessions.api.session_access import find, live_summary, summary
from browser_sessions.domain.session import Session


def status_route() -> APIRoute:
    """Declared as `get_browser_session`, answered by `_answer`."""
    route = APIRoute(
        STATUS_ROUTE, get_browser_session, methods=["GET"], tags=["sessions"], operation_id="get_browser_session"
    )
    route.app = _answer
    return route


async def get_browser_session(session_id: str, _: DeclaredByContract) -> BrowserSessionResponse:
    """Get browser session information"""
    raise AssertionError("answered by _answer")


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    services: Services = scope["app"].state.services
    principal = identify(services, scope)
    found = await find(services.pool, principal, scope["path_params"]["session_id"])
    fields = live_summary(found, services.pool.clock) if isinstance(found, Session) else summary(found)
    body = orjson.dumps(fields, option=orjson.OPT_UTC_Z)  # the bytes that pydantic would make
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
