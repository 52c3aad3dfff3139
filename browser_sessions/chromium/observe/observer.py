"""Publishes console messages, errors and failed requests of a context's pages (docs/decisions/0006).

A page can log ten thousand lines a second. When a session exceeds its allowance, the CDP domain is disabled for a
while, which stops the events in Chromium.
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
from browser_sessions.chromium.page_session import call, page_session
from browser_sessions.chromium.ports import ContextEvent
from browser_sessions.domain.errors import BrowserSessionsError
from browser_sessions.domain.limits import TEXT_CHARACTERS

PAUSE_S: Final = 2.0
"""How long a domain stays disabled after it exceeded its allowance."""
CALL_SECONDS: Final = 30.0
"""Timeout of the calls, for which no caller waits. A page that a client keeps paused responds when it is resumed."""
MAX_SOURCES: Final = 100
"""Observed pages, workers and out-of-process frames of one session: a page can create workers without end."""
RELEASE_EVERY: Final = 50
"""Console events with objects after which Chromium may release the objects, which it keeps for us to inspect."""

_ALWAYS: Final = {"page": ("Runtime", "Log", "Page"), "iframe": ("Runtime", "Log"), "worker": ("Network",)}
"""Enabled domains by type of target. A worker's console is in its page's log, even for short-lived workers; its failed
requests are only in its own `Network` domain. With `Page` enabled, Chromium accepts our `handleJavaScriptDialog`, and
reports when a dialog is closed; disabling it would close an open one."""
_WATCHED: Final = {"page": ("Network",), "iframe": ("Network",), "worker": ()}
"""Additional domains while there are viewers."""
_AUTO_ATTACH: Final = {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": True}

Publish = Callable[[ContextEvent], None]


@dataclass(slots=True)
class Source:
    """A page, or a worker or out-of-process frame of one."""

    page_id: str
    kind: str
    with_objects: int = 0
    """Number of console events with objects so far."""


@dataclass(slots=True)
class Request:
    """A request that has not finished."""

    method: str | None
    """None if it was sent before the `Network` domain was enabled."""
    url: str
    sent: float | None
    """In seconds of Chromium's monotonic clock; None as `method`."""
    response: dict[str, Any] | None = None
    """`Network.Response`, once its headers have been received."""
    kind: str = ""
    is_page: bool = False
    """It is for the page's own document, not for one of a frame."""


