"""One client at one session: its commands are decided on, its answers and events passed through."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from browser_sessions.gateway.actions import Actions
from browser_sessions.gateway.codes import close_code
from browser_sessions.gateway.contexts import TargetInfo
from browser_sessions.gateway.decision import Answer, Ask, Do, Pass, Refuse
from browser_sessions.gateway.downstream import Downstream, Why
from browser_sessions.gateway.hub import Hub, Room
from browser_sessions.gateway.message import (
    FIRST_OWN_ID,
    Command,
    Malformed,
    decode,
    encode,
    event,
    read,
    refusal,
    result,
)
from browser_sessions.gateway.options import Options
from browser_sessions.gateway.policy import decide
from browser_sessions.gateway.scope import Event, Scope
from browser_sessions.gateway.upstream import Upstream
from browser_sessions.model.clock import Clock
from browser_sessions.model.session import EndReason
from browser_sessions.pool.live import Live

HELD_BYTES: Final = 4 * 2**20
"""Commands that may wait while somebody has the wheel before the client is not read any more."""

OnAnswer = Callable[[Mapping[str, Any] | None, Mapping[str, Any] | None], None]
"""Called with the result, or with the error."""

log = structlog.get_logger()


class Traffic:
    """What went through, of all clients: plain numbers, made metrics once a second."""

    def __init__(self) -> None:
        self.bytes_up = self.bytes_down = self.commands = self.refused = 0


class Relay:
    """Implements `pool.live.Attached`, and the listeners of both sides."""

    drives = True
    of: str | None = None
    """Whose DevTools this is (a principal_id): the wheel of the same person does not hold them up."""

    def __init__(
        self, live: Live, hub: Hub, room: Room, upstream: Upstream, options: Options, clock: Clock, traffic: Traffic
    ) -> None:
        self.live = live
        self.hub = hub
        self.room = room
        self.options = options
        self.scope = Scope(room.contexts)
        self.downstream = Downstream(self)
        self._upstream = upstream
        self._clock = clock
        self._traffic = traffic
        self._actions = Actions(self)
        self._ids = itertools.count(FIRST_OWN_ID)
        self._pending: dict[int, OnAnswer] = {}
        self._held: deque[bytes] = deque()
        self._held_bytes = 0
        self._passing: asyncio.Task[None] | None = None
        self._no_downloads: Callable[[], None] | None = None
        """Ends being told of downloads."""
        self.gone = False

    def __repr__(self) -> str:
        return f"<Relay of {self.live.session.session_id}, {len(self._pending)} calls pending, {self.scope!r}>"

    def begin(self) -> None:
        """The client's transport is in place: what the browser says goes to it from now on."""
        handle = self.live.handle
        assert handle is not None, "an active session has a context"
        self._no_downloads = handle.downloads.listen(self._download)
        self._upstream.start(self)

    # -- the client's side -----------------------------------------------------------------------------------------

    def command(self, payload: bytes) -> None:
        """A message of the client: activity, whatever is decided on it."""
        if self._held or (self.live.wheel.held and not self.live.wheel.is_of(self.of)):
            self._wait_for_wheel(payload)
        else:
            self._command(payload)

    def _command(self, payload: bytes) -> None:
        self.live.session.touch(self._clock.monotonic())
        self._traffic.commands += 1
        self._traffic.bytes_up += len(payload)
        try:
            command = self._decode(payload)
        except Malformed as error:
            self._traffic.refused += 1
            self.downstream.send(error.as_answer())
            return
        try:
            self._act(command)
        except Malformed as error:
            self._refuse(command, error.code, error.message)

    def _decode(self, payload: bytes) -> Command:
        """What the client said. Raises `Malformed`."""
        return decode(payload)

    def _act(self, command: Command) -> None:
        decision = decide(command, self.scope, self.options)
        if isinstance(decision, Pass):
            params = command.params if decision.params is None else decision.params
            if self.scope.is_browser(command.session_id):
                self._pass_at_browser(command, params)
            else:
                self._upstream.send(encode(command.call_id, command.method, params, command.session_id))
        elif isinstance(decision, Refuse):
            self._traffic.refused += 1
            self._refuse(command, decision.code, decision.message)
        elif isinstance(decision, Answer):
            self.answer(command, decision.result)
        elif isinstance(decision, Ask):
            self._ask(command, decision)
        elif isinstance(decision, Do):
            self._actions.do(command, decision.action)

    def _pass_at_browser(self, command: Command, params: Mapping[str, Any]) -> None:
        """Chromium does not know the client's session on the browser target: the answer must be named anew."""

        def answered(value: Mapping[str, Any] | None, error: Mapping[str, Any] | None) -> None:
            if value is None:
                self.pass_error(command, error)
            else:
                self.answer(command, value)

        self.call(command.method, params, None, answered)

    def _ask(self, command: Command, ask: Ask) -> None:
        def answered(value: Mapping[str, Any] | None, error: Mapping[str, Any] | None) -> None:
            if value is None:
                self.pass_error(command, error)
            else:
                self.answer(command, self.scope.read(ask, value))

        self.call(command.method, ask.params, ask.session_id, answered)

    def _wait_for_wheel(self, payload: bytes) -> None:
        """Somebody has the wheel: commands wait in their order, and the client is read until much waits."""
        self._held.append(payload)
        self._held_bytes += len(payload)
        if self._held_bytes > HELD_BYTES:
            self.downstream.pause(Why.WHEEL, True)
        if self._passing is None:
            self._passing = asyncio.create_task(self._pass_held())

    async def _pass_held(self) -> None:
        while self._held and not self.gone:
            await self.live.wheel.passage(self)
            while self._held and not self.live.wheel.held and not self.gone:
                payload = self._held.popleft()
                self._held_bytes -= len(payload)
                self._command(payload)
        self._passing = None
        self.downstream.pause(Why.WHEEL, False)

    def client_full(self, full: bool) -> None:
        self._upstream.pause(full)

    def client_gone(self) -> None:
        """The client's connection is over: whatever it held goes with its upstream."""
        if self.gone:
            return
        self.gone = True
        self._pending.clear()
        self._held.clear()
        if self._passing is not None:
            self._passing.cancel()
        if self._no_downloads is not None:
            self._no_downloads()
        self._actions.client_gone()
        self._upstream.abort()
        self.downstream.cut_off()
        self.hub.leave(self.room.contexts.own, self)
        self.live.detach(self)

    # -- what the actions use --------------------------------------------------------------------------------------

    def call(self, method: str, params: Mapping[str, Any], session_id: str | None, on_answer: OnAnswer) -> None:
        """A call of our own on the client's upstream."""
        call_id = next(self._ids)
        self._pending[call_id] = on_answer
        self._upstream.send(encode(call_id, method, params, session_id))

    def forward(self, command: Command) -> None:
        """The client's command as it is, under its own id."""
        if not self.gone:
            self._upstream.send(encode(command.call_id, command.method, command.params, command.session_id))

    def answer(self, command: Command, value: Mapping[str, Any]) -> None:
        self.downstream.send(result(command.call_id, self._named(command.session_id), value))

    def pass_error(self, command: Command, error: Mapping[str, Any] | None) -> None:
        """An error that Chromium gave to a call of ours, as the answer to the client's."""
        told = error or {}
        self._refuse(command, int(told.get("code", -32603)), str(told.get("message", "Internal error")))

    def _refuse(self, command: Command, code: int, text: str) -> None:
        self.downstream.send(refusal(command.call_id, self._named(command.session_id), code, text))

    def _named(self, session_id: str | None) -> str | None:
        """A level as the client names it."""
        return session_id

    def emit(self, told: Event) -> None:
        self.downstream.send(event(told.method, told.params, told.session_id))

    # -- the hub's side --------------------------------------------------------------------------------------------

    def offer(self, info: TargetInfo, *, waiting: bool) -> bool:
        return self._actions.offer(info, waiting=waiting)

    def tell(self, target_id: str, kind: str, params: dict[str, Any]) -> None:
        if kind == "seen":
            events = self.scope.on_target(target_id)
        elif kind == "gone":
            events = self.scope.on_target_gone(target_id)
            self._actions.target_gone(target_id)
        else:
            events = self.scope.on_target_crashed(
                target_id, str(params.get("status", "")), int(params.get("errorCode", 0))
            )
        for told in events:
            self.emit(told)

    # -- the browser's side ----------------------------------------------------------------------------------------

    def straight(self, data: bytes, rest: int) -> None:
        self._traffic.bytes_down += len(data)
        self.downstream.straight(data, rest)

    def news(self, payload: bytes) -> None:
        """A frame of Chromium that must be read: an answer to a call of ours, or an event about targets."""
        self._traffic.bytes_down += len(payload)
        message = read(payload)
        call_id = message.get("id")
        if call_id is not None:
            on_answer = self._pending.pop(call_id, None)
            if on_answer is not None:
                on_answer(message.get("result") if "error" not in message else None, message.get("error"))
            elif call_id < FIRST_OWN_ID:
                self.pass_on(payload)
            return
        method, params, session_id = message["method"], message.get("params", {}), message.get("sessionId")
        if method in _DOWNLOADS:
            return  # of every context of the browser: whose they are is told elsewhere
        told_event = self.scope.on_upstream(method, params, session_id)
        if told_event is not None:
            self.emit(told_event)
            if method == "Target.attachedToTarget":
                self._actions.attached(params["targetInfo"]["targetId"])
            elif method == "Target.detachedFromTarget":
                self.hub.holds.resumed(told_event.params["targetId"], self)
        elif method == "Target.attachedToTarget":
            self.call("Target.detachFromTarget", {"sessionId": params["sessionId"]}, session_id, _nothing)

    def _download(self, context_id: str, method: str, params: Mapping[str, Any]) -> None:
        if self.scope.contexts.holds(context_id):
            for told in self.scope.on_download(method, params):
                self.emit(told)

    def whole(self, payload: bytes) -> None:
        """A message that need not be read, where whole ones were asked for."""
        self._traffic.bytes_down += len(payload)
        self.pass_on(payload)

    def pass_on(self, payload: bytes) -> None:
        """A message of Chromium for the client, as it came."""
        self.downstream.send(payload)

    def upstream_full(self, full: bool) -> None:
        self.downstream.pause(Why.BROWSER_FULL, full)

    def upstream_lost(self) -> None:
        """The browser is gone, or has thrown this connection out."""
        self.downstream.close(1011, "the browser's side of the connection was lost")
        self.downstream.cut_off()

    def session_ended(self, reason: EndReason) -> None:
        self.downstream.close(*close_code(reason))


_DOWNLOADS: Final = frozenset({"Browser.downloadWillBegin", "Browser.downloadProgress"})


def _nothing(_value: object, _error: object) -> None:
    """The answer does not matter."""
