"""CDP sessions on a browser's pipe: ours, and the browser sessions that clients speak through."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from browser_sessions.cdp.connection import Connection
from browser_sessions.cdp.errors import SESSION_NOT_FOUND, CdpClosed, CdpError
from browser_sessions.cdp.messages import encode, event_method, own_id, read
from browser_sessions.cdp.pauses import Pauses

UNREAD_BYTES: Final = 2**20
"""What a page logs, throws or sends at greater length is not read: nobody shows it, and decoding it blocks the loop."""
_UNREAD: Final = (b"Runtime.", b"Log.", b"Network.", b"Page.javascriptDialog")
ATTACH_WAIT_S: Final = 3.0
"""How long the answer to `Target.createTarget` waits for the client's own attach to be sent first: Playwright crashes
otherwise. It takes milliseconds; past this the client gets its answer, and the attach when it comes."""

PAUSED_AT_ROOT: Final = frozenset({"page", "service_worker", "shared_worker"})
"""Types of targets that are paused for us too; the others are attached below a page, and are the client's affair."""
_GONE: Final[dict[str, Any]] = {"code": SESSION_NOT_FOUND, "message": "Session with given id not found."}
"""Chromium's own error object."""

OnAnswer = Callable[[Mapping[str, Any] | None, Mapping[str, Any] | None], None]
"""Called with the result, or with the error object."""
Handler = Callable[[dict[str, Any]], None]

log = logging.getLogger(__name__)


class _Caller:
    """Calls on one CDP session, matched to their answers by id."""

    def __init__(self, connection: Connection, level: str | None) -> None:
        self.connection = connection
        self._level = level
        """The session's id; None: the browser's root."""
        self._pending: dict[int, OnAnswer] = {}

    def post(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        on_answer: OnAnswer | None = None,
        *,
        session_id: str | None = None,
    ) -> int:
        """Sends a call of our own, on this session or on one below it; `on_answer` is called in the order of the pipe,
        and never when the session ends first. Returns the call's id. Raises `MessageTooLong`, `Malformed`."""
        call_id = self.connection.new_id()
        if on_answer is not None:
            self._pending[call_id] = on_answer
        self.connection.send(encode(call_id, method, params or {}, session_id or self._level))
        return call_id

    async def call(
        self, method: str, params: Mapping[str, Any] | None = None, *, session_id: str | None = None, timeout: float
    ) -> dict[str, Any]:
        """The `result` of one call, within `timeout` seconds. Raises `CdpError`, `CdpClosed`, `TimeoutError`."""
        if self.connection.closed.done():
            raise CdpClosed(self.connection.closed.result())
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

        def answered(value: Mapping[str, Any] | None, error: Mapping[str, Any] | None) -> None:
            if answer.done():
                return
            if value is not None:
                answer.set_result(dict(value))
            elif error is not None:
                answer.set_exception(CdpError(int(error.get("code", 0)), str(error.get("message", ""))))
            else:
                answer.set_exception(CdpClosed(self._reason()))

        call_id = self.post(method, params, answered, session_id=session_id)
        try:
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            raise TimeoutError(f"{method} was not answered within {timeout:g} s") from None
        finally:
            self._pending.pop(call_id, None)

    def _reason(self) -> str:
        closed = self.connection.closed
        return closed.result() if closed.done() else "the session was closed"

    def _answered(self, message: Mapping[str, Any]) -> None:
        on_answer = self._pending.pop(message["id"], None)
        if on_answer is not None:
            error = message.get("error")
            on_answer(message.get("result", {}) if error is None else None, error)

    def _fail(self, error: Mapping[str, Any] | None) -> None:
        """Chromium does not answer what was asked on a session that ends."""
        pending, self._pending = self._pending, {}
        for on_answer in pending.values():
            on_answer(None, error)


