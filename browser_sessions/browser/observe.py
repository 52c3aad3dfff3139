"""What a context's pages say, and what they fail to fetch, as events (docs/decisions/0006).

A page may log ten thousand lines a second. Beyond its allowance it is not listened to for a moment: a flood is stopped
at its source, in Chromium.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

from playwright.async_api import BrowserContext, Download, Page

from browser_sessions.browser.attach import Attachments, PageSession
from browser_sessions.browser.calls import Calls
from browser_sessions.cdp import CdpError
from browser_sessions.model.errors import BrowserSessionsError
from browser_sessions.model.ports import ContextEvent

TEXT_CHARACTERS: Final = 500
"""Of what a page says, in one event."""
BURST: Final = 200
"""Events of one domain at once: a page load's worth."""
PER_SECOND: Final = 20.0
"""After a burst: what a person can still follow, and 72,000 an hour at the most."""
PAUSE_S: Final = 2.0
"""How long a domain that flooded is not listened to."""
ASK_SECONDS: Final = 30.0
"""A page that a client holds back on its first line answers when it goes on; nobody waits for this."""
RELEASE_EVERY: Final = 50
"""Lines with objects in them after which Chromium may forget those: it keeps them for us to look into."""

_ALWAYS: Final = ("Runtime", "Log")
_WATCHED: Final = ("Network", "Page")
"""While somebody looks. With `Page` on, Chromium takes our answer to a dialog too, and tells when one is answered."""
_EVENTS: Final = (
    "Runtime.consoleAPICalled",
    "Runtime.exceptionThrown",
    "Log.entryAdded",
    "Network.requestWillBeSent",
    "Network.responseReceived",
    "Page.javascriptDialogClosed",
)
_FAILED: Final = "Failed to load resource: "

Tell = Callable[[ContextEvent], None]
PageId = Callable[[Page | None], str | None]


class Allowance:
    """A bucket of `BURST` events that fills by `PER_SECOND`. Pure; moments are seconds on the loop's clock."""

    def __init__(self, now: float) -> None:
        self._left = float(BURST)
        self._at = now

    def take(self, now: float) -> bool:
        """True when one more may pass."""
        self._left = min(float(BURST), self._left + (now - self._at) * PER_SECOND)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Observer:
    """Listens to the pages of one context. `watched` adds every answer of the network, which costs the page, and that
    dialogs close: for when somebody looks."""

    def __init__(
        self, inner: BrowserContext, calls: Calls, attachments: Attachments, page_id: PageId, tell: Tell
    ) -> None:
        self._inner = inner
        self._calls = calls
        self._attachments = attachments
        self._page_id = page_id
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._pages: dict[str, PageSession] = {}
        self._methods: dict[str, str] = {}
        """HTTP methods of requests under way, while watched."""
        self._allowances: dict[str, Allowance] = {}
        self._pauses: dict[str, asyncio.TimerHandle] = {}
        self._with_objects = 0
        self._watched = False
        self._stopped = False

    def start(self) -> None:
        self._inner.on("page", self._page_came_up)
        for page in self._inner.pages:
            self._page_came_up(page)

    def stop(self) -> None:
        """Tells of nothing any more."""
        self._stopped = True
        for pause in self._pauses.values():
            pause.cancel()
        self._pauses.clear()
        self._pages.clear()

    def opened(self, page_id: str) -> None:
        """A page of the context is there."""
        self._calls.background(self._follow(page_id))

    def closed(self, page_id: str) -> None:
        self._pages.pop(page_id, None)
        self._attachments.drop(page_id)

    @property
    def watched(self) -> bool:
        return self._watched

    @watched.setter
    def watched(self, on: bool) -> None:
        if on is self._watched or self._stopped:
            return
        self._watched = on
        self._methods.clear()
        for domain in _WATCHED:
            self._switch(domain, on=on)

    # -- subscriptions ---------------------------------------------------------------------------------------------

    async def _follow(self, page_id: str) -> None:
        for event in _EVENTS:
            self._attachments.hear(event)
        session = await self._attachments.page(page_id, timeout=ASK_SECONDS)
        if self._stopped:
            return
        self._pages[page_id] = session
        session.on("Runtime.consoleAPICalled", lambda params: self._console(page_id, params))
        session.on("Runtime.exceptionThrown", lambda params: self._thrown(page_id, params))
        session.on("Log.entryAdded", lambda params: self._logged(page_id, params))
        session.on("Network.requestWillBeSent", self._asked)
        session.on("Network.responseReceived", lambda params: self._answered(page_id, params))
        session.on("Page.javascriptDialogClosed", lambda params: self._dialog_closed(page_id, params))
        for domain in (*_ALWAYS, *_WATCHED) if self._watched else _ALWAYS:
            if domain not in self._pauses:
                await session.call(f"{domain}.enable", timeout=ASK_SECONDS)

    def _switch(self, domain: str, *, on: bool) -> None:
        if on and domain in self._pauses:
            return
        for session in self._pages.values():
            self._calls.background(_ask(session, f"{domain}.{'enable' if on else 'disable'}"))

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
        self._switch(domain, on=False)
        self._pauses[domain] = self._loop.call_later(PAUSE_S, self._resume, domain)
        if domain == "Runtime":
            text = f"The page logs too fast: nothing of it is kept for {PAUSE_S:g} s."
            self._say("console", page_id=None, level="warning", text=text, url="", line=0)
        return False

    def _resume(self, domain: str) -> None:
        self._pauses.pop(domain, None)
        if domain == "Network" and not self._watched:
            return
        for session in self._pages.values():
            self._calls.background(_listen_again(session, domain))

    # -- what came -------------------------------------------------------------------------------------------------

    def _console(self, page_id: str, params: dict[str, Any]) -> None:
        if not self._allowed("Runtime"):
            return
        arguments = params.get("args", [])
        url, line = _where(params.get("stackTrace"))
        self._say(
            "console", page_id=page_id, level=params.get("type", "log"), text=text_of(arguments), url=url, line=line
        )
        if any("objectId" in argument for argument in arguments):
            self._with_objects += 1
            if self._with_objects % RELEASE_EVERY == 0 and (session := self._pages.get(page_id)):
                self._calls.background(_ask(session, "Runtime.releaseObjectGroup", {"objectGroup": "console"}))

    def _thrown(self, page_id: str, params: dict[str, Any]) -> None:
        if self._allowed("Runtime"):
            details = params.get("exceptionDetails", {})
            thrown = details.get("exception", {})
            text = thrown.get("description") or text_of([thrown] if thrown else []) or str(details.get("text", ""))
            self._say("page.error", page_id=page_id, text=text[:TEXT_CHARACTERS])

    def _logged(self, page_id: str, params: dict[str, Any]) -> None:
        entry = params.get("entry", {})
        if not self._allowed("Log"):
            return
        text, url = str(entry.get("text", "")), str(entry.get("url", ""))[:TEXT_CHARACTERS]
        if entry.get("source") == "network" and text.startswith(_FAILED):
            error = text.removeprefix(_FAILED)[:TEXT_CHARACTERS]
            self._say("network.failed", page_id=page_id, url=url, method=None, error=error)
            return
        line = int(entry.get("lineNumber", -1)) + 1
        level, text = str(entry.get("level", "info")), text[:TEXT_CHARACTERS]
        self._say("console", page_id=page_id, level=level, text=text, url=url, line=line)

    def _asked(self, params: dict[str, Any]) -> None:
        if len(self._methods) < BURST:
            self._methods[params["requestId"]] = str(params.get("request", {}).get("method", ""))

    def _answered(self, page_id: str, params: dict[str, Any]) -> None:
        method = self._methods.pop(params["requestId"], None)
        if self._watched and self._allowed("Network"):
            response = params.get("response", {})
            took = (response.get("timing") or {}).get("receiveHeadersEnd")
            self._say(
                "network.response",
                page_id=page_id,
                url=str(response.get("url", ""))[:TEXT_CHARACTERS],
                method=method,
                status=response.get("status"),
                type=str(params.get("type", "")).lower(),
                ms=None if took is None else round(took, 1),
            )

    def _dialog_closed(self, page_id: str, params: dict[str, Any]) -> None:
        self._say("dialog.closed", page_id=page_id, accepted=params.get("result") is True)

    def _page_came_up(self, page: Page) -> None:
        page.on("download", self._download)

    def _download(self, download: Download) -> None:
        page_id = self._page_id(download.page)
        filename = download.suggested_filename[:TEXT_CHARACTERS]
        self._say("download.started", page_id=page_id, url=download.url[:TEXT_CHARACTERS], filename=filename)

        async def finished() -> None:
            failure = await download.failure()
            self._say("download.finished", page_id=page_id, filename=filename, state=failure or "completed")

        self._calls.background(finished())

    def _say(self, kind: str, **data: Any) -> None:
        if not self._stopped:
            self._tell(ContextEvent(kind, data))


