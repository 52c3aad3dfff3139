"""Keys, users, tokens and sign-in."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from browser_sessions.api.models.egress_models import EgressBody, EgressResponse
from browser_sessions.api.models.model_parts import REQUEST, Printable


class TokenResponse(BaseModel):
    access_token: str = Field(repr=False)
    token_type: Literal["bearer"]
    expires_in: int
    scope: str


class SignInBody(BaseModel):
    """Either a key, or a user name and a password."""

    model_config = REQUEST

    api_key: str | None = Field(None, min_length=1, max_length=1024, json_schema_extra={"format": "password"})
    username: str | None = Field(None, min_length=1, max_length=64)
    password: str | None = Field(None, min_length=1, max_length=1024, json_schema_extra={"format": "password"})


RoleName = Literal["client", "operator", "admin"]


class WhoAmI(BaseModel):
    principal_id: str
    name: str
    role: RoleName


Name = Annotated[Printable, Field(min_length=1, max_length=100)]


class CreateKeyBody(BaseModel):
    model_config = REQUEST

    name: Name
    role: RoleName = "client"
    principal_id: str | None = Field(
        None,
        max_length=64,
        pattern=r"^[A-Za-z0-9_\-]+$",
        description="A second key for this principal; null: a new one",
    )
    egress: EgressBody | None = Field(
        None, description="What sessions created with it can reach; null: all that the server allows"
    )


class KeyResponse(BaseModel):
    key_id: str
    name: str
    role: RoleName
    principal_id: str
    created_at: datetime
    revoked_at: datetime | None
    egress: EgressResponse


class KeyCreated(KeyResponse):
    """The only time that the key itself is shown."""

    key: str = Field(repr=False)


class KeyList(BaseModel):
    keys: list[KeyResponse]


class CreateUserBody(BaseModel):
    model_config = REQUEST

    username: str = Field(pattern=r"^[A-Za-z0-9_@\-][A-Za-z0-9._@\-]{0,63}$")  # a path has no segments . and ..
    password: str = Field(min_length=12, max_length=1024)
    role: RoleName = "client"


class UserResponse(BaseModel):
    username: str
    role: RoleName
    principal_id: str
    created_at: datetime


class UserList(BaseModel):
    users: list[UserResponse]
