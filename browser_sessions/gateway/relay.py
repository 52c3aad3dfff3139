"""One client at one session: its commands are decided on, its answers and events passed through."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import structlog

from browser_sessions.cdp import BrowserSession, CdpClosed, CdpError, MessageTooLong, Target, TargetInfo
from browser_sessions.cdp.cdp_session import OnAnswer
from browser_sessions.cdp.messages import Command, Malformed, decode, encode, read
from browser_sessions.cdp.page_overrides import NOT_WHILE_PAUSED
from browser_sessions.cdp.websocket import TOO_SLOW, ClientSocket, Why
from browser_sessions.chromium.ports import ContextHandle
from browser_sessions.domain.clock import Clock
from browser_sessions.domain.close_codes import close_code
from browser_sessions.domain.errors import BrowserGone, PageNotFound
from browser_sessions.domain.session import EndReason
from browser_sessions.gateway.client_overrides import Overrides
from browser_sessions.gateway.client_replies import Replies
from browser_sessions.gateway.command_actions import Actions
from browser_sessions.gateway.policy.client_options import Options
from browser_sessions.gateway.policy.command_policy import decide
from browser_sessions.gateway.proxy_login import without_login
from browser_sessions.gateway.scope.client_scope import Event, Scope
from browser_sessions.gateway.scope.command_decision import Answer, Ask, Do, Pass, Refuse, Resume
from browser_sessions.gateway.shared_session import Room
from browser_sessions.pool.live_session import Live

HELD_BYTES: Final = 4 * 2**20
"""Commands that may wait while somebody else is in control before the client is not read any more."""
CONNECT_S: Final = 5.0
"""For calls that Chromium's browser process answers by itself in a millisecond; a swamped one was seen to need a
second."""
_ANSWER: Final = b'{"id":'
_TRACE_DONE: Final = b'{"method":"Tracing.tracingComplete"'
"""An event that gives the client a handle."""

log = structlog.get_logger()


class Traffic:
    """What went through, of all clients: plain numbers, made metrics once a second."""

    def __init__(self) -> None:
        self.bytes_up = self.bytes_down = self.commands = self.refused = 0


class Relay:
    """Implements `pool.live_session.Attached`, `shared_session.Member`, `cdp.Client` and the listener of the client's
    socket."""

    drives = True

    def __init__(
        self,
        session: BrowserSession,
        live: Live,
        handle: ContextHandle,
        room: Room,
        options: Options,
        clock: Clock,
        traffic: Traffic,
        devtools_of: str | None,
    ) -> None:
        """`devtools_of`: whose DevTools this is (a principal_id), which that person's own control does not hold up."""
        self.session = session
        self.live = live
        self.options = options
        self.scope = Scope(room.contexts)
        self.socket = ClientSocket(self)
        self.gone = False
        self._room = room
        self._handle = handle
        self._clock = clock
        self._traffic = traffic
        self._devtools_of = devtools_of
        self._replies = Replies(self.socket)
        self._actions = Actions(
            session,
            self.scope,
            room,
            self._replies,
            handle.downloads,
            handle.owner,
            live.session.spec.proxy,
            self.socket.close,
        )
        self._secret_login = live.session.spec.proxy is not None and live.session.spec.proxy.username is not None
        """What requests carry for the proxy is not for clients."""
        self._overrides = Overrides(session, handle.owner, room.overridden)
        self._held: deque[bytes] = deque()
        self._held_bytes = 0
        self._passing: asyncio.Task[None] | None = None
        self._late: dict[str, list[Event]] = {}
        """Attaches to service workers below pages that the client is told of in a moment, by target."""
        self._no_downloads: Callable[[], None] | None = None
        """Ends being told of downloads."""
        self._unanswered: Counter[str | None] = Counter()
        """Commands that Chromium has not answered yet, by CDP session: the session is in use until it has."""
        room.clients.append(self)

    def __repr__(self) -> str:
        return f"<Relay of {self.live.session.session_id}, {self.scope!r}>"

    async def stand_at(self, page_id: str) -> None:
        """Puts the client at a page's root, as Chromium's own DevTools wants it: messages without a `sessionId` are
        that page's. Raises `PageNotFound`, `BrowserGone`."""
        missing = PageNotFound(self.live.session.session_id, page_id)
        info = self._room.contexts.target(page_id)
        if info is None or info["type"] != "page":
            raise missing
        self.scope.attaching(page_id, None, automatic=False)
        try:
            params = {"targetId": page_id, "flatten": True}
            attached = await self.session.call("Target.attachToTarget", params, timeout=CONNECT_S)
        except CdpError:
            raise missing from None
        except (CdpClosed, TimeoutError) as error:
            raise BrowserGone("The browser does not answer.") from error
        if self.scope.session(attached["sessionId"]) is None:
            raise missing
        self._replies.root = attached["sessionId"]

    def begin(self) -> None:
        """The client's transport is in place."""
        if not self.gone:
            self._no_downloads = self._handle.downloads.listen(self._download)

    # -- the client's side -----------------------------------------------------------------------------------------

    def command(self, payload: bytes) -> None:
        """A message of the client: activity, whatever is decided on it."""
        if self._held or (self.live.control.held and not self.live.control.held_by(self._devtools_of)):
            self._wait_for_control(payload)
        else:
            self._command(payload)

    def client_gone(self) -> None:
        """The client's connection is over: whatever it held goes with its session on the browser."""
        if self.gone:
            return
        self.gone = True
        if self.socket.code == TOO_SLOW:
            log.info("gateway.client_slow", session_id=self.live.session.session_id)
        self._held.clear()
        for level in tuple(self._unanswered):
            self._no_answers(level)
        if self._passing is not None:
            self._passing.cancel()
        if self._no_downloads is not None:
            self._no_downloads()
        self.session.close()
        self._overrides.undo()
        self._actions.client_gone()
        self._room.leave(self)
        self.live.detach(self)

    def _command(self, payload: bytes) -> None:
        self.live.session.touch(self._clock.monotonic())
        self._traffic.commands += 1
        self._traffic.bytes_up += len(payload)
        try:
            command = decode(payload)
        except Malformed as error:
            self._traffic.refused += 1
            self.socket.send(error.as_answer())
            return
        if command.session_id is None and self._replies.root is not None:
            command = replace(command, session_id=self._replies.root)
        try:
            self._act(command)
        except Malformed as error:
            self._replies.refuse(command, error.code, error.message)
        except MessageTooLong:
            self.socket.close(1009, "the message is longer than a browser takes")

    def _act(self, command: Command) -> None:
        decision = decide(command, self.scope, self.options)
        if isinstance(decision, Pass):
            self._pass(command, command.params if decision.params is None else decision.params)
        elif isinstance(decision, Refuse):
            self._traffic.refused += 1
            self._replies.refuse(command, decision.code, decision.message)
        elif isinstance(decision, Answer):
            self._replies.answer(command, decision.result)
        elif isinstance(decision, Ask):
            self._ask(command, decision)
        elif isinstance(decision, Do):
            if isinstance(decision.action, Resume):
                self._overrides.begun(decision.action.session_id)
            self._actions.do(command, decision.action)

    def _pass(self, command: Command, params: Mapping[str, Any]) -> None:
        if self._overrides.is_default(command):
            self._replies.answer(command, {})
            return
        if self._overrides.exclusive(command, self._answer(command)):
            return
        self._overrides.note(command, params)
        held = self.scope.session(command.session_id)
        if held is not None and command.method in NOT_WHILE_PAUSED and held.target_id in self.session.pauses:
            self.session.post_once_running(held.target_id, command.method, params, held.session_id)
            self._replies.answer(command, {})
            return
        self.session.send(
            encode(command.call_id, command.method, params, command.session_id or self.session.session_id)
        )
        self.live.session.begin_use(self._clock.monotonic())
        self._unanswered[command.session_id] += 1

    def _answer(self, command: Command) -> OnAnswer:
        def answered(value: Mapping[str, Any] | None, error: Mapping[str, Any] | None) -> None:
            if value is None:
                self._replies.pass_error(command, error)
            else:
                self._replies.answer(command, value)

        return answered

    def _ask(self, command: Command, ask: Ask) -> None:
        def answered(value: Mapping[str, Any] | None, error: Mapping[str, Any] | None) -> None:
            if value is None:
                self._replies.pass_error(command, error)
            else:
                self._replies.answer(command, self.scope.read(ask, value))

        self.session.post(command.method, ask.params, answered, session_id=ask.session_id)

    def _wait_for_control(self, payload: bytes) -> None:
        """Somebody else is in control: commands wait in their order, and the client is read until much waits."""
        self._held.append(payload)
        self._held_bytes += len(payload)
        if self._held_bytes > HELD_BYTES:
            self.socket.pause(Why.CONTROL, True)
        if self._passing is None:
            self._passing = asyncio.create_task(self._pass_held())

    async def _pass_held(self) -> None:
        while self._held and not self.gone:
            await self.live.control.until_free(self)
            while self._held and not self.live.control.held and not self.gone:
                payload = self._held.popleft()
                self._held_bytes -= len(payload)
                self._command(payload)
        self._passing = None
        self.socket.pause(Why.CONTROL, False)

    # -- the session's contexts ------------------------------------------------------------------------------------

    def offer(self, target: Target) -> bool:
        return self._actions.offer(target)

    def target_seen(self, target_id: str) -> None:
        self._emit(self.scope.on_target(target_id))

    def target_gone(self, target_id: str) -> None:
        self._emit(self.scope.on_target_gone(target_id))
        self.session.target_gone(target_id)

    def target_crashed(self, target_id: str, params: Mapping[str, Any]) -> None:
        for session in self.scope.sessions_on(target_id):
            self._no_answers(session)
        status, code = str(params.get("status", "")), int(params.get("errorCode", 0))
        self._emit(self.scope.on_target_crashed(target_id, status, code))

    def _download(self, context_id: str, method: str, params: Mapping[str, Any]) -> None:
        if self.scope.contexts.holds(context_id):
            self._emit(self.scope.on_download(method, params))

    def _emit(self, events: list[Event]) -> None:
        for told in events:
            self._replies.emit(told)

    # -- the browser's side ----------------------------------------------------------------------------------------

    def receive(self, message: bytes, session_id: bytes | None) -> None:
        self._traffic.bytes_down += len(message)
        if self._secret_login:
            message = without_login(message)
        if message.startswith(_ANSWER):
            self._answered(None if session_id is None else session_id.decode())
        elif message.startswith(_TRACE_DONE):
            event = read(message)
            level = None if session_id is None else session_id.decode()
            told = self.scope.on_upstream(event["method"], event["params"], level)
            if told is not None:
                self._replies.emit(told)
            return
        self._replies.pass_on(message, session_id)

    def target_event(self, method: str, params: dict[str, Any], session_id: str | None) -> None:
        told = self.scope.on_upstream(method, params, session_id)
        if told is None:
            if method == "Target.attachedToTarget":
                self.session.drop(params["sessionId"])
            return
        if method == "Target.attachedToTarget":
            info = told.params["targetInfo"]
            self._overrides.attached(told.params["sessionId"], info)
            if session_id is not None and self._comes_later(info):
                self._told_later(info["targetId"], told)
                return
            self._replies.emit(told)
            self._tell_late(info["targetId"])
            return
        if method == "Target.detachedFromTarget":
            for level in tuple(self._unanswered):  # this one's, and those that were attached through it
                if level is not None and not self.scope.holds(level):
                    self._no_answers(level)
            target_id = told.params["targetId"]
            self.session.pauses.let_go(target_id, self.session)
            self._tell_late(target_id)
            self._overrides.detached(self.scope.holds)
            if told.params["sessionId"] == self._replies.root:
                self._replies.emit(Event("Inspector.detached", {"reason": "target_closed"}, self._replies.root))
                self.socket.close(1000, "the page was closed")
                return
        self._replies.emit(told)

    def _comes_later(self, info: TargetInfo) -> bool:
        """Whether the client is still to get a session of its own on a worker that it is told of below a page.

        Chromium starts to load a service worker's script when the sessions below pages have let go of it, whatever
        others still hold it. Playwright detaches those at once, and intercepts on the other: it has to get that first.
        """
        target_id = info["targetId"]
        if info["type"] != "service_worker" or target_id not in self.session.pauses:
            return False
        wanted = self.scope.auto_attach
        takes = wanted is not None and wanted.filter is not None and wanted.filter.matches(info["type"])
        return takes and not self.scope.sessions_of(target_id, None)

    def _told_later(self, target_id: str, told: Event) -> None:
        if target_id not in self._late:
            self._late[target_id] = []
            self.session.pauses.once_running(target_id, lambda: self._tell_late(target_id))
        self._late[target_id].append(told)

    def _tell_late(self, target_id: str) -> None:
        self._emit(self._late.pop(target_id, []))

    def _answered(self, level: str | None) -> None:
        left = self._unanswered[level] - 1
        if left >= 0:  # else it answers what is forwarded without being counted
            self.live.session.end_use(self._clock.monotonic())
        if left > 0:
            self._unanswered[level] = left
        else:
            del self._unanswered[level]

    def _no_answers(self, level: str | None) -> None:
        """What was asked on this CDP session will not be answered any more."""
        unanswered = self._unanswered.pop(level, 0)
        if unanswered:
            self.live.session.end_use(self._clock.monotonic(), uses=unanswered)

    def browser_full(self, full: bool) -> None:
        self.socket.pause(Why.BROWSER_FULL, full)

    def browser_lost(self) -> None:
        """The browser is gone, or has thrown this session out."""
        self.socket.close(1011, "the browser's side of the connection was lost")

    def session_ended(self, reason: EndReason) -> None:
        self.socket.close(*close_code(reason))
