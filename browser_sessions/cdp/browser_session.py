"""A client's CDP session on a browser: what it attaches to belongs to it, and ends with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from browser_sessions.cdp.cdp_session import Caller, OnResponse, Session
from browser_sessions.cdp.messages import is_own_response, read
from browser_sessions.cdp.pauses import Pauses

ATTACH_WAIT_S: Final = 3.0
"""How long the response to `Target.createTarget` waits until the client's auto-attach event has been sent, without
which Playwright crashes. It takes milliseconds; after this the response is sent first."""
_DIALOG: Final = b'{"method":"Page.javascriptDialog'
_DIALOG_OPENING: Final = _DIALOG + b'Opening"'
_BEFOREUNLOAD: Final = b'"type":"beforeunload"'
"""No text of the page contains it: its quotation marks are escaped."""
_NOT_ACTIVE: Final = "Not attached to an active page"
"""Chromium's error for a page whose next document is committed: its dialog blocks it for ever."""

PAUSED_AT_ROOT: Final = frozenset({"page", "service_worker", "shared_worker"})
"""Target types that are paused on our root session too. Others are attached below a page, by its client."""


class Client(Protocol):
    """The user of a browser session."""

    def receive(self, message: bytes, session_id: bytes | None) -> None:
        """A message as Chromium sent it. `session_id` is None for a message on the browser session itself, whose id the
        client must remove from its end (`messages.without_session`)."""

    def target_event(self, method: str, params: dict[str, Any], session_id: str | None) -> None:
        """A decoded event of the `Target` domain. `session_id` is None for one on the browser session itself."""

    def failed(self) -> None:
        """The handling of one of its messages has raised, which is a bug: its state may be wrong."""

    def browser_lost(self) -> None:
        """The browser is gone, or has detached this session."""

    def browser_full(self, full: bool) -> None:
        """Backpressure: whether too many commands wait to be read by the browser."""


def _ignore(_value: object, _error: object) -> None:
    """An `OnResponse`."""


class SessionProvider(Protocol):
    """Provides auto-attached sessions on new targets, see `auto_attachers.AutoAttachers`."""

    def request(self, target_id: str, client: BrowserSession, otherwise: Callable[[], None]) -> None: ...

    def release(self, session_id: str, on_response: OnResponse | None = None) -> None: ...


