"""Commands that take more than one message: attaching, creating, disposing. Callbacks run in the order of the pipe."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from browser_sessions.background_tasks import Background
from browser_sessions.cdp import BrowserSession, Target
from browser_sessions.cdp.messages import Command, encode
from browser_sessions.chromium.ports import Downloads, Owner
from browser_sessions.domain.errors import BrowserSessionsError
from browser_sessions.domain.limits import MAX_PIXELS
from browser_sessions.domain.session_spec import Proxy
from browser_sessions.gateway.client_overrides import ClientOverrides
from browser_sessions.gateway.client_replies import Replies
from browser_sessions.gateway.scope.client_scope import Scope
from browser_sessions.gateway.scope.command_decision import (
    INVALID_PARAMS,
    NO_WEB_CONTENTS,
    SERVER_ERROR,
    Action,
    Ask,
    Attach,
    AttachBrowser,
    AutoAttach,
    CaptureWholePage,
    CloseConnection,
    CloseTarget,
    CreateContext,
    CreateTarget,
    Detach,
    Discover,
    DisposeContext,
    GetWindow,
    GiveFolder,
    Reading,
    Resume,
    SetDownloads,
)
from browser_sessions.gateway.shared_session import SharedSession

Result = Mapping[str, Any] | None
ResponseCallback = Callable[[Result, Result], None]
"""Called with (result, None) or (None, error)."""

ANSWERED_S: Final = 1.0
"""Limit for a new page's responses to its client, which a client that detaches meanwhile does not get."""
DOWNLOADS_TIMEOUT_S: Final = 5.0
"""For a call that Chromium's browser process completes in a millisecond."""


