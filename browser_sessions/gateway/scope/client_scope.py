"""The state of one client's connection: its CDP sessions, windows, stream handles, discovery and auto-attach.

The relay updates it in the order of the messages; the policy only reads it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from browser_sessions.cdp import TargetInfo
from browser_sessions.gateway.scope.command_decision import Ask, AutoAttach, Reading
from browser_sessions.gateway.scope.session_contexts import Contexts
from browser_sessions.gateway.scope.target_filters import TargetFilter
from browser_sessions.gateway.scope.trace_stream import TraceReader

MAX_SESSIONS: Final = 4096
"""CDP sessions of one connection: twenty pages of two hundred frames and workers. Then attachToTarget is refused."""
MAX_LEVELS: Final = 8
"""Sessions on the browser target that are attached through each other: clients use one or two."""


@dataclass(frozen=True, slots=True)
class CdpSession:
    """A CDP session that Chromium attached on this connection."""

    session_id: str
    target_id: str
    parent: str | None
    """The session it was attached through; None: the browser itself."""
    context_id: str
    automatic: bool
    """Attached by the client's browser-level `setAutoAttach`, so detached when that is switched off."""
    info: TargetInfo
    """The target info of the attach event."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event for the client."""

    method: str
    params: Mapping[str, Any]
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class AutoAttachChange:
    """What the relay must do after a browser-level `setAutoAttach`, in this order, before it responds."""

    detach: tuple[str, ...]
    """CDP sessions."""
    attach: tuple[str, ...]
    """Targets."""


@dataclass(frozen=True, slots=True)
class _Attaching:
    automatic: bool
    waits: bool


@dataclass(slots=True)
class _Discovery:
    filter: TargetFilter
    reported: dict[str, TargetInfo] = field(default_factory=dict)
    """Targets that the client knows of, as it knows them, by id."""


