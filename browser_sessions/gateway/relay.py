"""The connection of one client to one session: decides on commands, forwards responses and events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import structlog

from browser_sessions.background_tasks import Background
from browser_sessions.cdp import BrowserSession, CdpClosed, CdpError, MessageTooLong, Target, TargetInfo
from browser_sessions.cdp.cdp_session import OnResponse
from browser_sessions.cdp.messages import Command, InvalidMessage, decode, encode, failed_navigation, read
from browser_sessions.cdp.open_dialogs import NAVIGATIONS
from browser_sessions.cdp.page_overrides import NOT_WHILE_PAUSED
from browser_sessions.cdp.websocket import TOO_SLOW, ClientSocket, PauseReason
from browser_sessions.chromium.ports import ContextHandle
from browser_sessions.domain.clock import Clock
from browser_sessions.domain.close_codes import close_code
from browser_sessions.domain.errors import BrowserGone, PageNotFound
from browser_sessions.domain.session import EndReason
from browser_sessions.gateway.client_overrides import ClientOverrides
from browser_sessions.gateway.client_replies import Replies
from browser_sessions.gateway.command_actions import Actions
from browser_sessions.gateway.held_commands import HeldCommands
from browser_sessions.gateway.pending_commands import PendingCommands
from browser_sessions.gateway.policy.client_options import Options
from browser_sessions.gateway.policy.command_policy import decide
from browser_sessions.gateway.proxy_login import without_login
from browser_sessions.gateway.scope.client_scope import Event, Scope
from browser_sessions.gateway.scope.command_decision import (
    SERVER_ERROR,
    Answer,
    Ask,
    Decision,
    Do,
    Pass,
    Refuse,
    Resume,
)
from browser_sessions.gateway.shared_session import SharedSession
from browser_sessions.loop_shares import Share
from browser_sessions.pool.live_session import Live

CALL_TIMEOUT_S: Final = 5.0
"""For calls that Chromium's browser process completes in a millisecond; a swamped one took a second."""
_RESPONSE: Final = b'{"id":'
_TRACE_DONE: Final = b'{"method":"Tracing.tracingComplete"'
"""Decoded because it gives the client a stream handle."""
_CRASHED: Final = b'{"method":"Inspector.targetCrashed"'
"""Comes right before `Target.targetCrashed`, but on a busy machine its client may act in between."""

log = structlog.get_logger()


class Traffic:
    """Totals of all clients: plain numbers, from which metrics are updated once a second."""

    def __init__(self) -> None:
        self.bytes_up = self.bytes_down = self.commands = self.refused = 0


FATAL_AFTER_CRASH: Final = frozenset(
    {
        "Page.printToPDF",
        "Input.synthesizePinchGesture",
        "Input.synthesizeScrollGesture",
        "Input.synthesizeTapGesture",
    }
)
"""They crash the whole browser when the page's renderer has (Chromium 156)."""
ALIVE_TIMEOUT_S: Final = 1.0
"""For a response of a page that has crashed before."""


