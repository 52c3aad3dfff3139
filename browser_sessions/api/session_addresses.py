"""The URLs to connect to a session and to watch it, with tickets for clients that cannot send headers."""

from __future__ import annotations

from fastapi import Request

from browser_sessions.api.middleware.origin import base_url
from browser_sessions.auth.tickets import SESSION_LIFETIME_S, mint
from browser_sessions.domain.clock import Clock
from browser_sessions.domain.principal import Principal
from browser_sessions.domain.session import SessionRecord


class TicketAddresses:
    """`connect_url` is valid until the session ends, `live_url` for a minute: viewers ask for a new one."""

    def __init__(self, secret: bytes, clock: Clock, public_url: str | None) -> None:
        self._secret = secret
        self._clock = clock
        self._public_url = public_url

    def __call__(self, request: Request, session: SessionRecord, principal: Principal) -> tuple[str, str]:
        now = self._clock.wall()
        base = "ws" + base_url(request.scope, self._public_url).removeprefix("http")
        path = f"{base}/v1/browser/sessions/{session.session_id}"
        cdp = mint(self._secret, session.session_id, "cdp", principal, now, lifetime_seconds=SESSION_LIFETIME_S)
        live = mint(self._secret, session.session_id, "live", principal, now)
        return f"{path}/cdp?ticket={cdp}", f"{path}/live?ticket={live}"
