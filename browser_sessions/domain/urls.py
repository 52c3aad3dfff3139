"""Which URLs a session may open, and which hosts are loopback. URLs are read as Chromium reads them (WHATWG URL, "basic
URL parser")."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

_EDGE: Final = "".join(chr(c) for c in range(0x21))
"""C0 controls and space: stripped from both ends before parsing."""
_INSIDE: Final = re.compile(r"[\t\n\r]")
"""Removed everywhere, also inside the scheme."""
_SCHEME: Final = re.compile(r"^([a-z][a-z0-9+.\-]*):", re.IGNORECASE)
_NETWORK: Final = frozenset({"http", "https"})
_NESTING: Final = frozenset({"blob", "filesystem", "view-source"})
_ABOUT: Final = frozenset({"blank", "srcdoc"})
_MAX_NESTING: Final = 4


def normalise(url: str) -> str:
    """The URL as Chromium will read it: ends stripped, tabs and line breaks removed, scheme in lower case."""
    text = _INSIDE.sub("", url.strip(_EDGE))
    match = _SCHEME.match(text)
    return match.group(1).lower() + text[match.end(1) :] if match else text


def scheme_of(url: str) -> str:
    """The scheme in lower case; empty for a relative URL."""
    match = _SCHEME.match(normalise(url))
    return match.group(1).lower() if match else ""


def may_open(url: str, *, _depth: int = 0) -> bool:
    """True for http, https, data, about:blank, about:srcdoc, and blob of those.

    Everything else reaches the host (`file:`), browser-internal pages (`chrome:`, `devtools:`) or other programs.
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
"""Matches `http://name:password@host`. Chromium accepts backslashes for slashes, and any number of either."""


def without_password(url: str) -> str:
    """`url` with a password in it replaced by `***`."""
    return _PASSWORD.sub(r"\1:***@", url)


REFUSED: Final = "must be an http: or https: URL (data:, blob: and about:blank are allowed too)"


def is_loopback(host: str) -> bool:
    """True for a loopback address or `localhost`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
