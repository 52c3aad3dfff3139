"""The pages of a browser's contexts, and what happens to them, told once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from browser_sessions.cdp import Browser, CdpClosed, CdpError, Target

REFRESH_SECONDS: Final = 2.0
"""How long Chromium may take to list its targets; it takes 1 ms."""
REFRESH_PAUSE_SECONDS: Final = 0.05
"""Between two lists that nobody waits for: a page that navigates in a loop must not keep us busy."""
UNTITLED_LOOKS: Final = 5
"""A page has its address some time before its title: so often it is looked at, `REFRESH_PAUSE_SECONDS` apart, before it
is told without."""
_PAGES_ONLY: Final = [{"type": "page"}, {"exclude": True}]
_BLANK: Final = "about:blank"
"""Where every page begins; getting there is not a navigation."""

Listener = Callable[[str, Target], None]
"""Called with `opened`, `closed`, `crashed` or `navigated`, and the page."""


class TargetRegistry:
    """The pages in a browser's target tree, oldest first.

    Chromium reports a page's birth and death at once, but a new address or title late or never (measured: a title set
    by a script and a changed fragment bring no event). So whoever learns of a navigation calls `touch`, and the probe
    refreshes once a second.
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

    def watch(self, context_id: str, listener: Listener) -> None:
        """Tells `listener` what happens to the context's pages; those that are open already are told as opened."""
        watcher = self._watching[context_id] = _Watcher(listener, self.touch)
        self._cdp.targets.watch(context_id, watcher)
        for target in self.pages(context_id):
            watcher.target_created(target)

    def unwatch(self, context_id: str) -> None:
        watcher = self._watching.pop(context_id, None)
        if watcher is not None:
            self._cdp.targets.unwatch(context_id, watcher)

    async def refresh(self, *, timeout: float) -> None:
        """Brings addresses and titles up to date. Raises `CdpError`, `CdpClosed`, `TimeoutError`."""
        listed = await self._cdp.root.call("Target.getTargets", {"filter": _PAGES_ONLY}, timeout=timeout)
        for info in listed["targetInfos"]:
            if self._cdp.targets.get(info["targetId"]) is not None:
                self._cdp.targets.seen(info)

    def touch(self) -> None:
        """Something navigated: refreshes soon, once for any number of calls."""
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
class _Told:
    """What listeners know of a page."""

    url: str
    looks: int = 0
    """How often it was looked at since its address became another than `url`."""
    crashed: bool = False


class _Watcher:
    """Turns changes of one context's targets into what happened to its pages."""

    def __init__(self, listener: Listener, touch: Callable[[], None]) -> None:
        self._listener = listener
        self._touch = touch
        self._told: dict[str, _Told] = {}

    def target_created(self, target: Target) -> None:
        if _is_page(target) and target.target_id not in self._told:
            self._told[target.target_id] = _Told(target.url)
            self._listener("opened", target)

    def target_changed(self, target: Target) -> None:
        told = self._told.get(target.target_id)
        if told is None:
            self.target_created(target)  # a prerendered page that has come to the front
        elif target.url == told.url:
            return
        elif not told.url and target.url == _BLANK:
            told.url = target.url
        else:
            told.looks += 1
            if title_of(target) or told.looks > UNTITLED_LOOKS:
                told.url, told.looks = target.url, 0
                self._listener("navigated", target)
            else:
                self._touch()

    def target_destroyed(self, target: Target) -> None:
        if self._told.pop(target.target_id, None) is not None:
            self._listener("closed", target)

    def target_crashed(self, target: Target, params: Mapping[str, Any]) -> None:
        told = self._told.get(target.target_id)
        if told is not None and not told.crashed:
            told.crashed = True
            self._listener("crashed", target)

    def target_waits(self, target: Target) -> Iterable[object]:
        return ()


def title_of(target: Target) -> str:
    """The page's own title; empty while it has none."""
    return "" if stands_for_none(target.title, target.url) else target.title


def stands_for_none(title: str, url: str) -> bool:
    """True when `title` is only the address: Chromium shows that, shortened for people, of what has no title (yet)."""
    return _shortened(title) == _shortened(url)


def _is_page(target: Target) -> bool:
    """Not one that is prerendered, or part of the window."""
    return target.type == "page" and not target.info.get("subtype")


def _shortened(text: str) -> str:
    _, _, rest = text.rpartition("://")
    return unquote(rest).rstrip("/")
