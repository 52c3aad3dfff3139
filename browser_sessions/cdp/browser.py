"""One Chromium, controlled through its pipe: clients, targets and pauses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

from browser_sessions.cdp.auto_attachers import AutoAttachers
from browser_sessions.cdp.browser_session import BrowserSession, Client
from browser_sessions.cdp.cdp_session import OnResponse, Session
from browser_sessions.cdp.connection import Connection
from browser_sessions.cdp.errors import CdpClosed, CdpError
from browser_sessions.cdp.pauses import Pauses
from browser_sessions.cdp.target_tree import Target, TargetInfo, TargetTree

C = TypeVar("C", bound=Client)

CLOSE_AGAIN_S: Final = 0.5
"""A target that still exists then is closed again: Chromium loses a close that meets a window's change to another
process, 3 of 20 for windows of another site that were closed as soon as they ran."""
CLOSES: Final = 4
"""How often in all. A page that does not respond is closed by Chromium itself after a second."""

_EVERYTHING: Final[list[dict[str, Any]]] = [{}]
_PAUSED_TYPES: Final = [{"type": "browser", "exclude": True}, {"type": "tab", "exclude": True}, {}]
"""Tabs are not paused, only the pages in them."""


class Browser:
    """Owns the pipe of a Chromium. All clients, including Playwright, use it through this class."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        """`now` gives the wall clock's time, in UTC."""
        self._connection = Connection(self._lost)
        self.targets = TargetTree(now)
        self.pauses = Pauses(self._resume)
        self.root = Session(self._connection, None)
        """Our own session, never shared with a client."""
        self.auto_attachers = AutoAttachers(self.root, self.pauses)
        self._pages: dict[str, asyncio.Future[Session]] = {}
        """Our session on each page, by target id."""

    def __repr__(self) -> str:
        state = f"closed: {self.closed.result()}" if self.closed.done() else "open"
        return f"<Browser {state}, {self.targets!r}, {len(self.pauses)} paused>"

    @property
    def closed(self) -> asyncio.Future[str]:
        """As `Connection.closed`."""
        return self._connection.closed

    async def open(self, messages: int, commands: int, *, timeout: float) -> None:
        """Takes ownership of the pipe's descriptors and starts target discovery. `timeout` in seconds, for each of two
        calls. Raises `CdpError`, `CdpClosed`, `TimeoutError`."""
        await self._connection.open(messages, commands)
        self.root.on("Target.targetCreated", self._created)
        self.root.on("Target.targetInfoChanged", self._updated)
        self.root.on("Target.targetDestroyed", self._destroyed)
        self.root.on("Target.targetCrashed", self.targets.crashed)
        self.root.on("Target.attachedToTarget", self._attached)
        self.root.on("Target.detachedFromTarget", self._detached)
        discover = {"discover": True, "filter": _EVERYTHING}
        await self.root.call("Target.setDiscoverTargets", discover, timeout=timeout)
        attach = {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True, "filter": _PAUSED_TYPES}
        await self.root.call("Target.setAutoAttach", attach, timeout=timeout)

    async def connect(self, make: Callable[[BrowserSession], C], *, timeout: float) -> C:
        """Creates a browser session and calls `make` with it, which returns the client. Raises `CdpError`, `CdpClosed`,
        `TimeoutError`, and what `make` raises."""
        if self.closed.done():
            raise CdpClosed(self.closed.result())
        connected: asyncio.Future[BrowserSession] = asyncio.get_running_loop().create_future()

        def attached(value: Mapping[str, Any] | None, error: Mapping[str, Any] | None) -> None:
            if value is None:
                if not connected.done():
                    connected.set_exception(_failure(error))
                return
            session = BrowserSession(self.root, self.pauses, self.auto_attachers, self.close_target, value["sessionId"])
            if connected.done():  # the caller was cancelled or has timed out
                session.close()
            else:
                connected.set_result(session)

        self.root.post("Target.attachToBrowserTarget", None, attached)
        try:
            async with asyncio.timeout(timeout):
                session = await connected
        except BaseException:
            if connected.done() and not connected.cancelled() and connected.exception() is None:
                connected.result().close()
            raise
        try:
            session.client = make(session)
        except BaseException:
            session.close()
            raise
        return session.client

    async def page(self, target_id: str, *, timeout: float) -> Session | None:
        """Our own session on a page, shared by all callers; None if the page is gone. Raises `TimeoutError`."""
        if target_id not in self._pages and self.targets.get(target_id) is None:
            return None
        found = self._page(target_id)
        await asyncio.wait({found}, timeout=timeout)
        if not found.done():
            raise TimeoutError
        return None if found.cancelled() else found.result()

    def close_target(self, target_id: str, on_response: OnResponse | None = None) -> None:
        """Closes a target, at once or when it may be closed, see `pauses`. `on_response` as in `Session.post`."""

        def close() -> None:
            self.root.post("Target.closeTarget", {"targetId": target_id}, on_response)
            asyncio.get_running_loop().call_later(CLOSE_AGAIN_S, self._close_again, target_id, CLOSES - 1)

        self.pauses.when_closable(target_id, close)

    def attached_page(self, target_id: str) -> Session | None:
        """The same, None if it is not attached yet."""
        found = self._pages.get(target_id)
        return found.result() if found is not None and found.done() and not found.cancelled() else None

    def close(self) -> None:
        """Closes the pipe, at which the browser exits."""
        self._connection.close()

    def _lost(self) -> None:
        for found in self._pages.values():
            found.cancel()
        self._pages.clear()
        self.pauses.close()

    # -- targets ---------------------------------------------------------------------------------------------------

    def _page(self, target_id: str) -> asyncio.Future[Session]:
        return self._pages.setdefault(target_id, asyncio.get_running_loop().create_future())

    def _attached(self, params: dict[str, Any]) -> None:
        """Starts the pause of a new target. Our session on a page stays attached, on other targets until they run."""
        info, session_id = params["targetInfo"], params["sessionId"]
        if info["type"] == "browser":
            return  # a client's browser session
        target_id, waiting = info["targetId"], bool(params.get("waitingForDebugger"))
        target = self.targets.get(target_id) or self._new(info)
        session = Session(self._connection, session_id, target_id)
        if info["type"] == "page":
            found = self._page(target_id)
            if not found.done():
                found.set_result(session)
        if waiting:
            watchers = self.targets.watchers(target.context_id)
            clients = (client for watcher in watchers for client in watcher.target_paused(target))
            self.pauses.begin(target_id, session_id, clients)
        elif info["type"] == "page":
            self.pauses.running(target_id)
        else:
            self.root.post("Target.detachFromTarget", {"sessionId": session_id})

    def _detached(self, params: dict[str, Any]) -> None:
        receiver = self._connection.receiver(params["sessionId"])
        if isinstance(receiver, BrowserSession):
            receiver.lost()
        elif isinstance(receiver, Session):
            found = self._pages.pop(receiver.target_id, None)
            receiver.end()
            if found is not None and not found.done():
                found.cancel()

    def _created(self, params: dict[str, Any]) -> None:
        if self.targets.get(params["targetInfo"]["targetId"]) is None:
            self._new(params["targetInfo"])
        else:
            self._updated(params)

    def _new(self, info: TargetInfo) -> Target:
        if info["type"] == "page" and info.get("canAccessOpener"):
            self.pauses.window_created(info["targetId"])
        return self.targets.update(info)

    def _close_again(self, target_id: str, times: int) -> None:
        if self.targets.get(target_id) is not None and times and not self.closed.done():
            self.root.post("Target.closeTarget", {"targetId": target_id})
            asyncio.get_running_loop().call_later(CLOSE_AGAIN_S, self._close_again, target_id, times - 1)

    def _updated(self, params: dict[str, Any]) -> None:
        self.targets.update(params["targetInfo"])

    def _destroyed(self, params: dict[str, Any]) -> None:
        target_id = params["targetId"]
        self.targets.destroyed(target_id)
        self.pauses.gone(target_id)
        found = self._pages.pop(target_id, None)
        if found is not None and found.done() and not found.cancelled():
            found.result().end()
        elif found is not None:
            found.cancel()

    def _resume(self, target_id: str, sessions: tuple[str, ...]) -> None:
        first, *others = sessions
        for session_id in others:
            self.root.post("Runtime.runIfWaitingForDebugger", session_id=session_id)
        ours = self._connection.receiver(first)
        if not isinstance(ours, Session):
            self.pauses.running(target_id)
            return

        def running(_value: object, _error: object) -> None:
            self.pauses.running(target_id)
            target = self.targets.get(target_id)
            if target is not None and target.type != "page":  # detaching before it runs would pause it for ever
                self.root.post("Target.detachFromTarget", {"sessionId": first})

        ours.post("Runtime.runIfWaitingForDebugger", None, running)


def _failure(error: Mapping[str, Any] | None) -> Exception:
    if error is None:
        return CdpClosed("the browser is gone")
    return CdpError(int(error.get("code", 0)), str(error.get("message", "")))
