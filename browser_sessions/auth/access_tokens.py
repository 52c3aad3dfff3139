"""Access tokens: signed, verified, and cached until they expire."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import Final

from cachetools import LRUCache

from browser_sessions.auth.signed_tokens import Kind
from browser_sessions.domain.errors import Unauthenticated
from browser_sessions.domain.principal import Role

TOKEN_LIFETIME_S: Final = 3600
"""Limits the use of a stolen token. A removed user's tokens are rejected at once."""
CACHE_SIZE: Final = 4096
"""Verified tokens kept, about 2 MB: checking a signature takes 20 microseconds longer than a look-up."""

_TOKEN: Final = Kind("browser-sessions/api")
_INVALID: Final = "The token is invalid or expired. Get a new one with POST /v1/auth/token."


@dataclass(frozen=True, slots=True)
class Claims:
    """The token's principal, its highest role, and its expiry in seconds since the epoch."""

    principal_id: str
    role: Role
    expires: float


class Tokens:
    """Uses wall-clock time, because tokens outlive the process (RFC 7519, section 4.1.4)."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._verified: LRUCache[bytes, Claims] = LRUCache(CACHE_SIZE)

    def sign(self, principal_id: str, role: Role) -> str:
        """A token for `principal_id`, valid for `TOKEN_LIFETIME_S`."""
        return _TOKEN.sign(
            self._secret, principal_id, time.time(), TOKEN_LIFETIME_S, jti=secrets.token_hex(8), scope=role.value
        )

    def verify(self, token: str) -> Claims:
        """The token's claims. Raises `Unauthenticated`."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        known = self._verified.get(digest)
        if known is None:
            known = self._verified[digest] = self._decode(token)
        elif known.expires <= time.time():
            del self._verified[digest]
            raise Unauthenticated(_INVALID)
        return known

    def _decode(self, token: str) -> Claims:
        claims = _TOKEN.read(self._secret, token, time.time())
        if claims is None:
            raise Unauthenticated(_INVALID)
        try:
            return Claims(str(claims["sub"]), Role(claims["scope"]), float(claims["exp"]))
        except (KeyError, ValueError):
            raise Unauthenticated(_INVALID) from None
