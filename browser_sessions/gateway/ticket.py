"""Signed tickets: one session, one use, a short time. For WebSockets and pages that cannot send headers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import jwt

from browser_sessions.model.errors import Unauthenticated
from browser_sessions.model.principal import Principal, Role

Use = Literal["cdp", "live", "devtools"]

TICKET_LIFETIME_S: Final = 60.0
"""Seconds: long enough to open a WebSocket, too short to be worth stealing (FAULTS.md, "keys and tokens")."""

_ALGORITHM: Final = "HS256"
_ISSUER: Final = "browser-sessions"
_AUDIENCE: Final = "browser-sessions/ticket"
"""Not the audience of access tokens: one never passes for the other, even under the same secret."""
_REFUSED: Final = "The ticket does not cover this, or its time is over. Ask for the session's details to get a new one."


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a verified ticket says: who may use which session, and how."""

    session_id: str
    use: Use
    principal: Principal


def mint(
    secret: bytes,
    session_id: str,
    use: Use,
    principal: Principal,
    now: datetime,
    *,
    lifetime_seconds: float = TICKET_LIFETIME_S,
) -> str:
    """A ticket for `use` of one session, good from `now` for `lifetime_seconds`."""
    claims = {
        "iss": _ISSUER,
        "aud": _AUDIENCE,
        "sub": principal.principal_id,
        "iat": now,
        "exp": now + timedelta(seconds=lifetime_seconds),
        "sid": session_id,
        "use": use,
        "role": principal.role.value,
        "name": principal.name,
        "cred": principal.credential,
    }
    return jwt.encode(claims, secret, algorithm=_ALGORITHM)


def verify(secret: bytes, ticket: str, session_id: str, use: Use, now: datetime) -> Ticket:
    """What the ticket says. Raises `Unauthenticated` unless it is whole, in time, and for this use of this session.

    Whether the credential that it was made for still stands, only the key ring knows: ask it (`api.credentials`).
    """
    try:
        claims: dict[str, Any] = jwt.decode(
            ticket,
            secret,
            algorithms=[_ALGORITHM],
            audience=_AUDIENCE,
            issuer=_ISSUER,
            options={"require": ["exp", "iat", "sub", "aud", "iss"], "verify_exp": False, "verify_iat": False},
        )
        in_time = float(claims["exp"]) > now.timestamp()
        covers = claims["sid"] == session_id and claims["use"] == use
        principal = Principal(str(claims["sub"]), Role(claims["role"]), str(claims["name"]), str(claims["cred"]))
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError):
        raise Unauthenticated(_REFUSED, session_id=session_id[:64]) from None
    if not (in_time and covers):
        raise Unauthenticated(_REFUSED, session_id=session_id[:64])
    return Ticket(session_id, use, principal)