class Actions:
    """Performs the actions of one client."""

    def __init__(
        self,
        session: BrowserSession,
        scope: Scope,
        shared: SharedSession,
        replies: Replies,
        downloads: Downloads,
        owner: Owner,
        overrides: ClientOverrides,
        proxy: Proxy | None,
        close: Callable[[int, str], None],
    ) -> None:
        """`proxy` is the session's and is used in the client's contexts too; `close` closes the client's connection."""
        self._session = session
        self._scope = scope
        self._shared = shared
        self._replies = replies
        self._downloads = downloads
        self._owner = owner
        self._overrides = overrides
        self._proxy = proxy
        self._close = close
        self._background = Background()
        self._creating = 0
        """Pages that this client is creating."""
        self._nested: set[str] = set()
        """Contexts that this client has created: Chromium disposes of them when it disconnects."""
        self._denied: set[str] = set()
        """Contexts in which the client denied downloads."""

    def do(self, command: Command, action: Action) -> None:
        match action:
            case AutoAttach():
                self._auto_attach(command, action)
            case Discover():
                for event in self._scope.discover(command.session_id, action.filter):
                    self._replies.emit(event)
                self._replies.answer(command, {})
            case Attach():
                self._attach(command, action.target_id)
            case AttachBrowser():
                self._scope.attaching_browser(command.session_id)
                on_response = self._respond_to(command)
                self._session.post("Target.attachToBrowserTarget", None, on_response, session_id=command.session_id)
            case Detach():
                self._session.detach(action.session_id, self._respond_to(command), level=command.session_id)
            case CreateTarget():
                self._create_target(command, action)
            case CloseTarget():
                self._session.close_target(action.target_id, self._respond_to(command))
            case CreateContext():
                self._create_context(command)
            case DisposeContext():
                self._dispose_context(command, action.context_id)
            case SetDownloads():
                self._set_downloads(command, action)
            case CaptureWholePage():
                self._capture_whole_page(command)
            case GetWindow():
                self._get_window(command, action.target_id)
            case GiveFolder():
                self._give_folder(command)
            case Resume():
                self._resume(command, action.session_id)
            case CloseConnection():
                self._replies.answer(command, {})
                self._close(1000, "closed by Browser.close")

    def client_gone(self) -> None:
        """Removes the client's contexts, and allows downloads again if the client denied them."""
        self._count_creating(-self._creating)
        for context_id in self._nested:
            self._shared.remove_context(context_id)
        own = self._shared.contexts.own
        if own in self._denied:
            _ = self._background.run(self._allow_downloads(own, True, None))

    # -- attaching -------------------------------------------------------------------------------------------------

    def offer(self, target: Target) -> bool:
        """Attaches to a new target if the client's auto-attach includes it. True if the target must wait for the client
        to resume it."""
        scope, info = self._scope, self._scope.contexts.target(target.target_id)
        wanted = scope.auto_attach
        if info is None or wanted is None or wanted.filter is None:
            return False
        if scope.wants(info):
            self._attach_automatically(target.target_id)
            return scope.waits
        in_a_tab = target.type == "page" and wanted.filter.matches("tab")  # Chromium attaches it below the tab
        return in_a_tab and scope.waits

    def _attach_automatically(self, target_id: str, then: Callable[[], None] | None = None) -> None:
        scope, session = self._scope, self._session
        scope.attaching(target_id, None, automatic=True, waits=scope.waits)

        def on_response(value: Result, _error: Result) -> None:
            if value is None:
                scope.attach_failed(target_id, None)
                session.pauses.release(target_id, session)
            if then is not None:
                then()

        session.attach_new(target_id, on_response)

    def _auto_attach(self, command: Command, wanted: AutoAttach) -> None:
        takes_pages = wanted.filter is not None and wanted.filter.matches("page")
        attachers = self._shared.page_attachers + (not self._scope.takes_pages)
        if takes_pages and attachers > len(self._shared.cdp.auto_attachers):
            _ = self._background.run(self._add_auto_attacher(lambda: self._set_auto_attach(command, wanted)))
        else:
            self._set_auto_attach(command, wanted)

    async def _add_auto_attacher(self, then: Callable[[], None]) -> None:
        """With fewer auto-attachers than auto-attaching clients, commands could reach a new window too late."""
        try:
            await self._shared.cdp.auto_attachers.add()
        finally:
            then()

    def _set_auto_attach(self, command: Command, wanted: AutoAttach) -> None:
        change = self._scope.set_auto_attach(wanted)
        pending = len(change.detach) + len(change.attach)
        if not pending:
            self._replies.answer(command, {})
            return

        def one_done() -> None:
            nonlocal pending
            pending -= 1
            if not pending:
                self._replies.answer(command, {})

        for session_id in change.detach:
            self._session.detach(session_id, lambda _v, _e: one_done())
        for target_id in change.attach:
            if self._scope.waits:
                self._session.pauses.wait_for(target_id, self._session)
            self._attach_automatically(target_id, one_done)

    def _attach(self, command: Command, target_id: str) -> None:
        parent = command.session_id
        self._scope.attaching(target_id, parent, automatic=False)

        def on_response(value: Result, error: Result) -> None:
            if value is None:
                self._scope.attach_failed(target_id, parent)
            self._respond_to(command)(value, error)

        # Not while it is paused: the client could navigate it, and a paused page that is navigated crashes.
        self._session.pauses.when_running(
            target_id, lambda: self._session.attach(target_id, on_response, session_id=parent)
        )

    def _resume(self, command: Command, session_id: str) -> None:
        """Responds once the target runs: a navigation that the client starts while it is paused never completes."""
        held = self._scope.session(session_id)
        if held is None or held.target_id not in self._session.pauses:
            self._session.send(encode(command.call_id, command.method, command.params, session_id))
            return
        self._session.resume(held.target_id, lambda: self._replies.answer(command, {}))

    # -- creating --------------------------------------------------------------------------------------------------

    def _create_target(self, command: Command, action: CreateTarget) -> None:
        self._count_creating(1)

        def created(target_id: str) -> None:
            self._count_creating(-1)
            if sized:
                self._owner.keep_size(target_id)

        def on_response(value: Result, error: Result) -> None:
            if value is None:
                self._count_creating(-1)
            self._respond_to(command)(value, error)
            if value is not None and action.url != "about:blank":
                target_id = value["targetId"]
                self._session.pauses.when_running(target_id, lambda: self._navigate(target_id, action.url))

        params = {**action.params, "url": "about:blank"}
        sized = "width" in params or "height" in params
        self._session.create_target(params, self._is_attaching, on_response, resumes=self._scope.waits, created=created)

    def _count_creating(self, pages: int) -> None:
        self._creating += pages
        self._shared.contexts.creating += pages

    def _is_attaching(self, target_id: str) -> bool:
        """Whether the client's auto-attach to a new page is still pending."""
        return self._scope.takes_pages and self._scope.any_session_of(target_id) is None

    def _navigate(self, target_id: str, url: str) -> None:
        """Navigates a new page. It must be running: navigating a paused page crashes its renderer.

        Waits for the responses to what the client has sent to the page: Chromium takes init scripts along to the next
        renderer only if they were answered before the navigation starts.
        """

        begun = False

        def navigate(_value: Result = None, _error: Result = None) -> None:
            nonlocal begun
            page = self._shared.cdp.attached_page(target_id)
            if page is not None and not begun:
                begun = True
                page.post("Page.navigate", {"url": url})

        session_id = self._scope.any_session_of(target_id)
        if session_id is None:
            navigate()
        else:
            self._session.post("Runtime.getIsolateId", None, navigate, session_id=session_id)
            asyncio.get_running_loop().call_later(ANSWERED_S, navigate)

    def _create_context(self, command: Command) -> None:
        params: dict[str, Any] = {"disposeOnDetach": True}
        if self._proxy is not None:
            params["proxyServer"] = self._proxy.server
            params["proxyBypassList"] = bypass_list(self._proxy.bypass)

        def on_response(value: Result, error: Result) -> None:
            if value is not None:
                self._nested.add(value["browserContextId"])
                self._shared.add_context(value["browserContextId"])
                _ = self._background.run(self._allow_downloads(value["browserContextId"], True, None))
            self._respond_to(command)(value, error)

        self._session.post("Target.createBrowserContext", params, on_response)

    def _dispose_context(self, command: Command, context_id: str) -> None:
        def on_response(value: Result, error: Result) -> None:
            if value is not None:
                self._nested.discard(context_id)
                self._shared.remove_context(context_id)
            self._respond_to(command)(value, error)

        self._session.post("Target.disposeBrowserContext", {"browserContextId": context_id}, on_response)

    # -- screenshots -----------------------------------------------------------------------------------------------

    def _capture_whole_page(self, command: Command) -> None:
        """With the page's size as the clip, so that it cannot grow in between."""

        def on_metrics(value: Result, error: Result) -> None:
            if value is None:
                self._replies.pass_error(command, error)
                return
            size = {name: value["cssContentSize"][name] for name in ("x", "y", "width", "height")}
            if size["width"] * size["height"] > MAX_PIXELS:
                self._replies.refuse(command, SERVER_ERROR, PAGE_TOO_LARGE)
                return
            params = {**command.params, "clip": {**size, "scale": 1}}
            respond = self._respond_to(command)
            if not self._overrides.send_capture(command, params, respond):
                self._session.post(command.method, params, respond, session_id=command.session_id)

        self._session.post("Page.getLayoutMetrics", None, on_metrics, session_id=command.session_id)

    # -- windows ---------------------------------------------------------------------------------------------------

    def _get_window(self, command: Command, target_id: str) -> None:
        """Asked on our own session on the page."""

        def on_response(value: Result, error: Result) -> None:
            if value is None:
                self._replies.pass_error(command, error)
            else:
                self._replies.answer(command, self._scope.read(Ask({}, None, Reading.WINDOW), value))

        page = self._shared.cdp.attached_page(target_id)
        if page is None:
            self._replies.refuse(command, SERVER_ERROR, NO_WEB_CONTENTS)
        else:
            page.post(command.method, None, on_response)

    # -- uploads ---------------------------------------------------------------------------------------------------

    def _give_folder(self, command: Command) -> None:
        params = command.params

        def on_response(value: Result, error: Result) -> None:
            if value is None:
                self._replies.pass_error(command, error)
            elif "webkitdirectory" not in value["node"].get("attributes", ())[::2]:
                self._replies.refuse(command, INVALID_PARAMS, NO_FOLDER)
            else:
                self._session.post(command.method, params, self._respond_to(command), session_id=command.session_id)

        node = {name: value for name, value in params.items() if name != "files"}
        self._session.post("DOM.describeNode", node, on_response, session_id=command.session_id)

    # -- downloads -------------------------------------------------------------------------------------------------

    def _set_downloads(self, command: Command, action: SetDownloads) -> None:
        """Not set through the client's own browser session: that would receive events of all downloads in the browser,
        and its end would reset the context's setting."""
        self._scope.set_downloads(command.session_id, action.events)
        if action.deny:
            self._denied.add(action.context_id)
        else:
            self._denied.discard(action.context_id)
        _ = self._background.run(self._allow_downloads(action.context_id, not action.deny, command))

    async def _allow_downloads(self, context_id: str, allowed: bool, command: Command | None) -> None:
        try:
            await self._downloads.allow(context_id, allowed, timeout=DOWNLOADS_TIMEOUT_S)
        except BrowserSessionsError as error:
            if command is not None:
                self._replies.refuse(command, SERVER_ERROR, error.detail)
        else:
            if command is not None:
                self._replies.answer(command, {})

    def _respond_to(self, command: Command) -> ResponseCallback:
        def on_response(value: Result, error: Result) -> None:
            if value is None:
                self._replies.pass_error(command, error)
            else:
                self._replies.answer(command, value)

        return on_response


NO_FOLDER: Final = "files: a folder goes into an <input webkitdirectory> only; this input takes files"
PAGE_TOO_LARGE: Final = f"Page is too large: at most {MAX_PIXELS} pixels; capture parts of it, with `clip`"
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1", "[::]", "[::1]", "<loopback>", "<-loopback>"})


def bypass_list(bypass: str | None) -> str:
    """`bypass` as Chromium's `proxyBypassList`, built as Playwright does for the session's own context: loopback uses
    the proxy too, unless the list names it."""
    hosts = [host.strip() for host in (bypass or "").split(",") if host.strip()]
    return ",".join(hosts if _LOOPBACK & set(hosts) else ["<-loopback>", *hosts])