def text_of(arguments: Iterable[dict[str, Any]]) -> str:
    """What `console.log` was given, as one line: plain values as they are, objects by their preview. Pure."""
    text = ""
    for argument in arguments:
        text += (" " if text else "") + _value(argument)
        if len(text) > TEXT_CHARACTERS:
            break
    return text[:TEXT_CHARACTERS]


def _value(argument: dict[str, Any]) -> str:
    kind = argument.get("type")
    if kind == "string":
        return str(argument.get("value", ""))[:TEXT_CHARACTERS]
    if "unserializableValue" in argument:
        return str(argument["unserializableValue"])
    preview = argument.get("preview")
    if preview and argument.get("subtype") != "error":
        return _preview(preview)
    if "description" in argument:
        return str(argument["description"])
    if kind == "undefined":
        return "undefined"
    value = argument.get("value")
    return {None: "null", True: "true", False: "false"}.get(value, str(value))


def _preview(preview: dict[str, Any]) -> str:
    listed = preview.get("subtype") == "array"
    parts = [
        str(each.get("value", each.get("type", ""))) if listed else f"{each.get('name')}: {each.get('value', '…')}"
        for each in preview.get("properties", [])
    ]
    if preview.get("overflow"):
        parts.append("…")
    inside = ", ".join(parts)
    if listed:
        return f"[{inside}]"
    name = preview.get("description", "")
    return f"{{{inside}}}" if name == "Object" else f"{name} {{{inside}}}" if inside else str(name)


def _where(stack: dict[str, Any] | None) -> tuple[str, int]:
    frames = (stack or {}).get("callFrames") or [{}]
    return str(frames[0].get("url", ""))[:TEXT_CHARACTERS], int(frames[0].get("lineNumber", -1)) + 1


async def _ask(session: PageSession, method: str, params: dict[str, Any] | None = None) -> None:
    try:
        await session.call(method, params, timeout=ASK_SECONDS)
    except (CdpError, BrowserSessionsError):
        return  # the page is gone, or has nothing to switch


async def _listen_again(session: PageSession, domain: str) -> None:
    """What Chromium kept meanwhile would all come at once: it is told to forget that first."""
    if domain == "Runtime":
        await _ask(session, "Runtime.discardConsoleEntries")
    elif domain == "Log":
        await _ask(session, "Log.clear")
    await _ask(session, f"{domain}.enable")
