"""Who calls, and what they may."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    CLIENT = "client"
    OPERATOR = "operator"
    ADMIN = "admin"


class Action(StrEnum):
    CREATE = "create"
    VIEW = "view"
    """See a session, its details, its pages and its events."""
    DRIVE = "drive"
    """Use it: pages, CDP, keepalive."""
    END = "end"
    TAKE_OVER = "take_over"
    """Hold the client's commands and put in one's own."""
    SEE_POOL = "see_pool"
    MANAGE_KEYS = "manage_keys"


_OWN: Final = frozenset({Action.VIEW, Action.DRIVE, Action.END})
"""What every principal may do with its own sessions."""

_ANY: Final[dict[Role, frozenset[Action]]] = {
    Role.CLIENT: frozenset({Action.CREATE}),
    Role.OPERATOR: frozenset({Action.CREATE, Action.VIEW, Action.DRIVE, Action.END, Action.TAKE_OVER, Action.SEE_POOL}),
    Role.ADMIN: frozenset(Action),
}
"""What a role may do whoever owns the session: the table of docs/api.md."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller. `principal_id` owns sessions; several keys and a user may speak for one principal.

    `credential` says which of them did, as `key:<id>` or `user:<name>`: what they open lasts as long as that does.
    """

    principal_id: str
    role: Role
    name: str
    credential: str = field(default="", compare=False)


def may(principal: Principal, action: Action, owner: str | None = None) -> bool:
    """True when `principal` may do `action` to what `owner` (a principal_id) owns."""
    if action in _ANY[principal.role]:
        return True
    return owner == principal.principal_id and action in _OWN


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A stored key: never the secret itself, only its SHA-256 (256 random bits need no slow hash)."""

    key_id: str
    principal_id: str
    name: str
    role: Role
    secret_sha256: str
    created_at: datetime
    revoked_at: datetime | None = None

    @property
    def principal(self) -> Principal:
        return Principal(self.principal_id, self.role, self.name, f"key:{self.key_id}")


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who signs in with a password; `password_hash` is argon2id in PHC form."""

    username: str
    principal_id: str
    role: Role
    password_hash: str
    created_at: datetime

    @property
    def principal(self) -> Principal:
        return Principal(self.principal_id, self.role, self.username, f"user:{self.username}")
