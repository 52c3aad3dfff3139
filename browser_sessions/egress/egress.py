"""A node's egress: a listening port for each session, which is its proxy and its identity."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Collection
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

import psutil
import structlog

from browser_sessions.background_tasks import Background
from browser_sessions.domain.errors import EgressUnavailable
from browser_sessions.egress.addresses import Address, Machine
from browser_sessions.egress.dialer import Dialer
from browser_sessions.egress.failures import Failures
from browser_sessions.egress.peer import UidOf, best_source
from browser_sessions.egress.relay import ClientTls, Relay
from browser_sessions.egress.relay_certificate import RelayCertificate, untrusted
from browser_sessions.egress.resolver import Lookup, Resolver, system_lookup
from browser_sessions.egress.rules import EgressPolicy, Refusal
from browser_sessions.egress.stream import Stream
from browser_sessions.egress.upstream import Upstream
from browser_sessions.egress.usage import Failed, Meter, Usage
from browser_sessions.loop_shares import Share, Shares

log = structlog.get_logger()

MOST_CONNECTIONS: Final = 512
"""Of one session. Chromium opens at most 32 to a proxy, and 255 WebSockets; each takes two descriptors."""
_ADDRESSES_KEPT_S: Final = 10.0


class EgressPort:
    """The proxy of one session."""

    server: str
    """What Chromium takes as the proxy of a context, with the bypass list `<-loopback>`."""
    usage: Usage
    failures: Failures

    def __init__(self, egress: Egress, certificate: RelayCertificate) -> None:
        self.usage = Usage()
        self.failures = Failures()
        self._egress = egress
        self._certificate = certificate
        self._client_tls: ClientTls = {}
        self._relays = Background()
        self._resolver: Resolver | None = None
        self._dialer: Dialer | None = None
        self._meter: Meter | None = None
        self._share: Share | None = None
        self._server: asyncio.Server | None = None
        self.port = 0

    async def listen(self) -> None:
        """Raises `OSError`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Stream(self._connected), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.server = f"http://127.0.0.1:{self.port}"

    def assign(
        self,
        session_id: str,
        policy: EgressPolicy,
        upstream: Upstream | None,
        max_traffic_bytes: int | None,
        client_tls: ClientTls | None = None,
        *,
        principal_id: str = "",
    ) -> None:
        """From now on the port is the session's; before, it refuses everything. `principal_id`: its owner's, whose
        sessions share the time that the proxy spends on them."""
        egress = self._egress

        def on_limit() -> None:
            asyncio.get_running_loop().call_soon(self._relays.cancel)
            egress.on_traffic_limit(session_id)

        self._client_tls = client_tls or {}
        self._share = egress.shares.of(f"egress {principal_id}")
        self._resolver = Resolver(egress.lookup)
        self._dialer = Dialer(policy, self._resolver, egress.machine, upstream, egress.upstream_names, egress.tls)
        self._meter = Meter(
            self.usage,
            max_traffic_bytes,
            on_limit,
            lambda refusal: egress.on_refused(session_id, refusal),
            lambda failed: egress.on_failed(session_id, failed),
        )

    async def close(self) -> None:
        """Closes the listener and every connection. May be called again."""
        self._egress.closed(self)
        if self._server is not None:
            self._server.close()
        if self._resolver is not None:
            self._resolver.close()
        self._relays.cancel()
        await self._relays.finished()

    def _connected(self, client: Stream) -> None:
        if len(self._relays) >= MOST_CONNECTIONS or not self._egress.accepts(client):
            client.reset()
        else:
            relay = Relay(
                client, self._dialer, self._meter, self._share, self._client_tls, self._certificate, self.failures
            )
            _ = self._relays.run(relay.run())


class Egress:
    """Opens the ports. `browser_uid` is the user whose connections are taken; None: any."""

    def __init__(
        self,
        *,
        own_ports: Callable[[], Collection[int]],
        browser_uid: int | None = None,
        on_refused: Callable[[str, Refusal], None],
        on_failed: Callable[[str, Failed], None],
        on_traffic_limit: Callable[[str], None],
        upstream_names: bool = False,
        lookup: Lookup = system_lookup,
        tls: ssl.SSLContext | None = None,
        shares: Shares | None = None,
    ) -> None:
        """`upstream_names`: names go to upstream proxies unresolved. `tls` is for https:// ones."""
        self.on_refused = on_refused
        self.on_failed = on_failed
        self.on_traffic_limit = on_traffic_limit
        self.upstream_names = upstream_names
        self.lookup = lookup
        self.shares = shares or Shares()
        self.tls = tls or ssl.create_default_context()
        self._own_ports = own_ports
        self._browser_uid: int | None = None
        self._uid_of: UidOf | None = best_source()
        if browser_uid is not None:
            self.accept_only(browser_uid)
        self._ports: set[EgressPort] = set()
        self._addresses: frozenset[Address] = frozenset()
        self._addresses_until = 0.0

    def accept_only(self, uid: int) -> None:
        """From now on, takes connections of this user only; of any before."""
        self._browser_uid = uid
        if self._uid_of is None:
            log.warning("egress.peers_unknown", detail="Other users of this machine can use the sessions' proxies.")

    async def open(self, certificate: RelayCertificate | None = None) -> EgressPort:
        """A new port, which refuses everything until it is assigned. `certificate` is one that its browser trusts.

        Raises `EgressUnavailable`.
        """
        port = EgressPort(self, certificate or untrusted())
        try:
            await port.listen()
        except OSError as error:
            raise EgressUnavailable(f"No port for the session's proxy could be opened: {error.strerror}.") from error
        self._ports.add(port)
        return port

    async def refusing(self) -> EgressPort:
        """A port that is never assigned, for the browser's own traffic. Raises `EgressUnavailable`."""
        return await self.open()

    def for_browser(self) -> BrowserEgress:
        return BrowserEgress(self, RelayCertificate())

    async def aclose(self) -> None:
        await asyncio.gather(*(port.close() for port in tuple(self._ports)))

    def machine(self) -> Machine:
        """As it is now: addresses come and go."""
        now = asyncio.get_running_loop().time()
        if now >= self._addresses_until:
            self._addresses, self._addresses_until = _addresses_of_this_machine(), now + _ADDRESSES_KEPT_S
        return Machine(self._addresses, {*self._own_ports(), *(port.port for port in self._ports)})

    def accepts(self, client: Stream) -> bool:
        if self._browser_uid is None or self._uid_of is None:
            return True
        peer, here = (client.transport.get_extra_info(name) for name in ("peername", "sockname"))
        try:
            return peer is not None and self._uid_of(peer, here) == self._browser_uid
        except OSError:  # no descriptor is free
            return False

    def closed(self, port: EgressPort) -> None:
        self._ports.discard(port)


@dataclass(frozen=True, slots=True)
class BrowserEgress:
    """The ports of one browser, which trusts the certificate and no other browser does."""

    egress: Egress
    certificate: RelayCertificate

    async def open(self) -> EgressPort:
        """As `Egress.open`."""
        return await self.egress.open(self.certificate)


def _addresses_of_this_machine() -> frozenset[Address]:
    found = (address for addresses in psutil.net_if_addrs().values() for address in addresses)
    return frozenset(
        ip_address(address.address.partition("%")[0])
        for address in found
        if address.family.name in ("AF_INET", "AF_INET6")
    )
