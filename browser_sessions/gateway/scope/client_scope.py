"""What one client's connection holds and may be told: CDP sessions, windows, handles, discovery, auto-attach. Pure.

The relay owns one `Scope` a client and calls it in the order of the wire; the policy only reads it. Nothing here waits.
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
"""CDP sessions of one connection: twenty pages of two hundred frames and workers. Beyond, attachToTarget is refused."""


@dataclass(frozen=True, slots=True)
class CdpSession:
    """A `sessionId` that Chromium handed out on this connection."""

    session_id: str
    target_id: str
    parent: str | None
    """The session it was attached through; None: the browser itself."""
    context_id: str
    automatic: bool
    """Attached by the client's browser-level `setAutoAttach`, so detached when that is switched off."""
    info: TargetInfo
    """What Chromium told of the target when it attached."""


@dataclass(frozen=True, slots=True)
class Event:
    """What the client is to be told."""

    method: str
    params: Mapping[str, Any]
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class AutoAttachChange:
    """What the relay has to do after a browser-level `setAutoAttach`, in this order, before it answers."""

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
    told: set[str] = field(default_factory=set)


class Scope:
    """One client's view of its session's contexts."""

    def __init__(self, contexts: Contexts) -> None:
        self.contexts = contexts
        self.auto_attach: AutoAttach | None = None
        self._sessions: dict[str, CdpSession] = {}
        self._at_browser: dict[str, str | None] = {}
        """Sessions on the browser target, and what each was attached through."""
        self._attaching: dict[tuple[str | None, str], deque[_Attaching]] = {}
        self._discovery: dict[str | None, _Discovery] = {}
        self._downloads: set[str | None] = set()
        self._windows: set[int] = set()
        self._handles: set[tuple[str | None, str]] = set()
        self._traces: dict[tuple[str | None, str], TraceReader] = {}

    def __repr__(self) -> str:
        return f"<Scope of {self.contexts!r}, {len(self._sessions)} CDP sessions, {len(self._handles)} handles>"

    # --- what it holds -------------------------------------------------------------------------------------------

    def session(self, session_id: str | None) -> CdpSession | None:
        return None if session_id is None else self._sessions.get(session_id)

    def is_browser(self, session_id: str | None) -> bool:
        """Whether it is a session on the browser target: this connection's own level, under another name."""
        return session_id in self._at_browser

    def holds(self, session_id: str) -> bool:
        """Whether the client has this CDP session now."""
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
        """The browser context that a command on this level means when it names none."""
        held = self.session(session_id)
        return self.contexts.own if held is None else held.context_id

    def target(self, target_id: object) -> TargetInfo | None:
        """A target of the session's contexts, or one below that the client is attached to."""
        if target_id == BROWSER_TARGET["targetId"]:
            return BROWSER_TARGET
        found = self.contexts.target(target_id)
        if found is None:
            found = next((s.info for s in self._sessions.values() if s.target_id == target_id), None)
        return found

    def holds_window(self, window_id: object) -> bool:
        return isinstance(window_id, int) and not isinstance(window_id, bool) and window_id in self._windows

    def holds_handle(self, session_id: str | None, handle: object) -> bool:
        return isinstance(handle, str) and (self._place(session_id), handle) in self._handles

    def is_trace(self, session_id: str | None, handle: object) -> bool:
        """Whether a handle is a trace's."""
        return isinstance(handle, str) and (self._place(session_id), handle) in self._traces

    @property
    def full(self) -> bool:
        return len(self._sessions) + len(self._at_browser) >= MAX_SESSIONS

    @property
    def takes_pages(self) -> bool:
        """Whether the client's browser-level auto-attach takes pages, not tabs."""
        wanted = self.auto_attach
        return wanted is not None and wanted.filter is not None and wanted.filter.matches("page")

    @property
    def waits(self) -> bool:
        """Whether the client's browser-level auto-attach wants new targets to wait for it."""
        return self.auto_attach is not None and self.auto_attach.wait_for_debugger

    # --- the client's commands -----------------------------------------------------------------------------------

    def discover(self, session_id: str | None, wanted: TargetFilter | None) -> list[Event]:
        """Switches discovery on or off for one level. The events are what is there already."""
        if wanted is None:
            self._discovery.pop(session_id, None)
            return []
        discovery = self._discovery[session_id] = _Discovery(wanted)
        found = [info for info in (BROWSER_TARGET, *self.contexts.targets()) if wanted.matches(info["type"])]
        discovery.told.update(info["targetId"] for info in found)
        return [Event("Target.targetCreated", {"targetInfo": info}, session_id) for info in found]

    def set_auto_attach(self, wanted: AutoAttach) -> AutoAttachChange:
        """Browser-level `setAutoAttach`: what is to be detached and attached now. Later targets: `wants`.

        A new filter detaches nothing that an earlier one attached: Chromium does not either.
        """
        if wanted.filter is None:
            self.auto_attach = None
            return AutoAttachChange(tuple(s.session_id for s in self._sessions.values() if s.automatic), ())
        self.auto_attach = wanted
        return AutoAttachChange((), tuple(info["targetId"] for info in self.contexts.targets() if self.wants(info)))

    def wants(self, info: TargetInfo) -> bool:
        """Whether the client's browser-level auto-attach takes this target. Frames and workers come through a page."""
        settings = self.auto_attach
        if settings is None or settings.filter is None or not settings.filter.matches(info["type"]):
            return False
        if info["type"] in BELOW or self.contexts.target(info["targetId"]) is None:
            return False
        return not any(s.automatic and s.target_id == info["targetId"] for s in self._sessions.values())

    def attaching(self, target_id: str, parent: str | None, *, automatic: bool, waits: bool = False) -> None:
        """The relay is about to send `attachToTarget`: only attaches announced here are passed on to the client.

        `waits`: the client is told that the target waits for the debugger, where it does.
        """
        self._attaching.setdefault((parent, target_id), deque()).append(_Attaching(automatic, waits))

    def attaching_browser(self, parent: str | None) -> None:
        """The relay is about to send `attachToBrowserTarget` on this level."""
        self.attaching(BROWSER_TARGET["targetId"], parent, automatic=False)

    def attach_failed(self, target_id: str, parent: str | None) -> None:
        """Chromium refused the attach that was announced first."""
        self._announced(parent, target_id)

    def set_downloads(self, session_id: str | None, events: bool | None) -> None:
        """Whether this level gets `Browser.downloadWillBegin` and `downloadProgress`. None: as it was."""
        if events:
            self._downloads.add(session_id)
        elif events is not None:
            self._downloads.discard(session_id)

    def read(self, ask: Ask, answer: Mapping[str, Any]) -> Mapping[str, Any]:
        """Takes from an answer what the client holds from now on. Returns what the client is to get."""
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
                reader = self._traces.get((self._place(ask.session_id), ask.params["handle"]))
                return {**answer, "data": ""} if reader is None else reader.read(answer)
            case Reading.COMMAND_LINE:
                return {key: "" if key == "commandLine" else value for key, value in answer.items()}
        return answer

    # --- what the target tree tells, session by session ----------------------------------------------------------

    def on_target(self, target_id: str) -> list[Event]:
        """A target has come or changed."""
        info = self.contexts.target(target_id)
        events = []
        for session_id, discovery in self._discovery.items():
            told = target_id in discovery.told
            if info is not None and discovery.filter.matches(info["type"]):
                discovery.told.add(target_id)
                name = "Target.targetInfoChanged" if told else "Target.targetCreated"
                events.append(Event(name, {"targetInfo": info}, session_id))
            elif told:
                discovery.told.discard(target_id)
                events.append(Event("Target.targetDestroyed", {"targetId": target_id}, session_id))
        return events

    def on_target_gone(self, target_id: str) -> list[Event]:
        """A target has gone."""
        return self._to_those_told(target_id, Event("Target.targetDestroyed", {"targetId": target_id}), forget=True)

    def on_target_crashed(self, target_id: str, status: str, error_code: int) -> list[Event]:
        params = {"targetId": target_id, "status": status, "errorCode": error_code}
        return self._to_those_told(target_id, Event("Target.targetCrashed", params), forget=False)

    def on_download(self, method: str, params: Mapping[str, Any]) -> list[Event]:
        """`Browser.downloadWillBegin` or `downloadProgress` of the session's contexts, without the host's path."""
        told = {key: value for key, value in params.items() if key != "filePath"}
        return [Event(method, told, session_id) for session_id in self._downloads]

    def _to_those_told(self, target_id: str, event: Event, *, forget: bool) -> list[Event]:
        events = []
        for session_id, discovery in self._discovery.items():
            if target_id in discovery.told:
                events.append(Event(event.method, event.params, session_id))
                if forget:
                    discovery.told.discard(target_id)
        return events

    # --- what Chromium says on the client's own session ----------------------------------------------------------

    def on_upstream(self, method: str, params: Mapping[str, Any], session_id: str | None) -> Event | None:
        """An event that had to be read. None: it is not for the client. An `attachedToTarget` that is not must be
        detached again by the relay."""
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
                    self._traces[self._place(session_id), params["stream"]] = TraceReader()
                return Event(method, params, session_id)
        return None  # discovery comes from the target tree, downloads from the session's own folder

    def _attached(self, params: Mapping[str, Any], parent: str | None) -> Event | None:
        info: TargetInfo = params["targetInfo"]
        if info["type"] == "browser":
            return self._attached_browser(params["sessionId"], parent)
        target_id, session_id = info["targetId"], params["sessionId"]
        above = self.session(parent)
        announced = self._announced(parent, target_id)
        if announced is None and above is None:
            return None  # nobody attaches at browser level but the relay, and it says so first
        context_id = info.get("browserContextId", above.context_id if above else None)
        if not self.contexts.holds(context_id):
            return None
        automatic = announced is not None and announced.automatic
        told = self.contexts.target(target_id)
        if told is None:
            told = {key: value for key, value in info.items() if key not in ("openerId", "openerFrameId", "parentId")}
        told = {**told, "attached": True}
        self._sessions[session_id] = CdpSession(session_id, target_id, parent, context_id, automatic, told)
        waiting = bool(params.get("waitingForDebugger")) and (announced is None or announced.waits)
        shown = {"sessionId": session_id, "targetInfo": told, "waitingForDebugger": waiting}
        return Event("Target.attachedToTarget", shown, parent)

    def _attached_browser(self, session_id: str, parent: str | None) -> Event | None:
        if self._announced(parent, BROWSER_TARGET["targetId"]) is None:
            return None
        self._at_browser[session_id] = parent
        shown = {"sessionId": session_id, "targetInfo": BROWSER_TARGET, "waitingForDebugger": False}
        return Event("Target.attachedToTarget", shown, parent)

    def _detached(self, session_id: str, parent: str | None) -> Event | None:
        gone = self.session(session_id)
        if gone is None and session_id not in self._at_browser:
            return None
        target_id = BROWSER_TARGET["targetId"] if gone is None else gone.target_id
        self._forget(session_id)
        return Event("Target.detachedFromTarget", {"sessionId": session_id, "targetId": target_id}, parent)

    def _announced(self, parent: str | None, target_id: str) -> _Attaching | None:
        waiting = self._attaching.get((parent, target_id))
        if not waiting:
            return None
        first = waiting.popleft()
        if not waiting:
            del self._attaching[parent, target_id]
        return first

    def _forget(self, session_id: str) -> None:
        """A CDP session has ended, and with it those that were attached through it."""
        ended = self._sessions.pop(session_id, None)
        self._at_browser.pop(session_id, None)
        self._discovery.pop(session_id, None)
        self._downloads.discard(session_id)
        if ended is not None and self.any_session_of(ended.target_id) is None:
            self._handles = {held for held in self._handles if held[0] != ended.target_id}
            self._traces = {held: reader for held, reader in self._traces.items() if held in self._handles}
        below = [s.session_id for s in self._sessions.values() if s.parent == session_id]
        below += [each for each, parent in self._at_browser.items() if parent == session_id]
        for each in below:
            self._forget(each)

    def _remember(self, session_id: str | None, handle: object) -> None:
        if isinstance(handle, str):
            self._handles.add((self._place(session_id), handle))

    def _place(self, session_id: str | None) -> str | None:
        """Chromium keeps handles by target: two sessions on one target share them."""
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
"""What a client is told of the browser itself, under an id that is the same for everybody."""

BELOW: Final = frozenset({"iframe", "worker", "worklet", "shared_storage_worklet", "auction_worklet"})
"""Types that are never attached at browser level: Chromium attaches them through their page, and so do we."""
