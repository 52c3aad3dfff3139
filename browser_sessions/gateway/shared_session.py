"""A session's browser contexts, shared by all its clients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from browser_sessions.cdp import Browser, BrowserSession, Target
from browser_sessions.domain.limits import MAX_PAGES
from browser_sessions.domain.session_spec import Proxy
from browser_sessions.gateway.client_overrides import SessionOverrides
from browser_sessions.gateway.proxy_login import ProxyLogin
from browser_sessions.gateway.scope.client_scope import Scope
from browser_sessions.gateway.scope.session_contexts import Contexts


class SessionClient(Protocol):
    """One of the clients; `Relay` implements it."""

    session: BrowserSession
    scope: Scope

    def offer(self, target: Target) -> bool:
        """Attaches the client to a new target if its auto-attach includes it. True if the target must wait for the
        client to resume it."""

    def target_changed(self, target_id: str) -> None:
        """A target was created or has changed."""

    def target_gone(self, target_id: str) -> None: ...

    def target_crashed(self, target_id: str, params: Mapping[str, Any]) -> None: ...


class SharedSession:
    """Exists while the session has clients. Implements `cdp.Watcher`."""

    def __init__(self, cdp: Browser, own: str, proxy: Proxy | None) -> None:
        """`own` is the id of the session's own context, `proxy` the session's proxy."""
        self.cdp = cdp
        self.contexts = Contexts(own, cdp.targets)
        self.clients: list[SessionClient] = []
        self.overrides = SessionOverrides()
        self._login = ProxyLogin.of(proxy)
        self._watched: set[str] = set()
        self._watch(own)

    def __repr__(self) -> str:
        return f"<SharedSession of {self.contexts!r}, {len(self.clients)} clients>"

    @property
    def page_attachers(self) -> int:
        """Number of clients that auto-attach to pages."""
        return sum(client.scope.takes_pages for client in self.clients)

    def add_context(self, context_id: str) -> None:
        """Adds a context that a client has created."""
        self.contexts.add_nested(context_id)
        self._watch(context_id)
        for target in self.cdp.targets.of(context_id):
            self.target_created(target)

    def remove_context(self, context_id: str) -> None:
        """Removes a disposed context. Its targets are reported as destroyed when Chromium destroys them."""
        self.contexts.discard_nested(context_id)
        if self._login is not None:
            self._login.forget(context_id)
        self._unwatch_if_empty(context_id)

    def remove(self, client: SessionClient) -> None:
        if client in self.clients:
            self.clients.remove(client)
        if not self.clients:
            for context_id in tuple(self._watched):
                self._unwatch(context_id)

    # -- events of the target tree ---------------------------------------------------------------------------------

    def target_created(self, target: Target) -> None:
        if target.type == "page" and self.contexts.is_nested(target.context_id):
            self._close_if_excess(target)
        self.target_changed(target)
        if target.type == "tab":  # tabs are not paused, so `target_paused` is not called for them
            for client in tuple(self.clients):
                client.offer(target)

    def target_changed(self, target: Target) -> None:
        for client in tuple(self.clients):
            client.target_changed(target.target_id)

    def target_destroyed(self, target: Target) -> None:
        for client in tuple(self.clients):
            client.target_gone(target.target_id)
        self._unwatch_if_empty(target.context_id)

    def target_crashed(self, target: Target, params: Mapping[str, Any]) -> None:
        for client in tuple(self.clients):
            client.target_crashed(target.target_id, params)

    def target_paused(self, target: Target) -> Iterable[object]:
        page = self.cdp.attached_page(target.target_id)
        if self._login is not None and page is not None and target.context_id != self.contexts.own:
            self._login.watch(page, target.context_id)
        return [client.session for client in tuple(self.clients) if client.offer(target)]

    def _close_if_excess(self, target: Target) -> None:
        """Closes a window that a page in a client's context has opened beyond the session's limit; in its own context,
        `Context` does."""
        if self.contexts.count("page") > MAX_PAGES:
            self.cdp.close_target(target.target_id)

    def _watch(self, context_id: str) -> None:
        self._watched.add(context_id)
        self.cdp.targets.watch(context_id, self)

    def _unwatch(self, context_id: str) -> None:
        self._watched.discard(context_id)
        self.cdp.targets.unwatch(context_id, self)

    def _unwatch_if_empty(self, context_id: str) -> None:
        if not self.contexts.holds(context_id) and not self.cdp.targets.of(context_id):
            self._unwatch(context_id)