class Scope:
    """One client's view of its session's contexts."""

    def __init__(self, contexts: Contexts) -> None:
        self.contexts = contexts
        self.auto_attach: AutoAttach | None = None
        self._sessions: dict[str, CdpSession] = {}
        self._at_browser: dict[str, str | None] = {}
        """Sessions on the browser target, and the session that each was attached through."""
        self._attaching: dict[tuple[str | None, str], deque[_Attaching]] = {}
        self._discovery: dict[str | None, _Discovery] = {}
        self._downloads: set[str | None] = set()
        self._windows: set[int] = set()
        self._handles: set[tuple[str | None, str]] = set()
        self._traces: dict[tuple[str | None, str], TraceReader] = {}

    def __repr__(self) -> str:
        return f"<Scope of {self.contexts!r}, {len(self._sessions)} CDP sessions, {len(self._handles)} handles>"

    # --- what the client holds -----------------------------------------------------------------------------------

    def session(self, session_id: str | None) -> CdpSession | None:
        return None if session_id is None else self._sessions.get(session_id)

    def is_browser(self, session_id: str | None) -> bool:
        """Whether it is a session on the browser target: commands on it are browser-level commands."""
        return session_id in self._at_browser

    def holds(self, session_id: str) -> bool:
        """Whether this is one of the client's CDP sessions."""
        return session_id in self._sessions or session_id in self._at_browser

    def sessions_of(self, target_id: str, parent: str | None) -> tuple[str, ...]:
        """The CDP sessions on a target that were attached through `parent`."""
        return tuple(s.session_id for s in self._sessions.values() if s.target_id == target_id and s.parent == parent)

    def sessions_on(self, target_id: str) -> tuple[str, ...]:
        """The CDP sessions on a target."""
        return tuple(s.session_id for s in self._sessions.values() if s.target_id == target_id)

    def any_session_of(self, target_id: str) -> str | None:
        return next((s.session_id for s in self._sessions.values() if s.target_id == target_id), None)

    def context_of(self, session_id: str | None) -> str:
        """The browser context of a command that names none."""
        held = self.session(session_id)
        return self.contexts.own if held is None else held.context_id

    def target(self, target_id: object) -> TargetInfo | None:
        """A target of the session's contexts, or one below them that the client is attached to."""
        if target_id == BROWSER_TARGET["targetId"]:
            return BROWSER_TARGET
        found = self.contexts.target(target_id)
        if found is None:
            found = next((s.info for s in self._sessions.values() if s.target_id == target_id), None)
        return found

    def holds_window(self, window_id: int) -> bool:
        return window_id in self._windows

    def holds_handle(self, session_id: str | None, handle: object) -> bool:
        return isinstance(handle, str) and (self._handle_owner(session_id), handle) in self._handles

    def is_trace(self, session_id: str | None, handle: object) -> bool:
        """Whether the handle is that of a trace."""
        return isinstance(handle, str) and (self._handle_owner(session_id), handle) in self._traces

    @property
    def full(self) -> bool:
        return len(self._sessions) + len(self._at_browser) >= MAX_SESSIONS

    def can_nest(self, session_id: str | None) -> bool:
        """Whether another session on the browser target may be attached through this one."""
        levels = 0
        while session_id is not None:
            levels += 1
            session_id = self._at_browser.get(session_id)
        return levels < MAX_LEVELS

    @property
    def takes_pages(self) -> bool:
        """Whether the client's browser-level auto-attach includes pages (instead of tabs)."""
        wanted = self.auto_attach
        return wanted is not None and wanted.filter is not None and wanted.filter.matches("page")

    @property
    def waits(self) -> bool:
        """Whether the client's browser-level auto-attach has `waitForDebuggerOnStart`."""
        return self.auto_attach is not None and self.auto_attach.wait_for_debugger

    # --- the client's commands -----------------------------------------------------------------------------------

    def discover(self, session_id: str | None, wanted: TargetFilter | None) -> list[Event]:
        """Switches discovery on or off for one level. Returns the events for existing targets."""
        if wanted is None:
            self._discovery.pop(session_id, None)
            return []
        discovery = self._discovery[session_id] = _Discovery(wanted)
        found = [info for info in (BROWSER_TARGET, *self.contexts.targets()) if wanted.matches(info["type"])]
        discovery.reported.update({info["targetId"]: info for info in found})
        return [Event("Target.targetCreated", {"targetInfo": info}, session_id) for info in found]

    def set_auto_attach(self, wanted: AutoAttach) -> AutoAttachChange:
        """Browser-level `setAutoAttach`: what must be detached and attached now. `wants` decides on later targets.

        As in Chromium, a new filter does not detach what an earlier one attached.
        """
        if wanted.filter is None:
            self.auto_attach = None
            return AutoAttachChange(tuple(s.session_id for s in self._sessions.values() if s.automatic), ())
        self.auto_attach = wanted
        return AutoAttachChange((), tuple(info["targetId"] for info in self.contexts.targets() if self.wants(info)))

    def wants(self, info: TargetInfo) -> bool:
        """Whether the client's browser-level auto-attach includes this target. Frames and workers are attached through
        their page."""
        settings = self.auto_attach
        if settings is None or settings.filter is None or not settings.filter.matches(info["type"]):
            return False
        if info["type"] in BELOW or self.contexts.target(info["targetId"]) is None:
            return False
        return not any(s.automatic and s.target_id == info["targetId"] for s in self._sessions.values())

    def attaching(self, target_id: str, parent: str | None, *, automatic: bool, waits: bool = False) -> None:
        """To be called before `attachToTarget` is sent: other browser-level attaches are not passed on to the client.

        `waits`: the client may see `waitingForDebugger: true`.
        """
        self._attaching.setdefault((parent, target_id), deque()).append(_Attaching(automatic, waits))

    def attaching_browser(self, parent: str | None) -> None:
        """To be called before `attachToBrowserTarget` is sent on this level."""
        self.attaching(BROWSER_TARGET["targetId"], parent, automatic=False)

    def attach_failed(self, target_id: str, parent: str | None) -> None:
        """Chromium refused the oldest pending attach."""
        self._next_attaching(parent, target_id)

    def set_downloads(self, session_id: str | None, events: bool | None) -> None:
        """Whether this level gets `Browser.downloadWillBegin` and `downloadProgress`. None: unchanged."""
        if events:
            self._downloads.add(session_id)
        elif events is not None:
            self._downloads.discard(session_id)

    def read(self, ask: Ask, answer: Mapping[str, Any]) -> Mapping[str, Any]:
        """Records the handles and ids in a result. Returns the result for the client."""
        match ask.reading:
            case Reading.STREAM:
                self._remember(ask.session_id, answer.get("stream"))
                resource = answer.get("resource")  # Network.loadNetworkResource
                if isinstance(resource, Mapping):
                    self._remember(ask.session_id, resource.get("stream"))
            case Reading.BLOB:
                uuid = answer.get("uuid")
                if isinstance(uuid, str):
                    self._remember(ask.session_id, f"blob:{uuid}")
            case Reading.WINDOW:
                window_id = answer.get("windowId")
                if isinstance(window_id, int):
                    self._windows.add(window_id)
            case Reading.TRACE:
                reader = self._traces.get((self._handle_owner(ask.session_id), ask.params["handle"]))
                return {**answer, "data": ""} if reader is None else reader.read(answer)
            case Reading.COMMAND_LINE:
                return {key: "" if key == "commandLine" else value for key, value in answer.items()}
        return answer

    # --- events of the target tree -------------------------------------------------------------------------------

    def on_target(self, target_id: str) -> list[Event]:
        """A target was created or has changed."""
        info = self.contexts.target(target_id)
        events = []
        for session_id, discovery in self._discovery.items():
            reported = discovery.reported.get(target_id)
            if info is not None and discovery.filter.matches(info["type"]):
                discovery.reported[target_id] = info
                name = "Target.targetCreated" if reported is None else "Target.targetInfoChanged"
                if info != reported:  # else it was in the response to a probe
                    events.append(Event(name, {"targetInfo": info}, session_id))
            elif reported is not None:
                del discovery.reported[target_id]
                events.append(Event("Target.targetDestroyed", {"targetId": target_id}, session_id))
        return events

    def on_target_gone(self, target_id: str) -> list[Event]:
        return self._where_reported(target_id, Event("Target.targetDestroyed", {"targetId": target_id}), forget=True)

    def on_target_crashed(self, target_id: str, status: str, error_code: int) -> list[Event]:
        params = {"targetId": target_id, "status": status, "errorCode": error_code}
        return self._where_reported(target_id, Event("Target.targetCrashed", params), forget=False)

    def on_download(self, method: str, params: Mapping[str, Any]) -> list[Event]:
        """`Browser.downloadWillBegin` or `downloadProgress` of the session's contexts, without the host's path."""
        for_client = {key: value for key, value in params.items() if key != "filePath"}
        return [Event(method, for_client, session_id) for session_id in self._downloads]

    def _where_reported(self, target_id: str, event: Event, *, forget: bool) -> list[Event]:
        """`event` for each level that knows of the target."""
        events = []
        for session_id, discovery in self._discovery.items():
            if target_id in discovery.reported:
                events.append(Event(event.method, event.params, session_id))
                if forget:
                    del discovery.reported[target_id]
        return events

    # --- events of Chromium on the client's own browser session --------------------------------------------------

    def on_browser_event(self, method: str, params: Mapping[str, Any], session_id: str | None) -> Event | None:
        """Processes an event. Returns the event for the client; None if it must not get it, and then the relay must
        detach the session of an `attachedToTarget`."""
        if session_id is not None and session_id not in self._sessions and session_id not in self._at_browser:
            return None
        match method:
            case "Target.attachedToTarget":
                return self._attached(params, session_id)
            case "Target.detachedFromTarget":
                return self._detached(params["sessionId"], session_id)
            case "Tracing.tracingComplete":
                self._remember(session_id, params.get("stream"))
                if isinstance(params.get("stream"), str):
                    self._traces[self._handle_owner(session_id), params["stream"]] = TraceReader()
                return Event(method, params, session_id)
        return None  # discovery and downloads are reported by `on_target` and `on_download`

    def _attached(self, params: Mapping[str, Any], parent: str | None) -> Event | None:
        info: TargetInfo = params["targetInfo"]
        if info["type"] == "browser":
            return self._attached_browser(params["sessionId"], parent)
        target_id, session_id = info["targetId"], params["sessionId"]
        above = self.session(parent)
        pending = self._next_attaching(parent, target_id)
        if pending is None and above is None:
            return None  # at browser level only the relay attaches, and it calls `attaching` first
        context_id = info.get("browserContextId", above.context_id if above else None)
        if not self.contexts.holds(context_id):
            return None
        automatic = pending is not None and pending.automatic
        visible = self.contexts.target(target_id)
        if visible is None:
            visible = {
                key: value for key, value in info.items() if key not in ("openerId", "openerFrameId", "parentId")
            }
        visible = {**visible, "attached": True}
        self._sessions[session_id] = CdpSession(session_id, target_id, parent, context_id, automatic, visible)
        waiting = bool(params.get("waitingForDebugger")) and (pending is None or pending.waits)
        attached = {"sessionId": session_id, "targetInfo": visible, "waitingForDebugger": waiting}
        return Event("Target.attachedToTarget", attached, parent)

    def _attached_browser(self, session_id: str, parent: str | None) -> Event | None:
        if self._next_attaching(parent, BROWSER_TARGET["targetId"]) is None:
            return None
        self._at_browser[session_id] = parent
        attached = {"sessionId": session_id, "targetInfo": BROWSER_TARGET, "waitingForDebugger": False}
        return Event("Target.attachedToTarget", attached, parent)

    def _detached(self, session_id: str, parent: str | None) -> Event | None:
        gone = self.session(session_id)
        if gone is None and session_id not in self._at_browser:
            return None
        target_id = BROWSER_TARGET["targetId"] if gone is None else gone.target_id
        self._forget(session_id)
        return Event("Target.detachedFromTarget", {"sessionId": session_id, "targetId": target_id}, parent)

    def _next_attaching(self, parent: str | None, target_id: str) -> _Attaching | None:
        """Removes and returns the oldest pending attach to a target."""
        pending = self._attaching.get((parent, target_id))
        if not pending:
            return None
        oldest = pending.popleft()
        if not pending:
            del self._attaching[parent, target_id]
        return oldest

    def _forget(self, session_id: str) -> None:
        """Removes a CDP session and those that were attached through it."""
        forgotten = [session_id]
        for each in forgotten:  # a page can nest workers without end
            forgotten += [s.session_id for s in self._sessions.values() if s.parent == each]
            forgotten += [below for below, parent in self._at_browser.items() if parent == each]
            self._forget_one(each)

    def _forget_one(self, session_id: str) -> None:
        ended = self._sessions.pop(session_id, None)
        self._at_browser.pop(session_id, None)
        self._discovery.pop(session_id, None)
        self._downloads.discard(session_id)
        if ended is not None and self.any_session_of(ended.target_id) is None:
            self._handles = {held for held in self._handles if held[0] != ended.target_id}
            self._traces = {held: reader for held, reader in self._traces.items() if held in self._handles}

    def _remember(self, session_id: str | None, handle: object) -> None:
        if isinstance(handle, str):
            self._handles.add((self._handle_owner(session_id), handle))

    def _handle_owner(self, session_id: str | None) -> str | None:
        """The target that owns the handles of a session: all sessions on a target share them."""
        held = self.session(session_id)
        return None if held is None else held.target_id


BROWSER_TARGET: Final[TargetInfo] = {
    "targetId": "browser",
    "type": "browser",
    "title": "",
    "url": "",
    "attached": True,
    "canAccessOpener": False,
}
"""The browser's target info for clients, with an id that reveals nothing."""

BELOW: Final = frozenset({"iframe", "worker", "worklet", "shared_storage_worklet", "auction_worklet"})
"""Types that are never attached at browser level: Chromium attaches them through their page."""
