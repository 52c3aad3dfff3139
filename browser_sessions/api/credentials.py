"""The caller of an endpoint, and what the OpenAPI document says about it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.security import OAuth2PasswordBearer

from browser_sessions.api.services import Here
from browser_sessions.model.errors import Forbidden
from browser_sessions.model.principal import Action, Principal, may

_bearer = OAuth2PasswordBearer(
    tokenUrl="/v1/auth/token", auto_error=False, description="A token for a user name and password."
)


def caller(
    request: Request,
    services: Here,
    _token: Annotated[str | None, Depends(_bearer)] = None,
    x_api_key: Annotated[str | None, Header(alias="X-API-Key")] = None,
) -> Principal:
    """Whom the request speaks for. Raises `Unauthenticated`."""
    principal = services.keyring.principal_of(x_api_key, request.headers.get("authorization"))
    request.scope["browser_sessions.principal"] = principal
    return principal


Caller = Annotated[Principal, Depends(caller)]


def operator(principal: Caller) -> Principal:
    """A caller who may read pool and node state. Raises `Forbidden`."""
    if not may(principal, Action.SEE_POOL):
        raise Forbidden("This needs the role operator or admin. Ask whoever runs the service for such a key.")
    return principal


def admin(principal: Caller) -> Principal:
    """A caller who may manage keys and users. Raises `Forbidden`."""
    if not may(principal, Action.MANAGE_KEYS):
        raise Forbidden("This needs the role admin. Ask whoever runs the service for such a key.")
    return principal


Operator = Annotated[Principal, Depends(operator)]
Admin = Annotated[Principal, Depends(admin)]
