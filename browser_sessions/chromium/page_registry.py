"""The pages of a browser's contexts, with one event for each change."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from browser_sessions.cdp import Browser, CdpClosed, CdpError, Target

REFRESH_SECONDS: Final = 2.0
"""Timeout for Chromium to list its targets, which takes 1 ms."""
REFRESH_PAUSE_SECONDS: Final = 0.05
"""Minimum time between two background refreshes, so that a page that navigates in a loop does not keep us busy."""
MAX_TITLE_POLLS: Final = 5
"""A page's URL is known before its title: `navigated` waits for the title for this many refreshes,
`REFRESH_PAUSE_SECONDS` apart."""
_PAGES_ONLY: Final = [{"type": "page"}, {"exclude": True}]
_BLANK: Final = "about:blank"
"""The initial URL of every page, for which there is no `navigated` event."""

Listener = Callable[[str, Target], None]
"""Called with `opened`, `closed`, `crashed` or `navigated`, and the page."""
ErrorOf = Callable[[Target], str | None]
"""Why a page shows Chromium's error page instead of its URL; None if it does not."""
IsCommitted = Callable[[Target], bool]
"""Whether a page shows the document of its target's URL. Chromium reports the URL of a navigation when it begins, with
the title of the document before."""


class PageRegistry:
    """The pages in a browser's target tree, oldest first.

    Chromium reports the creation and the end of a page at once, but a new URL or title late or never (measured: no
    event for a title set by a script or a changed fragment). So `touch` is called whenever a navigation is noticed
    otherwise, and by each probe.
    """

    def __init__(self, cdp: Browser) -> None:
        self._cdp = cdp
        self._watching: dict[str, _Watcher] = {}
        self._refresher: asyncio.Task[None] | None = None
        self._again = False

    def stop(self) -> None:
        if self._refresher is not None:
            self._refresher.cancel()

    def pages(self, context_id: str) -> list[Target]:
        """Open pages of a context, oldest first."""
        return [target for target in self._cdp.targets.of(context_id, "page") if _is_page(target)]

    def get(self, target_id: str) -> Target | None:
        target = self._cdp.targets.get(target_id)
        return target if target is not None and _is_page(target) else None

    def watch(self, context_id: str, listener: Listener, is_committed: IsCommitted, error_of: ErrorOf) -> None:
        """Notifies `listener` of changes of the context's pages. Open pages are reported as opened at once. `touch` has
        to be called when a page may have become committed, or its error has changed."""
        watcher = self._watching[context_id] = _Watcher(listener, is_committed, error_of, self.touch)
        self._cdp.targets.watch(context_id, watcher)
        for target in self.pages(context_id):
            watcher.target_created(target)

    def unwatch(self, context_id: str) -> None:
        watcher = self._watching.pop(context_id, None)
        if watcher is not None:
            self._cdp.targets.unwatch(context_id, watcher)

    async def refresh(self, *, timeout: float) -> None:
        """Updates URLs and titles. Raises `CdpError`, `CdpClosed`, `TimeoutError`."""
        listed = await self._cdp.root.call("Target.getTargets", {"filter": _PAGES_ONLY}, timeout=timeout)
        for info in listed["targetInfos"]:
            if self._cdp.targets.get(info["targetId"]) is not None:
                self._cdp.targets.update(info)

    def touch(self) -> None:
        """Schedules a refresh after a navigation, one for any number of calls."""
        self._again = True
        if self._refresher is None or self._refresher.done():
            self._refresher = asyncio.create_task(self._refresh_soon())

    async def _refresh_soon(self) -> None:
        while self._again:
            self._again = False
            with contextlib.suppress(CdpClosed, CdpError, TimeoutError):
                await self.refresh(timeout=REFRESH_SECONDS)
            await asyncio.sleep(REFRESH_PAUSE_SECONDS)


@dataclass(slots=True)
class _Reported:
    """The state of a page as last reported to the listener."""

    url: str
    polls: int = 0
    """Number of refreshes since the page's URL changed from `url`."""
    crashed: bool = False
    failed: bool = False


class _Watcher:
    """Translates changes of one context's targets to events of its pages."""

    def __init__(
        self, listener: Listener, is_committed: IsCommitted, error_of: ErrorOf, touch: Callable[[], None]
    ) -> None:
        self._listener = listener
        self._is_committed = is_committed
        self._error_of = error_of
        self._touch = touch
        self._reported: dict[str, _Reported] = {}

    def target_created(self, target: Target) -> None:
        if _is_page(target) and target.target_id not in self._reported:
            self._reported[target.target_id] = _Reported(target.url)
            self._listener("opened", target)

    def target_changed(self, target: Target) -> None:
        reported = self._reported.get(target.target_id)
        if reported is None:
            self.target_created(target)  # a prerendered page that was activated
        elif target.url == reported.url and (self._error_of(target) is not None) == reported.failed:
            return
        elif not reported.url and target.url == _BLANK:
            reported.url = target.url
        elif self._is_committed(target):
            failed = self._error_of(target) is not None
            reported.polls += 1
            if failed or title_of(target) or reported.polls > MAX_TITLE_POLLS:
                reported.url, reported.polls, reported.failed = target.url, 0, failed
                self._listener("navigated", target)
            else:
                self._touch()

    def target_destroyed(self, target: Target) -> None:
        if self._reported.pop(target.target_id, None) is not None:
            self._listener("closed", target)

    def target_crashed(self, target: Target, params: Mapping[str, Any]) -> None:
        reported = self._reported.get(target.target_id)
        if reported is not None and not reported.crashed:
            reported.crashed = True
            self._listener("crashed", target)

    def target_paused(self, target: Target) -> Iterable[object]:
        return ()


def title_of(target: Target) -> str:
    """The page's title, empty if it has none."""
    return "" if is_placeholder(target.title, target.url) else target.title


def is_placeholder(title: str, url: str) -> bool:
    """Whether `title` is only the URL, which Chromium reports in a shortened form while a page has no title."""
    return _shortened(title) == _shortened(url)


def _is_page(target: Target) -> bool:
    """Whether the target is a page that is neither prerendered nor part of the browser's UI."""
    return target.type == "page" and not target.info.get("subtype")


def _shortened(text: str) -> str:
    _, _, rest = text.rpartition("://")
    return unquote(rest).rstrip("/")
