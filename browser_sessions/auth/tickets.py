"""Signed, short-lived tickets for one session and one use, for WebSockets and pages that cannot send headers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from browser_sessions.auth.signed_tokens import Kind
from browser_sessions.domain.errors import Unauthenticated
from browser_sessions.domain.principal import Principal, Role

Use = Literal["cdp", "live", "devtools", "launch"]
"""`launch` creates a session; its id is the launch's own until then."""

TICKET_LIFETIME_S: Final = 60.0
"""Long enough to open a WebSocket, too short to be worth stealing."""

SESSION_LIFETIME_S: Final = 10 * 365 * 86_400.0
"""Longer than any session: a ticket for one session is worthless after its end, and its lifetime can be extended."""

_TICKET: Final = Kind("browser-sessions/ticket")
_INVALID: Final = "The ticket is invalid, expired or for another use. Get a new one from the session's details."


@dataclass(frozen=True, slots=True)
class Ticket:
    """A verified ticket."""

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
    """A ticket for `use` of one session, valid from `now` for `lifetime_seconds`."""
    return _TICKET.sign(
        secret,
        principal.principal_id,
        now.timestamp(),
        lifetime_seconds,
        sid=session_id,
        use=use,
        role=principal.role.value,
        name=principal.name,
        cred=principal.credential,
    )


def verify(secret: bytes, ticket: str, session_id: str, use: Use, now: datetime) -> Ticket:
    """Raises `Unauthenticated` unless the ticket is valid, unexpired, and for this use of this session.

    Does not check that the ticket's credential is still valid: the key ring does (`api.caller_credentials`).
    """
    claims = _TICKET.read(secret, ticket, now.timestamp()) or {}
    if (claims.get("sid"), claims.get("use")) != (session_id, use):
        raise Unauthenticated(_INVALID, session_id=session_id[:64])
    try:
        principal = Principal(str(claims["sub"]), Role(claims["role"]), str(claims["name"]), str(claims["cred"]))
    except (KeyError, ValueError):
        raise Unauthenticated(_INVALID, session_id=session_id[:64]) from None
    return Ticket(session_id, use, principal)