class Observer:
    """Observes the pages of one context. While there are viewers it also publishes every request, which slows the page
    down."""

    def __init__(
        self, calls: Calls, cdp: Browser, publish: Publish, document_failed: Callable[[str, str, str], None]
    ) -> None:
        """`document_failed` is called with the page id, the error and the URL if a page's document was not loaded."""
        self._calls = calls
        self._cdp = cdp
        self._publish = publish
        self._document_failed = document_failed
        self._loop = asyncio.get_running_loop()
        self._sources: dict[Session, Source] = {}
        self._requests: dict[str, Request] = {}
        """Running requests of sources whose `Network` domain is enabled, by id; `BURST` at most."""
        self._allowances: dict[str, Allowance] = {}
        self._pauses: dict[str, asyncio.TimerHandle] = {}
        self._watched = False
        self._stopped = False

    def stop(self) -> None:
        """Publishes no events any more."""
        self._stopped = True
        for pause in self._pauses.values():
            pause.cancel()
        self._pauses.clear()
        self._sources.clear()

    def opened(self, page_id: str) -> None:
        """Starts observing a new page of the context."""
        self._calls.background(self._observe(page_id))

    def watch(self, on: bool) -> None:
        """Switches the additional events for viewers on or off."""
        if on is self._watched or self._stopped:
            return
        self._watched = on
        self._requests.clear()
        for session, source in self._sources.items():
            for domain in _WATCHED[source.kind]:
                if not (on and domain in self._pauses):
                    self._calls.background(_call(session, f"{domain}.{'enable' if on else 'disable'}"))

    # -- subscriptions ---------------------------------------------------------------------------------------------

    async def _observe(self, page_id: str) -> None:
        session = await page_session(self._cdp, page_id, timeout=CALL_SECONDS)
        if self._stopped:
            return
        session.on("Page.javascriptDialogClosed", lambda params: self._on_dialog_closed(page_id, params))
        domains = self._subscribe(session, Source(page_id, "page"))
        # all at once: a new page responds to some only when it runs, and its first request is then under way
        await asyncio.gather(
            *(_call(session, f"{domain}.enable") for domain in domains),
            _call(session, "Target.setAutoAttach", _AUTO_ATTACH),
        )

    def _subscribe(self, session: Session, source: Source) -> list[str]:
        """Registers the handlers for a source. Returns the domains to enable."""
        self._sources[session] = source
        session.closed.add_done_callback(lambda _: self._sources.pop(session, None))
        session.on("Runtime.consoleAPICalled", lambda params: self._on_console(session, source, params))
        session.on("Runtime.exceptionThrown", lambda params: self._on_exception(source, params))
        session.on("Log.entryAdded", lambda params: self._on_log_entry(source, params))
        session.on("Network.requestWillBeSent", lambda params: self._on_request(source, params))
        session.on("Network.responseReceived", lambda params: self._on_response(source, params))
        session.on("Network.loadingFinished", lambda params: self._on_request_finished(source, params))
        session.on("Network.loadingFailed", lambda params: self._on_request_failed(source, params))
        session.on("Target.attachedToTarget", lambda params: self._on_attached(session, source, params))
        return [domain for domain in self._domains(source) if domain not in self._pauses]

    def _domains(self, source: Source) -> tuple[str, ...]:
        return (*_ALWAYS[source.kind], *(_WATCHED[source.kind] if self._watched else ()))

    def _on_attached(self, parent: Session, parent_source: Source, params: dict[str, Any]) -> None:
        """Observes a worker or out-of-process frame, whose events belong to its page. It is not paused."""
        kind = params.get("targetInfo", {}).get("type")
        if self._stopped or kind not in _ALWAYS or kind == "page" or len(self._sources) >= MAX_SOURCES:
            return
        child = parent.below(params["sessionId"])
        if child is None:
            return
        for domain in self._subscribe(child, Source(parent_source.page_id, kind)):
            self._calls.background(_call(child, f"{domain}.enable"))
        self._calls.background(_call(child, "Target.setAutoAttach", _AUTO_ATTACH))

    def _allowed(self, domain: str) -> bool:
        """Whether to publish one more event of `domain`. The first one too many disables the domain for `PAUSE_S`."""
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
                self._calls.background(_call(session, f"{domain}.disable"))
        self._pauses[domain] = self._loop.call_later(PAUSE_S, self._resume, domain)
        if domain in ("Runtime", "Log"):
            text = f"The page logs too fast: its console output of the next {PAUSE_S:g} s is dropped."
            self._emit("console", page_id=None, level="warning", text=text, url="", line=0)
        return False

    def _resume(self, domain: str) -> None:
        self._pauses.pop(domain, None)
        for session, source in self._sources.items():
            if domain in self._domains(source):
                self._calls.background(_enable_again(session, domain))

    # -- Chromium's events -----------------------------------------------------------------------------------------

    def _on_console(self, session: Session, source: Source, params: dict[str, Any]) -> None:
        if not self._allowed("Runtime"):
            return
        arguments = params.get("args", [])
        url, line = where(params.get("stackTrace"))
        level = params.get("type", "log")
        self._emit("console", page_id=source.page_id, level=level, text=text_of(arguments), url=url, line=line)
        if any("objectId" in argument for argument in arguments):
            source.with_objects += 1
            if source.with_objects % RELEASE_EVERY == 0:
                self._calls.background(_call(session, "Runtime.releaseObjectGroup", {"objectGroup": "console"}))

    def _on_exception(self, source: Source, params: dict[str, Any]) -> None:
        if self._allowed("Runtime"):
            self._emit("page.error", page_id=source.page_id, text=error_of(params.get("exceptionDetails", {})))

    def _on_log_entry(self, source: Source, params: dict[str, Any]) -> None:
        entry = params.get("entry", {})
        if not self._allowed("Log"):
            return
        url, text = str(entry.get("url", ""))[:TEXT_CHARACTERS], str(entry.get("text", ""))[:TEXT_CHARACTERS]
        if (error := failure_of(entry)) is not None:
            self._emit("network.failed", page_id=source.page_id, url=url, method=None, error=error)
        elif (thrown := worker_error_of(entry)) is not None:
            self._emit("page.error", page_id=source.page_id, text=thrown)
        else:
            line, level = int(entry.get("lineNumber", -1)) + 1, str(entry.get("level", "info"))
            self._emit("console", page_id=source.page_id, level=level, text=text, url=url, line=line)

    def _on_request(self, source: Source, params: dict[str, Any]) -> None:
        redirected = self._requests.pop(params["requestId"], None)
        if redirected is not None and (response := params.get("redirectResponse")) is not None:
            redirected.response, redirected.kind = response, str(params.get("type", "")).lower()
            self._emit_response(source, redirected, params, response.get("encodedDataLength"))
        request = params.get("request", {})
        added = self._add_request(
            params, str(request.get("method", "")), str(request.get("url", "")), params.get("timestamp")
        )
        added.is_page = params.get("type") == "Document" and params.get("frameId") == source.page_id

    def _on_response(self, source: Source, params: dict[str, Any]) -> None:
        response = params.get("response", {})
        request = self._requests.get(params["requestId"])
        if request is None:
            request = self._add_request(params, None, str(response.get("url", "")), None)
        request.response, request.kind = response, str(params.get("type", "")).lower()
        status = response.get("status") or 0
        if source.kind == "worker" and status >= 400 and self._allowed("Network"):  # others are in the log
            error = f"the server responded with a status of {status}"
            self._emit("network.failed", page_id=source.page_id, url=request.url, method=request.method, error=error)

    def _on_request_finished(self, source: Source, params: dict[str, Any]) -> None:
        request = self._requests.pop(params["requestId"], None)
        if request is not None:
            self._emit_response(source, request, params, params.get("encodedDataLength"))

    def _on_request_failed(self, source: Source, params: dict[str, Any]) -> None:
        request = self._requests.pop(params["requestId"], None)
        if request is None:
            return
        canceled = bool(params.get("canceled"))
        not_logged = source.kind == "worker" or params.get("type") == "Document"
        if request.is_page and not canceled:
            error = str(params.get("errorText", ""))[:TEXT_CHARACTERS]
            self._document_failed(source.page_id, error, request.url)
        if request.response is not None:
            self._emit_response(source, request, params, None)
        elif (self._watched if canceled else not_logged) and self._allowed("Network"):
            error = "canceled" if canceled else str(params.get("errorText", ""))[:TEXT_CHARACTERS]
            self._emit("network.failed", page_id=source.page_id, url=request.url, method=request.method, error=error)

    def _add_request(self, params: dict[str, Any], method: str | None, url: str, sent: float | None) -> Request:
        """Drops the oldest one if there are too many: pages may leave requests open forever."""
        if len(self._requests) >= BURST:
            del self._requests[next(iter(self._requests))]
        request = self._requests[params["requestId"]] = Request(method, url[:TEXT_CHARACTERS], sent)
        return request

    def _emit_response(self, source: Source, request: Request, last: dict[str, Any], size: float | None) -> None:
        """`last`: the event that ended the request. `size`: bytes received, with the headers."""
        if not self._watched or request.response is None or not self._allowed("Network"):
            return
        end = last.get("timestamp")
        self._emit(
            "network.response",
            page_id=source.page_id,
            url=request.url,
            method=request.method,
            status=request.response.get("status"),
            type=request.kind,
            ms=None if request.sent is None or end is None else round((end - request.sent) * 1000, 1),
            size=None if size is None else int(size),
        )

    def _on_dialog_closed(self, page_id: str, params: dict[str, Any]) -> None:
        self._emit("dialog.closed", page_id=page_id, accepted=params.get("result") is True)

    def _emit(self, kind: str, **data: Any) -> None:
        if not self._stopped:
            self._publish(ContextEvent(kind, data))


async def _call(session: Session, method: str, params: dict[str, Any] | None = None) -> None:
    try:
        await call(session, method, params, timeout=CALL_SECONDS)
    except (CdpError, BrowserSessionsError):
        return  # the target is gone or does not have this domain


async def _enable_again(session: Session, domain: str) -> None:
    """Discards the entries that Chromium has collected meanwhile, which it would send all at once, and enables
    `domain`."""
    if domain == "Runtime":
        await _call(session, "Runtime.discardConsoleEntries")
    elif domain == "Log":
        await _call(session, "Log.clear")
    await _call(session, f"{domain}.enable")
