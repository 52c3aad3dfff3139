"""Principals, roles and the actions that each role allows."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from browser_sessions.domain.egress_rules import NO_RULES, EgressRules


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
    """Take control: the client's commands wait while the operator's input is used."""
    SEE_POOL = "see_pool"
    MANAGE_KEYS = "manage_keys"


_OWN: Final = frozenset({Action.VIEW, Action.DRIVE, Action.END})
"""Actions that every principal may perform on its own sessions."""

_ANY: Final[dict[Role, frozenset[Action]]] = {
    Role.CLIENT: frozenset({Action.CREATE}),
    Role.OPERATOR: frozenset({Action.CREATE, Action.VIEW, Action.DRIVE, Action.END, Action.TAKE_OVER, Action.SEE_POOL}),
    Role.ADMIN: frozenset(Action),
}
"""Actions that a role allows whoever owns the session: the table of docs/api.md."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller. `principal_id` owns sessions; several keys and a user may belong to one principal.

    `credential` is the one used, as `key:<id>` or `user:<name>`: revoking it closes the connections opened with it.
    `sign_in` is the id of the console's sign-in if that was used: signing out does the same.
    """

    principal_id: str
    role: Role
    name: str
    credential: str = field(default="", compare=False)
    sign_in: str = field(default="", compare=False)


def may(principal: Principal, action: Action, owner: str | None = None) -> bool:
    """True if `principal` may perform `action` on a resource of `owner` (a principal_id)."""
    if action in _ANY[principal.role]:
        return True
    return owner == principal.principal_id and action in _OWN


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A stored API key: its secret only as SHA-256 (256 random bits need no slow hash)."""

    key_id: str
    principal_id: str
    name: str
    role: Role
    secret_sha256: str
    created_at: datetime
    revoked_at: datetime | None = None
    egress: EgressRules = NO_RULES
    """For the sessions that are created with it."""

    @property
    def principal(self) -> Principal:
        return Principal(self.principal_id, self.role, self.name, f"key:{self.key_id}")


@dataclass(frozen=True, slots=True)
class User:
    """A user who signs in with a password; `password_hash` is argon2id in PHC format."""

    username: str
    principal_id: str
    role: Role
    password_hash: str
    created_at: datetime

    @property
    def principal(self) -> Principal:
        return Principal(self.principal_id, self.role, self.username, f"user:{self.username}")
