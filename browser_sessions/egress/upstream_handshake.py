"""Asks an upstream proxy for a tunnel: CONNECT of HTTP, or SOCKS 5 (RFC 1928, RFC 1929)."""

from __future__ import annotations

from base64 import b64encode
from typing import Final

from browser_sessions.egress.addresses import canonical
from browser_sessions.egress.http.framing import Malformed
from browser_sessions.egress.http.heads import ResponseHead
from browser_sessions.egress.stream import ConnectionEnded, HeadTooLarge, Stream
from browser_sessions.egress.upstream import Upstream

_MOST_HEAD_BYTES: Final = 64 * 1024
MOST_INTERIM: Final = 16
"""Responses before the final one. Sites send one or two (100, 103)."""
_NO_LOGIN, _LOGIN, _NONE_OF_THESE = 0, 2, 0xFF
_NAME, _V4, _V6 = 3, 1, 4
_SOCKS_REPLIES: Final = {
    1: "general failure",
    2: "its rules do not allow the connection",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
}
WANTS_LOGIN: Final = "needs a user name and password, or others: give them as username and password of proxy."


class UpstreamFailed(Exception):
    """The text continues "The session's proxy"."""


class TunnelRefused(UpstreamFailed):
    """An HTTP proxy does not allow CONNECT to this port or host."""


def basic_credentials(upstream: Upstream) -> bytes | None:
    if upstream.username is None:
        return None
    return b"Basic " + b64encode(f"{upstream.username}:{upstream.password or ''}".encode())


async def open_tunnel(stream: Stream, upstream: Upstream, host: str, port: int) -> None:
    """`host` is an address, or a name that the upstream is to resolve. Raises `UpstreamFailed`."""
    try:
        if upstream.scheme == "socks5":
            await _socks5(stream, upstream, host, port)
        else:
            await _connect(stream, upstream, host, port)
    except (ConnectionEnded, HeadTooLarge, Malformed):
        raise UpstreamFailed("closed the connection or does not speak its protocol.") from None


async def _connect(stream: Stream, upstream: Upstream, host: str, port: int) -> None:
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    request = b"CONNECT %s HTTP/1.1\r\nHost: %s\r\n" % (authority.encode(), authority.encode())
    if credentials := basic_credentials(upstream):
        request += b"Proxy-Authorization: " + credentials + b"\r\n"
    stream.write(request + b"\r\n")
    head = ResponseHead.parse(await stream.read_head(_MOST_HEAD_BYTES))
    interim = 0
    while 100 <= head.status < 200 and interim < MOST_INTERIM:
        head = ResponseHead.parse(await stream.read_head(_MOST_HEAD_BYTES))
        interim += 1
    if head.status in (401, 407):
        raise UpstreamFailed(WANTS_LOGIN)
    if not 200 <= head.status < 300:
        must = f"It has to allow CONNECT to port {port}."
        raise TunnelRefused(f"refused a tunnel to {authority} with status {head.status}. {must}")


async def _socks5(stream: Stream, upstream: Upstream, host: str, port: int) -> None:
    login = upstream.username is not None
    stream.write(bytes([5, 2, _NO_LOGIN, _LOGIN]) if login else bytes([5, 1, _NO_LOGIN]))
    version, method = await stream.read_exactly(2)
    if version != 5:
        raise UpstreamFailed("does not speak SOCKS 5.")
    if method == _LOGIN and login:
        user, password = (upstream.username or "").encode(), (upstream.password or "").encode()
        stream.write(bytes([1, len(user)]) + user + bytes([len(password)]) + password)
        if (await stream.read_exactly(2))[1] != 0:
            raise UpstreamFailed(WANTS_LOGIN)
    elif method == _NONE_OF_THESE or method != _NO_LOGIN:
        raise UpstreamFailed(WANTS_LOGIN)
    stream.write(bytes([5, 1, 0]) + _socks_host(host) + port.to_bytes(2, "big"))
    _, reply, _, kind = await stream.read_exactly(4)
    if reply != 0:
        raise UpstreamFailed(f"refused the connection: {_SOCKS_REPLIES.get(reply, f'reply {reply}')}.")
    length = (await stream.read_exactly(1))[0] if kind == _NAME else {_V4: 4, _V6: 16}.get(kind, 0)
    await stream.read_exactly(length + 2)  # the address it connects from


def _socks_host(host: str) -> bytes:
    try:
        address = canonical(host)
    except ValueError:
        name = host.encode()
        return bytes([_NAME, len(name)]) + name
    return bytes([_V4 if address.version == 4 else _V6]) + address.packed
