"""Routes download events to the context that they belong to.

Chromium sends the download events of all contexts to every CDP session that enables them for any context (seen with
Chromium 156), and they name a frame but no context. So only our root session enables them, determines the context of
each, and notifies its listener; clients get them from the service and never from Chromium.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cachetools import FIFOCache

from browser_sessions.background_tasks import Background
from browser_sessions.cdp import Browser, CdpClosed, CdpError
from browser_sessions.chromium.page_registry import PageRegistry
from browser_sessions.chromium.page_session import call, page_session
from browser_sessions.chromium.ports import DownloadListener
from browser_sessions.domain.errors import BrowserSessionsError

BEGIN: Final = "Browser.downloadWillBegin"
PROGRESS: Final = "Browser.downloadProgress"
FIND_S: Final = 2.0
"""Timeout of one call in a search. A hung page is skipped; its download is matched by its folder when complete."""
MAX_UNKNOWN: Final = 100
"""Downloads whose context is not known yet."""

MAX_SEARCHES: Final = 4
"""Concurrent searches, so that a frame that starts downloads in a loop does not keep its browser busy."""


class DownloadEvents:
    """One per browser."""

    def __init__(self, cdp: Browser, registry: PageRegistry) -> None:
        self._cdp = cdp
        self._registry = registry
        self._served: dict[str, tuple[Path, DownloadListener]] = {}
        """Folder and listener by context id."""
        self._context_of: dict[str, str] = {}
        """Context id of each running download, by download id."""
        self._unknown: FIFOCache[str, list[tuple[str, Mapping[str, Any]]]] = FIFOCache(MAX_UNKNOWN)
        """First and latest event of downloads whose context is not known yet, by download id."""
        self._searches = Background()
        cdp.root.on(BEGIN, self._on_begin)
        cdp.root.on(PROGRESS, self._on_progress)

    def __repr__(self) -> str:
        return f"<DownloadEvents {len(self._served)} contexts, {len(self._context_of)} running>"

    async def serve(
        self, context_id: str, folder: Path, listener: DownloadListener, *, allowed: bool = True, timeout: float
    ) -> None:
        """Saves downloads of this context to `folder` from now on, named by their ids, or denies them if not `allowed`.
        Raises as `cdp.Session.call`."""
        self._served[context_id] = folder, listener
        params: dict[str, Any] = {"browserContextId": context_id, "eventsEnabled": True}
        params |= {"behavior": "allowAndName", "downloadPath": str(folder)} if allowed else {"behavior": "deny"}
        await self._cdp.root.call("Browser.setDownloadBehavior", params, timeout=timeout)

    def forget(self, *context_ids: str) -> None:
        for context_id in context_ids:
            self._served.pop(context_id, None)
        self._context_of = {guid: context for guid, context in self._context_of.items() if context in self._served}

    def is_page(self, frame_id: str) -> bool:
        """Whether the frame is a page's main frame, which has the page's id."""
        return self._registry.get(frame_id) is not None

    async def cancel(self, context_id: str, download_id: str) -> None:
        with contextlib.suppress(CdpError, CdpClosed, TimeoutError):
            params = {"guid": download_id, "browserContextId": context_id}
            await self._cdp.root.call("Browser.cancelDownload", params, timeout=FIND_S)

    def stop(self) -> None:
        self._searches.cancel()

    # -- Chromium's events -----------------------------------------------------------------------------------------

    def _on_begin(self, params: dict[str, Any]) -> None:
        page = self._registry.get(params["frameId"])
        if page is not None:
            self._assign(params["guid"], page.context_id, [(BEGIN, params)])
            if not page.url:  # a window that was opened for the download: it stays blank, and some clients never see it
                self._cdp.close_target(page.target_id)
            return
        self._unknown[params["guid"]] = [(BEGIN, params)]
        if len(self._searches) >= MAX_SEARCHES:
            return  # matched by its folder when complete
        _ = self._searches.run(self._search(params["guid"], params["frameId"]))

    def _on_progress(self, params: dict[str, Any]) -> None:
        guid = params["guid"]
        events = self._unknown.get(guid)
        if events is not None:
            events[1:] = [(PROGRESS, params)]  # only the latest progress matters
            context_id = self._by_folder(params.get("filePath"))
            if context_id is not None:
                self._assign(guid, context_id, self._unknown.pop(guid))
            return
        context_id = self._context_of.get(guid)
        if context_id is not None:
            self._notify(context_id, PROGRESS, params)
            if params["state"] != "inProgress":
                del self._context_of[guid]

    def _by_folder(self, path: str | None) -> str | None:
        """The context of a complete file, by its folder."""
        if not path:
            return None
        parent = Path(path).parent
        return next((context for context, (folder, _) in self._served.items() if folder == parent), None)

    async def _search(self, guid: str, frame_id: str) -> None:
        """Looks for the frame among the targets, which include out-of-process frames, then in the frame tree of each
        page."""
        context_id = None
        with contextlib.suppress(CdpError, CdpClosed, TimeoutError):
            found = await self._cdp.root.call("Target.getTargetInfo", {"targetId": frame_id}, timeout=FIND_S)
            context_id = found["targetInfo"].get("browserContextId")
        for page in [] if context_id else [page for context in self._served for page in self._registry.pages(context)]:
            with contextlib.suppress(CdpError, TimeoutError, BrowserSessionsError):
                session = await page_session(self._cdp, page.target_id, timeout=FIND_S)
                tree = await call(session, "Page.getFrameTree", timeout=FIND_S)
                if frame_id in _frames(tree["frameTree"]):
                    context_id = page.context_id
                    break
        events = self._unknown.pop(guid, None)
        if context_id is not None and events is not None:
            self._assign(guid, context_id, events)
        elif events is not None:
            self._unknown[guid] = events  # matched by its folder when complete

    def _assign(self, guid: str, context_id: str, events: list[tuple[str, Mapping[str, Any]]]) -> None:
        if events[-1][1].get("state", "inProgress") == "inProgress":
            self._context_of[guid] = context_id
        for method, params in events:
            self._notify(context_id, method, params)

    def _notify(self, context_id: str, method: str, params: Mapping[str, Any]) -> None:
        served = self._served.get(context_id)
        if served is not None:
            served[1](context_id, method, params)


def _frames(tree: Mapping[str, Any]) -> set[str]:
    found, left = set(), [tree]
    while left:
        part = left.pop()
        found.add(part["frame"]["id"])
        left += part.get("childFrames", ())
    return found
