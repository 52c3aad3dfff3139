"""Which addresses are denied by default, and what an address means: some IPv6 addresses lead to an IPv4 one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

# An explicit list: `is_private` and `is_global` of the standard library differ between versions of Python, and are
# wrong for several of these.
DENIED: Final[dict[Network, str]] = {
    ip_network(network): reason
    for network, reason in {
        "0.0.0.0/8": "this host",
        "10.0.0.0/8": "private network",
        "100.64.0.0/10": "carrier's network",
        "127.0.0.0/8": "loopback",
        "168.63.129.16/32": "a cloud's metadata",
        "169.254.0.0/16": "link-local, with the clouds' metadata",
        "172.16.0.0/12": "private network",
        "192.0.0.0/24": "protocol assignments",
        "192.0.2.0/24": "documentation",
        "192.88.99.0/24": "6to4 relays",
        "192.168.0.0/16": "private network",
        "198.18.0.0/15": "benchmarks",
        "198.51.100.0/24": "documentation",
        "203.0.113.0/24": "documentation",
        "224.0.0.0/3": "multicast, reserved, broadcast",
        "::/128": "this host",
        "::1/128": "loopback",
        "64:ff9b:1::/48": "local NAT64",
        "100::/64": "discarded",
        "2001:db8::/32": "documentation",
        "fc00::/7": "private network",
        "fe80::/10": "link-local",
        "fec0::/10": "site-local",
        "ff00::/8": "multicast",
    }.items()
}

THIS_MACHINE: Final = "127.0.0.0/8,::1"
"""The rules that allow loopback: `localhost` has an address of each family."""
_EMBEDDED_LAST: Final = tuple(
    IPv6Network(network)
    for network in (
        "::/96",  # IPv4-compatible
        "::ffff:0:0:0/96",  # SIIT
        "64:ff9b::/96",  # NAT64
    )
)
_TEREDO: Final = IPv6Network("2001::/32")
_6TO4: Final = IPv6Network("2002::/16")
_ISATAP: Final = 0x5EFE
_LOCAL: Final = tuple(ip_network(network) for network in ("0.0.0.0/8", "127.0.0.0/8", "::/128", "::1/128"))


def canonical(text: str) -> Address:
    """The address, an IPv4-mapped one as the IPv4 address that the kernel dials. Raises `ValueError`."""
    address = ip_address(text.partition("%")[0])
    return (address.version == 6 and address.ipv4_mapped) or address


@lru_cache(maxsize=1024)
def meanings(address: Address) -> tuple[Address, ...]:
    """The address, and every IPv4 address that a tunnel or translator would make of it."""
    return (address, *(_embedded(address) if isinstance(address, IPv6Address) else ()))


def _embedded(address: IPv6Address) -> Iterator[IPv4Address]:
    bits = int(address)
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if bits > 1 and any(address in network for network in _EMBEDDED_LAST):
        yield IPv4Address(bits & 0xFFFFFFFF)
    if address in _6TO4:
        yield IPv4Address(bits >> 80 & 0xFFFFFFFF)
    if address in _TEREDO:
        yield IPv4Address(bits >> 64 & 0xFFFFFFFF)  # the server
        yield IPv4Address(~bits & 0xFFFFFFFF)  # the client, inverted
    if bits >> 32 & 0xFFFF == _ISATAP:
        yield IPv4Address(bits & 0xFFFFFFFF)


@lru_cache(maxsize=1024)
def denied_by_default(address: Address) -> str | None:
    """The network of the list that has the address (not its meanings), with its name."""
    for network, name in DENIED.items():
        if address in network:
            return f"{network} ({name})"
    return None


@dataclass(frozen=True, slots=True)
class Machine:
    """The service's machine: its addresses, and the ports that no session may reach on any of them."""

    addresses: frozenset[Address] = frozenset()
    own_ports: Collection[int] = ()

    def has(self, address: Address) -> bool:
        return address in self.addresses or any(address in network for network in _LOCAL)

    def denied(self, address: Address) -> str | None:
        """What denies the address by default, its meanings aside."""
        return denied_by_default(address) or ("an address of this machine" if address in self.addresses else None)
