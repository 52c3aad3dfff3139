"""The JSON models for what sessions may reach and what they have transferred."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, Field

from browser_sessions.api.models.model_parts import REQUEST
from browser_sessions.domain.egress_rules import EgressRules
from browser_sessions.egress.rules import Rules

MAX_RULES: Final = 200
"""Of one list: each connection is compared with all of them."""
MAX_RULE: Final = 300
"""Characters: a host name has at most 253."""


def _rule(value: str) -> str:
    """Raises `ValueError`, which says what would be right."""
    Rules.parse([value])
    return value


Rule = Annotated[str, Field(min_length=1, max_length=MAX_RULE), AfterValidator(_rule)]


class EgressBody(BaseModel):
    """Hosts, `*.hosts`, addresses and networks, each with an optional `:port`. They narrow what the server, and the key
    that is used, allow."""

    model_config = REQUEST

    allow: list[Rule] | None = Field(
        None, max_length=MAX_RULES, description="Only these can be reached; null: all that is allowed otherwise"
    )
    deny: list[Rule] = Field(
        default_factory=list,
        max_length=MAX_RULES,
        description="These cannot be reached; `*`: all that `allow` does not name",
    )

    def rules(self) -> EgressRules:
        return EgressRules(None if self.allow is None else tuple(self.allow), tuple(self.deny))


class EgressResponse(BaseModel):
    allow: list[str] | None
    deny: list[str]


class HostTraffic(BaseModel):
    host: str
    bytes_up: int
    bytes_down: int
    connections: int
    refused: int


class Traffic(BaseModel):
    """What a session has sent and received through the egress proxy. `hosts` are those with the most bytes, at most
    20."""

    bytes_up: int
    bytes_down: int
    connections: int
    refused: int
    hosts: list[HostTraffic]
