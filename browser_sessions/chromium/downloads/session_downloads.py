"""The downloads of one session: saved to its folder, limited by its quota, published as events."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from browser_sessions.cdp import CdpClosed, CdpError
from browser_sessions.chromium.downloads.download_events import BEGIN, DownloadEvents
from browser_sessions.chromium.driver.playwright_calls import Calls
from browser_sessions.chromium.ports import ContextEvent, DownloadListener
from browser_sessions.domain.clock import Clock
from browser_sessions.domain.download_ledger import Download, DownloadState, Ledger
from browser_sessions.domain.errors import BrowserGone, BrowserTimeout, Conflict, DownloadNotFound, PageFailed
from browser_sessions.domain.limits import MAX_NESTED, TEXT_CHARACTERS
from browser_sessions.domain.urls import without_passwords

MAX_CLIENT_CONTEXTS: Final = 4 * MAX_NESTED
"""Contexts created by clients whose downloads are handled."""
MAX_OVER_QUOTA_EVENTS: Final = 10
"""Events of downloads beyond the quota: a page that starts downloads in a loop must not fill the event history."""
_STATES: Final = {"completed": DownloadState.COMPLETED, "canceled": DownloadState.CANCELED}


class Downloads:
    """The downloads of one session's context and of the contexts that its clients create."""

    def __init__(
        self,
        events: DownloadEvents,
        calls: Calls,
        clock: Clock,
        folder: Path,
        limit_bytes: int,
        publish: Callable[[ContextEvent], None],
    ) -> None:
        self.folder = folder
        self._events = events
        self._calls = calls
        self._clock = clock
        self._ledger = Ledger(limit_bytes)
        self._publish = publish
        self._contexts: dict[str, None] = {}
        self._running: dict[str, str] = {}
        """Context id of each running download."""
        self._over_quota = 0
        """Number of downloads beyond the quota."""
        self._listeners: list[DownloadListener] = []

    async def allow(self, context_id: str, allowed: bool, *, timeout: float) -> None:
        """As `ports.Downloads.allow`."""
        self._contexts[context_id] = None
        if len(self._contexts) > MAX_CLIENT_CONTEXTS:
            _own, oldest, *_ = self._contexts
            del self._contexts[oldest]
            self._events.forget(oldest)
        try:
            await self._events.serve(context_id, self.folder, self._on_event, allowed=allowed, timeout=timeout)
        except CdpClosed as error:
            raise BrowserGone(f"The browser is gone: {error.reason}") from None
        except TimeoutError:
            raise BrowserTimeout("The browser did not respond in time.") from None
        except CdpError as error:
            raise PageFailed(error.message) from error

    def listen(self, listener: DownloadListener) -> Callable[[], None]:
        """Passes on Chromium's events unchanged. Returns a function that removes the listener."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def all(self) -> list[Download]:
        return [replace(each) for each in self._ledger.all()]

    async def open(self, download_id: str) -> tuple[Download, int]:
        """As `ports.Downloads.open`."""
        download = self._ledger.get(download_id)
        if download is None:
            raise DownloadNotFound(download_id)
        if download.state is not DownloadState.COMPLETED:
            raise Conflict(f"The download is not complete: it is {download.state.value}.")
        try:
            return download, await asyncio.to_thread(_open, self.folder / download_id)
        except OSError:
            raise DownloadNotFound(download_id) from None

    async def remove(self, download_id: str) -> None:
        """As `ports.Downloads.remove`."""
        download = self._ledger.remove(download_id)
        if download is None:
            raise DownloadNotFound(download_id)
        context_id = self._running.get(download_id)
        if context_id is None:
            await self._unlink(download_id)
        else:
            self._finished(download, DownloadState.CANCELED)
            await self._cancel(context_id, download_id)

    def close(self) -> None:
        self._listeners.clear()
        self._events.forget(*self._contexts)

    def _on_event(self, context_id: str, method: str, params: Mapping[str, Any]) -> None:
        for listener in tuple(self._listeners):
            listener(context_id, method, params)
        if method == BEGIN:
            self._on_begin(context_id, params)
        else:
            self._on_progress(context_id, params)

    def _on_begin(self, context_id: str, params: Mapping[str, Any]) -> None:
        guid, page_id = params["guid"], params["frameId"]
        known = self._events.is_page(page_id)
        url, filename = (
            without_passwords(params["url"])[:TEXT_CHARACTERS],
            params["suggestedFilename"][:TEXT_CHARACTERS],
        )
        download = Download(guid, page_id if known else None, url, filename, self._clock.wall())
        accepted = self._ledger.begin(download)
        self._over_quota += not accepted
        if self._over_quota > MAX_OVER_QUOTA_EVENTS:
            self._calls.background(self._cancel(context_id, guid))
            return
        self._publish(ContextEvent("download.started", {"page_id": download.page_id, "url": url, "filename": filename}))
        if accepted:
            self._running[guid] = context_id
        else:
            self._reject(context_id, download)

    def _on_progress(self, context_id: str, params: Mapping[str, Any]) -> None:
        download = self._ledger.get(params["guid"])
        if download is None or download.state is not DownloadState.IN_PROGRESS:
            return
        state = _STATES.get(params["state"], DownloadState.IN_PROGRESS)
        received, total = int(params["receivedBytes"]), int(params["totalBytes"]) or None
        if not self._ledger.progress(params["guid"], received, total, state):
            self._reject(context_id, download)
        elif state is not DownloadState.IN_PROGRESS:
            self._finished(download, state)

    def _reject(self, context_id: str, download: Download) -> None:
        self._finished(download, DownloadState.OVER_QUOTA)
        self._calls.background(self._cancel(context_id, download.download_id))

    async def _cancel(self, context_id: str, download_id: str) -> None:
        await self._events.cancel(context_id, download_id)
        await self._unlink(download_id)  # it may have been complete already

    async def _unlink(self, download_id: str) -> None:
        await asyncio.to_thread((self.folder / download_id).unlink, missing_ok=True)

    def _finished(self, download: Download, state: DownloadState) -> None:
        self._running.pop(download.download_id, None)
        data = {
            "page_id": download.page_id,
            "filename": download.filename,
            "state": state.value,
            "size": download.received_bytes if state is DownloadState.COMPLETED else None,
        }
        self._publish(ContextEvent("download.finished", data))


def _open(path: Path) -> int:
    """Opens a file that Chromium has written. Raises `OSError` for links and pipes, which one in an attacker's hands
    may have put there."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    found, folder = os.fstat(descriptor), path.parent.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_uid != folder.st_uid:  # a hard link to a file of somebody else
        os.close(descriptor)
        raise PermissionError(0, "not a file of the browser")
    return descriptor
