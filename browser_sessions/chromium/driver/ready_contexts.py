"""Browser contexts with one page each, created before Playwright asks for them.

Most of the time of a new page is the start of its renderer. With a page that was created while idle and stays paused, a
create only has to apply the session's options. Nothing has been set or loaded in such a page.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from browser_sessions.background_tasks import Background
from browser_sessions.cdp import Browser, BrowserSession, Target
from browser_sessions.domain.errors import EgressUnavailable
from browser_sessions.egress.egress import BrowserEgress, EgressPort

IDLE_S: Final = 0.1
"""Delay between the last create and the next preparation: twice the time of a create, so that successive creates do not
compete with it for the processor."""
_CONTEXT: Final = {"disposeOnDetach": True}
"""Parameters of Playwright's `Target.createBrowserContext` for a session without a proxy."""
EVERYTHING: Final = "<-loopback>"
"""The bypass list of a context whose loopback requests use its proxy too, as all others do."""

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class _Ready:
    port: EgressPort | None
    """Refuses everything until a session has the context. None without the egress proxy."""
    context_id: str = ""
    """Empty until Chromium has created it."""
    attached: dict[str, Any] | None = None
    """Parameters of the withheld `Target.attachedToTarget` event for the driver."""

    @property
    def page_id(self) -> str | None:
        return None if self.attached is None else str(self.attached["targetInfo"]["targetId"])


