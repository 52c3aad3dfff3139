"""What a new session may reach: the rules of the server, of the key that is used, and of the session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from browser_sessions.domain.egress_rules import EgressRules
from browser_sessions.domain.principal import Principal
from browser_sessions.domain.session import Session
from browser_sessions.egress.egress import EgressPort
from browser_sessions.egress.rules import EgressPolicy, Rules
from browser_sessions.egress.upstream import Upstream
from browser_sessions.egress.usage import Usage

NOTHING: Final = Rules.parse(["*"])
"""Denies what no `allow` names."""


@dataclass(frozen=True, slots=True)
class SessionEgress:
    """Decides it for each session of a node. `rules_of` are those of the principal's key."""

    server: EgressPolicy
    rules_of: Callable[[Principal], EgressRules]

    def assign(self, principal: Principal, session: Session, port: EgressPort) -> None:
        spec = session.spec
        session.key_egress = self.rules_of(principal)
        policy = self.server.with_narrower(*parsed(session.key_egress), level="key")
        policy = policy.with_narrower(*parsed(spec.egress), level="session")
        upstream = None if spec.proxy is None else Upstream.parse(spec.proxy)
        client_tls = {(each.host, each.port): each.tls for each in spec.client_certificates}
        port.assign(
            session.session_id,
            policy,
            upstream,
            spec.max_traffic_bytes,
            client_tls,
            principal_id=principal.principal_id,
        )


def parsed(rules: EgressRules) -> tuple[Rules, Rules]:
    """(allow, deny). An `allow` that is given and empty allows nothing."""
    deny = Rules.parse(rules.deny)
    if rules.allow == ():
        return Rules(), Rules((*deny.items, *NOTHING.items))
    return Rules.parse(rules.allow or ()), deny


TOTALS: Final = ("bytes_up", "bytes_down", "connections", "refused")
"""Of a session's traffic."""


def traffic_of(usage: Usage) -> dict[str, Any]:
    """As JSON."""
    totals: dict[str, Any] = {name: getattr(usage, name) for name in TOTALS}
    return totals | {"hosts": [asdict(host) for host in usage.hosts]}
