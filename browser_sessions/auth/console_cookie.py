"""The console's sign-in as a cookie: a signed note of which key or user it was, never the key itself.

Of all credentials it counts last, and a browser sends it without being asked: what changes something must show that a
page of ours asked for it.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from typing import Final, Protocol

from starlette.types import Scope

from browser_sessions.auth.signed_tokens import Kind
from browser_sessions.domain.errors import Unauthenticated
from browser_sessions.domain.principal import Principal

COOKIE: Final = "browser_sessions"
COOKIE_LIFETIME_S: Final = 12 * 3600
"""Seconds: a working day. A revoked key or removed user ends it at once."""
REMEMBERED: Final = 1024
"""Verified cookies kept: an open console asks often."""

_COOKIE: Final = Kind("browser-sessions/console")
_REFUSED: Final = "You are not signed in (any more). Sign in again."


class Directory(Protocol):
    """Who knows keys and users by name."""

    def named(self, credential: str) -> tuple[Principal, str] | None:
        """Whom `key:<id>` or `user:<name>` speaks for now, and a text that changes with the secret behind it."""


class Cookies:
    """Makes and reads the cookie. Wall-clock time, for it outlives the process."""

    def __init__(self, secret: bytes, directory: Directory) -> None:
        self._secret = secret
        self._directory = directory
        self._verified: OrderedDict[str, tuple[str, str, float]] = OrderedDict()

    def make(self, credential: str) -> str:
        """The cookie of a credential that was just checked. Raises `Unauthenticated` when it is gone already."""
        found = self._directory.named(credential)
        if found is None:
            raise Unauthenticated(_REFUSED)
        return _COOKIE.sign(self._secret, credential, time.time(), COOKIE_LIFETIME_S, ver=_version(found[1]))

    def principal_of(self, cookie: str) -> Principal:
        """Whom it speaks for. Raises `Unauthenticated`."""
        known = self._verified.get(cookie)
        if known is None:
            known = self._verified[cookie] = self._decode(cookie)
            if len(self._verified) > REMEMBERED:
                self._verified.popitem(last=False)
        credential, version, expires = known
        found = self._directory.named(credential)
        if found is None or _version(found[1]) != version or expires <= time.time():
            self._verified.pop(cookie, None)
            raise Unauthenticated(_REFUSED)
        return found[0]

    def _decode(self, cookie: str) -> tuple[str, str, float]:
        claims = _COOKIE.read(self._secret, cookie, time.time())
        if claims is None or "ver" not in claims:
            raise Unauthenticated(_REFUSED)
        return str(claims["sub"]), str(claims["ver"]), float(claims["exp"])


def cookie_of(scope: Scope) -> str | None:
    """Our cookie's value in the request, the last one when there are several."""
    found: str | None = None
    for name, value in scope["headers"]:
        if name == b"cookie":
            for part in value.decode("latin-1").split(";"):
                key, _, text = part.strip().partition("=")
                if key == COOKIE:
                    found = text.strip('"')
    return found


def set_cookie(value: str, *, secure: bool) -> str:
    """The `Set-Cookie` header that signs in; with an empty value, out."""
    age = COOKIE_LIFETIME_S if value else 0
    return f"{COOKIE}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict" + ("; Secure" if secure else "")


def _version(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()[:16]
