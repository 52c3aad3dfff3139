"""JWTs (RFC 7519) for access tokens, cookies and tickets: one algorithm, five required claims, an audience each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import jwt

_ALGORITHM: Final = "HS256"
_ISSUER: Final = "browser-sessions"
_REQUIRED: Final = ("exp", "iat", "sub", "aud", "iss")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of token, by its audience: tokens of another kind are rejected, even under the same secret."""

    audience: str

    def sign(self, secret: bytes, subject: str, now: float, lifetime_seconds: float, **claims: Any) -> str:
        """A token valid from `now` (seconds since the epoch) for `lifetime_seconds`, rounded down to whole seconds."""
        known = {
            "iss": _ISSUER,
            "aud": self.audience,
            "sub": subject,
            "iat": int(now),
            "exp": int(now + lifetime_seconds),
        }
        return jwt.encode(known | claims, secret, algorithm=_ALGORITHM)

    def read(self, secret: bytes, token: str, now: float) -> dict[str, Any] | None:
        """The claims; None if the token is invalid, of another kind, or expired at `now`.

        `iat` may lie in the future: setting the host's clock back must not sign everybody out.
        """
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                secret,
                algorithms=[_ALGORITHM],
                audience=self.audience,
                issuer=_ISSUER,
                options={"require": list(_REQUIRED), "verify_exp": False, "verify_iat": False},
            )
            return claims if float(claims["exp"]) > now else None
        except (jwt.InvalidTokenError, TypeError, ValueError):
            return None
