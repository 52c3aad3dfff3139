"""Which destinations a session may reach: the rules of the server, of its key and of the session itself. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Final, Literal, Self, TypeAlias

from pydantic_core import Url

from browser_sessions.egress.addresses import Address, Machine, Network, canonical, meanings

Level: TypeAlias = Literal["server", "key", "session"]

_ALLOW: Final[dict[Level, str]] = {
    "server": "BROWSER_SESSIONS_EGRESS_ALLOW",
    "key": "egress.allow of the key",
    "session": "egress.allow of the session",
}
_DENY: Final[dict[Level, str]] = {
    "server": "BROWSER_SESSIONS_EGRESS_DENY",
    "key": "egress.deny of the key",
    "session": "egress.deny of the session",
}
_FORMS: Final = 'such as "shop.example", "*.shop.example", "10.1.0.0/16" or "[fd00::/8]:443"; a port may follow'
_BRACKETED: Final = re.compile(r"\[([^\]]*)\](?::(\d+))?(/\d+)?", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a destination is denied: the rule, and the setting in which it can be allowed (None: nowhere)."""

    rule: str
    setting: str | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A destination that a session was denied. `address` is None where the name alone was enough."""

    host: str
    port: int
    address: str | None
    rule: str
    setting: str | None
    """The setting in which it can be allowed; None: nowhere."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A network, or a name: `*.` in front means the names below it, `*` alone everything."""

    network: Network | None
    name: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `ValueError`, whose text names the item and the valid forms."""
        item = text.strip()
        if item == "*":
            return cls(None, "*", None)
        host, port = _without_port(item)
        if port is not None and not 0 < port < 65536:
            raise ValueError(f"{text!r} has a port that is none: ports are 1 to 65535")
        if "/" not in host and ":" not in host:
            host = _name(host) or item
        try:
            network = ip_network(host, strict=False)
        except ValueError:
            if _NAME.fullmatch(host.removeprefix("*.")):
                return cls(None, host, port)
            raise ValueError(f"{text!r} must be a host, a network or an address, {_FORMS}") from None
        if "/" in host and str(network.network_address) != str(ip_network(host.partition("/")[0]).network_address):
            raise ValueError(f"{text!r} is no network; did you mean {str(network)!r}?")
        if network.version == 6 and network.prefixlen == 128:
            network = ip_network(canonical(str(network.network_address)))
        return cls(network, "", port)

    def names(self, host: str, port: int) -> bool:
        if self.network is not None or self.port not in (None, port):
            return False
        return host.endswith(self.name[1:]) if self.name[0] == "*" else host == self.name

    def has(self, address: Address, port: int) -> bool:
        return self.network is not None and self.port in (None, port) and address in self.network

    def __str__(self) -> str:
        text = self.name or str(self.network).removesuffix("/32").removesuffix("/128")
        if self.port is None:
            return text
        return f"[{text}]:{self.port}" if ":" in text else f"{text}:{self.port}"


@dataclass(frozen=True, slots=True)
class Rules:
    """A list of rules, as one setting has it."""

    items: tuple[Rule, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """Raises `ValueError` for the first item that is none."""
        return cls(tuple(Rule.parse(text) for text in texts))

    @property
    def everything(self) -> bool:
        return any(rule.name == "*" for rule in self.items)

    @property
    def networks(self) -> bool:
        return any(rule.network is not None for rule in self.items)

    def naming(self, host: str, port: int) -> Rule | None:
        return next((rule for rule in self.items if rule.name != "*" and rule.names(host, port)), None)

    def having(self, address: Address, port: int) -> Rule | None:
        return next((rule for rule in self.items if rule.has(address, port)), None)


@dataclass(frozen=True, slots=True)
class _LevelRules:
    level: Level
    allow: Rules = Rules()
    deny: Rules = Rules()
    defaults: bool = False
    """Whether the list of `addresses.DENIED` counts here."""

    def refusal_of_host(self, host: str, port: int) -> Refused | None:
        """What is known before the name is resolved."""
        if rule := self.deny.naming(host, port):
            return Refused(str(rule), _DENY[self.level])
        if self._only_allowed and not self.allow.networks and not self._allows_name(host, port):
            return self._not_allowed()
        return None

    def refusal(self, host: str, address: Address, port: int, machine: Machine) -> Refused | None:
        for meaning in meanings(address):
            if rule := self.deny.having(meaning, port):
                return Refused(str(rule), _DENY[self.level])
        if self._allows_name(host, port):
            return None
        if self.defaults:
            for meaning in meanings(address):
                if (reason := machine.denied(meaning)) and not self.allow.having(meaning, port):
                    return Refused(reason, _ALLOW[self.level])
        if self._only_allowed and not self.allow.having(address, port):
            return self._not_allowed()
        return None

    @property
    def _only_allowed(self) -> bool:
        """True if only what `allow` has is allowed: always below the server, unless it is empty."""
        return self.deny.everything or bool(self.allow.items and self.level != "server")

    def _allows_name(self, host: str, port: int) -> bool:
        return self.allow.everything or self.allow.naming(host, port) is not None

    def _not_allowed(self) -> Refused:
        return Refused("everything else is denied", _ALLOW[self.level])


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """The rules of the server, then those of the key and of the session, which can only narrow what it allows.

    At each level a `deny` wins over an `allow`, but for `*`, which denies what no `allow` names. The server's `allow`
    has the exceptions from the networks that are denied by default; below it, a list that is not empty is all that is
    allowed. An allowed name may lead to any address.
    """

    levels: tuple[_LevelRules, ...]

    @classmethod
    def of_server(cls, allow: Rules = Rules(), deny: Rules = Rules(), *, defaults: bool = True) -> Self:
        """`defaults=False`: no network is denied by default (`EGRESS=off`)."""
        return cls((_LevelRules("server", allow, deny, defaults),))

    def with_narrower(self, allow: Rules, deny: Rules, *, level: Literal["key", "session"]) -> Self:
        return replace(self, levels=(*self.levels, _LevelRules(level, allow, deny)))

    def for_upstream(self) -> Self:
        """For the proxy of a session, which its own rules need not name."""
        return replace(self, levels=tuple(rules for rules in self.levels if rules.level != "session"))

    def refusal_of_host(self, host: str, port: int) -> Refused | None:
        """Before a name is resolved. `host` is lower case, without a dot at its end."""
        return next((refused for rules in self.levels if (refused := rules.refusal_of_host(host, port))), None)

    def refusal(self, host: str, address: Address, port: int, machine: Machine) -> Refused | None:
        """For one address of `host`, in the form of `addresses.canonical`. One that is refused refuses the name."""
        if port in machine.own_ports and any(machine.has(meaning) for meaning in meanings(address)):
            return Refused("the service's own ports", None)
        return next(
            (refused for rules in self.levels if (refused := rules.refusal(host, address, port, machine))), None
        )


def _without_port(item: str) -> tuple[str, int | None]:
    if bracketed := _BRACKETED.fullmatch(item):
        inside, port, prefix = bracketed.groups()
        return inside + (prefix or ""), int(port) if port else None
    host, colon, port = item.rpartition(":")
    if colon and ":" not in host and port.isascii() and port.isdigit():
        return host, int(port)
    return item, None


def _name(host: str) -> str | None:
    """The name or address as requests have it, with `*.` kept."""
    below = "*." if host.startswith("*.") else ""
    try:
        name = (Url(f"http://{host.removeprefix(below)}/").host or "").removesuffix(".")
    except ValueError:
        return None
    return below + name if _NAME.fullmatch(name) else None
