"""Accepted host names, accepted origins of pages, and the headers of trusted proxies. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

from starlette.types import Scope

from browser_sessions.domain.errors import Forbidden
from browser_sessions.domain.urls import is_loopback

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
REMEMBERED: Final = 256
"""Accepted Host headers in the cache: few are in use, and a caller that varies the port must not fill the memory."""

_HOST: Final = re.compile(rb"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._\-]+)(?::[0-9]{1,5})?")
"""RFC 9112, section 3.2: host with an optional port."""

_CROSS_SITE: Final = (
    "Signed in by cookie, only the console's own pages may make changes. Programs send X-API-Key instead."
)
_NO_FORMS: Final = frozenset({"application/json", "application/octet-stream"})
"""Types that a form of another site cannot send."""
_A_FORM: Final = (
    "Signed in by cookie, a body must be application/json, or application/octet-stream for a file. Programs send "
    "X-API-Key instead."
)
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Hosts:
    """The Host check, against DNS rebinding: a page of a rebound name sends its own name as Host."""

    def __init__(self, listen_host: str, public_url: str | None, allowed: Iterable[str]) -> None:
        names = {name.lower().strip() for name in allowed}
        self._any = "*" in names
        self._names = LOOPBACK_NAMES | names | {_bracketed(listen_host.lower())}
        if public_url is not None:
            self._names |= {_bracketed((urlsplit(public_url).hostname or "").lower())}
        self._addresses = not is_loopback(listen_host)
        """Whether any address is accepted: other machines reach us by addresses that we do not know, and an address
        cannot be rebound."""
        self._good: set[bytes] = set()

    def allows(self, host: bytes) -> bool:
        """True when a request may name this Host."""
        if host in self._good:
            return True
        match = _HOST.fullmatch(host)
        if match is None or not (self._any or self._is_ours(match.group(1).decode("ascii").lower())):
            return False
        if len(self._good) < REMEMBERED:
            self._good.add(host)
        return True

    def _is_ours(self, name: str) -> bool:
        return name in self._names or (self._addresses and _is_address(name)) or name.endswith(".localhost")


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses or CIDRs of proxies. Raises `ValueError` on anything else."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def apply_forwarded(scope: Scope, trusted: Sequence[Network]) -> None:
    """Applies the forwarded client address, scheme and Host to the scope when the peer is a trusted proxy.

    The address is the last one in X-Forwarded-For that is not a trusted proxy: anybody can write those before it.
    """
    peer = scope.get("client")
    if not peer or not _within(peer[0], trusted):
        return
    headers = scope["headers"]
    if chain := _joined(headers, b"x-forwarded-for"):
        hops = [hop.strip() for hop in chain.split(",")]
        caller = next((hop for hop in reversed(hops) if not _within(hop, trusted)), hops[0])
        if _is_address(caller):
            scope["client"] = (caller, 0)
    if (scheme := _joined(headers, b"x-forwarded-proto")) in ("http", "https"):
        scope["scheme"] = scheme.replace("http", "ws") if scope["type"] == "websocket" else scheme
    if host := _joined(headers, b"x-forwarded-host"):
        named = host.split(",")[-1].strip().encode("latin-1")
        scope["headers"] = [(name, value) for name, value in headers if name != b"host"] + [(b"host", named)]


def base_url(scope: Scope, public_url: str | None) -> str:
    """The URL under which the caller reaches us, such as `https://browsers.example.com`."""
    if public_url is not None:
        return public_url
    host = _joined(scope["headers"], b"host") or "localhost"
    scheme = "https" if scope["scheme"] in ("https", "wss") else "http"
    return f"{scheme}://{host}{scope.get('root_path', '')}"


def is_ours(origin: str, scope: Scope, public_url: str | None) -> bool:
    """True when `origin` is the request's Host or the public URL's origin. The one rule for origins of pages.

    The Host was checked before (`Hosts`). The scheme is not compared with the request's: a proxy that terminates TLS
    may not forward it.
    """
    if public_url is not None and origin.lower() == "/".join(public_url.lower().split("/")[:3]):
        return True
    scheme, _, host = origin.lower().partition("://")
    return scheme in ("http", "https") and host == (_joined(scope["headers"], b"host") or "localhost").lower()


def check_origin(scope: Scope, public_url: str | None, *, ticketed: bool) -> None:
    """Before a WebSocket is accepted: programs send no Origin, and of pages only ours may connect.

    `ticketed`: a page in a sandboxed frame (origin `null`) may connect with a ticket. Raises `Forbidden`.
    """
    origin = _joined(scope["headers"], b"origin")
    if origin and not (origin == "null" and ticketed) and not is_ours(origin, scope, public_url):
        raise Forbidden("Pages of other sites may not connect. Connect from a program, or from the console.")


def check_same_site(scope: Scope, public_url: str | None) -> None:
    """Cross-site request forgery: a request with the cookie must be safe, or come from a page of ours. Raises
    `Forbidden`."""
    if scope["method"] in _SAFE:
        return
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    if headers.get(b"sec-fetch-site") != "same-origin" and not is_ours(headers.get(b"origin", ""), scope, public_url):
        raise Forbidden(_CROSS_SITE)
    has_body = b"transfer-encoding" in headers or headers.get(b"content-length", "0") != "0"
    if has_body and headers.get(b"content-type", "").partition(";")[0].strip().lower() not in _NO_FORMS:
        raise Forbidden(_A_FORM)


def _joined(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> str:
    """All values of a header, joined in order."""
    return ",".join(value.decode("latin-1") for name, value in headers if name == wanted)


def _within(text: str, trusted: Sequence[Network]) -> bool:
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return any(address in network for network in trusted)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name and not name.startswith("[") else name
