"""Playwright's driver as one client of a browser. It sees only the contexts that it has created."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog

from browser_sessions.cdp import Browser, BrowserSession, CdpClosed, CdpError, Target
from browser_sessions.cdp.messages import (
    dump,
    encode,
    error_response,
    event,
    event_method,
    read,
    result,
    without_session,
)
from browser_sessions.cdp.open_dialogs import EVENTS, OpenDialogs
from browser_sessions.cdp.page_overrides import (
    EXCLUSIVE,
    METRICS,
    NEUTRAL,
    NOT_WHILE_PAUSED,
    MethodCall,
    overridden,
    to_repeat,
)
from browser_sessions.cdp.websocket import ClientSocket
from browser_sessions.chromium.driver.driver_network import ENABLE, NETWORK_EVENT, DriverNetwork
from browser_sessions.chromium.driver.driver_runtime import RUNTIME_EVENT, DriverRuntime
from browser_sessions.chromium.driver.ready_contexts import ReadyContexts
from browser_sessions.egress.egress import BrowserEgress

EVENT_BYTES: Final = 2**20
"""Longer events of pages are truncated: Playwright would pass them on to our own event loop."""
STRING_CHARACTERS: Final = 2**16
"""Length of a string in a truncated event."""
QUEUE_BYTES: Final = 256 * 2**20
"""Unread messages of the driver before it is disconnected, which ends all sessions of the browser."""
_TRUNCATED_EVENTS: Final = frozenset(
    {
        b"Page.javascriptDialogOpening",
        b"Network.requestWillBeSent",
        b"Network.webSocketFrameReceived",
        b"Network.webSocketFrameSent",
    }
)
"""Events with an effect in Playwright that does not depend on their long strings."""
_CLAIM: Final = "https://claim-"
"""Prefix of the origin in the permission call of `claim`."""
ENABLED_S: Final = 1.0
"""Wait for a page to have its network domain enabled; a hung one can still be navigated."""
_SERVER_ERROR: Final = -32000
_SIZE_METHODS: Final = frozenset({"Emulation.setDeviceMetricsOverride", "Browser.setWindowBounds"})
_IGNORED_COMMANDS: Final = frozenset({"Log.enable"})
"""Commands that only enable events which the service does not use."""
_ATTACHED_TYPES: Final = frozenset({"page", "service_worker"})
"""Target types that Playwright uses at the browser's level; it detaches from all others."""

log = structlog.get_logger()


