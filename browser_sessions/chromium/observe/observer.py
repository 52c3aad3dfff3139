"""What a context's pages say, and what they fail to fetch, as events (docs/decisions/0006).

A page may log ten thousand lines a second. Beyond its allowance it is not listened to for a moment: a flood is stopped
at its source, in Chromium.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from browser_sessions.cdp import Browser, CdpError, Session
from browser_sessions.chromium.driver.playwright_calls import Calls
from browser_sessions.chromium.observe.console_text import (
    error_of,
    failure_of,
    text_of,
    where,
    worker_error_of,
)
from browser_sessions.chromium.observe.event_allowance import BURST, Allowance
from browser_sessions.chromium.page_session import ask, page_session
from browser_sessions.chromium.ports import ContextEvent
from browser_sessions.domain.errors import BrowserSessionsError
from browser_sessions.domain.limits import TEXT_CHARACTERS

PAUSE_S: Final = 2.0
"""How long a domain that flooded is not listened to."""
ASK_SECONDS: Final = 30.0
"""A page that a client holds back on its first line answers when it goes on; nobody waits for this."""
SOURCES_AT_MOST: Final = 100
"""Pages, workers and frames of other sites that one session is heard of: a page may make workers for ever."""
RELEASE_EVERY: Final = 50
"""Lines with objects in them after which Chromium may forget those: it keeps them for us to look into."""

_ALWAYS: Final = {"page": ("Runtime", "Log"), "iframe": ("Runtime", "Log"), "worker": ("Network",)}
"""By kind of target. A worker's console comes with its page's log, and never is a worker too short-lived for that; what
it fails to fetch, only its own network tells."""
_WATCHED: Final = {"page": ("Network", "Page"), "iframe": ("Network",), "worker": ()}
"""While somebody looks. With `Page` on, Chromium takes our answer to a dialog too, and tells when one is answered."""
_PARTS: Final = {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": True}

Tell = Callable[[ContextEvent], None]


@dataclass(slots=True)
class Source:
    """A page, or a part of one that is a target of its own."""

    page_id: str
    kind: str
    with_objects: int = 0
    """Lines with objects in them so far."""


class Observer:
    """Listens to the pages of one context. `watched` adds every answer of the network, which costs the page, and that
    dialogs close: for when somebody looks."""

    def __init__(self, calls: Calls, cdp: Browser, tell: Tell) -> None:
        self._calls = calls
        self._cdp = cdp
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._sources: dict[Session, Source] = {}
        self._requests: dict[str, tuple[str, str]] = {}
        """(HTTP method, address) of requests under way, where the network is listened to."""
        self._allowances: dict[str, Allowance] = {}
        self._pauses: dict[str, asyncio.TimerHandle] = {}
        self._watched = False
        self._stopped = False

    def stop(self) -> None:
        """Tells of nothing any more."""
        self._stopped = True
        for pause in self._pauses.values():
            pause.cancel()
        self._pauses.clear()
        self._sources.clear()

    def opened(self, page_id: str) -> None:
        """A page of the context is there."""
        self._calls.background(self._follow(page_id))

    @property
    def watched(self) -> bool:
        return self._watched

    def watch(self, on: bool) -> None:
        """Listens to the network too, or no longer."""
        if on is self._watched or self._stopped:
            return
        self._watched = on
        self._requests.clear()
        for session, source in self._sources.items():
            for domain in _WATCHED[source.kind]:
                if not (on and domain in self._pauses):
                    self._calls.background(_ask(session, f"{domain}.{'enable' if on else 'disable'}"))

    # -- subscriptions ---------------------------------------------------------------------------------------------

    async def _follow(self, page_id: str) -> None:
        session = await page_session(self._cdp, page_id, timeout=ASK_SECONDS)
        if self._stopped:
            return
        session.on("Page.javascriptDialogClosed", lambda params: self._dialog_closed(page_id, params))
        for domain in self._listen(session, Source(page_id, "page")):
            await ask(session, f"{domain}.enable", timeout=ASK_SECONDS)
        await ask(session, "Target.setAutoAttach", _PARTS, timeout=ASK_SECONDS)

    def _listen(self, session: Session, source: Source) -> list[str]:
        """Hears what comes from now on. The domains that have to be enabled for something to come."""
        self._sources[session] = source
        session.closed.add_done_callback(lambda _: self._sources.pop(session, None))
        session.on("Runtime.consoleAPICalled", lambda params: self._console(session, source, params))
        session.on("Runtime.exceptionThrown", lambda params: self._thrown(source, params))
        session.on("Log.entryAdded", lambda params: self._logged(source, params))
        session.on("Network.requestWillBeSent", self._asked)
        session.on("Network.responseReceived", lambda params: self._answered(source, params))
        session.on("Network.loadingFailed", lambda params: self._not_answered(source, params))
        session.on("Target.attachedToTarget", lambda params: self._part_came(session, source, params))
        return [domain for domain in self._domains(source) if domain not in self._pauses]

    def _domains(self, source: Source) -> tuple[str, ...]:
        return (*_ALWAYS[source.kind], *(_WATCHED[source.kind] if self._watched else ()))

    def _part_came(self, parent: Session, of: Source, params: dict[str, Any]) -> None:
        """A worker, or a frame in a process of its own: what it says is its page's. It runs already."""
        kind = params.get("targetInfo", {}).get("type")
        if self._stopped or kind not in _ALWAYS or kind == "page" or len(self._sources) >= SOURCES_AT_MOST:
            return
        part = parent.below(params["sessionId"])
        if part is None:
            return
        for domain in self._listen(part, Source(of.page_id, kind)):
            self._calls.background(_ask(part, f"{domain}.enable"))
        self._calls.background(_ask(part, "Target.setAutoAttach", _PARTS))

    def _allowed(self, domain: str) -> bool:
        """Whether one more event of `domain` passes; the first that does not ends the listening for a while."""
        if self._stopped or domain in self._pauses:
            return False
        now = self._loop.time()
        allowance = self._allowances.get(domain)
        if allowance is None:
            allowance = self._allowances[domain] = Allowance(now)
        if allowance.take(now):
            return True
        for session, source in self._sources.items():
            if domain in self._domains(source):
                self._calls.background(_ask(session, f"{domain}.disable"))
        self._pauses[domain] = self._loop.call_later(PAUSE_S, self._resume, domain)
        if domain in ("Runtime", "Log"):
            text = f"The page logs too fast: nothing of it is kept for {PAUSE_S:g} s."
            self._say("console", page_id=None, level="warning", text=text, url="", line=0)
        return False

    def _resume(self, domain: str) -> None:
        self._pauses.pop(domain, None)
        for session, source in self._sources.items():
            if domain in self._domains(source):
                self._calls.background(_listen_again(session, domain))

    # -- what came -------------------------------------------------------------------------------------------------

    def _console(self, session: Session, source: Source, params: dict[str, Any]) -> None:
        if not self._allowed("Runtime"):
            return
        arguments = params.get("args", [])
        url, line = where(params.get("stackTrace"))
        level = params.get("type", "log")
        self._say("console", page_id=source.page_id, level=level, text=text_of(arguments), url=url, line=line)
        if any("objectId" in argument for argument in arguments):
            source.with_objects += 1
            if source.with_objects % RELEASE_EVERY == 0:
                self._calls.background(_ask(session, "Runtime.releaseObjectGroup", {"objectGroup": "console"}))

    def _thrown(self, source: Source, params: dict[str, Any]) -> None:
        if self._allowed("Runtime"):
            self._say("page.error", page_id=source.page_id, text=error_of(params.get("exceptionDetails", {})))

    def _logged(self, source: Source, params: dict[str, Any]) -> None:
        entry = params.get("entry", {})
        if not self._allowed("Log"):
            return
        url, text = str(entry.get("url", ""))[:TEXT_CHARACTERS], str(entry.get("text", ""))[:TEXT_CHARACTERS]
        if (error := failure_of(entry)) is not None:
            self._say("network.failed", page_id=source.page_id, url=url, method=None, error=error)
        elif (thrown := worker_error_of(entry)) is not None:
            self._say("page.error", page_id=source.page_id, text=thrown)
        else:
            line, level = int(entry.get("lineNumber", -1)) + 1, str(entry.get("level", "info"))
            self._say("console", page_id=source.page_id, level=level, text=text, url=url, line=line)

    def _asked(self, params: dict[str, Any]) -> None:
        if len(self._requests) < BURST:
            request = params.get("request", {})
            url = str(request.get("url", ""))[:TEXT_CHARACTERS]
            self._requests[params["requestId"]] = str(request.get("method", "")), url

    def _answered(self, source: Source, params: dict[str, Any]) -> None:
        method, _ = self._requests.pop(params["requestId"], (None, ""))
        response = params.get("response", {})
        url, status = str(response.get("url", ""))[:TEXT_CHARACTERS], response.get("status") or 0
        failed = source.kind == "worker" and status >= 400  # of others the log tells
        if not (self._watched or failed) or not self._allowed("Network"):
            return
        if failed:
            error = f"the server responded with a status of {status}"
            self._say("network.failed", page_id=source.page_id, url=url, method=method, error=error)
        if self._watched:
            took = (response.get("timing") or {}).get("receiveHeadersEnd")
            self._say(
                "network.response",
                page_id=source.page_id,
                url=url,
                method=method,
                status=response.get("status"),
                type=str(params.get("type", "")).lower(),
                ms=None if took is None else round(took, 1),
            )

    def _not_answered(self, source: Source, params: dict[str, Any]) -> None:
        method, url = self._requests.pop(params["requestId"], (None, None))
        if source.kind == "worker" and url is not None and not params.get("canceled") and self._allowed("Network"):
            error = str(params.get("errorText", ""))[:TEXT_CHARACTERS]
            self._say("network.failed", page_id=source.page_id, url=url, method=method, error=error)

    def _dialog_closed(self, page_id: str, params: dict[str, Any]) -> None:
        self._say("dialog.closed", page_id=page_id, accepted=params.get("result") is True)

    def _say(self, kind: str, **data: Any) -> None:
        if not self._stopped:
            self._tell(ContextEvent(kind, data))


async def _ask(session: Session, method: str, params: dict[str, Any] | None = None) -> None:
    try:
        await ask(session, method, params, timeout=ASK_SECONDS)
    except (CdpError, BrowserSessionsError):
        return  # the page is gone, or has nothing to switch


async def _listen_again(session: Session, domain: str) -> None:
    """What Chromium kept meanwhile would all come at once: it is told to forget that first."""
    if domain == "Runtime":
        await _ask(session, "Runtime.discardConsoleEntries")
    elif domain == "Log":
        await _ask(session, "Log.clear")
    await _ask(session, f"{domain}.enable")
