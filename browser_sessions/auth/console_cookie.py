"""The console's sign-in cookie: a signed token that names the key or user, never the key itself.

It is the credential of the lowest precedence. Browsers send it by themselves, so requests that change something must
also prove that they come from our own page.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Protocol

from cachetools import LRUCache
from starlette.types import Scope

from browser_sessions.auth.signed_tokens import Kind
from browser_sessions.domain.errors import Unauthenticated
from browser_sessions.domain.principal import Principal

COOKIE: Final = "browser_sessions"
COOKIE_LIFETIME_S: Final = 12 * 3600
"""A working day. Signing out, revoking the key or removing the user invalidates the cookie at once."""
CACHE_SIZE: Final = 1024
"""Verified cookies kept: an open console sends requests often."""

_COOKIE: Final = Kind("browser-sessions/console")
_SIGNED_OUT: Final = "You are not signed in, or your sign-in has expired. Sign in again."


class Directory(Protocol):
    """Looks up keys and users by name, and knows which sign-ins have ended."""

    def named(self, credential: str) -> tuple[Principal, str] | None:
        """The principal of `key:<id>` or `user:<name>`, and a text that changes with its secret; None if it is gone."""

    def is_signed_out(self, sign_in: str) -> bool: ...

    async def sign_out(self, sign_in: str, expires_at: datetime) -> None:
        """Ends a sign-in. Raises `StoreUnavailable`."""


@dataclass(frozen=True, slots=True)
class _SignIn:
    """A verified cookie. `version` changes with the credential's secret, `expires` is in seconds since the epoch."""

    sign_in: str
    credential: str
    version: str
    expires: float


class Cookies:
    """Signs and reads the cookie. Uses wall-clock time, because the cookie outlives the process."""

    def __init__(self, secret: bytes, directory: Directory) -> None:
        self._secret = secret
        self._directory = directory
        self._verified: LRUCache[str, _SignIn] = LRUCache(CACHE_SIZE)

    def make(self, credential: str) -> str:
        """The cookie for a verified credential. Raises `Unauthenticated` if the credential is gone by now."""
        found = self._directory.named(credential)
        if found is None:
            raise Unauthenticated(_SIGNED_OUT)
        return _COOKIE.sign(
            self._secret,
            credential,
            time.time(),
            COOKIE_LIFETIME_S,
            ver=_version(found[1]),
            jti="sgn_" + secrets.token_hex(8),
        )

    def principal_of(self, cookie: str) -> Principal:
        """The cookie's principal. Raises `Unauthenticated`."""
        known = self._verified.get(cookie)
        if known is None:
            known = self._verified[cookie] = self._decode(cookie)
        found = self._directory.named(known.credential)
        is_over = known.expires <= time.time() or self._directory.is_signed_out(known.sign_in)
        if found is None or _version(found[1]) != known.version or is_over:
            self._verified.pop(cookie, None)
            raise Unauthenticated(_SIGNED_OUT)
        return replace(found[0], sign_in=known.sign_in)

    async def sign_out(self, cookie: str) -> None:
        """Ends the cookie's sign-in; nothing to do if it is not valid. Raises `StoreUnavailable`."""
        try:
            known = self._decode(cookie)
        except Unauthenticated:
            return
        await self._directory.sign_out(known.sign_in, datetime.fromtimestamp(known.expires, UTC))

    def _decode(self, cookie: str) -> _SignIn:
        claims = _COOKIE.read(self._secret, cookie, time.time())
        if claims is None or "ver" not in claims or "jti" not in claims:
            raise Unauthenticated(_SIGNED_OUT)
        return _SignIn(str(claims["jti"]), str(claims["sub"]), str(claims["ver"]), float(claims["exp"]))


def cookie_of(scope: Scope) -> str | None:
    """The value of our cookie in the request, the last one if there are several."""
    found: str | None = None
    for name, value in scope["headers"]:
        if name == b"cookie":
            for part in value.decode("latin-1").split(";"):
                key, _, text = part.strip().partition("=")
                if key == COOKIE:
                    found = text.strip('"')
    return found


def set_cookie(value: str, *, secure: bool) -> str:
    """The `Set-Cookie` header that signs in, or signs out if `value` is empty."""
    age = COOKIE_LIFETIME_S if value else 0
    return f"{COOKIE}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict" + ("; Secure" if secure else "")


def _version(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()[:16]