class Relay:
    """Implements `pool.live_session.Attached`, `shared_session.SessionClient`, `cdp.Client` and the listener of the
    client's socket."""

    drives = True

    def __init__(
        self,
        session: BrowserSession,
        live: Live,
        handle: ContextHandle,
        shared: SharedSession,
        options: Options,
        clock: Clock,
        traffic: Traffic,
        share: Share,
        devtools_of: str | None,
    ) -> None:
        """`share`: of the client's principal. `devtools_of`: the principal_id of the user of this DevTools connection,
        whose own control does not block it."""
        self.session = session
        self.live = live
        self.options = options
        self.scope = Scope(shared.contexts)
        self.socket = ClientSocket(self, share=share)
        self.gone = False
        self._shared = shared
        self._handle = handle
        self._clock = clock
        self._traffic = traffic
        proxy = handle.proxy or live.session.spec.proxy
        self._replies = Replies(self.socket)
        self._overrides = ClientOverrides(session, handle.owner, shared.overrides)
        self._actions = Actions(
            session,
            self.scope,
            shared,
            self._replies,
            handle.downloads,
            handle.owner,
            self._overrides,
            proxy,
            self.socket.close,
        )
        self._secret_login = proxy is not None and proxy.username is not None
        """The proxy's credentials are removed from events for the client."""
        self._held = HeldCommands(live.control, devtools_of, self.socket, share, self._handle_command)
        self._pending = PendingCommands(live.session, clock)
        self._deferred: dict[str, list[Event]] = {}
        """Deferred attach events of service workers, by target."""
        self._stop_listening: Callable[[], None] | None = None
        """Unsubscribes from downloads."""
        self._background = Background()
        shared.clients.append(self)

    def __repr__(self) -> str:
        return f"<Relay of {self.live.session.session_id}, {self.scope!r}>"

    async def attach_root(self, page_id: str) -> None:
        """Makes a page the client's root, as Chromium's DevTools expects: messages without a `sessionId` belong to the
        page. Raises `PageNotFound`, `BrowserGone`."""
        missing = PageNotFound(self.live.session.session_id, page_id)
        info = self._shared.contexts.target(page_id)
        if info is None or info["type"] != "page":
            raise missing
        self.scope.attaching(page_id, None, automatic=False)
        try:
            params = {"targetId": page_id, "flatten": True}
            attached = await self.session.call("Target.attachToTarget", params, timeout=CALL_TIMEOUT_S)
        except CdpError:
            raise missing from None
        except (CdpClosed, TimeoutError) as error:
            raise BrowserGone("The browser does not respond. Try again.") from error
        if self.scope.session(attached["sessionId"]) is None:
            raise missing
        self._replies.root = attached["sessionId"]

    @property
    def received(self) -> int:
        """Bytes from the client that are not handled yet: commands that wait for control, half of a large one."""
        return self._held.size + self.socket.half_message

    def begin(self) -> None:
        """To be called once the client's socket has its transport."""
        if not self.gone:
            self._stop_listening = self._handle.downloads.listen(self._download)

    # -- the client's side -----------------------------------------------------------------------------------------

    def command(self, payload: bytes) -> None:
        """A message from the client. Counts as activity once it is handled, even if it is refused."""
        if self._held.must_wait:
            self._held.add(payload)
        else:
            self._handle_command(payload)

    def client_gone(self) -> None:
        """Cleans up after the client disconnected: closing its browser session releases everything it held."""
        if self.gone:
            return
        self.gone = True
        if self.socket.code == TOO_SLOW:
            log.info("gateway.client_slow", session_id=self.live.session.session_id)
        self._held.close()
        self._pending.drop_all()
        if self._stop_listening is not None:
            self._stop_listening()
        self.session.close(self._overrides.undo)
        self._actions.client_gone()
        self._shared.remove(self)
        self.live.detach(self)

    def failed(self) -> None:
        """A bug ends the client whose message met it, and nobody else: it may connect again."""
        log.error("gateway.client_failed", session_id=self.live.session.session_id)
        self.socket.close(1011, "the service failed to handle a message")

    def _handle_command(self, payload: bytes) -> None:
        try:
            self._decode_and_act(payload)
        except Exception:
            log.exception("gateway.command_failed", session_id=self.live.session.session_id)
            self.failed()

    def _decode_and_act(self, payload: bytes) -> None:
        self.live.session.touch(self._clock.monotonic())
        self._traffic.commands += 1
        self._traffic.bytes_up += len(payload)
        try:
            command = decode(payload)
        except InvalidMessage as error:
            self._traffic.refused += 1
            self.socket.send(error.as_response())
            return
        if command.session_id is None and self._replies.root is not None:
            command = replace(command, session_id=self._replies.root)
        try:
            self._act(command)
        except InvalidMessage as error:
            self._traffic.refused += 1
            self._replies.refuse(command, error.code, error.message)
        except MessageTooLong:
            self.socket.close(1009, "the message is longer than the browser accepts")

    def _act(self, command: Command) -> None:
        decision = decide(command, self.scope, self.options)
        if command.method in FATAL_AFTER_CRASH and not isinstance(decision, Refuse) and self._has_crashed(command):
            _ = self._background.run(self._carry_out_if_alive(command, decision))
        else:
            self._carry_out(command, decision)

    def _has_crashed(self, command: Command) -> bool:
        """Whether its target has ever crashed: Chromium does not report that it lives again."""
        target = self._target(command.session_id)
        return target is not None and target.crashed

    def _target(self, session_id: str | None) -> Target | None:
        held = self.scope.session(session_id)
        return None if held is None else self._shared.cdp.targets.get(held.target_id)

    async def _carry_out_if_alive(self, command: Command, decision: Decision) -> None:
        try:
            await self.session.call("Page.getLayoutMetrics", session_id=command.session_id, timeout=ALIVE_TIMEOUT_S)
        except (CdpError, CdpClosed, TimeoutError):
            self._traffic.refused += 1
            self._replies.refuse(command, SERVER_ERROR, "Target crashed")
        else:
            self._carry_out(command, decision)

    def _carry_out(self, command: Command, decision: Decision) -> None:
        if isinstance(decision, Pass):
            self._pass(command, command.params if decision.params is None else decision.params)
        elif isinstance(decision, Refuse):
            self._traffic.refused += 1
            self._replies.refuse(command, decision.code, decision.message, decision.data)
        elif isinstance(decision, Answer):
            self._replies.answer(command, decision.result)
        elif isinstance(decision, Ask):
            self._ask(command, decision)
        elif isinstance(decision, Do):
            if isinstance(decision.action, Resume):
                self._overrides.resumed(decision.action.session_id)
            self._actions.do(command, decision.action)

    def _pass(self, command: Command, params: Mapping[str, Any]) -> None:
        if self._overrides.is_default(command):
            self._replies.answer(command, {})
            return
        respond = self._respond_to(command)
        if self._overrides.send_exclusive(command, respond) or self._overrides.send_capture(command, params, respond):
            return
        self._overrides.record(command, params)
        held = self.scope.session(command.session_id)
        if held is not None and command.method in NAVIGATIONS and params.get("frameId") in (None, held.target_id):
            self._handle.close_dialog(held.target_id)
        if held is not None and command.method in NOT_WHILE_PAUSED and held.target_id in self.session.pauses:
            self.session.post_when_running(held.target_id, command.method, params, held.session_id)
            self._replies.answer(command, {})
            return
        message = encode(command.call_id, command.method, params, command.session_id or self.session.session_id)
        if command.method == "Page.disable":
            self.session.without_dialog(command.session_id or "", lambda: self.session.send(message))
        else:
            self.session.send(message)
        self._pending.sent(command.session_id)

    def _respond_to(self, command: Command) -> OnResponse:
        def on_response(value: Mapping[str, Any] | None, error: Mapping[str, Any] | None) -> None:
            if value is None:
                self._replies.pass_error(command, error)
            else:
                self._replies.answer(command, value)

        return on_response

    def _ask(self, command: Command, ask: Ask) -> None:
        def on_response(value: Mapping[str, Any] | None, error: Mapping[str, Any] | None) -> None:
            if value is None:
                self._replies.pass_error(command, error)
            else:
                self._replies.answer(command, self.scope.read(ask, value))

        self.session.post(command.method, ask.params, on_response, session_id=ask.session_id)

    # -- events of the session's contexts --------------------------------------------------------------------------

    def offer(self, target: Target) -> bool:
        return self._actions.offer(target)

    def target_changed(self, target_id: str) -> None:
        self._emit(self.scope.on_target(target_id))

    def target_gone(self, target_id: str) -> None:
        self._emit(self.scope.on_target_gone(target_id))
        self.session.target_gone(target_id)

    def target_crashed(self, target_id: str, params: Mapping[str, Any]) -> None:
        for session in self.scope.sessions_on(target_id):
            self._pending.drop(session)
        status, code = str(params.get("status", "")), int(params.get("errorCode", 0))
        self._emit(self.scope.on_target_crashed(target_id, status, code))

    def _download(self, context_id: str, method: str, params: Mapping[str, Any]) -> None:
        if self.scope.contexts.holds(context_id):
            self._emit(self.scope.on_download(method, params))

    def _emit(self, events: list[Event]) -> None:
        for event in events:
            self._replies.emit(event)

    # -- the browser's side ----------------------------------------------------------------------------------------

    def receive(self, message: bytes, session_id: bytes | None) -> None:
        self._traffic.bytes_down += len(message)
        if self._secret_login:
            message = without_login(message)
        if message.startswith(_RESPONSE):
            self._pending.answered(None if session_id is None else session_id.decode())
            if (failed := failed_navigation(message)) is not None:
                self._handle.load_failed(*failed)
        elif message.startswith(_CRASHED):
            if (target := self._target(None if session_id is None else session_id.decode())) is not None:
                target.crashed = True
        elif message.startswith(_TRACE_DONE):
            received = read(message)
            level = None if session_id is None else session_id.decode()
            event = self.scope.on_browser_event(received["method"], received["params"], level)
            if event is not None:
                self._replies.emit(event)
            return
        self._replies.pass_on(message, session_id)

    def target_event(self, method: str, params: dict[str, Any], session_id: str | None) -> None:
        event = self.scope.on_browser_event(method, params, session_id)
        if event is None:
            if method == "Target.attachedToTarget":
                self.session.drop(params["sessionId"])
            return
        if method == "Target.attachedToTarget":
            info = event.params["targetInfo"]
            self._overrides.attached(event.params["sessionId"], info)
            if session_id is not None and self._must_defer(info):
                self._defer(info["targetId"], event)
                return
            self._replies.emit(event)
            self._send_deferred(info["targetId"])
            return
        if method == "Target.detachedFromTarget":
            self._pending.drop_unless(self.scope.holds)
            target_id = event.params["targetId"]
            self.session.pauses.release(target_id, self.session)
            self._send_deferred(target_id)
            self._overrides.detached(self.scope.holds)
            if event.params["sessionId"] == self._replies.root:
                self._replies.emit(Event("Inspector.detached", {"reason": "target_closed"}, self._replies.root))
                self.socket.close(1000, "the page was closed")
                return
        self._replies.emit(event)

    def _must_defer(self, info: TargetInfo) -> bool:
        """Whether a service worker's attach below a page must be sent after the client's own attach to the worker.

        Chromium loads a service worker's script once the sessions below pages have resumed it, even if others still
        pause it. Playwright detaches those at once and intercepts requests on its own session, which it must get first.
        """
        target_id = info["targetId"]
        if info["type"] != "service_worker" or target_id not in self.session.pauses:
            return False
        wanted = self.scope.auto_attach
        takes = wanted is not None and wanted.filter is not None and wanted.filter.matches(info["type"])
        return takes and not self.scope.sessions_of(target_id, None)

    def _defer(self, target_id: str, event: Event) -> None:
        if target_id not in self._deferred:
            self._deferred[target_id] = []
            self.session.pauses.when_running(target_id, lambda: self._send_deferred(target_id))
        self._deferred[target_id].append(event)

    def _send_deferred(self, target_id: str) -> None:
        self._emit(self._deferred.pop(target_id, []))

    def browser_full(self, full: bool) -> None:
        self.socket.pause(PauseReason.BROWSER_FULL, full)

    def browser_lost(self) -> None:
        """The browser is gone, or has closed this client's browser session."""
        self.socket.close(1011, "the connection to the browser was lost")

    def session_ended(self, reason: EndReason) -> None:
        self.socket.close(*close_code(reason))
