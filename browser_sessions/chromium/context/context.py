"""One session's isolated context: followed while it lives, closed for certain."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import structlog
from playwright.async_api import BrowserContext, Dialog, Page

from browser_sessions.cdp import CdpClosed, CdpError, Target
from browser_sessions.chromium.context import page_actions
from browser_sessions.chromium.context.action_queue import Action, Turn, Turns
from browser_sessions.chromium.context.context_host import CHECK_SECONDS, Host
from browser_sessions.chromium.context.context_pages import Pages
from browser_sessions.chromium.context.dialogs import Dialogs
from browser_sessions.chromium.deadline import Deadline
from browser_sessions.chromium.downloads.session_downloads import Downloads
from browser_sessions.chromium.driver.playwright_calls import CRASHED, PageCrashed, TargetClosed
from browser_sessions.chromium.observe.observer import Observer
from browser_sessions.chromium.page_targets import title_of
from browser_sessions.chromium.ports import ContextEvent, Owner, PageInfo
from browser_sessions.chromium.screencast.screencast import PageScreen
from browser_sessions.domain.errors import (
    BrowserGone,
    BrowserSessionsError,
    BrowserTimeout,
    PageFailed,
    PageNotFound,
    TooManyPages,
)
from browser_sessions.domain.limits import MAX_PAGES, TEXT_CHARACTERS

USAGE_SECONDS: Final = 1.0
"""For what a renderer says of itself: an idle one takes 5 ms, and `/health` has two seconds for everything."""
EventListener = Callable[[ContextEvent], None]

log = structlog.get_logger()


class Context:
    """Implements `chromium.ports.ContextHandle` over a Playwright context."""

    def __init__(
        self, host: Host, inner: BrowserContext, context_id: str, folder: Path, on_event: EventListener
    ) -> None:
        self._host = host
        self._calls = host.calls
        self._inner = inner
        self._context_id = context_id
        self._folder = folder
        self._on_event = on_event
        self._pages = Pages(host.calls, host.registry, context_id, folder.name)
        self._dialogs = Dialogs(host.calls, self._dialog_news)
        self._observer = Observer(host.calls, host.cdp, self._tell)
        self.downloads = Downloads(
            host.downloads, host.calls, host.clock, folder / "downloads", host.download_bytes, self._tell
        )
        self._opening = 0
        """Pages that Chromium is being asked for: they count against the limit before they are there."""
        self._going: Counter[str] = Counter()
        """Pages that are being navigated through us, by id."""
        self._turns: dict[str, Turns] = {}
        """By page id, from its first action on."""
        self._screens: dict[str, PageScreen] = {}
        self._closing: asyncio.Task[None] | None = None
        self._gone = False

    def __repr__(self) -> str:
        return f"<Context {self._context_id}, {len(self._pages)} pages{', gone' if self._gone else ''}>"

    @property
    def context_id(self) -> str:
        return self._context_id

    @property
    def owner(self) -> Owner:
        return self._host.link

    def connections_changed(self, *, clients: int, viewers: int) -> None:
        self._dialogs.clients_changed(clients)
        self._observer.watch(viewers > 0)

    def follow(self) -> None:
        """Tells of what happens from now on. Its page may still be opening: what is asked of it meanwhile costs
        nothing."""
        self._inner.on("dialog", self._dialogs.opened)
        self._inner.on("close", self._maybe_gone)
        self._host.registry.watch(self._context_id, self._page_news)

    def opened(self, page: Page, page_id: str) -> None:
        """Its first page is ready."""
        self._inner.on("page", self._pages.came_up)
        self._pages.add(page, page_id)

    def forget(self) -> None:
        """Tells of nothing any more."""
        self._host.registry.unwatch(self._context_id)
        self._observer.stop()
        self.downloads.forget()
        self._pages.forget()
        for turns in self._turns.values():
            turns.end()

    def pages(self) -> list[PageInfo]:
        return self._pages.infos()

    def screen(self, page_id: str) -> PageScreen:
        """As `ContextHandle.screen`; the same one for everybody."""
        self._pages.info(page_id)
        screen = self._screens.get(page_id)
        if screen is None:
            screen = self._screens[page_id] = PageScreen(self._host.cdp, page_id)
        return screen

    async def open_page(self, url: str | None, *, timeout: float) -> PageInfo:
        """Opens a page and, with `url`, goes there until the answer begins. A page whose address fails is closed
        again."""
        deadline = Deadline(timeout)
        address = None if url is None else page_actions.check_address(url, ("body", "url"))
        page: Page | None = None
        try:
            async with self._spoken_to(None):
                page = await self._new_page(deadline)
                adopting = self._pages.adopt(page)
                await asyncio.wait({adopting}, timeout=deadline.left)
                if not adopting.done():
                    raise BrowserTimeout("The new page was not ready in time.")
                page_id = adopting.result()
                if address is not None:
                    async with self._turns_of(page_id).turn(Action.NAVIGATE, timeout=deadline.left) as turn:
                        await self._goto(page, page_id, address, "commit", deadline, turn)
        except BaseException:
            if page is not None:
                await self._calls.finish(page.close())
            raise
        return await self._info(page_id)

    async def _new_page(self, deadline: Deadline) -> Page:
        if len(self._pages) + self._opening >= MAX_PAGES:
            raise TooManyPages(self._folder.name)
        self._opening += 1
        try:
            return await self._calls(self._inner.new_page(), timeout=deadline.left, undo=Page.close)
        finally:
            self._opening -= 1

    async def close_page(self, page_id: str, *, timeout: float) -> None:
        """Closes it without asking it (`beforeunload` does not run), crashed and hung ones too."""
        deadline = Deadline(timeout)
        async with self._spoken_to(page_id):
            page = await self._pages.find(page_id, timeout=deadline.left)
            await self._calls(page.close(), timeout=deadline.left)

    async def navigate(self, page_id: str, url: str, *, wait_until: str, timeout: float) -> tuple[PageInfo, int | None]:
        address = page_actions.check_address(url, ("body", "url"))
        async with self._page(page_id, Action.NAVIGATE, timeout) as (page, deadline, turn):
            status = await self._goto(page, page_id, address, wait_until, deadline, turn)
            return await self._info(page_id), status

    async def screenshot(
        self, page_id: str, *, image_format: str, quality: int | None, full_page: bool, timeout: float
    ) -> bytes:
        async with self._page(page_id, Action.DRAW, timeout) as (page, deadline, _):
            return await page_actions.screenshot(
                self._host,
                page,
                page_id,
                image_format=image_format,
                quality=quality,
                full_page=full_page,
                timeout=deadline.left,
            )

    async def content(self, page_id: str, *, timeout: float) -> str:
        async with self._page(page_id, Action.READ, timeout) as (page, deadline, _):
            if self._pages.info(page_id).crashed:
                raise PageCrashed(CRASHED)
            return await page_actions.content(self._host, page, page_id, timeout=deadline.left)

    async def pdf(self, page_id: str, *, timeout: float) -> bytes:
        async with self._page(page_id, Action.DRAW, timeout) as (page, deadline, _):
            return await page_actions.pdf(self._calls, page, timeout=deadline.left)

    async def evaluate(self, page_id: str, expression: str, *, timeout: float) -> Any:
        """As `ContextHandle.evaluate`; `jsonable` says what becomes of values that JSON does not know."""
        async with self._page(page_id, Action.READ, timeout) as (page, deadline, _):
            return await page_actions.evaluate(self._calls, page, expression, timeout=deadline.left)

    async def storage_state(self, *, timeout: float) -> dict[str, Any]:
        """Without databases: 100,000 rows of one held the event loop up for 2.5 seconds."""
        async with self._spoken_to(None):
            return dict(await self._calls(self._inner.storage_state(), timeout=timeout))

    async def responsive(self, *, timeout: float) -> bool:
        """Asks the renderer of the oldest page. One that hangs, has crashed or shows a dialog does not answer.

        Nor does one that waits for the first byte of its site, for Chromium holds the question back until then. A page
        that was sent there through `navigate` counts as responsive; of one that a client sent there nobody knows.
        """
        pages = self._pages.infos()
        if self._gone or not self._host.alive() or (pages and pages[0].crashed):
            return False
        try:
            if pages:
                await page_actions.responds(self._host, pages[0].page_id, timeout=timeout)
        except (PageNotFound, PageFailed):
            return True  # it was closing or navigating: who refuses, answers
        except BrowserTimeout:
            return pages[0].page_id in self._going
        except BrowserGone:
            return False
        return True

    async def usage(self, *, timeout: float = USAGE_SECONDS) -> tuple[int | None, float | None]:
        """JavaScript heap in bytes and CPU seconds of the renderers of its pages; None where no page tells in time.

        The heap is the scripts' part of the memory only: DOM, images and Chromium's own code come on top. The CPU time
        is that of each renderer's main thread since the page is in it, so a page that goes to another site begins anew.
        `ProcessTime` of the same metrics would be the whole process, but is 0 in the sandbox, where there is no /proc.
        Frames of other sites have renderers of their own, which are not in it.
        """
        asked = [self._metrics(page.page_id, timeout) for page in self._pages.infos() if not page.crashed]
        heaps: dict[str, float] = {}
        seconds: dict[str, float] = {}
        for answer in await asyncio.gather(*asked):
            if answer is not None:
                renderer, heap, cpu = answer
                heaps[renderer] = heap
                seconds[renderer] = max(cpu, seconds.get(renderer, 0.0))
        if not heaps:
            return None, None
        return int(sum(heaps.values())), sum(seconds.values())

    async def close(self, *, timeout: float) -> None:
        """Closes the context, by Playwright or, when that does not answer in half of the time, by CDP; removes its
        folder."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(timeout))
        await asyncio.shield(self._closing)

    async def _close(self, timeout: float) -> None:
        self._gone = True
        self.forget()
        closed = False
        with contextlib.suppress(BrowserSessionsError, TargetClosed):
            await self._calls(self._inner.close(), timeout=timeout / 2)
            closed = True
        if not closed and self._host.alive():
            with contextlib.suppress(CdpClosed, CdpError, TimeoutError):
                await self._host.cdp.root.call(
                    "Target.disposeBrowserContext", {"browserContextId": self._context_id}, timeout=timeout / 2
                )
        await remove(self._folder)

    async def _metrics(self, page_id: str, timeout: float) -> tuple[str, float, float] | None:
        """(renderer, heap in bytes, CPU seconds); pages that share a renderer name the same one."""
        try:
            renderer, found = await page_actions.metrics(self._host, page_id, timeout=timeout)
        except BrowserSessionsError:
            return None
        if not found:
            return None  # it has only just opened
        return renderer, found.get("JSHeapTotalSize", 0.0), found.get("ThreadTime", 0.0)

    async def _goto(
        self, page: Page, page_id: str, address: str, wait_until: str, deadline: Deadline, turn: Turn
    ) -> int | None:
        self._going[page_id] += 1
        try:
            return await page_actions.goto(
                self._host,
                page,
                page_id,
                address,
                wait_until=wait_until,
                timeout=deadline.left,
                committed=turn.committed,
            )
        finally:
            self._going -= Counter({page_id: 1})

    @asynccontextmanager
    async def _page(self, page_id: str, action: Action, timeout: float) -> AsyncIterator[tuple[Page, Deadline, Turn]]:
        """The page when it is this action's turn, and what is left of its time then."""
        deadline = Deadline(timeout)
        async with self._spoken_to(page_id):
            page = await self._pages.find(page_id, timeout=deadline.left)
            async with self._turns_of(page_id).turn(action, timeout=deadline.left) as turn:
                yield page, deadline, turn

    def _turns_of(self, page_id: str) -> Turns:
        """Raises `PageNotFound`."""
        turns = self._turns.get(page_id)
        if turns is None:
            self._pages.info(page_id)
            turns = self._turns[page_id] = Turns()
        return turns

    @asynccontextmanager
    async def _spoken_to(self, page_id: str | None) -> AsyncIterator[None]:
        """Turns `TargetClosed` into what it means: no such page any more, or no such context or browser. A navigation
        of a page that is closed fails like one whose site did."""
        if self._gone:
            raise BrowserGone("The session's browser context is closed.")
        try:
            yield
        except PageFailed:
            if page_id is not None and await self._host.has_target(page_id) is False:
                raise PageNotFound(self._folder.name, page_id) from None
            raise
        except TargetClosed:
            if page_id is not None and await self._host.has_target(page_id) is False:
                raise PageNotFound(self._folder.name, page_id) from None
            raise BrowserGone("The session's browser context went away under the call.") from None

    async def _info(self, page_id: str) -> PageInfo:
        """The page with its title as it is now."""
        with contextlib.suppress(CdpClosed, CdpError, TimeoutError):
            await self._host.registry.refresh(timeout=CHECK_SECONDS)
        return self._pages.info(page_id)

    def _page_news(self, kind: str, target: Target) -> None:
        data: dict[str, Any] = {"page_id": target.target_id}
        if kind in ("opened", "navigated"):
            data["url"] = target.url[:TEXT_CHARACTERS]
        if kind == "navigated":
            data["title"] = title_of(target)[:TEXT_CHARACTERS]
        self._tell(ContextEvent(f"page.{kind}", data))
        if kind == "opened":
            self._observer.opened(target.target_id)
            self._calls.background(page_actions.measure(self._host, target.target_id))
        if kind == "opened" and len(self._pages) > MAX_PAGES:
            self._calls.background(self._refuse(target.target_id))
        if kind == "closed":
            self._screens.pop(target.target_id, None)
            if (turns := self._turns.pop(target.target_id, None)) is not None:
                turns.end()
            self._pages.drop(target.target_id)
            if not len(self._pages):
                self._maybe_gone(self._inner)

    def _dialog_news(self, event: ContextEvent, dialog: Dialog) -> None:
        if event.kind == "dialog.closed" and self._observer.watched:
            return  # the observer tells it, whoever answered
        self._tell(ContextEvent(event.kind, {"page_id": self._pages.id_of(dialog.page), **event.data}))

    def _tell(self, event: ContextEvent) -> None:
        if self._gone:
            return
        try:
            self._on_event(event)
        except Exception:  # a listener's bug must not reach Playwright, which would fail our next call with it
            log.exception("browser.listener_failed", kind=event.kind)

    async def _refuse(self, target_id: str) -> None:
        with contextlib.suppress(CdpClosed, CdpError, TimeoutError):
            await self._host.cdp.root.call("Target.closeTarget", {"targetId": target_id}, timeout=CHECK_SECONDS)

    def _maybe_gone(self, _inner: BrowserContext) -> None:
        if not self._gone:
            self._calls.background(self._check_gone())

    async def _check_gone(self) -> None:
        """The context may have been disposed of behind our back. A browser that died is told by its process, not
        here."""
        if await self._host.has_context(self._context_id) is False and not self._gone:
            self._tell(ContextEvent("context.died"))
            self._gone = True
            self.forget()


async def remove(folder: Path) -> None:
    """Removes a session's folder, off the loop."""
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