class PlaywrightLink:
    """Connects the driver's socket to a CDP browser session. Handles a few of Playwright's commands itself, as the
    gateway does for other clients, and forwards the rest."""

    def __init__(self, session: BrowserSession, browser: Browser, egress: BrowserEgress | None = None) -> None:
        self.socket = ClientSocket(self, queue_bytes=QUEUE_BYTES)
        self._browser = browser
        self.on_lost: Callable[[], None] = _nothing
        """Called once if the driver disconnects while the browser runs."""
        self._session: BrowserSession | None = session
        session.pauses.add_owner(session)
        self._contexts: set[str] = set()
        self._claims: dict[str, str] = {}
        """Context id by claim."""
        self._pages: dict[str, str] = {}
        """Target ids of pages and out-of-process frames that Playwright is attached to, by its CDP session."""
        self._hidden: set[str] = set()
        """Playwright's CDP sessions on pages that it must not see. They stay attached, see `cdp.auto_attachers`."""
        self._settings: dict[str, dict[str, MethodCall]] = {}
        """Playwright's last command for each setting, by page: clients may override it temporarily."""
        self._granted: dict[str, list[Mapping[str, Any]]] = {}
        """Playwright's permission grants, by context."""
        self._unloaded: set[str] = set()
        """Pages without a URL yet."""
        self._keeps_size: set[str] = set()
        """Pages that a client has created with a size of its own."""
        self._network = DriverNetwork(lambda method, session_id: self._post(session_id, (method, {})))
        self._runtime = DriverRuntime(
            lambda session_id, method, params: self._post(session_id, (method, params)), session.holds
        )
        self.dialogs = OpenDialogs(lambda session_id, method, params: self._post(session_id, (method, params)))
        self.ready = ReadyContexts(session, browser, egress, self._adopt, self._forget)

    def __repr__(self) -> str:
        return f"<PlaywrightLink {len(self._contexts)} contexts>"

    def claim(self) -> str:
        """An origin for a `grant_permissions` call without permissions in a new context, after which `claimed` returns
        the context's id, which Playwright does not expose. The call is not forwarded to Chromium."""
        return f"{_CLAIM}{secrets.token_hex(8)}.invalid"

    def claimed(self, claim: str) -> str:
        """The id of the context. Raises `KeyError`."""
        return self._claims.pop(claim)

    @asynccontextmanager
    async def navigation(self, page_id: str, *, everything: bool) -> AsyncIterator[None]:
        """Surrounds a navigation by Playwright, see `driver_network`. `everything`: it waits for network idle."""
        with self._network.navigation(page_id, everything=everything):
            if everything and self._session is not None:
                # Of a navigation that starts earlier, Chromium may lose the end of the document's request.
                for session_id, _ in self._sessions_on(page_id):
                    with contextlib.suppress(CdpError, CdpClosed, TimeoutError):
                        await self._session.call(ENABLE, session_id=session_id, timeout=ENABLED_S)
            yield

    async def dispose(self, context_id: str, *, timeout: float) -> None:
        """Disposes of a context without the driver's round trips. Playwright's own close of it then succeeds at once.
        Raises `CdpError`, `CdpClosed`, `TimeoutError`."""
        for page_id in tuple(self._pages.values()):
            target = self._browser.targets.get(page_id)
            if target is not None and target.context_id == context_id:
                self.dialogs.close(page_id)  # a Chromium with windows does not dispose of it while `beforeunload` asks
        params = {"browserContextId": context_id}
        await self._browser.root.call("Target.disposeBrowserContext", params, timeout=timeout)
        self._disposed_of(context_id)

    def remove_override(self, page_id: str, setting: str, *, in_all_pages: bool = False) -> None:
        """Removes Playwright's override, so that Chromium accepts a client's."""
        for session_id, each in self._sessions_in_context(page_id) if in_all_pages else self._sessions_on(page_id):
            if setting in self._settings.get(each, {}):
                self._post(session_id, NEUTRAL[setting])

    def restore(self, page_id: str, setting: str) -> None:
        """Repeats Playwright's last command for a setting that a client had overridden."""
        exclusive = setting in EXCLUSIVE
        for session_id, each in self._sessions_in_context(page_id) if exclusive else self._sessions_on(page_id):
            command = self._settings.get(each, {}).get(setting)
            if command is not None:
                for part in to_repeat(command):
                    self._post(session_id, part)
            elif each == page_id:
                self._post(session_id, NEUTRAL[setting])

    def metrics(self, page_id: str) -> MethodCall | None:
        """Playwright's device metrics of a page, None if they are a desktop's, which is what a page has without any."""
        call = self._settings.get(page_id, {}).get(METRICS)
        desktop = call is not None and not call[1].get("mobile") and call[1].get("deviceScaleFactor") in (0, 1)
        return None if desktop else call

    def restore_permissions(self, context_id: str) -> None:
        """Resets the context's permissions to those that Playwright has granted."""
        if self._session is None:
            return
        self._session.post("Browser.resetPermissions", {"browserContextId": context_id})
        for params in self._granted.get(context_id, ()):
            self._session.post("Browser.grantPermissions", params)

    def keep_size(self, page_id: str) -> None:
        """Ignores Playwright's commands for the size of a page that a client has created with a size."""
        self._keeps_size.add(page_id)

    def close(self) -> None:
        """Closes the link because the browser ends."""
        self.on_lost = _nothing
        self._end()
        self.socket.close(1001, "the browser has ended")

    # -- the driver's side -----------------------------------------------------------------------------------------

    def command(self, payload: bytes) -> None:
        session = self._session
        if session is None:
            return
        try:
            self._handle_command(session, payload)
        except Exception:  # its caller times out; see `failed`
            log.exception("browser.command_failed")

    def _handle_command(self, session: BrowserSession, payload: bytes) -> None:
        command = read(payload)
        call_id, method, params = command["id"], command["method"], command.get("params") or {}
        session_id: str | None = command.get("sessionId")
        if session_id is None:
            self._root_command(session, call_id, method, params)
            return
        page_id = self._pages.get(session_id)
        empty = result(call_id, session_id, {})
        if method in _IGNORED_COMMANDS or not self._network.forwards_command(method, session_id):
            self.socket.send(empty)
        elif page_id is None or self._page_command(session, page_id, command, empty):
            session.send(payload)

    def client_gone(self) -> None:
        self._end()
        self.on_lost()

    def _page_command(self, session: BrowserSession, page_id: str, command: dict[str, Any], empty: bytes) -> bool:
        """Whether to forward the command to Chromium. If not, the response is `empty`, now or later."""
        method, params = command["method"], command.get("params") or {}
        if method == "Runtime.runIfWaitingForDebugger" and page_id in session.pauses:
            session.resume(page_id, lambda: self.socket.send(empty))
            return False
        if method in _SIZE_METHODS and page_id in self._keeps_size:
            self.socket.send(empty)
            return False
        setting = overridden(method)
        if setting is not None:
            self._settings.setdefault(page_id, {})[setting] = method, params
        if setting in EXCLUSIVE and page_id in session.pauses:
            self._unloaded.add(page_id)
        if method in NOT_WHILE_PAUSED and page_id in session.pauses:
            session.post_when_running(page_id, method, params, command["sessionId"])
            self.socket.send(empty)
            return False
        return True

    def _root_command(self, session: BrowserSession, call_id: int, method: str, params: dict[str, Any]) -> None:
        def respond(value: Mapping[str, Any] | None, error: Mapping[str, Any] | None) -> None:
            if method == "Target.disposeBrowserContext":
                self._disposed_of(params["browserContextId"])
            if value is None:
                error = error or {"message": "The browser is gone."}
                self.socket.send(
                    error_response(call_id, None, int(error.get("code", _SERVER_ERROR)), str(error["message"]))
                )
                return
            if method == "Target.createBrowserContext":
                self._adopt(value["browserContextId"])
            self.socket.send(result(call_id, None, value))

        match method:
            case "Browser.setDownloadBehavior":  # the service sets it
                respond({}, None)
            case "Browser.grantPermissions" if str(params.get("origin", "")).startswith(_CLAIM):
                self._claims[params["origin"]] = params["browserContextId"]
                respond({}, None)
            case "Browser.grantPermissions":
                self._granted.setdefault(params["browserContextId"], []).append(params)
                session.post(method, params, respond)
            case "Browser.resetPermissions":
                self._granted.pop(params["browserContextId"], None)
                session.post(method, params, respond)
            case "Target.createBrowserContext" if (context_id := self.ready.take(params)) is not None:
                self.socket.send(result(call_id, None, {"browserContextId": context_id}))
            case "Target.createBrowserContext":
                session.post(method, params, respond)
            case "Target.disposeBrowserContext" if params["browserContextId"] not in self._contexts:
                respond({}, None)  # the service has disposed of it
            case "Target.disposeBrowserContext":
                session.post(method, params, respond)
            case "Target.createTarget" if (page := self.ready.page(params.get("browserContextId"))) is not None:
                self._hidden.discard(page["sessionId"])
                self.target_event("Target.attachedToTarget", page, None)
                respond({"targetId": page["targetInfo"]["targetId"]}, None)
            case "Target.closeTarget":
                session.close_target(params["targetId"], respond)
            case "Target.createTarget":
                session.create_target(params, lambda page_id: not self._sessions_on(page_id), respond, resumes=True)
            case _:
                session.send(encode(call_id, method, params, session.session_id))

    # -- the browser's side ----------------------------------------------------------------------------------------

    def receive(self, message: bytes, session_id: bytes | None) -> None:
        if session_id is not None and session_id.decode() in self._hidden:
            return
        if session_id is not None and message.startswith(NETWORK_EVENT):
            if not self._network.forwards_event(message, session_id.decode()):
                return
        elif (
            session_id is not None
            and message.startswith(RUNTIME_EVENT)
            and not self._runtime.forwards_event(message, session_id.decode())
        ):
            return
        if len(message) > EVENT_BYTES and event_method(message) in _TRUNCATED_EVENTS:
            message = dump(_truncated(read(message)))
        if message.startswith(EVENTS) and session_id is not None:
            page_id = self._pages.get(session_id.decode())
            if page_id is not None:
                self.dialogs.receive(message, session_id.decode(), page_id)
        self.socket.send(without_session(message) if session_id is None else message)

    def target_event(self, method: str, params: dict[str, Any], session_id: str | None) -> None:
        if method == "Target.attachedToTarget" and session_id is None and self.ready.withhold(params):
            self._hidden.add(params["sessionId"])
            return
        if method == "Target.attachedToTarget":
            self._network.attached(params["sessionId"], session_id, params["targetInfo"]["targetId"])
        if method == "Target.attachedToTarget" and session_id is None:
            info, child = params["targetInfo"], params["sessionId"]
            if info["type"] in _ATTACHED_TYPES and info.get("browserContextId") in self._contexts:
                self._pages[child] = info["targetId"]
            elif info["type"] == "page":
                self._hidden.add(child)
                return
            elif info["type"] != "browser":  # Playwright attached to the browser itself
                self._browser.pauses.when_running(info["targetId"], lambda: self._drop(child))
                return
        elif method == "Target.attachedToTarget" and params["targetInfo"]["type"] == "iframe":
            self._pages[params["sessionId"]] = params["targetInfo"]["targetId"]
        elif method == "Target.detachedFromTarget":
            self._runtime.detached(params["sessionId"])
            self._network.detached(params["sessionId"])
            if params["sessionId"] in self._hidden:
                self._hidden.remove(params["sessionId"])
                return
            target_id = self._pages.pop(params["sessionId"], None)
            if target_id is not None and self._session is not None:
                self._browser.pauses.release(target_id, self._session)
        self.socket.send(event(method, params, session_id))

    def failed(self) -> None:
        """The driver stays connected: its end would be that of all sessions of the browser."""

    def browser_lost(self) -> None:
        self.close()

    def browser_full(self, full: bool) -> None:
        """No backpressure: Playwright sends few commands, and the service needs them all."""

    # -- watcher of its contexts -----------------------------------------------------------------------------------

    def target_paused(self, target: Target) -> Iterable[object]:
        return () if self._session is None or target.type not in _ATTACHED_TYPES else (self._session,)

    def target_created(self, target: Target) -> None:
        """Playwright attaches while the target is paused."""

    def target_changed(self, target: Target) -> None:
        """Restores the process-wide settings of a window that started in one process and loaded in another, which can
        lose them (a middle click on a link to another origin, Chromium 156)."""
        if target.url and target.target_id in self._unloaded:
            self._unloaded.discard(target.target_id)
            for setting in EXCLUSIVE & self._settings.get(target.target_id, {}).keys():
                self.restore(target.target_id, setting)

    def target_destroyed(self, target: Target) -> None:
        self.ready.lost(target)
        self.dialogs.forget(target.target_id)
        self._settings.pop(target.target_id, None)
        self._unloaded.discard(target.target_id)
        self._keeps_size.discard(target.target_id)
        if self._session is not None:
            self._session.target_gone(target.target_id)

    def target_crashed(self, target: Target, params: Mapping[str, Any]) -> None:
        """The driver itself is notified on its session on the page."""
        self.ready.lost(target)

    def _adopt(self, context_id: str) -> None:
        self._contexts.add(context_id)
        self._browser.targets.watch(context_id, self)

    def _forget(self, context_id: str) -> None:
        self._contexts.discard(context_id)
        self._granted.pop(context_id, None)
        self._browser.targets.unwatch(context_id, self)
        self._claims = {claim: claimed for claim, claimed in self._claims.items() if claimed != context_id}

    def _disposed_of(self, context_id: str) -> None:
        self.ready.discard(context_id)
        self._forget(context_id)

    def _drop(self, session_id: str) -> None:
        """Detaches Playwright from a target that it must not see."""
        if self._session is not None:
            self._session.drop(session_id)

    def _sessions_on(self, page_id: str) -> list[tuple[str, str]]:
        """(CDP session, page) of Playwright's sessions on a page."""
        return [(session_id, each) for session_id, each in self._pages.items() if each == page_id]

    def _sessions_in_context(self, page_id: str) -> list[tuple[str, str]]:
        """(CDP session, page) for all pages and frames of the page's context, which may share a process."""
        contexts = {each: self._browser.targets.get(each) for each in self._pages.values()}
        found = contexts.get(page_id)
        if found is None:
            return self._sessions_on(page_id)
        pages = {each for each, target in contexts.items() if target and target.context_id == found.context_id}
        return [(session_id, each) for session_id, each in self._pages.items() if each in pages]

    def _post(self, session_id: str, command: MethodCall) -> None:
        if self._session is not None:
            self._session.post(command[0], command[1], session_id=session_id)

    def _end(self) -> None:
        session, self._session = self._session, None
        self.ready.close()
        for context_id in tuple(self._contexts):
            self._forget(context_id)
        self._pages.clear()
        self._settings.clear()
        if session is not None:
            session.close()


def _truncated(message: dict[str, Any]) -> dict[str, Any]:
    """The message with its long strings truncated in place."""
    containers: list[Any] = [message]
    for container in containers:
        for key, value in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(value, str):
                container[key] = value[:STRING_CHARACTERS]
            elif isinstance(value, dict | list):
                containers.append(value)
    return message


def _nothing() -> None:
    pass