class Session(_Caller):
    """One of ours: the browser's root, a page, or a part of a page that is a target of its own."""

    def __init__(self, connection: Connection, session_id: str | None, target_id: str = "") -> None:
        super().__init__(connection, session_id)
        connection.route(session_id, self)
        self.session_id = session_id
        self.target_id = target_id
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the target or the browser is gone, or the session was detached."""
        self._handlers: dict[bytes, list[Handler]] = {}
        self._below: dict[str, Session] = {}

    def __repr__(self) -> str:
        return f"<Session on {self.target_id or 'the browser'}{', closed' if self.closed.done() else ''}>"

    def on(self, method: str, handler: Handler) -> Callable[[], None]:
        """Calls `handler` with the params of every event `method`, in the order of the pipe. Returns what takes it away
        again."""
        handlers = self._handlers.setdefault(method.encode(), [])
        handlers.append(handler)

        def off() -> None:
            with contextlib.suppress(ValueError):
                handlers.remove(handler)

        return off

    async def call(
        self, method: str, params: Mapping[str, Any] | None = None, *, session_id: str | None = None, timeout: float
    ) -> dict[str, Any]:
        """The same; after the session's end too, which Chromium would answer for nobody."""
        if self.closed.done() and not self.connection.closed.done():
            raise CdpError(_GONE["code"], _GONE["message"])
        return await super().call(method, params, session_id=session_id, timeout=timeout)

    def below(self, session_id: str) -> Session | None:
        """The session on a worker or frame that Chromium attached through this one."""
        return self._below.get(session_id)

    def receive(self, message: bytes, _session_id: bytes | None) -> None:
        method = event_method(message)
        if method is None:
            self._answered(read(message))
            return
        if len(message) > UNREAD_BYTES and method.startswith(_UNREAD):
            return
        handlers = self._handlers.get(method)
        targets = method.startswith(b"Target.") and self.session_id is not None
        if not handlers and not targets:
            return
        params = read(message).get("params", {})
        if method == b"Target.attachedToTarget" and targets:
            child = Session(self.connection, params["sessionId"], params["targetInfo"]["targetId"])
            self._below[params["sessionId"]] = child
        for handler in tuple(handlers or ()):
            try:
                handler(params)
            except Exception:  # one bad handler must not stop the messages of all others
                log.exception("a handler of %s failed", method.decode())
        if method == b"Target.detachedFromTarget" and targets:
            child_gone = self._below.pop(params["sessionId"], None)
            if child_gone is not None:
                child_gone.end()

    def lost(self) -> None:
        self.end()

    def full(self, full: bool) -> None:
        """What we ask is little, and needed."""

    def end(self) -> None:
        """The session is gone: calls under way fail as later ones would."""
        if self.closed.done():
            return
        self.closed.set_result(None)
        if self.session_id is not None:
            self.connection.unroute(self.session_id)
        for child in tuple(self._below.values()):
            child.end()
        self._below.clear()
        self._handlers.clear()
        self._fail(None if self.connection.closed.done() else _GONE)


class Client(Protocol):
    """Who speaks through a browser session."""

    def receive(self, message: bytes, session_id: bytes | None) -> None:
        """A message as Chromium sent it; `session_id` stands at its end, None: it is at the client's own root, and the
        id at its end is to be cut off (`messages.without_session`)."""

    def target_event(self, method: str, params: dict[str, Any], session_id: str | None) -> None:
        """An event of the `Target` domain, decoded; None: at the client's own root."""

    def browser_lost(self) -> None:
        """The browser is gone, or has detached this session."""

    def browser_full(self, full: bool) -> None:
        """Whether the browser is behind with reading commands."""


class Lender(Protocol):
    """Has sessions on new targets ready; see `carriers.Carriers`."""

    def borrow(self, target_id: str, borrower: BrowserSession, otherwise: Callable[[], None]) -> None: ...

    def give_back(self, session_id: str, on_answer: OnAnswer | None = None) -> None: ...


