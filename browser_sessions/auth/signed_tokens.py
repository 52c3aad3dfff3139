"""Signed notes (JWT, RFC 7519) for access tokens, cookies and tickets: one algorithm, five claims required, one kind
never good for another. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import jwt

_ALGORITHM: Final = "HS256"
_ISSUER: Final = "browser-sessions"
_REQUIRED: Final = ("exp", "iat", "sub", "aud", "iss")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a note is for: its audience. One for something else does not count, even under the same secret."""

    audience: str

    def sign(self, secret: bytes, subject: str, now: float, lifetime_seconds: float, **claims: Any) -> str:
        """A note good from `now` (seconds since the epoch) for `lifetime_seconds`, rounded down to a whole second."""
        known = {
            "iss": _ISSUER,
            "aud": self.audience,
            "sub": subject,
            "iat": int(now),
            "exp": int(now + lifetime_seconds),
        }
        return jwt.encode(known | claims, secret, algorithm=_ALGORITHM)

    def read(self, secret: bytes, note: str, now: float) -> dict[str, Any] | None:
        """Its claims; None when it is not whole, for something else, or over at `now`.

        One that was made later than `now` counts: a host's clock that is set back must not lock out everybody who
        signed in before.
        """
        try:
            claims: dict[str, Any] = jwt.decode(
                note,
                secret,
                algorithms=[_ALGORITHM],
                audience=self.audience,
                issuer=_ISSUER,
                options={"require": list(_REQUIRED), "verify_exp": False, "verify_iat": False},
            )
            return claims if float(claims["exp"]) > now else None
        except (jwt.InvalidTokenError, TypeError, ValueError):
            return None
