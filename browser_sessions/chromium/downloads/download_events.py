"""Whose a download is: Chromium tells every download of a browser to everybody who asked for any.

A session that asks for the downloads of one context gets those of all (seen with Chromium 156), by a frame's id and
without a context's. So our root session asks, finds out whose each is, and tells that context alone; a client asks us,
and never Chromium.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from browser_sessions.cdp import Browser, CdpClosed, CdpError
from browser_sessions.chromium.page_session import ask, page_session
from browser_sessions.chromium.page_targets import TargetRegistry
from browser_sessions.chromium.ports import DownloadListener
from browser_sessions.domain.errors import BrowserSessionsError

BEGIN: Final = "Browser.downloadWillBegin"
PROGRESS: Final = "Browser.downloadProgress"
FIND_S: Final = 2.0
"""To ask one page for its frames; a page that hangs is passed over, and its download is known when it is complete."""
UNKNOWN_AT_MOST: Final = 100
"""Downloads whose context is being looked for."""

FINDING_AT_MOST: Final = 4
"""Searches at once: a frame that downloads without end must not keep its browser busy with them."""


class DownloadEvents:
    """Of one browser."""

    def __init__(self, cdp: Browser, registry: TargetRegistry) -> None:
        self._cdp = cdp
        self._registry = registry
        self._served: dict[str, tuple[Path, DownloadListener]] = {}
        """By context: its folder, and who is told."""
        self._owner: dict[str, str] = {}
        """Contexts of downloads under way, by their id."""
        self._unknown: OrderedDict[str, list[tuple[str, Mapping[str, Any]]]] = OrderedDict()
        self._finding: set[asyncio.Task[None]] = set()
        cdp.root.on(BEGIN, self._began)
        cdp.root.on(PROGRESS, self._progressed)

    def __repr__(self) -> str:
        return f"<DownloadEvents {len(self._served)} contexts, {len(self._owner)} under way>"

    async def serve(
        self, context_id: str, folder: Path, listener: DownloadListener, *, allowed: bool = True, timeout: float
    ) -> None:
        """Files of this context go to `folder` from now on, named by their ids; or nowhere, when not `allowed`. Raises
        what `cdp.Session.call` raises."""
        self._served[context_id] = folder, listener
        params: dict[str, Any] = {"browserContextId": context_id, "eventsEnabled": True}
        params |= {"behavior": "allowAndName", "downloadPath": str(folder)} if allowed else {"behavior": "deny"}
        await self._cdp.root.call("Browser.setDownloadBehavior", params, timeout=timeout)

    def forget(self, *context_ids: str) -> None:
        for context_id in context_ids:
            self._served.pop(context_id, None)
        self._owner = {guid: owner for guid, owner in self._owner.items() if owner in self._served}

    def is_page(self, frame_id: str) -> bool:
        """Whether a frame is a page's own, whose id is the page's too."""
        return self._registry.get(frame_id) is not None

    async def cancel(self, context_id: str, download_id: str) -> None:
        with contextlib.suppress(CdpError, CdpClosed, TimeoutError):
            params = {"guid": download_id, "browserContextId": context_id}
            await self._cdp.root.call("Browser.cancelDownload", params, timeout=FIND_S)

    def stop(self) -> None:
        for task in tuple(self._finding):
            task.cancel()

    # -- what Chromium tells ---------------------------------------------------------------------------------------

    def _began(self, params: dict[str, Any]) -> None:
        page = self._registry.get(params["frameId"])
        if page is not None:
            self._found(params["guid"], page.context_id, [(BEGIN, params)])
            if not page.url:  # a window that was opened for the file: it stays blank, and some clients never see it
                self._cdp.root.post("Target.closeTarget", {"targetId": page.target_id})
            return
        self._unknown[params["guid"]] = [(BEGIN, params)]
        while len(self._unknown) > UNKNOWN_AT_MOST:
            self._unknown.popitem(last=False)
        if len(self._finding) >= FINDING_AT_MOST:
            return  # its file will tell
        task = asyncio.create_task(self._find(params["guid"], params["frameId"]))
        self._finding.add(task)
        task.add_done_callback(self._finding.discard)

    def _progressed(self, params: dict[str, Any]) -> None:
        guid = params["guid"]
        told = self._unknown.get(guid)
        if told is not None:
            told[1:] = [(PROGRESS, params)]  # only how far it is now counts
            owner = self._by_folder(params.get("filePath"))
            if owner is not None:
                self._found(guid, owner, self._unknown.pop(guid))
            return
        owner = self._owner.get(guid)
        if owner is not None:
            self._tell(owner, PROGRESS, params)
            if params["state"] != "inProgress":
                del self._owner[guid]

    def _by_folder(self, path: str | None) -> str | None:
        """A complete file shows whose it is by where it lies."""
        if not path:
            return None
        folder = Path(path).parent
        return next((context for context, (its, _) in self._served.items() if its == folder), None)

    async def _find(self, guid: str, frame_id: str) -> None:
        """A frame that is a target of its own is known to Chromium by its id; any other, to its page."""
        owner = None
        with contextlib.suppress(CdpError, CdpClosed, TimeoutError):
            answer = await self._cdp.root.call("Target.getTargetInfo", {"targetId": frame_id}, timeout=FIND_S)
            owner = answer["targetInfo"].get("browserContextId")
        for page in [] if owner else [page for context in self._served for page in self._registry.pages(context)]:
            with contextlib.suppress(CdpError, TimeoutError, BrowserSessionsError):
                session = await page_session(self._cdp, page.target_id, timeout=FIND_S)
                tree = await ask(session, "Page.getFrameTree", timeout=FIND_S)
                if frame_id in _frames(tree["frameTree"]):
                    owner = page.context_id
                    break
        told = self._unknown.pop(guid, None)
        if owner is not None and told is not None:
            self._found(guid, owner, told)
        elif told is not None:
            self._unknown[guid] = told  # its file will tell

    def _found(self, guid: str, context_id: str, told: list[tuple[str, Mapping[str, Any]]]) -> None:
        if told[-1][1].get("state", "inProgress") == "inProgress":
            self._owner[guid] = context_id
        for method, params in told:
            self._tell(context_id, method, params)

    def _tell(self, context_id: str, method: str, params: Mapping[str, Any]) -> None:
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
