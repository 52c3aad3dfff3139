"""A node's egress: a listening port for each session, which is its proxy and its identity."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from browser_sessions.egress.rules import EgressPolicy
from browser_sessions.egress.upstream import Upstream
from browser_sessions.egress.usage import Usage


@dataclass(frozen=True, slots=True)
class Refusal:
    """A destination that a session was denied. `address` is None where the name alone was enough."""

    host: str
    port: int
    address: str | None
    rule: str
    setting: str | None
    """The setting in which it can be allowed; None: nowhere."""


class EgressPort:
    """The proxy of one session."""

    server: str
    """What Chromium takes as the proxy of a context, with the bypass list `<-loopback>`."""
    usage: Usage

    def assign(
        self, session_id: str, policy: EgressPolicy, upstream: Upstream | None, max_traffic_bytes: int | None
    ) -> None:
        """From now on the port is the session's; before, it refuses everything."""
        raise NotImplementedError

    async def close(self) -> None:
        """Closes the listener and every connection. May be called again."""
        raise NotImplementedError


class Egress:
    """Opens the ports. `browser_uid` is the user whose connections are taken; None: any."""

    def __init__(
        self,
        *,
        own_ports: Callable[[], Collection[int]],
        browser_uid: int | None,
        on_refused: Callable[[str, Refusal], None],
        on_traffic_limit: Callable[[str], None],
        upstream_names: bool = False,
    ) -> None:
        """`upstream_names`: names go to upstream proxies unresolved."""

    async def open(self) -> EgressPort:
        """A new port, which refuses everything until it is assigned. Raises `EgressUnavailable`."""
        raise NotImplementedError

    async def refusing(self) -> EgressPort:
        """A port that is never assigned, for the browser's own traffic. Raises `EgressUnavailable`."""
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError
