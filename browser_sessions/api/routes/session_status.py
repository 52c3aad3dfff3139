"""GET of one session: the call that everybody repeats, so it costs two header look-ups, one dictionary and one write.

FastAPI declares it (the contract's words are its OpenAPI entry) and does not run it: solving dependencies and
validating an answer of our own making is most of what a FastAPI endpoint costs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from browser_sessions.api.caller_credentials import Caller, credentials_of, identify
from browser_sessions.api.dependencies import Services
from browser_sessions.api.models import BrowserSessionResponse
from browser_sessions.api.session_access import find
from browser_sessions.domain.clock import Clock
from browser_sessions.domain.session import Session, SessionRecord

PREFIX: Final = "/v1/browser/sessions/"
_JSON: Final = (b"content-type", b"application/json")


def eight(found: Session | SessionRecord, clock: Clock) -> dict[str, Any]:
    """The contract's eight fields in their order."""
    if isinstance(found, Session):
        now = clock.monotonic()
        deadline = found.deadline(now)
        return {
            "session_id": found.session_id,
            "status": found.status,
            "viewport_width": found.spec.viewport_width,
            "viewport_height": found.spec.viewport_height,
            "user_agent": found.spec.user_agent,
            "created_at": found.created_at,
            "last_activity": clock.wall(found.last_used(now)),
            "expires_at": None if deadline is None else clock.wall(deadline),
        }
    return {
        "session_id": found.session_id,
        "status": found.status,
        "viewport_width": found.viewport_width,
        "viewport_height": found.viewport_height,
        "user_agent": found.user_agent,
        "created_at": found.created_at,
        "last_activity": found.last_activity,
        "expires_at": found.expires_at,
    }


def eight_as_json(found: Session | SessionRecord, clock: Clock) -> bytes:
    """The same bytes that pydantic makes of `BrowserSessionResponse`."""
    return orjson.dumps(eight(found, clock), option=orjson.OPT_UTC_Z)


class StatusRoute(APIRoute):
    """An `APIRoute` that answers by itself. Errors go the way of all others: up to the app's handlers."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        path: str = scope["path"]
        if scope["type"] != "http" or scope["method"] != "GET" or not path.startswith(PREFIX):
            return Match.NONE, {}
        session_id = path[len(PREFIX) :]
        if not session_id or "/" in session_id:
            return Match.NONE, {}
        return Match.FULL, {"endpoint": self.endpoint, "path_params": {"session_id": session_id}, "route": self}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        services: Services = scope["app"].state.services
        principal = identify(services, scope, *credentials_of(scope))
        scope["browser_sessions.principal"] = principal
        found = await find(services.pool, principal, scope["path_params"]["session_id"])
        body = eight_as_json(found, services.pool.clock)
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [_JSON, (b"content-length", str(len(body)).encode("ascii"))],
            }
        )
        await send({"type": "http.response.body", "body": body})

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        async def never(_request: Request) -> Response:
            raise AssertionError("StatusRoute.handle answers")

        return never


async def get_browser_session(session_id: str, principal: Caller) -> BrowserSessionResponse:
    """Get browser session information"""
    raise AssertionError("StatusRoute.handle answers")