class ReadyContexts:
    """One per browser, on the CDP session of Playwright's driver, and disposed of with it."""

    def __init__(
        self,
        session: BrowserSession,
        browser: Browser,
        egress: BrowserEgress | None,
        adopt: Callable[[str], None],
        forget: Callable[[str], None],
    ) -> None:
        """`adopt` is called with the id of each new context before its page is created, `forget` before its
        disposal."""
        self._session = session
        self._browser = browser
        self._egress = egress
        self._adopt = adopt
        self._forget = forget
        self._wanted = 0
        self._creates = 0
        """Number of running creates."""
        self._unsuitable = 0
        """How many of them cannot use a ready context."""
        self._making: _Ready | None = None
        self._ready: deque[_Ready] = deque()
        self._reserved: dict[str, _Ready] = {}
        """Contexts that a create will use, by the address of their proxy."""
        self._taken: dict[str, _Ready] = {}
        """Contexts whose page Playwright has not created yet, by context id."""
        self._disposed: set[str] = set()
        """Contexts whose disposal Chromium has not confirmed yet."""
        self._timer: asyncio.TimerHandle | None = None
        self._background = Background()
        self._closed = False

    def __repr__(self) -> str:
        return f"<ReadyContexts {len(self._ready)} of {self._wanted}>"

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def context_ids(self) -> set[str]:
        """Contexts of the browser that belong to no session and no client."""
        made = [each.context_id for each in (*self._ready, self._making) if each is not None and each.context_id]
        return self._disposed.union(made)

    def keep(self, count: int) -> None:
        """Sets how many contexts to keep ready. Disposes of the excess at once."""
        self._wanted = count
        while len(self._ready) > count:
            self._dispose(self._ready.popleft())
        self._fill_soon()

    @contextlib.contextmanager
    def create(self, *, suitable: bool) -> Iterator[None]:
        """Surrounds a create. No context is prepared meanwhile. Without the egress proxy, none is taken either while
        there is a create that is not `suitable` for one, because Playwright's commands do not show which create they
        belong to; with it they do, by the address of the proxy."""
        self._creates += 1
        self._unsuitable += not suitable
        try:
            yield
        finally:
            self._creates -= 1
            self._unsuitable -= not suitable
            self._fill_soon()

    def close(self) -> None:
        """The driver or the browser is gone, and all contexts with it."""
        self._closed = True
        self._stop_timer()
        for each in (*self._ready, *((self._making,) if self._making else ())):
            self._close_port(each)
        self._making = None
        self._ready.clear()
        self._reserved.clear()
        self._taken.clear()
        self._disposed.clear()

    def reserve(self) -> EgressPort | None:
        """The proxy of a ready context, which Playwright gets for a context with this proxy; the port is the caller's
        from now on. None if there is none."""
        if self._egress is None or not self._ready:
            return None
        ready = self._ready.popleft()
        port, ready.port = ready.port, None
        assert port is not None, "the egress proxy is on"
        self._reserved[port.server] = ready
        return port

    def give_up(self, port: EgressPort) -> None:
        """The create has failed: disposes of the context of `reserve` if Playwright has not asked for it."""
        if (ready := self._reserved.pop(port.server, None)) is not None:
            self._dispose(ready)

    # -- Playwright's commands -------------------------------------------------------------------------------------

    def take(self, params: Mapping[str, Any]) -> str | None:
        """The id of a ready context for `Target.createBrowserContext`; None if a new one has to be created."""
        ready = self._reserved.pop(params.get("proxyServer", ""), None)
        if ready is None:
            if self._egress is not None or params != _CONTEXT or not self._ready or self._unsuitable:
                return None
            ready = self._ready.popleft()
        self._taken[ready.context_id] = ready
        return ready.context_id

    def page(self, context_id: str | None) -> dict[str, Any] | None:
        """For `Target.createTarget`: parameters of the event that attaches the driver to the page of a context returned
        by `take`; None if a new page has to be created. The page starts anew, and the time limit of its pause too, so
        that no clock in it tells when it was made."""
        ready = self._taken.pop(context_id or "", None)
        if ready is None or ready.page_id is None or ready.attached is None:
            return None
        self._browser.targets.renew(ready.page_id)
        self._browser.pauses.start_limit(ready.page_id)
        self._session.post("Page.navigate", {"url": "about:blank"}, session_id=ready.attached["sessionId"])
        return ready.attached

    def discard(self, context_id: str) -> None:
        """Playwright disposes of the context."""
        self._taken.pop(context_id, None)

    # -- Chromium's events -----------------------------------------------------------------------------------------

    def withhold(self, params: dict[str, Any]) -> bool:
        """Whether a `Target.attachedToTarget` event is about a page that the driver must not see yet."""
        info = params["targetInfo"]
        if self._making is None or info.get("browserContextId") != self._making.context_id or info["type"] != "page":
            return False
        self._making.attached = params
        self._browser.pauses.suspend_limit(info["targetId"])
        return True

    def lost(self, target: Target) -> None:
        """A page has crashed or is gone. It is not replaced before the next create: renderers that cannot start would
        keep the machine busy."""
        for ready in tuple(self._ready):
            if ready.page_id == target.target_id:
                self._ready.remove(ready)
                self._dispose(ready)
        for server, ready in tuple(self._reserved.items()):
            if ready.page_id == target.target_id:
                del self._reserved[server]
                self._dispose(ready)
        for ready in tuple(self._taken.values()):
            if ready.page_id == target.target_id:
                del self._taken[ready.context_id]
                self._session.post("Target.closeTarget", {"targetId": target.target_id})

    # -- preparation -----------------------------------------------------------------------------------------------

    def _fill_soon(self) -> None:
        self._stop_timer()
        if not self._closed and not self._creates and len(self._ready) < self._wanted:
            self._timer = asyncio.get_running_loop().call_later(IDLE_S, self._fill)

    def _fill(self) -> None:
        if self._making is not None:
            return
        if self._egress is None:
            self._make(_Ready(None))
        else:
            _ = self._background.run(self._fill_with_proxy(self._egress))

    async def _fill_with_proxy(self, egress: BrowserEgress) -> None:
        try:
            port = await egress.open()
        except EgressUnavailable as error:  # a create reports it
            log.warning("egress.unavailable", reason=error.detail)
            return
        if self._making is not None or self._closed:
            await port.close()
        else:
            self._make(_Ready(port))

    def _make(self, making: _Ready) -> None:
        self._making = making
        params: dict[str, Any] = _CONTEXT
        if making.port is not None:
            params = _CONTEXT | {"proxyServer": making.port.server, "proxyBypassList": EVERYTHING}

        def context_created(value: Mapping[str, Any] | None, _error: object) -> None:
            if value is None:
                self._making = None
                self._close_port(making)
                return
            making.context_id = value["browserContextId"]
            self._adopt(making.context_id)
            self._session.create_target(
                {"url": "about:blank", "browserContextId": making.context_id},
                lambda _: making.attached is None,
                lambda *_: self._page_created(making),
                resumes=True,
            )

        self._session.post("Target.createBrowserContext", params, context_created)

    def _page_created(self, making: _Ready) -> None:
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
        self._close_port(ready)
        self._session.post(
            "Target.disposeBrowserContext",
            {"browserContextId": context_id},
            lambda *_: self._disposed.discard(context_id),
        )

    def _close_port(self, ready: _Ready) -> None:
        if ready.port is not None:
            _ = self._background.run(ready.port.close())

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
