"""Signed tickets: one session, one use, a short time. For WebSockets and pages that cannot send headers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from browser_sessions.auth.signed_tokens import Kind
from browser_sessions.domain.errors import Unauthenticated
from browser_sessions.domain.principal import Principal, Role

Use = Literal["cdp", "live", "devtools", "launch"]
"""`launch` makes the session that it names: the id is one of its own until then."""

TICKET_LIFETIME_S: Final = 60.0
"""Seconds: long enough to open a WebSocket, too short to be worth stealing."""

_TICKET: Final = Kind("browser-sessions/ticket")
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
    """What the ticket says. Raises `Unauthenticated` unless it is whole, in time, and for this use of this session.

    Whether the credential that it was made for still stands, only the key ring knows: ask it
    (`api.caller_credentials`).
    """
    claims = _TICKET.read(secret, ticket, now.timestamp()) or {}
    if (claims.get("sid"), claims.get("use")) != (session_id, use):
        raise Unauthenticated(_REFUSED, session_id=session_id[:64])
    try:
        principal = Principal(str(claims["sub"]), Role(claims["role"]), str(claims["name"]), str(claims["cred"]))
    except (KeyError, ValueError):
        raise Unauthenticated(_REFUSED, session_id=session_id[:64]) from None
    return Ticket(session_id, use, principal)
