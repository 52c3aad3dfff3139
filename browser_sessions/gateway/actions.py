"""What takes more than one frame: attaching, creating, disposing. Callbacks run in the order of the wire."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from browser_sessions.gateway.contexts import TargetInfo
from browser_sessions.gateway.decision import (
    SERVER_ERROR,
    Action,
    Attach,
    AttachBrowser,
    AutoAttach,
    CloseConnection,
    CreateContext,
    CreateTarget,
    DetachBrowser,
    Discover,
    DisposeContext,
    Resume,
    SetDownloads,
)
from browser_sessions.gateway.message import Command
from browser_sessions.model.errors import BrowserSessionsError

if TYPE_CHECKING:
    from browser_sessions.gateway.relay import Relay

Result = Mapping[str, Any] | None

ATTACH_WAIT_S: Final = 3.0
"""How long the answer to createTarget waits for the client's own attach to go first: Playwright crashes otherwise. It
takes milliseconds; past this the client gets its answer, and the attach when it comes."""

DOWNLOADS_S: Final = 5.0
"""For a call that Chromium's browser process answers by itself in a millisecond."""


class Actions:
    """For one relay."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._after_attach: dict[str, Callable[[], None]] = {}
        """Answers to createTarget that wait for the attach of their target."""
        self._denied: set[str] = set()
        """Contexts in which the client wants no downloads."""

    def do(self, command: Command, action: Action) -> None:
        match action:
            case AutoAttach():
                self._auto_attach(command, action)
            case Discover():
                for told in self._relay.scope.discover(command.session_id, action.filter):
                    self._relay.emit(told)
                self._relay.answer(command, {})
            case Attach():
                self._attach(command, action.target_id)
            case AttachBrowser():
                session_id = secrets.token_hex(16).upper()  # the form of Chromium's own
                self._relay.emit(replace(self._relay.scope.attach_browser(session_id), session_id=command.session_id))
                self._relay.answer(command, {"sessionId": session_id})
            case DetachBrowser():
                for below in self._relay.scope.detach_browser(action.session_id):
                    self._detach(below, lambda: None)
                self._relay.answer(command, {})
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
                self._relay.answer(command, {})
                self._relay.downstream.close(1000, "closed as asked")

    # -- attaching -------------------------------------------------------------------------------------------------

    def offer(self, info: TargetInfo, *, waiting: bool) -> bool:
        """A new target of the client's contexts: attached when its auto-attach takes it. True: it resumes it."""
        scope = self._relay.scope
        if scope.wants(info):
            self._attach_by_itself(info["targetId"], waiting=waiting)
            return True
        wanted = scope.auto_attach
        in_a_tab = info.get("type") == "page" and wanted is not None and wanted.filter is not None
        return in_a_tab and wanted is not None and wanted.filter is not None and wanted.filter.matches("tab")

    def attached(self, target_id: str) -> None:
        """An attach of this target has been passed on to the client."""
        waiting = self._after_attach.pop(target_id, None)
        if waiting is not None:
            waiting()

    def target_gone(self, target_id: str) -> None:
        self.attached(target_id)

    def _attach_by_itself(self, target_id: str, *, waiting: bool, then: Callable[[], None] | None = None) -> None:
        scope = self._relay.scope
        scope.attaching(target_id, None, automatic=True, waiting=waiting)

        def answered(value: Result, _error: Result) -> None:
            if value is None:
                scope.attach_failed(target_id, None)
                self._relay.hub.holds.resumed(target_id, self._relay)
            if then is not None:
                then()

        self._relay.call("Target.attachToTarget", {"targetId": target_id, "flatten": True}, None, answered)

    def _auto_attach(self, command: Command, wanted: AutoAttach) -> None:
        change = self._relay.scope.set_auto_attach(wanted)
        left = len(change.detach) + len(change.attach)
        if not left:
            self._relay.answer(command, {})
            return

        def one_less() -> None:
            nonlocal left
            left -= 1
            if not left:
                self._relay.answer(command, {})

        for session_id in change.detach:
            self._detach(session_id, one_less)
        for target_id in change.attach:
            held = target_id in self._relay.hub.holds
            if held:
                self._relay.hub.holds.wait_for(target_id, self._relay)
            self._attach_by_itself(target_id, waiting=held, then=one_less)

    def _detach(self, session_id: str, then: Callable[[], None]) -> None:
        self._relay.call("Target.detachFromTarget", {"sessionId": session_id}, None, lambda _value, _error: then())

    def _attach(self, command: Command, target_id: str) -> None:
        scope, asked_at = self._relay.scope, command.session_id
        at_browser = scope.is_browser(asked_at)
        parent, told_at = (None, asked_at) if at_browser else (asked_at, None)
        scope.attaching(target_id, parent, automatic=False, waiting=False, told_at=told_at)

        def answered(value: Result, error: Result) -> None:
            if value is None:
                scope.attach_failed(target_id, parent)
                self._relay.pass_error(command, error)
            else:
                self._relay.answer(command, value)

        self._relay.call("Target.attachToTarget", {"targetId": target_id, "flatten": True}, parent, answered)

    def _resume(self, command: Command, session_id: str) -> None:
        """The hub hears of it once Chromium has answered on the same session: what the client asked for before is done
        then. The hub's own word goes another way, and would overtake an init script. And the client hears of it once
        the target runs: what it navigates while the target is still paused never comes to an end.

        The first connection that resumes a page runs it, whoever else still waits. So for a page Chromium is asked
        something else first, and the command follows when the page runs. A paused worker answers nothing else."""
        held = self._relay.scope.session(session_id)
        holds = self._relay.hub.holds
        if held is None or held.target_id not in holds:
            self._relay.forward(command)
            return

        info = self._relay.scope.contexts.target(held.target_id)
        first = "Runtime.getIsolateId" if info is not None and info["type"] == "page" else command.method

        def answered(value: Result, error: Result) -> None:
            def running() -> None:
                if first != command.method:
                    self._relay.forward(command)
                elif value is None:
                    self._relay.pass_error(command, error)
                else:
                    self._relay.answer(command, value)

            holds.once_running(held.target_id, running)
            holds.resumed(held.target_id, self._relay)

        self._relay.call(first, {}, session_id, answered)

    # -- creating --------------------------------------------------------------------------------------------------

    def _create_target(self, command: Command, action: CreateTarget) -> None:
        def answered(value: Result, error: Result) -> None:
            if value is None:
                self._relay.pass_error(command, error)
                return
            target_id = value["targetId"]
            self._once_attached(target_id, lambda: self._relay.answer(command, value))
            if action.url != "about:blank":
                self._relay.hub.navigate(target_id, action.url)

        self._relay.call("Target.createTarget", {**action.params, "url": "about:blank"}, None, answered)

    def _once_attached(self, target_id: str, then: Callable[[], None]) -> None:
        """Now, when the client does not auto-attach to it or has it already; else when the attach was passed on."""
        scope = self._relay.scope
        info = scope.contexts.target(target_id)
        wanted = scope.auto_attach
        takes_pages = wanted is not None and wanted.filter is not None and wanted.filter.matches("page")
        if not takes_pages or (info is not None and scope.any_session_of(target_id) is not None):
            then()
            return
        timer = asyncio.get_running_loop().call_later(ATTACH_WAIT_S, self.attached, target_id)

        def attached() -> None:
            timer.cancel()
            then()

        self._after_attach[target_id] = attached

    def _create_context(self, command: Command) -> None:
        params: dict[str, Any] = {"disposeOnDetach": True}
        proxy = self._relay.live.session.spec.proxy
        if proxy is not None:
            params["proxyServer"] = proxy.server
            if proxy.bypass:
                params["proxyBypassList"] = proxy.bypass

        def answered(value: Result, error: Result) -> None:
            if value is None:
                self._relay.pass_error(command, error)
                return
            self._relay.hub.adopt(self._relay.room, value["browserContextId"])
            self._relay.answer(command, value)

        self._relay.call("Target.createBrowserContext", params, None, answered)

    def _dispose_context(self, command: Command, context_id: str) -> None:
        def answered(value: Result, error: Result) -> None:
            if value is None:
                self._relay.pass_error(command, error)
                return
            self._relay.room.contexts.discard_nested(context_id)
            self._relay.answer(command, value)

        self._relay.call("Target.disposeBrowserContext", {"browserContextId": context_id}, None, answered)

    def _set_downloads(self, command: Command, action: SetDownloads) -> None:
        """Never asked of Chromium by the client's upstream, which would be told of every download of the browser, and
        whose end would take back what is set for the context."""
        self._relay.scope.set_downloads(command.session_id, action.events)
        if action.deny:
            self._denied.add(action.context_id)
        else:
            self._denied.discard(action.context_id)
        self._relay.hub.do(self._allow_downloads(action.context_id, not action.deny, command))

    async def _allow_downloads(self, context_id: str, allowed: bool, command: Command | None) -> None:
        handle = self._relay.live.handle
        assert handle is not None, "an active session has a context"
        try:
            await handle.downloads.allow(context_id, allowed, timeout=DOWNLOADS_S)
        except BrowserSessionsError as error:
            if command is not None:
                self._relay.pass_error(command, {"code": SERVER_ERROR, "message": error.detail})
        else:
            if command is not None:
                self._relay.answer(command, {})

    def client_gone(self) -> None:
        """What the client forbade its session for the time that it was there is allowed again."""
        own = self._relay.room.contexts.own
        if own in self._denied:
            self._relay.hub.do(self._allow_downloads(own, True, None))
