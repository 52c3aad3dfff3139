"""One watcher a browser: it alone auto-attaches browser-wide, and holds each new target until its owners have it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog

from browser_sessions.cdp import CdpClosed, CdpError, Connection
from browser_sessions.gateway.contexts import Contexts, TargetInfo
from browser_sessions.gateway.holds import HOLD_S, Holds
from browser_sessions.gateway.scope import Scope
from browser_sessions.model.ports import BrowserProcess

CALL_TIMEOUT_S: Final = 10.0
"""For calls that Chromium's browser process answers by itself in a millisecond."""
_EVERYTHING: Final[list[dict[str, Any]]] = [{}]
_PAUSED_TYPES: Final = [{"type": "browser", "exclude": True}, {"type": "tab", "exclude": True}, {}]
"""Tabs are not held: the page in a tab is."""

log = structlog.get_logger()


class Client(Protocol):
    """What the hub needs of a relay."""

    scope: Scope

    def offer(self, info: TargetInfo, *, waiting: bool) -> bool:
        """Attaches the client to a target when it wants it. True when it does: it will resume it, or go."""

    def tell(self, target_id: str, kind: str, params: dict[str, Any]) -> None:
        """A target of its contexts has come, changed, gone or crashed."""


@dataclass(eq=False)
class Room:
    """One session's contexts in this browser, and the clients that share them."""

    contexts: Contexts
    clients: list[Client] = field(default_factory=list)


