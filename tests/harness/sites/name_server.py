"""A name server on loopback whose answers for a name change from one query to the next, and services that ask it."""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from tests.harness.service import Running, ServerProcess

_PORT: Final = 53
"""resolv.conf has no field for another."""
_TYPES: Final = {1: 4, 28: 6}
"""A and AAAA, by the version of their addresses. IPv4-mapped ones are AAAA."""
_ANSWER: Final = 0x8180
_NO_TTL: Final = struct.pack(">I", 0)


class NameServer(asyncio.DatagramProtocol):
    def __init__(self, default: str) -> None:
        """`default` is the address of all names without `answers`."""
        self.address = ""
        self.answers: dict[str, list[tuple[str, ...]]] = {}
        """The addresses of a name at its first look-up, its second, and so on; the last ones stay."""
        self.asked: Counter[str] = Counter()
        """Look-ups so far, by name."""
        self._default = default
        self._turns: Counter[tuple[str, int]] = Counter()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        name, end = _name(data, 12)
        (kind,) = struct.unpack_from(">H", data, end)
        found = [address for address in self._next(name, kind) if address.version == _TYPES.get(kind)]
        head = data[:2] + struct.pack(">HHHHH", _ANSWER, 1, len(found), 0, 0)
        records = (
            b"\xc0\x0c" + struct.pack(">HH", kind, 1) + _NO_TTL + struct.pack(">H", len(each.packed)) + each.packed
            for each in found
        )
        assert self._transport is not None
        self._transport.sendto(head + data[12 : end + 4] + b"".join(records), addr)

    def _next(self, name: str, kind: int) -> list[Any]:
        """The system asks for both kinds of address, each once in a look-up."""
        turns = self.answers.get(name, [(self._default,)])
        turn = self._turns[name, kind]
        self._turns[name, kind] += 1
        self.asked[name] = max(self._turns[name, each] for each in _TYPES)
        return [ip_address(text) for text in turns[min(turn, len(turns) - 1)]]


def _name(data: bytes, at: int) -> tuple[str, int]:
    """The name at an offset of a message, and the offset of its end."""
    labels = []
    while length := data[at]:
        labels.append(data[at + 1 : at + 1 + length].decode("ascii").lower())
        at += 1 + length
    return ".".join(labels), at + 1


@asynccontextmanager
async def name_server(address: str, default: str) -> AsyncIterator[NameServer]:
    """Raises `PermissionError` where port 53 is not ours to take."""
    transport, names = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: NameServer(default), local_addr=(address, _PORT)
    )
    names.address = address
    try:
        yield names
    finally:
        transport.close()


@asynccontextmanager
async def asking(names: NameServer, folder: Path, **settings: Any) -> AsyncIterator[Running]:
    """A service in a process of its own, with its browsers, whose system asks `names` (needs root)."""
    configuration = folder / "resolv.conf"
    configuration.write_text(f"nameserver {names.address}\n")
    mounted = f'mount --bind {configuration} /etc/resolv.conf && exec "$@"'
    server = ServerProcess(folder / "data", **settings)
    service = await server.start(("unshare", "-m", "sh", "-c", mounted, "sh"))
    try:
        yield service
    finally:
        await service.http.aclose()
        await server.stop()
