"""Browser contexts with one page each, made before Playwright asks for them.

Most of the time that a new page takes is its renderer's start. A page that is made in an idle moment, and that stays
paused, leaves only the session's options to a create. Nothing has been set in it, and nothing loaded.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from browser_sessions.cdp import Browser, BrowserSession, Target

IDLE_S: Final = 0.1
"""From the last create until the next context is made ready: twice what a create takes, so that creates that follow one
another do not share the processor with it."""
_CONTEXT: Final = {"disposeOnDetach": True}
"""What Playwright asks for where the session has no proxy."""


@dataclass(slots=True, eq=False)
class _Ready:
    context_id: str = ""
    """Empty until Chromium has told it."""
    attached: dict[str, Any] | None = None
    """Chromium's news that the driver is attached to the page, held back."""

    @property
    def page_id(self) -> str | None:
        return None if self.attached is None else str(self.attached["targetInfo"]["targetId"])


class ReadyContexts:
    """Of one browser, on the session of Playwright's driver, with which they end."""

    def __init__(
        self,
        session: BrowserSession,
        browser: Browser,
        adopt: Callable[[str], None],
        forget: Callable[[str], None],
    ) -> None:
        """`adopt` is called with the id of each new context before its page is made, `forget` when it is given up."""
        self._session = session
        self._browser = browser
        self._adopt = adopt
        self._forget = forget
        self._wanted = 0
        self._creates = 0
        """Under way."""
        self._unusual = 0
        """Of them, those that no ready context suits."""
        self._making: _Ready | None = None
        self._ready: deque[_Ready] = deque()
        self._taken: dict[str, _Ready] = {}
        """Whose page Playwright has not asked for yet, by context."""
        self._disposed: set[str] = set()
        """Chromium has not answered yet."""
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<ReadyContexts {len(self._ready)} of {self._wanted}>"

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def context_ids(self) -> set[str]:
        """Contexts of the browser that are nobody's: neither a session's nor a client's."""
        made = [each.context_id for each in (*self._ready, self._making) if each is not None and each.context_id]
        return self._disposed.union(made)

    def keep(self, count: int) -> None:
        """So many are kept ready from now on; those beyond are disposed of at once."""
        self._wanted = count
        while len(self._ready) > count:
            self._dispose(self._ready.popleft())
        self._fill_soon()

    @contextlib.contextmanager
    def create(self, *, usual: bool) -> Iterator[None]:
        """While a create of this browser is under way none is made; while one is that is not `usual`, none is taken:
        whose Playwright's question is, cannot be told."""
        self._creates += 1
        self._unusual += not usual
        try:
            yield
        finally:
            self._creates -= 1
            self._unusual -= not usual
            self._fill_soon()

    def close(self) -> None:
        """The driver or the browser is gone, and all contexts with it."""
        self._closed = True
        self._stop_timer()
        self._making = None
        self._ready.clear()
        self._taken.clear()
        self._disposed.clear()

    # -- what Playwright asks for ----------------------------------------------------------------------------------

    def take(self, params: Mapping[str, Any]) -> str | None:
        """The id of a context for `Target.createBrowserContext`; None: one has to be made."""
        if params != _CONTEXT or not self._ready or self._unusual:
            return None
        ready = self._ready.popleft()
        self._taken[ready.context_id] = ready
        return ready.context_id

    def page(self, context_id: str | None) -> dict[str, Any] | None:
        """The event that attaches the driver to the page of a context that was taken, for `Target.createTarget`; None:
        a page has to be made. From now on the page is paused for as long as any other."""
        ready = self._taken.pop(context_id or "", None)
        if ready is None or ready.page_id is None:
            return None
        self._browser.targets.renew(ready.page_id)
        self._browser.pauses.limit(ready.page_id)
        return ready.attached

    def discard(self, context_id: str) -> None:
        """Playwright disposes of the context."""
        self._taken.pop(context_id, None)

    # -- what Chromium tells ---------------------------------------------------------------------------------------

    def hold_back(self, params: dict[str, Any]) -> bool:
        """Whether Chromium has attached the driver to a page that it is not to know of yet."""
        info = params["targetInfo"]
        if self._making is None or info.get("browserContextId") != self._making.context_id or info["type"] != "page":
            return False
        self._making.attached = params
        self._browser.pauses.keep(info["targetId"])
        return True

    def lost(self, target: Target) -> None:
        """A page has crashed or is gone. It is not made anew before the next create: renderers that cannot start would
        keep the machine busy."""
        for ready in tuple(self._ready):
            if ready.page_id == target.target_id:
                self._ready.remove(ready)
                self._dispose(ready)
        for ready in tuple(self._taken.values()):
            if ready.page_id == target.target_id:
                del self._taken[ready.context_id]
                self._session.post("Target.closeTarget", {"targetId": target.target_id})

    # -- making them -----------------------------------------------------------------------------------------------

    def _fill_soon(self) -> None:
        self._stop_timer()
        if not self._closed and not self._creates and len(self._ready) < self._wanted:
            self._timer = asyncio.get_running_loop().call_later(IDLE_S, self._fill)

    def _fill(self) -> None:
        if self._making is not None:
            return
        making = self._making = _Ready()

        def context_made(value: Mapping[str, Any] | None, _error: object) -> None:
            if value is None:
                self._making = None
                return
            making.context_id = value["browserContextId"]
            self._adopt(making.context_id)
            self._session.create_target(
                {"url": "about:blank", "browserContextId": making.context_id},
                lambda _: making.attached is None,
                lambda *_: self._page_made(making),
                resumes=True,
            )

        self._session.post("Target.createBrowserContext", _CONTEXT, context_made)

    def _page_made(self, making: _Ready) -> None:
        self._making = None
        target = self._browser.targets.get(making.page_id)
        if target is None or target.crashed or len(self._ready) >= self._wanted:
            self._dispose(making)
            return
        self._ready.append(making)
        self._fill_soon()

    def _dispose(self, ready: _Ready) -> None:
        context_id = ready.context_id
        self._disposed.add(context_id)
        self._forget(context_id)
        self._session.post(
            "Target.disposeBrowserContext",
            {"browserContextId": context_id},
            lambda *_: self._disposed.discard(context_id),
        )

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
