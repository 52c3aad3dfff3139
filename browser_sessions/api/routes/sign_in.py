"""Sign-in and sign-out of the operators' console."""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import APIRouter, Request, Response

from browser_sessions.api.caller_credentials import Caller
from browser_sessions.api.dependencies import Here, Services
from browser_sessions.api.middleware.origin import base_url, check_same_site, is_ours
from browser_sessions.api.models.account_models import SignInBody, WhoAmI
from browser_sessions.auth.console_cookie import cookie_of, set_cookie
from browser_sessions.domain.errors import Forbidden, InvalidField, Unauthenticated
from browser_sessions.domain.principal import Principal

log = structlog.get_logger()
router = APIRouter(prefix="/v1/auth/session", include_in_schema=False)


@router.post("", response_model=WhoAmI)
async def sign_in(request: Request, response: Response, services: Here, body: SignInBody) -> dict[str, Any]:
    """Sign in to the console with an API key, or a user name and a password; sets a cookie for twelve hours."""
    origin = request.headers.get("origin")
    if origin is not None and not is_ours(origin, request.scope, services.options.public_url):
        raise Forbidden("A page of another site cannot sign you in.")
    address = request.client.host if request.client else ""
    try:
        credential = await _checked(services, body, address)
        cookie = services.console.cookies.make(credential)
        principal = services.console.cookies.principal_of(cookie)
    except Unauthenticated:
        log.warning("auth.refused", username=body.username, client=address)
        raise
    request.scope["browser_sessions.principal"] = principal
    log.info("auth.signed_in", username=principal.name, client=address, scope=principal.role.value)
    response.headers["Set-Cookie"] = set_cookie(cookie, secure=_is_secure(request, services))
    return _shown(principal)


@router.get("", response_model=WhoAmI)
async def who_am_i(principal: Caller) -> dict[str, Any]:
    """The principal of your credential."""
    return _shown(principal)


@router.delete("", status_code=204)
async def sign_out(request: Request, response: Response, services: Here) -> None:
    """Sign out of the console: ends the cookie and every connection opened with it; idempotent."""
    if (cookie := cookie_of(request.scope)) is not None:
        check_same_site(request.scope, services.options.public_url)
        await services.console.cookies.sign_out(cookie)
    response.headers["Set-Cookie"] = set_cookie("", secure=_is_secure(request, services))


async def _checked(services: Services, body: SignInBody, address: str) -> str:
    """Checks the body's credential and returns its name. Raises `Unauthenticated`, `QuotaExceeded`, `InvalidField`."""
    if body.api_key is not None and body.username is None and body.password is None:
        return services.keyring.check_key(body.api_key)
    if body.api_key is None and body.username is not None and body.password is not None:
        await services.keyring.sign_in(body.username, body.password, "", address)
        return f"user:{body.username}"
    raise InvalidField(("body",), "send either api_key, or username and password")


def _is_secure(request: Request, services: Services) -> bool:
    return base_url(request.scope, services.options.public_url).startswith("https://")


def _shown(principal: Principal) -> dict[str, Any]:
    return {"principal_id": principal.principal_id, "name": principal.name, "role": principal.role}
