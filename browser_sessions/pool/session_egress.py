"""What a new session may reach: the rules of the server, of the key that is used, and of the session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from browser_sessions.chromium.ports import Assign
from browser_sessions.domain.egress_rules import EgressRules
from browser_sessions.domain.errors import InvalidField
from browser_sessions.domain.principal import Principal
from browser_sessions.domain.session import Session
from browser_sessions.egress.egress import EgressPort
from browser_sessions.egress.rules import EgressPolicy, Rules
from browser_sessions.egress.upstream import Upstream
from browser_sessions.egress.usage import HostUsage, Usage

NOTHING = Rules.parse(["*"])
"""Denies what no `allow` names."""


@dataclass(frozen=True, slots=True)
class SessionEgress:
    """Decides it for each session of a node. `rules_of` are those of the principal's key."""

    server: EgressPolicy
    rules_of: Callable[[Principal], EgressRules]

    def assignment(self, principal: Principal, session: Session) -> Assign:
        """Raises `InvalidField` for a proxy that cannot be used."""
        spec, policy = session.spec, self.server
        for level, rules in (("key", self.rules_of(principal)), ("session", spec.egress)):
            allow, deny = parsed(rules)
            if allow.items or deny.items:
                policy = policy.with_narrower(allow, deny, level=level)
        try:
            upstream = None if spec.proxy is None else Upstream.parse(spec.proxy)
        except ValueError as error:
            raise InvalidField(("body", "proxy"), str(error)) from None

        def assign(port: EgressPort) -> None:
            port.assign(session.session_id, policy, upstream, spec.max_traffic_bytes)

        return assign


def parsed(rules: EgressRules) -> tuple[Rules, Rules]:
    """(allow, deny). An `allow` that is given and empty allows nothing."""
    deny = Rules.parse(rules.deny)
    if rules.allow == ():
        return Rules(), Rules((*deny.items, *NOTHING.items))
    return Rules.parse(rules.allow or ()), deny


def traffic_of(usage: Usage) -> dict[str, Any]:
    """As JSON."""
    total: dict[str, Any] = {name: getattr(usage, name) for name in TOTALS}
    return total | {
        "hosts": [{each.name: getattr(host, each.name) for each in fields(HostUsage)} for host in usage.hosts]
    }


TOTALS = ("bytes_up", "bytes_down", "connections", "refused")
