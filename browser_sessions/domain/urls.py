"""Which addresses a session may be sent to, and which only this machine reaches. Pure; read the way Chromium reads an
address (WHATWG URL, "basic URL parser")."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

_EDGE: Final = "".join(chr(c) for c in range(0x21))
"""C0 controls and space: stripped from both ends before parsing."""
_INSIDE: Final = re.compile(r"[\t\n\r]")
"""Removed wherever they stand, also inside the scheme."""
_SCHEME: Final = re.compile(r"^([a-z][a-z0-9+.\-]*):", re.IGNORECASE)
_NETWORK: Final = frozenset({"http", "https"})
_NESTING: Final = frozenset({"blob", "filesystem", "view-source"})
_ABOUT: Final = frozenset({"blank", "srcdoc"})
_MAX_NESTING: Final = 4


def normalise(url: str) -> str:
    """The address as Chromium will read it: ends stripped, tabs and line breaks removed, scheme in lower case."""
    text = _INSIDE.sub("", url.strip(_EDGE))
    match = _SCHEME.match(text)
    return match.group(1).lower() + text[match.end(1) :] if match else text


def scheme_of(url: str) -> str:
    """The scheme in lower case, or an empty string when the address is relative."""
    match = _SCHEME.match(normalise(url))
    return match.group(1).lower() if match else ""


def may_open(url: str, *, _depth: int = 0) -> bool:
    """True for what a session may be sent to: http, https, data, about:blank, about:srcdoc, and blob of those.

    Everything else reaches the host (`file:`), the browser's own pages (`chrome:`, `devtools:`) or another program.
    """
    text = normalise(url)
    match = _SCHEME.match(text)
    if match is None or _depth > _MAX_NESTING:
        return False
    scheme, rest = match.group(1), text[match.end() :]
    if scheme in _NETWORK or scheme == "data":
        return True
    if scheme == "about":
        return re.split(r"[?#]", rest, maxsplit=1)[0].lower() in _ABOUT
    if scheme in _NESTING:
        return rest.startswith("null/") or may_open(rest, _depth=_depth + 1)
    return False


_PASSWORD: Final = re.compile(r"^(https?:[/\\]*[^/\\?#@:]*):[^/\\?#]*@", re.IGNORECASE)
"""Of `http://name:password@host`. Chromium takes backslashes for slashes, and any number of either."""


def without_password(url: str) -> str:
    """The address to show: a password in it becomes `***`."""
    return _PASSWORD.sub(r"\1:***@", url)


REFUSED: Final = "must be an http: or https: address (data:, blob: and about:blank pass too); others reach the host"


def is_loopback(host: str) -> bool:
    """True for an address or name that only this machine reaches."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
