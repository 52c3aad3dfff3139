"""A create for which there is no place is refused before anything else is done for it.

500 concurrent creates against a full pool are to be refused within 100 ms. Solving an endpoint's dependencies and
validating a body takes most of what a refusal would cost, so it comes first: who asks, and whether there is a place. A
create that may wait, that may be a repeated one, or whose caller is not known goes the ordinary way.
"""

from __future__ import annotations

import orjson
from fastapi.routing import APIRoute
from starlette.types import Message, Receive, Scope, Send

from browser_sessions.api.caller_credentials import credentials_of
from browser_sessions.api.dependencies import Services
from browser_sessions.api.errors import response_for
from browser_sessions.domain.errors import BrowserSessionsError, QuotaExceeded, Unavailable


class CreateRoute(APIRoute):
    """An `APIRoute` that looks for a place before it does its work."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        services: Services = scope["app"].state.services
        credentials = credentials_of(scope)
        if not services.pool.admission.crowded or not any(credentials) or _may_be_a_repeat(scope):
            await super().handle(scope, receive, send)
            return
        first = await receive()
        refusal = None
        if _may_wait(first):
            await services.may_wait.turn()  # they have time: who is refused hears it first, and their order stays
        else:
            refusal = _refusal(services, scope, credentials)
        if refusal is None:
            await super().handle(scope, _again(first, receive), send)
            return
        await response_for(refusal)(scope, receive, send)


def _may_wait(message: Message) -> bool:
    """True also of what is not looked at here: a body that comes in pieces, and one that is no JSON object."""
    if message["type"] != "http.request" or message.get("more_body"):
        return True
    try:
        asked = orjson.loads(message["body"]) if message.get("body") else {}
    except orjson.JSONDecodeError:
        return True
    return not isinstance(asked, dict) or asked.get("wait_seconds", 0) != 0


def _may_be_a_repeat(scope: Scope) -> bool:
    return any(name == b"idempotency-key" for name, _ in scope["headers"])


def _refusal(
    services: Services, scope: Scope, credentials: tuple[str | None, str | None]
) -> BrowserSessionsError | None:
    """Why the caller gets no place now; None when it gets one, or is not known."""
    try:
        principal = services.keyring.principal_of(*credentials)
    except BrowserSessionsError:
        return None
    scope["browser_sessions.principal"] = principal
    try:
        services.pool.admission.check(principal.principal_id)
    except (QuotaExceeded, Unavailable) as refusal:
        return refusal
    return None


def _again(first: Message, receive: Receive) -> Receive:
    """`receive`, beginning with a message that was taken from it."""
    left = [first]

    async def again() -> Message:
        return left.pop() if left else await receive()

    return again