class BrowserSession(Caller):
    """A client's session on the browser. Sessions attached through it belong to the client and end with it."""

    client: Client | None = None
    """Set before anything is sent."""

    def __init__(
        self,
        root: Session,
        pauses: Pauses,
        provider: SessionProvider,
        close_target: Callable[[str, OnResponse], None],
        session_id: str,
    ) -> None:
        super().__init__(root.connection, session_id)
        root.connection.route(session_id, self)
        self.session_id = session_id
        self.pauses = pauses
        self._root = root
        self._provider = provider
        self._close_target = close_target
        self._requested: dict[str, OnResponse] = {}
        """Requests to the provider without a session yet, by target."""
        self._granted: set[str] = set()
        """Sessions from the provider."""
        self._root_id = session_id.encode()
        self._below: dict[str, str] = {}
        """All sessions that belong to the client, with their targets."""
        self._dialogs: dict[str, bool] = {}
        """Open dialogs, by the session that Chromium has reported them on. True for `beforeunload`."""
        self._after_dialog: dict[str, list[Callable[[], None]]] = {}
        self._after_attach: dict[str, Callable[[], None]] = {}
        """Responses to createTarget that wait for the client's attach to the target, by target."""
        self._closed = False

    def __repr__(self) -> str:
        return f"<BrowserSession with {len(self._below)} sessions below>"

    def holds(self, session_id: str) -> bool:
        return session_id in self._below

    def send(self, message: bytes) -> None:
        """Sends a client's command, which must have the id of this session or of one below it. Raises
        `MessageTooLong`."""
        if not self._closed:
            self.connection.send(message)

    def receive(self, message: bytes, session_id: bytes | None) -> None:
        at_root = session_id == self._root_id
        if message.startswith(b'{"method":"Target.'):
            event = read(message)
            self._target_event(event["method"], event["params"], None if at_root else event["sessionId"])
        elif is_own_response(message):
            self._on_response(read(message))
        else:
            if message.startswith(_DIALOG):
                self._dialog_event(message, session_id.decode() if session_id else "")
            if self.client is not None:
                self.client.receive(message, None if at_root else session_id)

    def attach(self, target_id: str, on_response: OnResponse | None = None, *, session_id: str | None = None) -> None:
        """Attaches the client to a target. The client gets the event before `on_response` is called."""
        params = {"targetId": target_id, "flatten": True}
        self.post("Target.attachToTarget", params, on_response, session_id=session_id)

    def attach_new(self, target_id: str, on_response: OnResponse) -> None:
        """Attaches the client to a target that may be paused, so that its commands take effect before the target
        runs."""

        def attach() -> None:
            self._requested.pop(target_id, None)
            self.attach(target_id, on_response)

        self._requested[target_id] = on_response
        self._provider.request(target_id, self, attach)

    def detach(self, session_id: str, on_response: OnResponse | None = None, *, level: str | None = None) -> None:
        """Detaches the client from a target that is attached through `level` (None: this session)."""

        def detach() -> None:
            if session_id in self._granted:
                self._provider.release(session_id, on_response)
            else:
                self.post("Target.detachFromTarget", {"sessionId": session_id}, on_response, session_id=level)

        self.without_dialog(session_id, detach)

    def without_dialog(self, session_id: str, then: Callable[[], None]) -> None:
        """Calls `then` once no dialog is open on a session; one that is gets closed, as `OpenDialogs.close` does.

        To be used before whatever makes Chromium (156) close it itself: that ends the whole browser if the page's next
        document is committed already. Nothing but the end of the page closes the dialog then."""
        accept = self._dialogs.get(session_id)
        if accept is None:
            then()
            return
        self._after_dialog.setdefault(session_id, []).append(then)

        def on_response(_value: object, error: Mapping[str, Any] | None) -> None:
            target_id = self._below.get(session_id)
            if target_id is None or error is None:
                return
            if error.get("message") == _NOT_ACTIVE:
                self._close_target(target_id, _ignore)
            else:
                self._dialog_closed(session_id)

        self.post("Page.handleJavaScriptDialog", {"accept": accept}, on_response, session_id=session_id)

    def granted(self, params: dict[str, Any]) -> None:
        """A session of the provider belongs to the client now. `params`: those of `Target.attachedToTarget`."""
        self._granted.add(params["sessionId"])
        self._attached_to(params, None)
        on_response = self._requested.pop(params["targetInfo"]["targetId"], None)
        if on_response is not None:
            on_response({"sessionId": params["sessionId"]}, None)

    def granted_detached(self, params: dict[str, Any]) -> None:
        """A granted session was detached. `params`: those of `Target.detachedFromTarget`."""
        self._granted.discard(params["sessionId"])
        self._target_event("Target.detachedFromTarget", params, None)

    def close_target(self, target_id: str, on_response: OnResponse) -> None:
        """Closes a target on behalf of the client, at once or when it may be closed, see `pauses`. It is closed also if
        the client disconnects meanwhile."""
        self._close_target(target_id, on_response)
        self.pauses.release(target_id, self)

    def resume(self, target_id: str, then: Callable[[], None]) -> None:
        """Resumes a paused target on behalf of the client. `then` is called when it runs."""
        self.pauses.when_running(target_id, then)
        self.pauses.resumed(target_id, self)

    def post_when_running(self, target_id: str, method: str, params: Mapping[str, Any], session_id: str) -> None:
        """Sends a call of our own on a session on the target once that runs. Ignores the response."""

        def post() -> None:
            if self.holds(session_id):
                self.post(method, params, session_id=session_id)

        self.pauses.when_running(target_id, post)

    def create_target(
        self,
        params: Mapping[str, Any],
        attaches: Callable[[str], bool],
        on_response: OnResponse,
        *,
        resumes: bool,
        created: Callable[[str], None] | None = None,
    ) -> None:
        """Sends `Target.createTarget`. `on_response` is called after the client's `Target.attachedToTarget` event if
        the client `attaches` automatically, and after the target runs unless the client `resumes` it. `created` is
        called at once."""

        def responded(value: Mapping[str, Any] | None, error: Mapping[str, Any] | None) -> None:
            if value is None:
                on_response(None, error)
                return
            target_id = value["targetId"]
            if created is not None:
                created(target_id)

            def attached() -> None:
                if resumes:
                    on_response(value, None)
                else:
                    self.pauses.when_running(target_id, lambda: on_response(value, None))

            if attaches(target_id):
                self._after_attach[target_id] = attached
                asyncio.get_running_loop().call_later(ATTACH_WAIT_S, self._attached, target_id)
            else:
                attached()

        self.post("Target.createTarget", params, responded)

    def drop(self, session_id: str) -> None:
        """Detaches from a target that the client must not see, without events for the client."""
        self._below.pop(session_id, None)
        self.connection.unroute(session_id)
        self.detach(session_id)

    def target_gone(self, target_id: str) -> None:
        self._attached(target_id)

    def close(self, then: Callable[[], None] | None = None) -> None:
        """Detaches the session, after the dialogs that are open on those below are closed, and calls `then`. Chromium
        then detaches all sessions below and disposes of contexts with `disposeOnDetach`."""
        if self._closed:
            return
        self._closed, self.client = True, None
        self._pending.clear()
        self._after_attach.clear()
        self.pauses.client_left(self)
        blocked = set(self._dialogs)

        def settled(session_id: str) -> None:
            blocked.discard(session_id)
            if not blocked:
                self._detach(then)

        for session_id in tuple(blocked):
            self.without_dialog(session_id, partial(settled, session_id))
        if not blocked:
            self._detach(then)

    def _detach(self, then: Callable[[], None] | None) -> None:
        for session_id in (self.session_id, *self._below):
            self.connection.unroute(session_id)
        for session_id in tuple(self._granted):
            self._provider.release(session_id)
        if not self.connection.closed.done():
            self._root.post("Target.detachFromTarget", {"sessionId": self.session_id})
        if then is not None:
            then()

    def failed(self) -> None:
        if self.client is not None:
            self.client.failed()

    def lost(self) -> None:
        """The browser is gone, or has detached this session."""
        if not self._closed:
            client = self.client
            self._dialogs.clear()
            self.close()
            if client is not None:
                client.browser_lost()

    def full(self, full: bool) -> None:
        if self.client is not None:
            self.client.browser_full(full)

    def _target_event(self, method: str, params: dict[str, Any], session_id: str | None) -> None:
        if method == "Target.attachedToTarget":
            child, info = params["sessionId"], params["targetInfo"]
            waits = info["type"] in PAUSED_AT_ROOT and params.get("waitingForDebugger")
            if waits and not self.pauses.add_session(info["targetId"], child):
                self._root.post("Runtime.runIfWaitingForDebugger", session_id=child)  # already resumed for others
            self._attached_to(params, session_id)
            return
        if method == "Target.detachedFromTarget":
            self._below.pop(params["sessionId"], None)
            self.connection.unroute(params["sessionId"])
            self._dialog_closed(params["sessionId"])
        self._notify(method, params, session_id)

    def _attached_to(self, params: dict[str, Any], session_id: str | None) -> None:
        child, target_id = params["sessionId"], params["targetInfo"]["targetId"]
        self._below[child] = target_id
        self.connection.route(child, self)
        params["waitingForDebugger"] = bool(params.get("waitingForDebugger")) or target_id in self.pauses
        self._notify("Target.attachedToTarget", params, session_id)
        self._attached(target_id)

    def _dialog_event(self, message: bytes, session_id: str) -> None:
        if message.startswith(_DIALOG_OPENING):
            self._dialogs[session_id] = _BEFOREUNLOAD in message
        else:
            self._dialog_closed(session_id)

    def _dialog_closed(self, session_id: str) -> None:
        self._dialogs.pop(session_id, None)
        for then in self._after_dialog.pop(session_id, ()):
            then()

    def _notify(self, method: str, params: dict[str, Any], session_id: str | None) -> None:
        if self.client is not None:
            self.client.target_event(method, params, session_id)

    def _attached(self, target_id: str) -> None:
        then = self._after_attach.pop(target_id, None)
        if then is not None:
            then()
