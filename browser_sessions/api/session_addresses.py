"""Where to connect to a session and where to watch it, with tickets for who cannot send headers."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from fastapi import Request

from browser_sessions.api.middleware.origin import base_url
from browser_sessions.auth.tickets import TICKET_LIFETIME_S, mint
from browser_sessions.domain.clock import Clock
from browser_sessions.domain.principal import Principal
from browser_sessions.domain.session import SessionRecord

UNLIMITED_S: Final = 86_400.0
"""Seconds that the connect ticket of a session without a lifetime is good for; its details always hold a fresh one."""


class TicketAddresses:
    """`connect_url` works as long as the session may live, `live_url` is for now: whoever watches asks for it then."""

    def __init__(self, secret: bytes, clock: Clock, public_url: str | None) -> None:
        self._secret = secret
        self._clock = clock
        self._public_url = public_url

    def __call__(self, request: Request, session: SessionRecord, principal: Principal) -> tuple[str, str]:
        now = self._clock.wall()
        base = "ws" + base_url(request.scope, self._public_url).removeprefix("http")
        path = f"{base}/v1/browser/sessions/{session.session_id}"
        lifetime = max(TICKET_LIFETIME_S, (_ends(session, now) - now).total_seconds())
        cdp = mint(self._secret, session.session_id, "cdp", principal, now, lifetime_seconds=lifetime)
        live = mint(self._secret, session.session_id, "live", principal, now)
        return f"{path}/cdp?ticket={cdp}", f"{path}/live?ticket={live}"


def _ends(session: SessionRecord, now: datetime) -> datetime:
    if session.max_lifetime_seconds is None:
        return now + timedelta(seconds=UNLIMITED_S)
    return session.created_at + timedelta(seconds=session.max_lifetime_seconds)
