"""Playwright's driver as one client of a browser: it sees the contexts that it has made, and nothing else."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

import orjson

from browser_sessions.cdp import Browser, BrowserSession, Target
from browser_sessions.cdp.messages import encode, event, event_method, read, refusal, result, without_session
from browser_sessions.cdp.page_overrides import EXCLUSIVE, NEUTRAL, NOT_WHILE_PAUSED, Said, overridden, to_repeat
from browser_sessions.cdp.websocket import ClientSocket
from browser_sessions.chromium.driver.driver_network import EVENT, DriverNetwork
from browser_sessions.chromium.driver.ready_contexts import ReadyContexts

EVENT_BYTES: Final = 2**20
"""Events of pages beyond this length are cut or left out: Playwright would hand them on to our own loop, at length."""
STRING_CHARACTERS: Final = 2**16
"""Of a string in an event that is cut."""
_UNHEARD: Final = (
    b'{"method":"Runtime.consoleAPICalled"',
    b'{"method":"Runtime.exceptionThrown"',
)
"""Nobody listens to a page's console through Playwright, and a page can log faster than its driver reads."""
FLOOD_EVENTS: Final = 1000
"""Of them within a second from one page: then they are not asked for any more for `FLOOD_S`. A page that logs a hundred
thousand lines a second keeps its browser from answering anybody (measured: five seconds)."""
FLOOD_S: Final = 2.0
RELEASE_EVERY: Final = 100
"""Unheard events after which Chromium may forget the objects in them, which it keeps for Playwright to look into."""
QUEUE_BYTES: Final = 256 * 2**20
"""Of messages that the driver has not read: its end is the end of every session of the browser."""
_CUT: Final = frozenset(
    {
        b"Page.javascriptDialogOpening",
        b"Network.requestWillBeSent",
        b"Network.webSocketFrameReceived",
        b"Network.webSocketFrameSent",
    }
)
"""Here something follows from the event whatever it says."""
_CLAIM: Final = "https://claim-"
"""Begins the origin of a permission that nobody asks for: see `claim`."""
_SERVER_ERROR: Final = -32000
_SIZES: Final = frozenset({"Emulation.setDeviceMetricsOverride", "Browser.setWindowBounds"})
_NOT_NEEDED: Final = frozenset({"Log.enable"})
"""Commands whose events nobody hears."""
_ATTACHED: Final = frozenset({"page", "service_worker"})
"""What Playwright does anything with at its browser's level; it detaches from everything else."""


@dataclass(slots=True)
class _Flood:
    """Unheard events of one page within a second."""

    since: float
    silenced: bool
    """They were asked to stop."""
    events: int = 0


