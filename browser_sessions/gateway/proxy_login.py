"""Proxy authentication in contexts that clients create: Chromium accepts the credentials only as a response to
`Fetch.authRequired` on a page."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from browser_sessions.cdp import Session
from browser_sessions.cdp.messages import dump, read
from browser_sessions.domain.session_spec import Proxy

GRACE_S: Final = 10.0
"""How long a slow proxy may take to challenge requests that were in flight when another one was authenticated."""
_EVERY_REQUEST: Final = {"handleAuthRequests": True, "patterns": [{"urlPattern": "*", "requestStage": "Request"}]}
"""Chromium asks for credentials only for requests that it pauses."""


_SENT_HEADERS: Final = b'{"method":"Network.requestWillBeSentExtraInfo"'
_HEADER: Final = "proxy-authorization"


def without_login(message: bytes) -> bytes:
    """An event of Chromium without the `Proxy-Authorization` header, which contains the password."""
    if not message.startswith(_SENT_HEADERS):
        return message
    event = read(message)
    headers = event["params"]["headers"]
    event["params"]["headers"] = {name: value for name, value in headers.items() if name.lower() != _HEADER}
    return dump(event)


class _Page:
    def __init__(self, session: Session, context_id: str) -> None:
        self.session = session
        self.context_id = context_id
        self.sent: set[str] = set()
        """Requests that the proxy may still challenge."""
        self.timer: asyncio.TimerHandle | None = None


class ProxyLogin:
    """For one session. Chromium caches the credentials for the whole context: after the first login nothing is paused
    any more, and challenges of sites go to the clients again."""

    def __init__(self, username: str, password: str) -> None:
        self._login = {"response": "ProvideCredentials", "username": username, "password": password}
        self._authenticated: set[str] = set()
        """Contexts for which Chromium has cached the credentials."""
        self._pages: dict[str, set[_Page]] = {}
        """Pages of the other contexts, by context."""

    def __repr__(self) -> str:
        return f"<ProxyLogin, {len(self._authenticated)} contexts authenticated>"

    @classmethod
    def of(cls, proxy: Proxy | None) -> ProxyLogin | None:
        """None if the proxy needs no authentication."""
        return None if proxy is None or proxy.username is None else cls(proxy.username, proxy.password or "")

    def watch(self, session: Session, context_id: str) -> None:
        """Handles the proxy's challenges of a new page; `session` is our session on it."""
        if context_id in self._authenticated:
            return
        page = _Page(session, context_id)
        self._pages.setdefault(context_id, set()).add(page)
        session.on("Fetch.requestPaused", lambda params: self._paused(page, params))
        session.on("Fetch.authRequired", lambda params: self._auth_required(page, params))
        session.closed.add_done_callback(lambda _: self._gone(page))
        session.post("Fetch.enable", _EVERY_REQUEST)

    def forget(self, context_id: str) -> None:
        """The context is gone."""
        self._authenticated.discard(context_id)
        for page in self._pages.pop(context_id, ()):
            self._stop(page)

    def _paused(self, page: _Page, params: dict[str, Any]) -> None:
        page.sent.add(params["requestId"])
        page.session.post("Fetch.continueRequest", {"requestId": params["requestId"]})

    def _auth_required(self, page: _Page, params: dict[str, Any]) -> None:
        request_id = params["requestId"]
        by_proxy = params["authChallenge"]["source"] == "Proxy" and request_id in page.sent
        page.sent.discard(request_id)
        response = self._login if by_proxy else {"response": "Default"}
        page.session.post("Fetch.continueWithAuth", {"requestId": request_id, "authChallengeResponse": response})
        if by_proxy:
            self._authenticated.add(page.context_id)
            for each in self._pages.pop(page.context_id, ()):
                if each.sent:
                    each.timer = asyncio.get_running_loop().call_later(GRACE_S, self._stop, each)
                else:
                    self._stop(each)

    def _stop(self, page: _Page) -> None:
        self._gone(page)
        if not page.session.closed.done():
            page.session.post("Fetch.disable")

    def _gone(self, page: _Page) -> None:
        if page.timer is not None:
            page.timer.cancel()
        self._pages.get(page.context_id, set()).discard(page)
