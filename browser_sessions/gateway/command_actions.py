"""What takes more than one message: attaching, creating, disposing. Callbacks run in the order of the pipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from browser_sessions.cdp import BrowserSession, Target
from browser_sessions.cdp.messages import Command, encode
from browser_sessions.chromium.ports import Downloads, Owner
from browser_sessions.domain.errors import BrowserSessionsError
from browser_sessions.domain.session_spec import Proxy
from browser_sessions.gateway.client_replies import Replies
from browser_sessions.gateway.scope.client_scope import Scope
from browser_sessions.gateway.scope.command_decision import (
    SERVER_ERROR,
    Action,
    Attach,
    AttachBrowser,
    AutoAttach,
    CloseConnection,
    CreateContext,
    CreateTarget,
    Detach,
    Discover,
    DisposeContext,
    Resume,
    SetDownloads,
)
from browser_sessions.gateway.shared_session import Room
from browser_sessions.pool.background_tasks import Background

Result = Mapping[str, Any] | None
Answered = Callable[[Result, Result], None]

DOWNLOADS_S: Final = 5.0
"""For a call that Chromium's browser process answers by itself in a millisecond."""


class Actions:
    """For one client."""

    def __init__(
        self,
        session: BrowserSession,
        scope: Scope,
        room: Room,
        replies: Replies,
        downloads: Downloads,
        owner: Owner,
        proxy: Proxy | None,
        close: Callable[[int, str], None],
    ) -> None:
        """`proxy` is the session's own, which holds in the client's contexts too; `close` ends the connection."""
        self._session = session
        self._scope = scope
        self._room = room
        self._replies = replies
        self._downloads = downloads
        self._owner = owner
        self._proxy = proxy
        self._close = close
        self._background = Background()
        self._creating = 0
        """Pages that this client has asked for and that are not there yet."""
        self._nested: set[str] = set()
        """Contexts that this client has made: they go with it."""
        self._denied: set[str] = set()
        """Contexts in which the client wants no downloads."""

    def do(self, command: Command, action: Action) -> None:
        match action:
            case AutoAttach():
                self._auto_attach(command, action)
            case Discover():
                for told in self._scope.discover(command.session_id, action.filter):
                    self._replies.emit(told)
                self._replies.answer(command, {})
            case Attach():
                self._attach(command, action.target_id)
            case AttachBrowser():
                self._scope.attaching_browser(command.session_id)
                answered = self._pass_answer(command)
                self._session.post("Target.attachToBrowserTarget", None, answered, session_id=command.session_id)
            case Detach():
                self._session.detach(action.session_id, self._pass_answer(command), level=command.session_id)
            case CreateTarget():
                self._create_target(command, action)
            case CreateContext():
                self._create_context(command)
            case DisposeContext():
                self._dispose_context(command, action.context_id)
            case SetDownloads():
                self._set_downloads(command, action)
            case Resume():
                self._resume(command, action.session_id)
            case CloseConnection():
                self._replies.answer(command, {})
                self._close(1000, "closed as asked")

    def client_gone(self) -> None:
        """The client's contexts go with it, and what it forbade its session is allowed again."""
        self._creates(-self._creating)
        for context_id in self._nested:
            self._room.discard(context_id)
        own = self._room.contexts.own
        if own in self._denied:
            _ = self._background.run(self._allow_downloads(own, True, None))

    # -- attaching -------------------------------------------------------------------------------------------------

    def offer(self, target: Target) -> bool:
        """A new target of the session's contexts: attached when the client's auto-attach takes it. True: it waits for
        the client to resume it."""
        scope, info = self._scope, self._scope.contexts.target(target.target_id)
        wanted = scope.auto_attach
        if info is None or wanted is None or wanted.filter is None:
            return False
        if scope.wants(info):
            self._attach_by_itself(target.target_id)
            return scope.waits
        in_a_tab = target.type == "page" and wanted.filter.matches("tab")  # attached below it, by Chromium
        return in_a_tab and scope.waits

    def _attach_by_itself(self, target_id: str, then: Callable[[], None] | None = None) -> None:
        scope, session = self._scope, self._session
        scope.attaching(target_id, None, automatic=True, waits=scope.waits)

        def answered(value: Result, _error: Result) -> None:
            if value is None:
                scope.attach_failed(target_id, None)
                session.pauses.let_go(target_id, session)
            if then is not None:
                then()

        session.attach_new(target_id, answered)

    def _auto_attach(self, command: Command, wanted: AutoAttach) -> None:
        takes_pages = wanted.filter is not None and wanted.filter.matches("page")
        if takes_pages and self._room.takers + (not self._scope.takes_pages) > len(self._room.cdp.carriers):
            _ = self._background.run(self._carried(lambda: self._set_auto_attach(command, wanted)))
        else:
            self._set_auto_attach(command, wanted)

    async def _carried(self, then: Callable[[], None]) -> None:
        """Without a carrier for each client of the session, what one says to a new window may come too late."""
        try:
            await self._room.cdp.carriers.add()
        finally:
            then()

    def _set_auto_attach(self, command: Command, wanted: AutoAttach) -> None:
        change = self._scope.set_auto_attach(wanted)
        left = len(change.detach) + len(change.attach)
        if not left:
            self._replies.answer(command, {})
            return

        def one_less() -> None:
            nonlocal left
            left -= 1
            if not left:
                self._replies.answer(command, {})

        for session_id in change.detach:
            self._session.detach(session_id, lambda _v, _e: one_less())
        for target_id in change.attach:
            if self._scope.waits:
                self._session.pauses.wait_for(target_id, self._session)
            self._attach_by_itself(target_id, one_less)

    def _attach(self, command: Command, target_id: str) -> None:
        parent = command.session_id
        self._scope.attaching(target_id, parent, automatic=False)

        def answered(value: Result, error: Result) -> None:
            if value is None:
                self._scope.attach_failed(target_id, parent)
            self._pass_answer(command)(value, error)

        # Not before it runs: a page that is navigated while it is paused crashes.
        self._session.pauses.once_running(
            target_id, lambda: self._session.attach(target_id, answered, session_id=parent)
        )

    def _resume(self, command: Command, session_id: str) -> None:
        """The client is answered once the target runs: what it navigates while the target is still paused never comes
        to an end."""
        held = self._scope.session(session_id)
        if held is None or held.target_id not in self._session.pauses:
            self._session.send(encode(command.call_id, command.method, command.params, session_id))
            return
        self._session.resume(held.target_id, lambda: self._replies.answer(command, {}))

    # -- creating --------------------------------------------------------------------------------------------------

    def _create_target(self, command: Command, action: CreateTarget) -> None:
        self._creates(1)

        def created(target_id: str) -> None:
            self._creates(-1)
            if sized:
                self._owner.leave_size(target_id)

        def answered(value: Result, error: Result) -> None:
            if value is None:
                self._creates(-1)
            self._pass_answer(command)(value, error)
            if value is not None and action.url != "about:blank":
                target_id = value["targetId"]
                self._session.pauses.once_running(target_id, lambda: self._navigate(target_id, action.url))

        params = {**action.params, "url": "about:blank"}
        sized = "width" in params or "height" in params
        self._session.create_target(params, self._attaches_itself, answered, resumes=self._scope.waits, created=created)

    def _creates(self, pages: int) -> None:
        """So many pages more are asked for and not there yet."""
        self._creating += pages
        self._room.contexts.creating += pages

    def _attaches_itself(self, target_id: str) -> bool:
        """Whether the client is still to be told of an attach of its own to a new page."""
        return self._scope.takes_pages and self._scope.any_session_of(target_id) is None

    def _navigate(self, target_id: str, url: str) -> None:
        """Sends a new page on its way: navigating one that is still paused crashes its renderer."""
        page = self._room.cdp.attached_page(target_id)
        if page is not None:
            page.post("Page.navigate", {"url": url})

    def _create_context(self, command: Command) -> None:
        params: dict[str, Any] = {"disposeOnDetach": True}
        if self._proxy is not None:
            params["proxyServer"] = self._proxy.server
            params["proxyBypassList"] = bypass_list(self._proxy.bypass)

        def answered(value: Result, error: Result) -> None:
            if value is not None:
                self._nested.add(value["browserContextId"])
                self._room.adopt(value["browserContextId"])
                _ = self._background.run(self._allow_downloads(value["browserContextId"], True, None))
            self._pass_answer(command)(value, error)

        self._session.post("Target.createBrowserContext", params, answered)

    def _dispose_context(self, command: Command, context_id: str) -> None:
        def answered(value: Result, error: Result) -> None:
            if value is not None:
                self._nested.discard(context_id)
                self._room.discard(context_id)
            self._pass_answer(command)(value, error)

        self._session.post("Target.disposeBrowserContext", {"browserContextId": context_id}, answered)

    # -- downloads -------------------------------------------------------------------------------------------------

    def _set_downloads(self, command: Command, action: SetDownloads) -> None:
        """Never asked of Chromium by the client's own session, which would be told of every download of the browser,
        and whose end would take back what is set for the context."""
        self._scope.set_downloads(command.session_id, action.events)
        if action.deny:
            self._denied.add(action.context_id)
        else:
            self._denied.discard(action.context_id)
        _ = self._background.run(self._allow_downloads(action.context_id, not action.deny, command))

    async def _allow_downloads(self, context_id: str, allowed: bool, command: Command | None) -> None:
        try:
            await self._downloads.allow(context_id, allowed, timeout=DOWNLOADS_S)
        except BrowserSessionsError as error:
            if command is not None:
                self._replies.refuse(command, SERVER_ERROR, error.detail)
        else:
            if command is not None:
                self._replies.answer(command, {})

    def _pass_answer(self, command: Command) -> Answered:
        def answered(value: Result, error: Result) -> None:
            if value is None:
                self._replies.pass_error(command, error)
            else:
                self._replies.answer(command, value)

        return answered


_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1", "[::]", "[::1]", "<loopback>", "<-loopback>"})


def bypass_list(bypass: str | None) -> str:
    """As Playwright makes it for the session's own context: loopback goes through the proxy too, unless the list names
    it. Pure."""
    hosts = [host.strip() for host in (bypass or "").split(",") if host.strip()]
    return ",".join(hosts if _LOOPBACK & set(hosts) else ["<-loopback>", *hosts])
