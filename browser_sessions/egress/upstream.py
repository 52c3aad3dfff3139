"""The proxy that a session's traffic goes on to, as the session's `proxy` option names it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, Self, TypeAlias, cast

from pydantic_core import Url

from browser_sessions.domain.session_spec import Proxy
from browser_sessions.egress.addresses import Address
from browser_sessions.egress.rules import Rule

Scheme: TypeAlias = Literal["http", "https", "socks5"]

_PORTS: Final[dict[str, int]] = {"http": 80, "https": 443, "socks5": 1080}
_SOCKS_LONGEST: Final = 255
"""Bytes of a user name or password in RFC 1929."""


class InvalidProxy(ValueError):
    """`field` is the one that is invalid. The text says what would be right, without the password."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Upstream:
    """`bypass` has the hosts that go without it."""

    scheme: Scheme
    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    bypass: tuple[Rule, ...] = ()
    bypass_plain_names: bool = False

    @classmethod
    def parse(cls, proxy: Proxy) -> Self:
        """Raises `InvalidProxy`."""
        server = proxy.server if "://" in proxy.server else f"http://{proxy.server}"
        try:
            url = Url(server)
        except ValueError:
            url = None
        if url is None or not url.host:
            raise InvalidProxy("server", "must be an address such as http://proxy.example:3128")
        if url.scheme not in _PORTS:
            raise InvalidProxy("server", f"must begin with http://, https:// or socks5://, not {url.scheme}://")
        if url.username or url.password:
            raise InvalidProxy("server", "must have no user name or password in it: they are fields of their own")
        if (url.path or "/") != "/" or url.query or url.fragment:
            raise InvalidProxy("server", "must end with the port, such as http://proxy.example:3128")
        if proxy.username is None and proxy.password is not None:
            raise InvalidProxy("username", "must be given with a password")
        if url.scheme != "socks5" and ":" in (proxy.username or ""):
            raise InvalidProxy("username", "must have no colon for an HTTP proxy")
        for name, value in (("username", proxy.username), ("password", proxy.password)):
            if url.scheme == "socks5" and value is not None and not 0 < len(value.encode()) <= _SOCKS_LONGEST:
                raise InvalidProxy(name, f"must have 1 to {_SOCKS_LONGEST} bytes for SOCKS 5")
        items = [item for text in (proxy.bypass or "").replace(";", ",").split(",") if (item := text.strip())]
        return cls(
            cast("Scheme", url.scheme),
            url.host.removeprefix("[").removesuffix("]").lower(),
            url.port or _PORTS[url.scheme],
            proxy.username,
            proxy.password,
            tuple(_bypass_rule(item) for item in items if not item.startswith("<")),
            "<local>" in items,
        )

    def is_bypassed(self, host: str, port: int, address: Address | None) -> bool:
        """`address` is None if the host is a name."""
        if self.bypass_plain_names and address is None and "." not in host:
            return True
        return any(rule.names(host, port) or (address is not None and rule.has(address, port)) for rule in self.bypass)


def _bypass_rule(item: str) -> Rule:
    """Chromium's forms: `.shop.example` is `*.shop.example`. Raises `InvalidProxy`."""
    try:
        return Rule.parse(f"*{item}" if item.startswith(".") else item)
    except ValueError as error:
        raise InvalidProxy("bypass", str(error)) from None