class PlaywrightLink:
    """Listens to the driver's socket and to its browser session. Playwright asks for the same things as every client;
    a few are answered here, as the gateway does for its own."""

    def __init__(self, session: BrowserSession, browser: Browser) -> None:
        self.socket = ClientSocket(self, queue_bytes=QUEUE_BYTES)
        self._browser = browser
        self.lost: Callable[[], None] = _nothing
        """Called once when the driver has gone, the browser not."""
        self._session: BrowserSession | None = session
        session.pauses.trust(session)
        self._contexts: set[str] = set()
        self._claims: dict[str, str] = {}
        """Contexts by claim."""
        self._pages: dict[str, str] = {}
        """Pages that Playwright is attached to, and frames in processes of their own, by its CDP session."""
        self._strange: set[str] = set()
        """Its CDP sessions on pages that are none of its business. They stay, see `cdp.carriers`; it knows of none."""
        self._said: dict[str, dict[str, Said]] = {}
        """What Playwright said last of each setting, by page: a client may override it for a while."""
        self._granted: dict[str, list[Mapping[str, Any]]] = {}
        """The same of permissions, by context."""
        self._unloaded: set[str] = set()
        """Pages without an address yet."""
        self._floods: dict[bytes, _Flood] = {}
        """By CDP session of Playwright's."""
        self._sized: set[str] = set()
        """Pages whose size somebody else has asked for."""
        self._network = DriverNetwork(lambda method, session_id: self._say(session_id, (method, {})))
        self.ready = ReadyContexts(session, browser, self._adopt, self._forget)

    def __repr__(self) -> str:
        return f"<PlaywrightLink {len(self._contexts)} contexts>"

    def claim(self) -> str:
        """An origin to grant nothing to, in a context that was made with `new_context`: then `claimed` says which one
        that is. Playwright tells no context's id, and nothing of this reaches Chromium."""
        return f"{_CLAIM}{secrets.token_hex(8)}.invalid"

    def claimed(self, claim: str) -> str:
        """The id of the context. Raises `KeyError`."""
        return self._claims.pop(claim)

    def navigation(self, page_id: str, *, everything: bool) -> AbstractContextManager[None]:
        """For a navigation by Playwright, see `driver_network`; `everything`: it waits for the network to be idle."""
        return self._network.navigation(page_id, everything=everything)

    def give_way(self, page_id: str, setting: str, *, in_all_pages: bool = False) -> None:
        """Takes Playwright's own override off, for a client's to be accepted."""
        for session_id, each in self._pages_beside(page_id) if in_all_pages else self._sessions_on(page_id):
            if setting in self._said.get(each, {}):
                self._say(session_id, NEUTRAL[setting])

    def restore(self, page_id: str, setting: str) -> None:
        """Says again what Playwright said last, after a client that said something else."""
        for session_id, each in self._pages_beside(page_id) if setting in EXCLUSIVE else self._sessions_on(page_id):
            said = self._said.get(each, {}).get(setting)
            if said is not None:
                for part in to_repeat(said):
                    self._say(session_id, part)
            elif each == page_id:
                self._say(session_id, NEUTRAL[setting])

    def restore_permissions(self, context_id: str) -> None:
        """Grants again what Playwright has granted."""
        if self._session is None:
            return
        self._session.post("Browser.resetPermissions", {"browserContextId": context_id})
        for params in self._granted.get(context_id, ()):
            self._session.post("Browser.grantPermissions", params)

    def leave_size(self, page_id: str) -> None:
        """The page keeps the size that it was created with, whatever Playwright says."""
        self._sized.add(page_id)

    def close(self) -> None:
        """The browser ends, and this link with it."""
        self.lost = _nothing
        self._end()
        self.socket.close(1001, "the browser has ended")

    # -- the driver's side -----------------------------------------------------------------------------------------

    def command(self, payload: bytes) -> None:
        session = self._session
        if session is None:
            return
        command = read(payload)
        call_id, method, params = command["id"], command["method"], command.get("params") or {}
        session_id: str | None = command.get("sessionId")
        if session_id is None:
            self._at_root(session, call_id, method, params)
            return
        page_id = self._pages.get(session_id)
        answer = result(call_id, session_id, {})
        if method in _NOT_NEEDED or not self._network.passes(method, session_id):
            self.socket.send(answer)
        elif page_id is None or self._at_page(session, page_id, command, answer):
            session.send(payload)

    def client_gone(self) -> None:
        self._end()
        self.lost()

    def _at_page(self, session: BrowserSession, page_id: str, command: dict[str, Any], answer: bytes) -> bool:
        """Whether the command is to be sent on; else `answer` is, now or later."""
        method, params = command["method"], command.get("params") or {}
        if method == "Runtime.runIfWaitingForDebugger" and page_id in session.pauses:
            session.resume(page_id, lambda: self.socket.send(answer))
            return False
        if method in _SIZES and page_id in self._sized:
            self.socket.send(answer)
            return False
        setting = overridden(method)
        if setting is not None:
            self._said.setdefault(page_id, {})[setting] = method, params
        if setting in EXCLUSIVE and page_id in session.pauses:
            self._unloaded.add(page_id)
        if method in NOT_WHILE_PAUSED and page_id in session.pauses:
            session.post_once_running(page_id, method, params, command["sessionId"])
            self.socket.send(answer)
            return False
        return True

    def _at_root(self, session: BrowserSession, call_id: int, method: str, params: dict[str, Any]) -> None:
        def answered(value: Mapping[str, Any] | None, error: Mapping[str, Any] | None) -> None:
            if value is None:
                told = error or {"message": "The browser is gone."}
                self.socket.send(refusal(call_id, None, int(told.get("code", _SERVER_ERROR)), str(told["message"])))
                return
            if method == "Target.createBrowserContext":
                self._adopt(value["browserContextId"])
            self.socket.send(result(call_id, None, value))

        match method:
            case "Browser.setDownloadBehavior":  # ours to decide
                answered({}, None)
            case "Browser.grantPermissions" if str(params.get("origin", "")).startswith(_CLAIM):
                self._claims[params["origin"]] = params["browserContextId"]
                answered({}, None)
            case "Browser.grantPermissions":
                self._granted.setdefault(params["browserContextId"], []).append(params)
                session.post(method, params, answered)
            case "Browser.resetPermissions":
                self._granted.pop(params["browserContextId"], None)
                session.post(method, params, answered)
            case "Target.createBrowserContext" if (context_id := self.ready.take(params)) is not None:
                self.socket.send(result(call_id, None, {"browserContextId": context_id}))
            case "Target.createBrowserContext":
                session.post(method, params, answered)
            case "Target.disposeBrowserContext":
                self.ready.discard(params["browserContextId"])
                self._forget(params["browserContextId"])
                session.post(method, params, answered)
            case "Target.createTarget" if (page := self.ready.page(params.get("browserContextId"))) is not None:
                self._strange.discard(page["sessionId"])
                self.target_event("Target.attachedToTarget", page, None)
                answered({"targetId": page["targetInfo"]["targetId"]}, None)
            case "Target.createTarget":
                session.create_target(params, lambda page_id: not self._sessions_on(page_id), answered, resumes=True)
            case _:
                session.send(encode(call_id, method, params, session.session_id))

    # -- the browser's side ----------------------------------------------------------------------------------------

    def receive(self, message: bytes, session_id: bytes | None) -> None:
        if session_id is not None and session_id.decode() in self._strange:
            return
        if message.startswith(EVENT) and session_id is not None:
            if not self._network.hears(message, session_id.decode()):
                return
        elif message.startswith(_UNHEARD):
            self._count_unheard(session_id)
            return
        if len(message) > EVENT_BYTES and event_method(message) in _CUT:
            message = orjson.dumps(_shortened(read(message)))
        self.socket.send(without_session(message) if session_id is None else message)

    def _count_unheard(self, session_id: bytes | None) -> None:
        if self._session is None or session_id is None:
            return
        flood = self._floods.get(session_id)
        loop = asyncio.get_running_loop()
        if flood is None or loop.time() - flood.since > 1.0:
            flood = self._floods[session_id] = _Flood(loop.time(), silenced=flood is not None and flood.silenced)
        flood.events += 1
        if flood.events % RELEASE_EVERY == 0:
            group = {"objectGroup": "console"}
            self._session.post("Runtime.releaseObjectGroup", group, session_id=session_id.decode())
        if flood.events >= FLOOD_EVENTS and not flood.silenced:
            flood.silenced = True
            self._session.post("Runtime.disable", session_id=session_id.decode())
            loop.call_later(FLOOD_S, self._hear_again, session_id)

    def _hear_again(self, session_id: bytes) -> None:
        """Playwright hears of execution contexts from the same domain. What was kept meanwhile would come at once."""
        self._floods.pop(session_id, None)
        if self._session is not None and self._session.holds(session_id.decode()):
            for method in ("Runtime.discardConsoleEntries", "Runtime.enable"):
                self._session.post(method, session_id=session_id.decode())

    def target_event(self, method: str, params: dict[str, Any], session_id: str | None) -> None:
        if method == "Target.attachedToTarget" and session_id is None and self.ready.hold_back(params):
            self._strange.add(params["sessionId"])
            return
        if method == "Target.attachedToTarget":
            self._network.attached(params["sessionId"], session_id, params["targetInfo"]["targetId"])
        if method == "Target.attachedToTarget" and session_id is None:
            info, child = params["targetInfo"], params["sessionId"]
            if info["type"] in _ATTACHED and info.get("browserContextId") in self._contexts:
                self._pages[child] = info["targetId"]
            elif info["type"] == "page":
                self._strange.add(child)
                return
            elif info["type"] != "browser":  # which it has asked for
                self._browser.pauses.once_running(info["targetId"], lambda: self._drop(child))
                return
        elif method == "Target.attachedToTarget" and params["targetInfo"]["type"] == "iframe":
            self._pages[params["sessionId"]] = params["targetInfo"]["targetId"]
        elif method == "Target.detachedFromTarget":
            self._floods.pop(params["sessionId"].encode(), None)
            self._network.detached(params["sessionId"])
            if params["sessionId"] in self._strange:
                self._strange.remove(params["sessionId"])
                return
            target_id = self._pages.pop(params["sessionId"], None)
            if target_id is not None and self._session is not None:
                self._browser.pauses.let_go(target_id, self._session)
        self.socket.send(event(method, params, session_id))

    def browser_lost(self) -> None:
        self.close()

    def browser_full(self, full: bool) -> None:
        """Playwright sends little, and what it sends is needed."""

    # -- the contexts that it made ---------------------------------------------------------------------------------

    def target_waits(self, target: Target) -> Iterable[object]:
        return () if self._session is None or target.type not in _ATTACHED else (self._session,)

    def target_created(self, target: Target) -> None:
        """Attached as soon as it waits."""

    def target_changed(self, target: Target) -> None:
        """A window that begins in one process and loads in another may lose what a process takes only once on the way
        (a middle click on a link to another origin, Chromium 156)."""
        if target.url and target.target_id in self._unloaded:
            self._unloaded.discard(target.target_id)
            for setting in EXCLUSIVE & self._said.get(target.target_id, {}).keys():
                self.restore(target.target_id, setting)

    def target_destroyed(self, target: Target) -> None:
        self.ready.lost(target)
        self._said.pop(target.target_id, None)
        self._unloaded.discard(target.target_id)
        self._sized.discard(target.target_id)
        if self._session is not None:
            self._session.target_gone(target.target_id)

    def target_crashed(self, target: Target, params: Mapping[str, Any]) -> None:
        """The page's own session tells the driver."""
        self.ready.lost(target)

    def _adopt(self, context_id: str) -> None:
        self._contexts.add(context_id)
        self._browser.targets.watch(context_id, self)

    def _forget(self, context_id: str) -> None:
        self._contexts.discard(context_id)
        self._granted.pop(context_id, None)
        self._browser.targets.unwatch(context_id, self)
        self._claims = {claim: its for claim, its in self._claims.items() if its != context_id}

    def _drop(self, session_id: str) -> None:
        """Chromium has attached Playwright to a worker that is none of its business."""
        if self._session is not None:
            self._session.drop(session_id)

    def _sessions_on(self, page_id: str) -> list[tuple[str, str]]:
        """(CDP session, page) of Playwright's session on a page; none where it has none."""
        return [(session_id, each) for session_id, each in self._pages.items() if each == page_id]

    def _pages_beside(self, page_id: str) -> list[tuple[str, str]]:
        """The same of all pages and frames of its context: they may be in one process."""
        contexts = {each: self._browser.targets.get(each) for each in self._pages.values()}
        found = contexts.get(page_id)
        if found is None:
            return self._sessions_on(page_id)
        beside = {each for each, target in contexts.items() if target and target.context_id == found.context_id}
        return [(session_id, each) for session_id, each in self._pages.items() if each in beside]

    def _say(self, session_id: str, said: Said) -> None:
        if self._session is not None:
            self._session.post(said[0], said[1], session_id=session_id)

    def _end(self) -> None:
        session, self._session = self._session, None
        self.ready.close()
        for context_id in tuple(self._contexts):
            self._forget(context_id)
        self._pages.clear()
        self._said.clear()
        if session is not None:
            session.close()


def _shortened(value: Any) -> Any:
    """The same with long strings cut."""
    if isinstance(value, str):
        return value[:STRING_CHARACTERS]
    if isinstance(value, dict):
        return {key: _shortened(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_shortened(each) for each in value]
    return value


def _nothing() -> None:
    """The end was asked for."""
