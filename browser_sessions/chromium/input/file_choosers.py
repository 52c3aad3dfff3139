"""File choosers of a page, which no frame shows: while somebody watches for them, Chromium reports them instead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

from browser_sessions.background_tasks import Background
from browser_sessions.cdp import CdpError, Session
from browser_sessions.chromium.page_session import call
from browser_sessions.chromium.ports import ChooserListener, FileChooser
from browser_sessions.domain.errors import BrowserSessionsError, BrowserTimeout, PageFailed
from browser_sessions.domain.limits import TEXT_CHARACTERS

INTERCEPT: Final = "Page.setInterceptFileChooserDialog"
READ_SECONDS: Final = 2.0
"""Reading an input's attributes takes a millisecond."""


class FileChoosers:
    """Those of one page; not those of frames of other sites. `attached` returns the page's session within the given
    seconds."""

    def __init__(self, attached: Callable[[float], Awaitable[Session]]) -> None:
        self._attached = attached
        self._listeners: list[ChooserListener] = []
        self._off: list[Callable[[], None]] = []
        self._frame: str | None = None
        """The frame of the last chooser, while it is open."""
        self._reading = Background()

    async def watch(self, listener: ChooserListener, *, timeout: float) -> Callable[[], None]:
        """As `chromium.ports.Screen.watch_choosers`. Does not wait for the page: input that is sent next comes after
        it."""
        session = await self._attached(timeout)
        self._listeners.append(listener)
        if not self._off:
            self._off = [
                session.on("Page.fileChooserOpened", partial(self._opened, session)),
                session.on("Page.frameNavigated", self._navigated),
            ]
            session.post(INTERCEPT, {"enabled": True})

        def stop() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)
            if not self._listeners and self._off:
                for off in self._off:
                    off()
                self._off.clear()
                if not session.closed.done():
                    session.post(INTERCEPT, {"enabled": False})

        return stop

    async def choose(self, chooser: FileChooser, paths: Sequence[str], *, timeout: float) -> None:
        """As `chromium.ports.Screen.choose_files`."""
        session = await self._attached(timeout)
        files = {"backendNodeId": chooser.element, "files": list(paths)}
        try:
            await call(session, "DOM.setFileInputFiles", files, timeout=timeout)
        except CdpError as error:
            raise PageFailed(error.message) from None
        self._closed()

    def _opened(self, session: Session, params: dict[str, Any]) -> None:
        _ = self._reading.run(self._report(session, params))

    async def _report(self, session: Session, params: dict[str, Any]) -> None:
        element = params.get("backendNodeId")
        if element is None:
            return  # `showOpenFilePicker`, which gives a page handles of files, not files
        try:
            found = await call(session, "DOM.describeNode", {"backendNodeId": element}, timeout=READ_SECONDS)
            pairs = iter(found["node"].get("attributes", ()))
        except BrowserTimeout:
            pairs = iter(())  # the page is busy: it is offered any files
        except (CdpError, BrowserSessionsError):
            return  # the page has moved on
        attributes = dict(zip(pairs, pairs, strict=False))
        chooser = FileChooser(
            element,
            multiple=params["mode"] == "selectMultiple",
            directory="webkitdirectory" in attributes,
            accept=attributes.get("accept", "")[:TEXT_CHARACTERS],
        )
        self._frame = params["frameId"]
        for listener in tuple(self._listeners):
            listener(chooser)

    def _navigated(self, params: dict[str, Any]) -> None:
        if "parentId" not in params["frame"] or params["frame"]["id"] == self._frame:
            self._closed()

    def _closed(self) -> None:
        if self._frame is not None:
            self._frame = None
            for listener in tuple(self._listeners):
                listener(None)
