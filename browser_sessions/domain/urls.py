"""Which URLs a session may open, and which hosts are loopback. URLs are parsed as Chromium does (WHATWG URL)."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from pydantic_core import Url

_OPEN: Final = frozenset({"http", "https", "data"})
_NESTING: Final = frozenset({"blob", "filesystem"})
_ABOUT: Final = frozenset({"blank", "srcdoc"})
_MAX_NESTING: Final = 4
_PASSWORD: Final = re.compile(r"(?<=://)([^\s/?#\\:\"]*):[^\s/?#\\\"]*@")
"""In the user information of an address, which the last `@` before its path ends (WHATWG URL)."""


def _parsed(url: str) -> Url | None:
    try:
        return Url(url)
    except ValueError:
        return None


def normalise(url: str) -> str:
    """The URL in its canonical form. Raises `ValueError` for a relative or invalid one."""
    return str(Url(url))


def scheme_of(url: str) -> str:
    """The scheme in lower case; empty for a relative or invalid URL."""
    parsed = _parsed(url)
    return "" if parsed is None else parsed.scheme


def may_open(url: str, *, _depth: int = 0) -> bool:
    """True for http, https, data, about:blank, about:srcdoc, and blob of those.

    Everything else reaches the host (`file:`), browser-internal pages (`chrome:`, `devtools:`) or other programs.
    """
    parsed = _parsed(url)
    if parsed is None or _depth > _MAX_NESTING:
        return False
    if parsed.scheme == "about":
        return (parsed.path or "").lower() in _ABOUT
    if parsed.scheme in _NESTING:
        inner = str(parsed).partition(":")[2]
        return inner.startswith("null/") or may_open(inner, _depth=_depth + 1)
    return parsed.scheme in _OPEN


def without_fragment(url: str) -> str:
    return url.partition("#")[0]


def without_password(url: str) -> str:
    """`url` with a password in it replaced by `***`; then in its canonical form."""
    parsed = _parsed(url)
    return without_passwords(url if parsed is None or not parsed.password else str(parsed))


def without_passwords(text: str) -> str:
    """`text` with the passwords of all addresses in it replaced by `***`."""
    return _PASSWORD.sub(r"\1:***@", text) if "@" in text else text


REFUSED: Final = "must be an http: or https: URL (data:, blob: and about:blank are allowed too)"


def is_loopback(host: str) -> bool:
    """True for a loopback address or `localhost`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
