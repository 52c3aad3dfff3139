"""Which destinations a key's sessions, or one session, may reach: as given, see `egress.rules` for what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class EgressRules:
    """Hosts, `*.hosts` and networks, each with an optional `:port`. They narrow what the level above allows."""

    allow: tuple[str, ...] | None = None
    """Only these; None: all that the level above allows."""
    deny: tuple[str, ...] = ()


NO_RULES: Final = EgressRules()
