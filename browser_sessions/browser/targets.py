"""What is open in one browser, by target id: kept by events of a connection of our own, shown without asking
anybody."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote

from browser_sessions.cdp import CdpClosed, CdpError, Connection
from browser_sessions.model.clock import Clock

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


@dataclass(slots=True)
class Target:
    """One page as Chromium describes it."""

    target_id: str
    context_id: str
    created_at: datetime
    url: str = ""
    title: str = ""
    crashed: bool = False
    told_url: str = ""
    """The address that listeners were told last."""
    untold: int = 0
    """How often it was looked at since its address became another than `told_url`."""


Listener = Callable[[str, Target], None]
"""Called with `opened`, `closed`, `crashed` or `navigated`, and the page."""


class TargetRegistry:
    """The pages of one browser, oldest first.

    Chromium tells of a page's birth and death at once, but of a new address or title late or never (measured: a title
    set by a script and a changed fragment bring no event). So whoever learns of a navigation calls `touch`, and the
    probe refreshes once a second.
    """

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._targets: dict[str, Target] = {}
        self._listeners: dict[str, Listener] = {}
        self._refresher: asyncio.Task[None] | None = None
        self._again = False

    async def start(self, *, timeout: float) -> None:
        """Learns of every page from now on. Raises what `Connection.call` raises."""
        for event, handler in (
            ("Target.targetCreated", self._created),
            ("Target.targetInfoChanged", self._changed),
            ("Target.targetDestroyed", self._destroyed),
            ("Target.targetCrashed", self._crashed),
        ):
            self._connection.on(event, handler)
        await self._connection.call(
            "Target.setDiscoverTargets", {"discover": True, "filter": _PAGES_ONLY}, timeout=timeout
        )

    def stop(self) -> None:
        if self._refresher is not None:
            self._refresher.cancel()

    def pages(self, context_id: str) -> list[Target]:
        """Open pages of a context, oldest first."""
        return [target for target in self._targets.values() if target.context_id == context_id]

    def get(self, target_id: str) -> Target | None:
        return self._targets.get(target_id)

    def watch(self, context_id: str, listener: Listener) -> None:
        """Tells `listener` what happens to the context's pages; those that are open already are told as opened."""
        self._listeners[context_id] = listener
        for target in self.pages(context_id):
            listener("opened", target)

    def unwatch(self, context_id: str) -> None:
        self._listeners.pop(context_id, None)

    async def refresh(self, *, timeout: float) -> None:
        """Brings addresses and titles up to date. Raises what `Connection.call` raises."""
        listed = await self._connection.call("Target.getTargets", {"filter": _PAGES_ONLY}, timeout=timeout)
        for info in listed["targetInfos"]:
            self._update(info)

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

    def _tell(self, kind: str, target: Target) -> None:
        listener = self._listeners.get(target.context_id)
        if listener is not None:
            listener(kind, target)

    def _created(self, params: dict[str, Any], _session: str | None) -> None:
        info = params["targetInfo"]
        if info["type"] != "page" or info.get("subtype") or info["targetId"] in self._targets:
            return
        target = Target(info["targetId"], info.get("browserContextId", ""), self._clock.wall())
        self._targets[target.target_id] = target
        self._describe(target, info)
        target.told_url = target.url
        self._tell("opened", target)

    def _changed(self, params: dict[str, Any], session: str | None) -> None:
        if params["targetInfo"]["targetId"] in self._targets:
            self._update(params["targetInfo"])
        else:
            self._created(params, session)  # a prerendered page that has come to the front

    def _update(self, info: dict[str, Any]) -> None:
        target = self._targets.get(info["targetId"])
        if target is None:
            return
        self._describe(target, info)
        if target.url == target.told_url:
            return
        if not target.told_url and target.url == _BLANK:
            target.told_url = target.url
            return
        target.untold += 1
        if target.title or target.untold > UNTITLED_LOOKS:
            target.told_url, target.untold = target.url, 0
            self._tell("navigated", target)
        else:
            self.touch()

    @staticmethod
    def _describe(target: Target, info: dict[str, Any]) -> None:
        if not info["url"] and target.url:
            return  # a full Chromium says that between two pages
        target.url = info["url"]
        target.title = "" if stands_for_none(info["title"], info["url"]) else info["title"]

    def _destroyed(self, params: dict[str, Any], _session: str | None) -> None:
        target = self._targets.pop(params["targetId"], None)
        if target is not None:
            self._tell("closed", target)

    def _crashed(self, params: dict[str, Any], _session: str | None) -> None:
        target = self._targets.get(params["targetId"])
        if target is not None and not target.crashed:
            target.crashed = True
            self._tell("crashed", target)


def stands_for_none(title: str, url: str) -> bool:
    """True when `title` is only the address: Chromium shows that, shortened for people, of what has no title (yet)."""
    return _shortened(title) == _shortened(url)


def _shortened(text: str) -> str:
    _, _, rest = text.rpartition("://")
    return unquote(rest).rstrip("/")
