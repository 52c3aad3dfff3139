"""The name and password of a session's proxy, for contexts that its clients make: Chromium takes them from nowhere but
an answer to its question, page by page."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson

from browser_sessions.cdp import Session
from browser_sessions.cdp.messages import read
from browser_sessions.domain.session_spec import Proxy

GRACE_S: Final = 2.0
"""How long the proxy may take to ask about requests that were on their way when another one was answered."""
_EVERY_REQUEST: Final = {"handleAuthRequests": True, "patterns": [{"urlPattern": "*", "requestStage": "Request"}]}
"""Chromium asks about requests alone that it pauses."""


_SENT_HEADERS: Final = b'{"method":"Network.requestWillBeSentExtraInfo"'
_HEADER: Final = "proxy-authorization"


def without_login(message: bytes) -> bytes:
    """An event of Chromium's without the header that a request through the proxy carries: it holds the password.
    Pure."""
    if not message.startswith(_SENT_HEADERS):
        return message
    event = read(message)
    headers = event["params"]["headers"]
    event["params"]["headers"] = {name: value for name, value in headers.items() if name.lower() != _HEADER}
    return orjson.dumps(event)


class _Page:
    def __init__(self, session: Session, context_id: str) -> None:
        self.session = session
        self.context_id = context_id
        self.sent: set[str] = set()
        """Requests that the proxy may still ask about."""
        self.timer: asyncio.TimerHandle | None = None


class ProxyLogin:
    """Of one session. Chromium remembers what it was told for the whole context: from then on nothing is paused, and
    questions of sites are the clients' again."""

    def __init__(self, username: str, password: str) -> None:
        self._login = {"response": "ProvideCredentials", "username": username, "password": password}
        self._known: set[str] = set()
        """Contexts that need nothing more."""
        self._pages: dict[str, set[_Page]] = {}
        """Pages of those that do."""

    def __repr__(self) -> str:
        return f"<ProxyLogin, {len(self._known)} contexts know it>"

    @classmethod
    def of(cls, proxy: Proxy | None) -> ProxyLogin | None:
        """None: it needs no name."""
        return None if proxy is None or proxy.username is None else cls(proxy.username, proxy.password or "")

    def watch(self, session: Session, context_id: str) -> None:
        """Answers for a new page from now on; `session` is ours on it."""
        if context_id in self._known:
            return
        page = _Page(session, context_id)
        self._pages.setdefault(context_id, set()).add(page)
        session.on("Fetch.requestPaused", lambda params: self._paused(page, params))
        session.on("Fetch.authRequired", lambda params: self._asked(page, params))
        session.closed.add_done_callback(lambda _: self._gone(page))
        session.post("Fetch.enable", _EVERY_REQUEST)

    def forget(self, context_id: str) -> None:
        """The context is gone."""
        self._known.discard(context_id)
        for page in self._pages.pop(context_id, ()):
            self._stop(page)

    def _paused(self, page: _Page, params: dict[str, Any]) -> None:
        page.sent.add(params["requestId"])
        page.session.post("Fetch.continueRequest", {"requestId": params["requestId"]})

    def _asked(self, page: _Page, params: dict[str, Any]) -> None:
        request_id = params["requestId"]
        asked = params["authChallenge"]["source"] == "Proxy" and request_id in page.sent
        page.sent.discard(request_id)
        answer = self._login if asked else {"response": "Default"}
        page.session.post("Fetch.continueWithAuth", {"requestId": request_id, "authChallengeResponse": answer})
        if asked:
            self._known.add(page.context_id)
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
