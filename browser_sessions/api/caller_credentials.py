"""Authenticates the caller of an endpoint, and declares how in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer
from starlette.types import Scope

from browser_sessions.api.dependencies import Services
from browser_sessions.api.middleware.origin import check_same_site
from browser_sessions.auth.console_cookie import cookie_of
from browser_sessions.auth.tickets import Use, verify
from browser_sessions.domain.errors import Forbidden, Unauthenticated
from browser_sessions.domain.principal import Action, Principal, may

_key = APIKeyHeader(name="X-API-Key", auto_error=False, description="An API key.")
_bearer = OAuth2PasswordBearer(
    tokenUrl="/v1/auth/token", auto_error=False, description="A token for a user name and password."
)


async def caller(
    request: Request,
    _api_key: Annotated[str | None, Depends(_key)] = None,
    _token: Annotated[str | None, Depends(_bearer)] = None,
) -> Principal:
    """The authenticated caller. Raises as `identify`; the last two parameters are for the OpenAPI document only."""
    services: Services = request.app.state.services  # one dependency less to solve
    return identify(services, request.scope)


def identify(services: Services, scope: Scope, query_key: str | None = None) -> Principal:
    """Authenticates a request or a WebSocket, and notes the principal in its scope for the log. An API key in the
    header takes precedence, then one in the query, then a token, then the console's cookie.

    Raises `Unauthenticated`, `Forbidden` (a cookie from another site's page).
    """
    api_key, authorization = credentials_of(scope)
    if api_key is None:
        api_key = query_key
    if api_key is None and authorization is None and (cookie := cookie_of(scope)) is not None:
        principal = services.console.cookies.principal_of(cookie)
        if scope["type"] == "http":
            check_same_site(scope, services.options.public_url)
    else:
        principal = services.keyring.principal_of(api_key, authorization)
    scope["browser_sessions.principal"] = principal
    return principal


def credentials_of(scope: Scope) -> tuple[str | None, str | None]:
    """The headers X-API-Key and Authorization."""
    api_key: str | None = None
    authorization: str | None = None
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            api_key = value.decode("latin-1")
        elif name == b"authorization":
            authorization = value.decode("latin-1")
    return api_key, authorization


def by_ticket(services: Services, scope: Scope, ticket: str, session_id: str, use: Use) -> Principal:
    """The principal of a ticket, while the credential that it was made for is valid; also noted in the scope. Raises
    `Unauthenticated`."""
    principal = verify(services.ticket_secret, ticket, session_id, use, services.pool.clock.wall()).principal
    if not services.keyring.is_valid(principal):
        raise Unauthenticated("The ticket's key was revoked, or its user was removed.", session_id=session_id[:64])
    scope["browser_sessions.principal"] = principal
    return principal


Caller = Annotated[Principal, Depends(caller)]


async def declared(
    _api_key: Annotated[str | None, Depends(_key)] = None,
    _token: Annotated[str | None, Depends(_bearer)] = None,
) -> None:
    """For endpoints that also accept a ticket and check the credential themselves: puts both schemes into the OpenAPI
    document."""


async def declared_by_contract(
    _token: Annotated[str | None, Depends(_bearer)] = None,
    _x_api_key: Annotated[str | None, Header(alias="X-API-Key")] = None,
) -> None:
    """For the status call, whose OpenAPI entry is fixed: there the key is a header parameter, not a security scheme."""


Declared = Annotated[None, Depends(declared)]
DeclaredByContract = Annotated[None, Depends(declared_by_contract)]


async def operator(principal: Caller) -> Principal:
    """A caller who may read the state of the pool. Raises `Forbidden`."""
    if not may(principal, Action.SEE_POOL):
        raise Forbidden("This needs the role operator or admin. Ask whoever runs the service for such a key.")
    return principal


async def admin(principal: Caller) -> Principal:
    """A caller who may manage keys and users. Raises `Forbidden`."""
    if not may(principal, Action.MANAGE_KEYS):
        raise Forbidden("This needs the role admin. Ask whoever runs the service for such a key.")
    return principal


class CheckedRoute(APIRoute):
    """Checks the credential before the body is read and parsed, which FastAPI does before it calls `caller`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None or not _needs_caller(self.dependant):
            return handle

        async def checked(request: Request) -> Response:
            identify(request.app.state.services, request.scope)
            return await handle(request)

        return checked


def _needs_caller(dependant: Dependant) -> bool:
    return dependant.call is caller or any(map(_needs_caller, dependant.dependencies))


Operator = Annotated[Principal, Depends(operator)]
Admin = Annotated[Principal, Depends(admin)]
