"""Provides clients with auto-attached CDP sessions on new targets.

Init scripts and options only take effect before a page loads if Chromium has auto-attached the session when it created
the page: commands on a session attached with `Target.attachToTarget` arrive too late (seen with Chromium 156, windows
without an opener). A client's own auto-attach would attach it to every page of the browser. So a few browser sessions
of ours auto-attach to all targets, and clients are granted the sessions that each of these has on a new target. Unused
sessions on pages stay attached, because the end of any session resets emulated media and network conditions; those on
workers are detached once the worker runs, because it would not end otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from browser_sessions.cdp.browser_session import BrowserSession
from browser_sessions.cdp.cdp_session import OnResponse, Session
from browser_sessions.cdp.pauses import Pauses

CALL_S: Final = 5.0
"""Timeout of calls to Chromium's browser process, which take a millisecond."""
_AUTO_ATTACH: Final[Mapping[str, Any]] = {
    "autoAttach": True,
    "waitForDebuggerOnStart": True,
    "flatten": True,
    "filter": [{"type": "page"}, {"type": "service_worker"}, {"type": "shared_worker"}, {"exclude": True}],
}


class AutoAttachers:
    """The auto-attaching browser sessions of one browser, and their sessions on new targets."""

    def __init__(self, root: Session, pauses: Pauses) -> None:
        self._root = root
        self._pauses = pauses
        self._attachers: list[Session] = []
        self._available: dict[str, list[tuple[Session, dict[str, Any]]]] = {}
        """By target: attacher and parameters of its `Target.attachedToTarget` event."""
        self._requests: dict[str, list[tuple[BrowserSession, Callable[[], None]]]] = {}
        """By target: clients that wait for a session, and the fallback if there is none."""
        self._granted: dict[str, tuple[Session, BrowserSession]] = {}
        """By session id: the attacher and the client."""

    def __len__(self) -> int:
        return len(self._attachers)

    def __repr__(self) -> str:
        return f"<AutoAttachers {len(self._attachers)}, {len(self._granted)} sessions granted>"

    async def add(self) -> None:
        """Adds an auto-attaching session. Raises `CdpError`, `CdpClosed`, `TimeoutError`."""
        response = await self._root.call("Target.attachToBrowserTarget", timeout=CALL_S)
        attacher = Session(self._root.connection, response["sessionId"])
        attacher.on("Target.attachedToTarget", lambda params: self._attached(attacher, params))
        attacher.on("Target.detachedFromTarget", self._detached)
        self._attachers.append(attacher)
        await attacher.call("Target.setAutoAttach", _AUTO_ATTACH, timeout=CALL_S)

    def request(self, target_id: str, client: BrowserSession, otherwise: Callable[[], None]) -> None:
        """Grants the client a session on a new target, at once or when it is attached. Calls `otherwise` if there is
        none."""
        available = self._available.get(target_id)
        if available:
            self._grant(*available.pop(0), client)
        elif target_id not in self._pauses or not self._attachers:
            otherwise()
        else:
            requests = self._requests.get(target_id)
            if requests is None:
                requests = self._requests[target_id] = []
                self._pauses.when_running(target_id, lambda: self._give_up(target_id))
            requests.append((client, otherwise))

    def release(self, session_id: str, on_response: OnResponse | None = None) -> None:
        """Detaches a granted session."""
        granted = self._granted.get(session_id)
        if granted is not None:
            granted[0].post("Target.detachFromTarget", {"sessionId": session_id}, on_response)

    def _attached(self, attacher: Session, params: dict[str, Any]) -> None:
        session_id, target_id = params["sessionId"], params["targetInfo"]["targetId"]
        if not params.get("waitingForDebugger"):
            _detach_unused(attacher, params)  # the target is older than the attacher
            return
        if not self._pauses.add_session(target_id, session_id):
            attacher.post("Runtime.runIfWaitingForDebugger", session_id=session_id)
            _detach_unused(attacher, params)
            return
        requests = self._requests.get(target_id)
        if requests:
            client, _ = requests.pop(0)
            self._grant(attacher, params, client)
            return
        available = self._available.get(target_id)
        if available is None:
            available = self._available[target_id] = []
            self._pauses.when_running(target_id, lambda: self._discard(target_id))
        available.append((attacher, params))

    def _grant(self, attacher: Session, params: dict[str, Any], client: BrowserSession) -> None:
        self._granted[params["sessionId"]] = attacher, client
        client.granted(params)

    def _give_up(self, target_id: str) -> None:
        for _, otherwise in self._requests.pop(target_id, ()):
            otherwise()

    def _discard(self, target_id: str) -> None:
        for attacher, params in self._available.pop(target_id, ()):
            _detach_unused(attacher, params)

    def _detached(self, params: dict[str, Any]) -> None:
        granted = self._granted.pop(params["sessionId"], None)
        if granted is not None:
            granted[1].granted_detached(params)


def _detach_unused(attacher: Session, params: Mapping[str, Any]) -> None:
    """Detaches a session that no client needs, unless it is on a page."""
    if params["targetInfo"]["type"] != "page":
        attacher.post("Target.detachFromTarget", {"sessionId": params["sessionId"]})