class Hub:
    """Lives while a browser has clients. Made with `open`."""

    def __init__(self, process: BrowserProcess, connection: Connection) -> None:
        self._process = process
        self._connection = connection
        self._rooms: dict[str, Room] = {}
        """By the session's own context id."""
        self._targets: dict[str, TargetInfo] = {}
        self.holds = Holds(lambda target_id, session_id: self.do(self._let_go(target_id, session_id)))
        self._steered: set[str] = set()
        """Targets that `navigate` attaches to itself."""
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        clients = sum(len(room.clients) for room in self._rooms.values())
        return f"<Hub {len(self._rooms)} rooms, {clients} clients, {len(self.holds)} targets held>"

    @classmethod
    async def open(cls, process: BrowserProcess) -> Hub:
        """Connects and learns of every target. Raises `CdpClosed`, `CdpError`, `TimeoutError`."""
        connection = await Connection.open(process.endpoint, timeout=CALL_TIMEOUT_S)
        hub = cls(process, connection)
        try:
            for event, handler in (
                ("Target.targetCreated", hub._seen),
                ("Target.targetInfoChanged", hub._seen),
                ("Target.targetDestroyed", hub._gone),
                ("Target.targetCrashed", hub._crashed),
                ("Target.attachedToTarget", hub._attached),
            ):
                connection.on(event, handler)
            process.keep_windows(hub.holds.prepared)
            await connection.call(
                "Target.setDiscoverTargets", {"discover": True, "filter": _EVERYTHING}, timeout=CALL_TIMEOUT_S
            )
            await connection.call(
                "Target.setAutoAttach",
                {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True, "filter": _PAUSED_TYPES},
                timeout=CALL_TIMEOUT_S,
            )
        except BaseException:
            await hub.close()
            raise
        return hub

    @property
    def usable(self) -> bool:
        return not self._connection.closed.done()

    @property
    def empty(self) -> bool:
        return not any(room.clients for room in self._rooms.values())

    def room(self, context_id: str) -> Room:
        """The room of a session, by its own context; made when it is new."""
        room = self._rooms.get(context_id)
        if room is None:
            room = self._rooms[context_id] = Room(Contexts(context_id))
            for info in self._targets.values():
                room.contexts.see(info)
        return room

    def leave(self, context_id: str, client: Client) -> None:
        """The client has gone: what waited for it waits no more, and its room goes with its last client."""
        room = self._rooms.get(context_id)
        if room is not None:
            if client in room.clients:
                room.clients.remove(client)
            if not room.clients:
                del self._rooms[context_id]
        self.holds.left(client)

    def adopt(self, room: Room, context_id: str) -> None:
        """A client of the room has made a context: what is in it already is the room's too."""
        room.contexts.add_nested(context_id)
        for info in list(self._targets.values()):
            if info.get("browserContextId") == context_id:
                self._seen({"targetInfo": info}, None)

    def navigate(self, target_id: str, url: str) -> None:
        """Sends a new page on its way, once nothing holds it: navigating a paused target crashes its renderer."""
        self.do(self._navigate(target_id, url))

    async def close(self) -> None:
        self._process.keep_windows(None)
        self.holds.close()
        await self._connection.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- what Chromium tells ---------------------------------------------------------------------------------------

    def _seen(self, params: dict[str, Any], _: str | None) -> None:
        info = params["targetInfo"]
        target_id = info["targetId"]
        fresh = target_id not in self._targets
        self._targets[target_id] = info
        room = self._room_of(info)
        if room is None:
            return
        room.contexts.see(info)
        for client in tuple(room.clients):
            client.tell(target_id, "seen", {})
            if fresh and info.get("type") == "tab":
                client.offer(info, waiting=False)

    def _gone(self, params: dict[str, Any], _: str | None) -> None:
        target_id = params["targetId"]
        info = self._targets.pop(target_id, None)
        self.holds.gone(target_id)
        room = self._room_of(info) if info is not None else None
        if room is not None:
            room.contexts.gone(target_id)
            for client in tuple(room.clients):
                client.tell(target_id, "gone", {})

    def _crashed(self, params: dict[str, Any], _: str | None) -> None:
        info = self._targets.get(params["targetId"])
        room = self._room_of(info) if info is not None else None
        if room is not None:
            for client in tuple(room.clients):
                client.tell(params["targetId"], "crashed", params)

    def _attached(self, params: dict[str, Any], parent: str | None) -> None:
        """A new target, paused for us; or one that was there when we began, which runs."""
        info, session_id = params["targetInfo"], params["sessionId"]
        room = self._room_of(info)
        waiting = bool(params.get("waitingForDebugger"))
        target_id = info["targetId"]
        if target_id in self._steered and not waiting:
            return
        clients: list[Client] = []
        if room is not None and waiting:
            self._targets.setdefault(target_id, info)
            room.contexts.see(self._targets[target_id])
            clients = [client for client in tuple(room.clients) if client.offer(info, waiting=True)]
        opened = waiting and info["type"] == "page" and "openerId" in info
        self.holds.begin(target_id, session_id, clients, preparing=opened and self._process.windows_kept)

    def _room_of(self, info: TargetInfo) -> Room | None:
        context_id = info.get("browserContextId")
        return next((room for room in self._rooms.values() if room.contexts.holds(context_id)), None)

    # -- letting go ------------------------------------------------------------------------------------------------

    async def _let_go(self, target_id: str, session_id: str) -> None:
        with contextlib.suppress(CdpError, CdpClosed, TimeoutError):
            resuming = asyncio.create_task(
                self._connection.call("Runtime.runIfWaitingForDebugger", session_id=session_id, timeout=CALL_TIMEOUT_S)
            )
            try:
                await self._connection.call(
                    "Target.detachFromTarget", {"sessionId": session_id}, timeout=CALL_TIMEOUT_S
                )
            finally:
                await asyncio.gather(resuming, return_exceptions=True)
        self.holds.running(target_id)

    async def _navigate(self, target_id: str, url: str) -> None:
        runs = asyncio.get_running_loop().create_future()
        self.holds.once_running(target_id, lambda: runs.set_result(None), coming=target_id not in self._targets)
        await asyncio.wait([runs], timeout=HOLD_S * 2)
        call = self._connection.call
        with contextlib.suppress(CdpError, CdpClosed, TimeoutError):
            self._steered.add(target_id)
            try:
                answer = await call(
                    "Target.attachToTarget", {"targetId": target_id, "flatten": True}, timeout=CALL_TIMEOUT_S
                )
            finally:
                self._steered.discard(target_id)
            session_id = answer["sessionId"]
            try:
                await call("Page.navigate", {"url": url}, session_id=session_id, timeout=CALL_TIMEOUT_S)
            finally:
                await call("Target.detachFromTarget", {"sessionId": session_id}, timeout=CALL_TIMEOUT_S)

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work` beside everything else, to its end or the hub's."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