class BrowserSession(_Caller):
    """A whole browser to one client: what is attached through it belongs to the client, and ends with it."""

    client: Client | None = None
    """Set before anything is sent."""

    def __init__(self, root: Session, pauses: Pauses, lender: Lender, session_id: str) -> None:
        super().__init__(root.connection, session_id)
        root.connection.route(session_id, self)
        self.session_id = session_id
        self.pauses = pauses
        self._root = root
        self._lender = lender
        self._borrowing: dict[str, OnAnswer] = {}
        self._lent: set[str] = set()
        """Those of the sessions below that Chromium attached to one of the lender's."""
        self._root_id = session_id.encode()
        self._below: set[str] = set()
        self._after_attach: dict[str, Callable[[], None]] = {}
        """Answers to createTarget that wait for the attach to their target."""
        self._closed = False

    def __repr__(self) -> str:
        return f"<BrowserSession with {len(self._below)} sessions below>"

    def holds(self, session_id: str) -> bool:
        return session_id in self._below

    def send(self, message: bytes) -> None:
        """A command of the client, with this session's id or one below it in it. Raises `MessageTooLong`."""
        if not self._closed:
            self.connection.send(message)

    def receive(self, message: bytes, session_id: bytes | None) -> None:
        at_root = session_id == self._root_id
        if message.startswith(b'{"method":"Target.'):
            event = read(message)
            self._target_event(event["method"], event["params"], None if at_root else event["sessionId"])
        elif own_id(message):
            self._answered(read(message))
        elif self.client is not None:
            self.client.receive(message, None if at_root else session_id)

    def attach(self, target_id: str, on_answer: OnAnswer | None = None, *, session_id: str | None = None) -> None:
        """Attaches the client to a target; the event reaches it before `on_answer` is called."""
        params = {"targetId": target_id, "flatten": True}
        self.post("Target.attachToTarget", params, on_answer, session_id=session_id)

    def attach_new(self, target_id: str, on_answer: OnAnswer) -> None:
        """The same for a target that may still be paused, such that what the client says is in place before it
        runs."""

        def attach() -> None:
            self._borrowing.pop(target_id, None)
            self.attach(target_id, on_answer)

        self._borrowing[target_id] = on_answer
        self._lender.borrow(target_id, self, attach)

    def detach(self, session_id: str, on_answer: OnAnswer | None = None, *, level: str | None = None) -> None:
        """Detaches the client from a target that is attached through `level` (None: this session)."""
        if session_id in self._lent:
            self._lender.give_back(session_id, on_answer)
        else:
            self.post("Target.detachFromTarget", {"sessionId": session_id}, on_answer, session_id=level)

    def lend(self, params: dict[str, Any]) -> None:
        """A session on a new target is the client's from now on; `params` are those of `Target.attachedToTarget`."""
        self._lent.add(params["sessionId"])
        self._attached_to(params, None)
        on_answer = self._borrowing.pop(params["targetInfo"]["targetId"], None)
        if on_answer is not None:
            on_answer({"sessionId": params["sessionId"]}, None)

    def lent_gone(self, params: dict[str, Any]) -> None:
        """It has been detached; `params` are those of `Target.detachedFromTarget`."""
        if not self._closed:
            self._lent.discard(params["sessionId"])
            self._target_event("Target.detachedFromTarget", params, None)

    def resume(self, target_id: str, then: Callable[[], None]) -> None:
        """The client lets a paused target run; `then` is called when it does."""
        self.pauses.once_running(target_id, then)
        self.pauses.resumed(target_id, self)

    def post_once_running(self, target_id: str, method: str, params: Mapping[str, Any], session_id: str) -> None:
        """A call of our own, on a session on the target, whose answer does not matter."""

        def post() -> None:
            if self.holds(session_id):
                self.post(method, params, session_id=session_id)

        self.pauses.once_running(target_id, post)

    def create_target(
        self,
        params: Mapping[str, Any],
        attaches: Callable[[str], bool],
        on_answer: OnAnswer,
        *,
        resumes: bool,
        created: Callable[[str], None] | None = None,
    ) -> None:
        """`Target.createTarget`. Where the client `attaches` to the new target by itself, it is told so before
        `on_answer` is called; where it does not `resume` it, the target runs before. `created` is called at once."""

        def answered(value: Mapping[str, Any] | None, error: Mapping[str, Any] | None) -> None:
            if value is None:
                on_answer(None, error)
                return
            target_id = value["targetId"]
            if created is not None:
                created(target_id)

            def attached() -> None:
                if resumes:
                    on_answer(value, None)
                else:
                    self.pauses.once_running(target_id, lambda: on_answer(value, None))

            if attaches(target_id):
                self._after_attach[target_id] = attached
                asyncio.get_running_loop().call_later(ATTACH_WAIT_S, self._attached, target_id)
            else:
                attached()

        self.post("Target.createTarget", params, answered)

    def drop(self, session_id: str) -> None:
        """Detaches from a target that the client is not to have; nothing of it reaches the client."""
        self._below.discard(session_id)
        self.connection.unroute(session_id)
        self.detach(session_id)

    def target_gone(self, target_id: str) -> None:
        self._attached(target_id)

    def close(self) -> None:
        """Chromium detaches everything below, and disposes of the contexts that were to go with it."""
        if self._closed:
            return
        self._closed = True
        for session_id in (self.session_id, *self._below):
            self.connection.unroute(session_id)
        for session_id in self._lent:
            self._lender.give_back(session_id)
        self._pending.clear()
        self._after_attach.clear()
        self.pauses.left(self)
        if not self.connection.closed.done():
            self._root.post("Target.detachFromTarget", {"sessionId": self.session_id})

    def lost(self) -> None:
        """The browser is gone, or has detached this session by itself."""
        if not self._closed:
            self.close()
            if self.client is not None:
                self.client.browser_lost()

    def full(self, full: bool) -> None:
        if self.client is not None:
            self.client.browser_full(full)

    def _target_event(self, method: str, params: dict[str, Any], session_id: str | None) -> None:
        if method == "Target.attachedToTarget":
            child, info = params["sessionId"], params["targetInfo"]
            waits = info["type"] in PAUSED_AT_ROOT and params.get("waitingForDebugger")
            if waits and not self.pauses.held_by(info["targetId"], child):
                self._root.post("Runtime.runIfWaitingForDebugger", session_id=child)  # it was to run already
            self._attached_to(params, session_id)
            return
        if method == "Target.detachedFromTarget":
            self._below.discard(params["sessionId"])
            self.connection.unroute(params["sessionId"])
        self._tell(method, params, session_id)

    def _attached_to(self, params: dict[str, Any], session_id: str | None) -> None:
        child, target_id = params["sessionId"], params["targetInfo"]["targetId"]
        self._below.add(child)
        self.connection.route(child, self)
        params["waitingForDebugger"] = bool(params.get("waitingForDebugger")) or target_id in self.pauses
        self._tell("Target.attachedToTarget", params, session_id)
        self._attached(target_id)

    def _tell(self, method: str, params: dict[str, Any], session_id: str | None) -> None:
        if self.client is not None:
            self.client.target_event(method, params, session_id)

    def _attached(self, target_id: str) -> None:
        then = self._after_attach.pop(target_id, None)
        if then is not None:
            then()
