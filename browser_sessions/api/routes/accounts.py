"""Endpoints for API keys, users and tokens."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Form, Request

from browser_sessions.api.caller_credentials import Admin, CheckedRoute
from browser_sessions.api.dependencies import Here
from browser_sessions.api.models.account_models import (
    CreateKeyBody,
    CreateUserBody,
    KeyCreated,
    KeyList,
    KeyResponse,
    TokenResponse,
    UserList,
    UserResponse,
)
from browser_sessions.api.responses import problems
from browser_sessions.auth.access_tokens import TOKEN_LIFETIME_S
from browser_sessions.domain.egress_rules import NO_RULES
from browser_sessions.domain.errors import Unauthenticated
from browser_sessions.domain.principal import ApiKey, Role, User

log = structlog.get_logger()
router = APIRouter(prefix="/v1/auth", tags=["auth"], route_class=CheckedRoute)


@router.post("/token", response_model=TokenResponse, responses=problems(400, 401, 413, 415, 429, 503))
async def get_token(
    request: Request,
    services: Here,
    username: Annotated[str, Form(max_length=64)],
    password: Annotated[str, Form(max_length=1024, json_schema_extra={"format": "password"})],
    grant_type: Annotated[str | None, Form(pattern="^password$")] = None,
    scope: Annotated[str, Form(max_length=100, description="A role you may act in; empty: all that you may")] = "",
    client_id: Annotated[str | None, Form(max_length=100, description="Not used")] = None,
    client_secret: Annotated[str | None, Form(max_length=1024, description="Not used")] = None,
) -> dict[str, Any]:
    """Sign in with a user name and a password (OAuth2 password form)."""
    address = request.client.host if request.client else ""
    try:
        grant = await services.keyring.sign_in(username, password, scope, address)
    except Unauthenticated:
        log.warning("auth.refused", username=username, client=address)
        raise
    log.info("auth.signed_in", username=username, client=address, scope=grant.scope.value)
    request.scope["browser_sessions.principal"] = services.keyring.principal_of(None, f"Bearer {grant.token}")
    return {
        "access_token": grant.token,
        "token_type": "bearer",
        "expires_in": TOKEN_LIFETIME_S,
        "scope": grant.scope.value,
    }


@router.post("/keys", status_code=201, response_model=KeyCreated, responses=problems(400, 401, 403, 413, 415, 503))
async def create_key(services: Here, by: Admin, body: CreateKeyBody) -> dict[str, Any]:
    """Create an API key. Only this response contains the key itself."""
    key, text = await services.keyring.create_key(
        body.name, Role(body.role), body.principal_id, body.egress.rules() if body.egress else NO_RULES
    )
    log.info("auth.key_created", key_id=key.key_id, role=key.role.value, by=by.principal_id)
    return _key(key) | {"key": text}


@router.get("/keys", response_model=KeyList, responses=problems(401, 403))
async def list_keys(services: Here, by: Admin) -> dict[str, Any]:
    """List all keys, revoked ones too, without their secrets."""
    return {"keys": [_key(key) for key in services.keyring.all_keys()]}


@router.delete("/keys/{key_id}", response_model=KeyResponse, responses=problems(401, 403, 404, 409, 503))
async def revoke_key(key_id: str, services: Here, by: Admin) -> dict[str, Any]:
    """Revoke a key with immediate effect; idempotent. The built-in admin key cannot be revoked (409)."""
    key = await services.keyring.revoke_key(key_id)
    log.info("auth.key_revoked", key_id=key.key_id, by=by.principal_id)
    return _key(key)


@router.post(
    "/users", status_code=201, response_model=UserResponse, responses=problems(400, 401, 403, 409, 413, 415, 429, 503)
)
async def create_user(services: Here, by: Admin, body: CreateUserBody) -> dict[str, Any]:
    """Create a user who signs in with a password of at least twelve characters."""
    user = await services.keyring.create_user(body.username, body.password, Role(body.role))
    log.info("auth.user_created", username=user.username, role=user.role.value, by=by.principal_id)
    return _user(user)


@router.get("/users", response_model=UserList, responses=problems(401, 403))
async def list_users(services: Here, by: Admin) -> dict[str, Any]:
    """List all users."""
    return {"users": [_user(user) for user in services.keyring.all_users()]}


@router.delete("/users/{username}", response_model=UserResponse, responses=problems(401, 403, 404, 503))
async def remove_user(username: str, services: Here, by: Admin) -> dict[str, Any]:
    """Remove a user; their tokens and keys become invalid at once."""
    user = await services.keyring.remove_user(username)
    log.info("auth.user_removed", username=user.username, by=by.principal_id)
    return _user(user)


def _key(key: ApiKey) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "name": key.name,
        "role": key.role.value,
        "principal_id": key.principal_id,
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
        "egress": asdict(key.egress),
    }


def _user(user: User) -> dict[str, Any]:
    return {
        "username": user.username,
        "role": user.role.value,
        "principal_id": user.principal_id,
        "created_at": user.created_at,
    }
