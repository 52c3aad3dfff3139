"""One session's isolated browser context: its pages, actions and events."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import structlog
from playwright.async_api import BrowserContext, Dialog, Page

from browser_sessions.cdp import CdpClosed, CdpError, Target
from browser_sessions.chromium.context import page_actions
from browser_sessions.chromium.context.action_queue import Action, ActionQueue, Ticket
from browser_sessions.chromium.context.context_host import CHECK_SECONDS, Host
from browser_sessions.chromium.context.context_pages import Pages
from browser_sessions.chromium.context.dialogs import Dialogs
from browser_sessions.chromium.deadline import Deadline
from browser_sessions.chromium.downloads.session_downloads import Downloads
from browser_sessions.chromium.driver.playwright_calls import CRASHED, NoResponse, PageCrashed, TargetClosed
from browser_sessions.chromium.driver.ready_contexts import EVERYTHING
from browser_sessions.chromium.observe.observer import Observer
from browser_sessions.chromium.page_registry import title_of
from browser_sessions.chromium.ports import ContextEvent, Navigation, Owner, PageInfo, Picture
from browser_sessions.chromium.screencast.screencast import PageScreen
from browser_sessions.chromium.uploads.session_uploads import Uploads
from browser_sessions.domain.errors import (
    BrowserGone,
    BrowserSessionsError,
    BrowserTimeout,
    DownloadStarted,
    PageFailed,
    PageNotFound,
    TooManyPages,
)
from browser_sessions.domain.limits import MAX_PAGES, TEXT_CHARACTERS
from browser_sessions.domain.session_spec import Proxy
from browser_sessions.egress.egress import EgressPort
from browser_sessions.egress.failures import Failures
from browser_sessions.egress.usage import Usage

USAGE_SECONDS: Final = 1.0
"""Timeout for a renderer's metrics: an idle one responds in 5 ms, and `/health` has two seconds in all."""
DOWNLOAD_SECONDS: Final = 2.0
"""Limit for Chromium's report of a download, milliseconds after the navigation that was one."""
DIALOG_OPEN: Final = (
    "The page shows a dialog ({kind}) and responds to nothing until it is closed. Close it in the console with control "
    "of the session, or from a connected client, or navigate, which dismisses it."
)
EventListener = Callable[[ContextEvent], None]

log = structlog.get_logger()


class Context:
    """Implements `chromium.ports.ContextHandle` over a Playwright context."""

    def __init__(
        self,
        host: Host,
        inner: BrowserContext,
        context_id: str,
        folder: Path,
        port: EgressPort | None,
        on_event: EventListener,
    ) -> None:
        """`port` is its proxy, which is closed with it."""
        self._host = host
        self._calls = host.calls
        self._inner = inner
        self._context_id = context_id
        self._folder = folder
        self._port = port
        self._on_event = on_event
        self._pages = Pages(host, context_id, folder.name)
        self._dialogs = Dialogs(host.calls, self._on_dialog_event)
        self._observer = Observer(host.calls, host.cdp, self._publish, self._pages.failures.report)
        self.downloads = Downloads(
            host.downloads, host.calls, host.clock, folder / "downloads", host.file_bytes, self._publish
        )
        self.uploads = Uploads(folder / "uploads", host.user, host.file_bytes, self._publish)
        self._opening = 0
        """Pages that are being created: they count against the limit too."""
        self._navigating: Counter[str] = Counter()
        """Number of running navigations through `navigate` and `open_page`, by page id."""
        self._queues: dict[str, ActionQueue] = {}
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
    def proxy(self) -> Proxy | None:
        return None if self._port is None else Proxy(self._port.server, EVERYTHING)

    @property
    def traffic(self) -> Usage | None:
        return None if self._port is None else self._port.usage

    @property
    def _failures(self) -> Failures | None:
        return None if self._port is None else self._port.failures

    @property
    def owner(self) -> Owner:
        return self._host.link

    def connections_changed(self, *, clients: int, viewers: int, controlled: bool) -> None:
        self._dialogs.clients_changed(clients, controlled=controlled)
        self._observer.watch(viewers > 0)

    def start_events(self) -> None:
        """Publishes events from now on. The first page may still be opening: its domains are enabled meanwhile, which
        costs no time."""
        self._inner.on("dialog", self._on_dialog)
        self._inner.on("close", self._maybe_gone)
        self._host.registry.watch(self._context_id, self._on_page_event, self._pages.is_committed, self._pages.error_of)

    def first_page_ready(self, page: Page, page_id: str) -> None:
        """Adds the first page, and further ones when they open."""
        self._inner.on("page", self._pages.on_page)
        self._pages.add(page, page_id)

    def stop_events(self) -> None:
        """Publishes no events any more, and fails all waiting actions."""
        self._host.registry.unwatch(self._context_id)
        self._observer.stop()
        self.downloads.close()
        self.uploads.close()
        self._pages.close()
        for queue in self._queues.values():
            queue.close()

    def pages(self) -> list[PageInfo]:
        return self._pages.infos()

    def load_failed(self, page_id: str, error: str) -> None:
        if any(page.page_id == page_id for page in self._pages.infos()):
            self._report_failure(page_id, error)

    def screen(self, page_id: str) -> PageScreen:
        """As `ContextHandle.screen`. All callers share one object per page."""
        self._pages.info(page_id)
        screen = self._screens.get(page_id)
        if screen is None:
            screen = self._screens[page_id] = PageScreen(self._host.cdp, page_id)
        return screen

    def close_dialog(self, page_id: str) -> None:
        """As `ContextHandle.close_dialog`."""
        self._host.link.dialogs.close(page_id)

    async def open_page(self, url: str | None, *, timeout: float) -> PageInfo:
        """Opens a page and navigates it to `url`, if given, until the response begins. If that fails, the page is
        closed."""
        deadline = Deadline(timeout)
        address = None if url is None else page_actions.check_address(url, ("body", "url"))
        page: Page | None = None
        try:
            async with self._translated_errors(None):
                page = await self._new_page(deadline)
                identifying = self._pages.identify(page)
                await asyncio.wait({identifying}, timeout=deadline.left)
                if not identifying.done():
                    raise BrowserTimeout("The new page was not ready in time.")
                page_id = identifying.result()
                if address is not None:
                    async with self._queue_of(page_id).enter(Action.NAVIGATE, timeout=deadline.left) as ticket:
                        with contextlib.suppress(DownloadStarted):
                            await self._goto(page, page_id, address, "commit", deadline, ticket)
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
        """Closes the page without running `beforeunload`, so that crashed and hung pages close too."""
        deadline = Deadline(timeout)
        async with self._translated_errors(page_id):
            page = await self._pages.find(page_id, timeout=deadline.left)
            await self._calls(page.close(), timeout=deadline.left)
            await self._unlisted(page_id, deadline)

    async def _unlisted(self, page_id: str, deadline: Deadline) -> None:
        """Returns once our own list has no such page any more: Playwright may know of a page's end before."""
        while True:
            if self._host.registry.get(page_id) is None or deadline.left <= 0:
                return
            await asyncio.sleep(0.01)

    async def navigate(self, page_id: str, url: str, *, wait_until: str, timeout: float) -> Navigation:
        address = page_actions.check_address(url, ("body", "url"))
        status = download_id = None
        async with self._page(page_id, Action.NAVIGATE, timeout) as (page, deadline, ticket):
            earlier = {each.download_id for each in self.downloads.all()}
            try:
                status = await self._goto(page, page_id, address, wait_until, deadline, ticket)
            except DownloadStarted:
                download_id = await self._begun(page_id, earlier, deadline)
                if download_id is None:  # beyond the session's quota
                    raise
            return Navigation(await self._info(page_id), status, download_id)

    async def _begun(self, page_id: str, earlier: set[str], deadline: Deadline) -> str | None:
        """The id of the page's new download, which Chromium reports after the navigation's end."""
        until = Deadline(min(deadline.left, DOWNLOAD_SECONDS))
        while True:
            begun = (each for each in self.downloads.all() if each.page_id in (page_id, None))
            found = next((each.download_id for each in begun if each.download_id not in earlier), None)
            if found is not None or until.left <= 0:
                return found
            await asyncio.sleep(0.01)

    async def screenshot(self, page_id: str, picture: Picture, *, timeout: float) -> bytes:
        async with self._page(page_id, Action.DRAW, timeout) as (page, deadline, _):
            return await page_actions.screenshot(self._host, page, page_id, picture, timeout=deadline.left)

    async def content(self, page_id: str, *, timeout: float) -> str:
        async with self._page(page_id, Action.READ, timeout) as (page, deadline, _):
            if self._pages.info(page_id).crashed:
                raise PageCrashed(CRASHED)
            return await page_actions.content(self._host, page, page_id, timeout=deadline.left)

    async def pdf(self, page_id: str, options: Mapping[str, Any], *, timeout: float) -> bytes:
        async with self._page(page_id, Action.DRAW, timeout) as (page, deadline, _):
            return await page_actions.pdf(self._calls, page, options, timeout=deadline.left)

    async def evaluate(self, page_id: str, expression: str, *, timeout: float) -> Any:
        """As `ContextHandle.evaluate`. `javascript_values` lists how values that JSON does not have are represented."""
        async with self._page(page_id, Action.READ, timeout) as (page, deadline, _):
            return await page_actions.evaluate(self._host, page, page_id, expression, deadline)

    async def storage_state(self, *, timeout: float) -> dict[str, Any]:
        """Without IndexedDB: 100,000 rows blocked the event loop for 2.5 seconds."""
        async with self._translated_errors(None):
            return dict(await self._calls(self._inner.storage_state(), timeout=timeout))

    async def responsive(self, *, timeout: float) -> bool:
        """Whether the renderer of the oldest page responds. It does not if it hangs, has crashed or shows a dialog.

        Nor does it while a navigation waits for the first byte of its response, because Chromium defers the command
        until then. If that navigation was started through `navigate`, the page counts as responsive; one that a client
        started is not known here.
        """
        pages = self._pages.infos()
        if self._gone or not self._host.alive() or (pages and pages[0].crashed):
            return False
        try:
            if pages:
                await page_actions.ping(self._host, pages[0].page_id, timeout=timeout)
        except (PageNotFound, PageFailed):
            return True  # the page was closing or navigating: an error is a response too
        except BrowserTimeout:
            return pages[0].page_id in self._navigating
        except BrowserGone:
            return False
        return True

    async def usage(self, *, timeout: float = USAGE_SECONDS) -> tuple[int | None, float | None]:
        """JavaScript heap in bytes and CPU seconds of the renderers of its pages; None if no page responds in time.

        The heap excludes the DOM, images and Chromium's own memory. The CPU time is that of the main thread of each
        renderer, so it restarts when a page navigates to another site. The metric `ProcessTime` would cover the whole
        process, but is 0 in the sandbox, which has no /proc. Renderers of cross-site frames are not included.
        """
        calls = [self._metrics(page.page_id, timeout) for page in self._pages.infos() if not page.crashed]
        heaps: dict[str, float] = {}
        seconds: dict[str, float] = {}
        for metrics in await asyncio.gather(*calls):
            if metrics is not None:
                renderer, heap, cpu = metrics
                heaps[renderer] = heap
                seconds[renderer] = max(cpu, seconds.get(renderer, 0.0))
        if not heaps:
            return None, None
        return int(sum(heaps.values())), sum(seconds.values())

    async def close(self, *, timeout: float) -> None:
        """Closes the context. Its proxy and its folder follow in the background. Disposes of it over CDP, or with
        Playwright if that fails within half of the time."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(timeout))
        await asyncio.shield(self._closing)

    async def _close(self, timeout: float) -> None:
        self._gone = True
        self.stop_events()
        closed = False
        with contextlib.suppress(CdpClosed, CdpError, TimeoutError):
            await self._host.link.dispose(self._context_id, timeout=timeout / 2)
            closed = True
        if closed:
            self._calls.background(self._inner.close())
        elif self._host.alive():
            with contextlib.suppress(BrowserSessionsError, TargetClosed):
                await self._calls(self._inner.close(), timeout=timeout / 2)
                closed = True
        _ = self._host.background.run(self._clean(gone=closed or not self._host.alive()))

    async def _clean(self, *, gone: bool) -> None:
        if self._port is not None and gone:
            await self._port.close()
        elif self._port is not None:  # not before the context is gone: another session could get the same port
            closing, background = self._port.close, self._host.background
            self._host.cdp.closed.add_done_callback(lambda _: background.run(closing()))
        await remove(self._folder)

    async def _metrics(self, page_id: str, timeout: float) -> tuple[str, float, float] | None:
        """(renderer id, heap in bytes, CPU seconds). Pages can share a renderer."""
        try:
            renderer, found = await page_actions.metrics(self._host, page_id, timeout=timeout)
        except BrowserSessionsError:
            return None
        if not found:
            return None  # the page has just opened
        return renderer, found.get("JSHeapTotalSize", 0.0), found.get("ThreadTime", 0.0)

    async def _goto(
        self, page: Page, page_id: str, address: str, wait_until: str, deadline: Deadline, ticket: Ticket
    ) -> int | None:
        self._navigating[page_id] += 1
        self.close_dialog(page_id)
        try:
            return await page_actions.goto(
                self._host,
                page,
                page_id,
                address,
                wait_until=wait_until,
                timeout=deadline.left,
                failures=self._failures,
                committed=ticket.committed,
            )
        except PageFailed as failed:
            self._report_failure(page_id, failed.detail)
            raise await self.explained(page_id, failed, address) from None
        finally:
            self._navigating -= Counter({page_id: 1})

    async def explained(self, page_id: str, failed: PageFailed, address: str) -> PageFailed:
        return await page_actions.explained(self._host, page_id, failed, self._failures, address)

    def _report_failure(self, page_id: str, detail: str) -> None:
        if (error := page_actions.network_error(detail)) is not None:
            self._pages.failures.report(page_id, error)

    @asynccontextmanager
    async def _page(self, page_id: str, action: Action, timeout: float) -> AsyncIterator[tuple[Page, Deadline, Ticket]]:
        """Runs the body when the action may start, with the page and the deadline of the whole action."""
        deadline = Deadline(timeout)
        async with self._translated_errors(page_id):
            page = await self._pages.find(page_id, timeout=deadline.left)
            async with self._queue_of(page_id).enter(action, timeout=deadline.left) as ticket:
                try:
                    yield page, deadline, ticket
                except NoResponse:
                    raise NoResponse(timeout) from None  # not what was left of it for the last call

    def _queue_of(self, page_id: str) -> ActionQueue:
        """Raises `PageNotFound`."""
        queue = self._queues.get(page_id)
        if queue is None:
            self._pages.info(page_id)
            queue = self._queues[page_id] = ActionQueue()
        return queue

    @asynccontextmanager
    async def _translated_errors(self, page_id: str | None) -> AsyncIterator[None]:
        """Translates `TargetClosed` to `PageNotFound` or `BrowserGone`. `PageFailed` becomes `PageNotFound` if the page
        is closed, because closing it fails a navigation like an error of the site."""
        if self._gone:
            raise BrowserGone("The session's browser context is closed.")
        try:
            yield
        except BrowserTimeout:
            if page_id is not None and (kind := self._host.link.dialogs.kind(page_id)) is not None:
                raise BrowserTimeout(DIALOG_OPEN.format(kind=kind)) from None
            raise
        except PageFailed:
            if page_id is not None and await self._host.has_target(page_id) is False:
                raise PageNotFound(self._folder.name, page_id) from None
            raise
        except TargetClosed:
            if page_id is not None and await self._host.has_target(page_id) is False:
                raise PageNotFound(self._folder.name, page_id) from None
            raise BrowserGone("The session's browser context closed during the call.") from None

    async def _info(self, page_id: str) -> PageInfo:
        """The page with its current title."""
        with contextlib.suppress(CdpClosed, CdpError, TimeoutError):
            await self._host.registry.refresh(timeout=CHECK_SECONDS)
        return self._pages.info(page_id)

    def _on_page_event(self, kind: str, target: Target) -> None:
        data: dict[str, Any] = {"page_id": target.target_id}
        if kind in ("opened", "navigated"):
            data["url"] = target.url[:TEXT_CHARACTERS]
        if kind == "navigated":
            data["title"] = title_of(target)[:TEXT_CHARACTERS]
            if (error := self._pages.error_of(target)) is not None:
                data["error"] = error
        self._publish(ContextEvent(f"page.{kind}", data))
        if kind == "opened":
            self._observer.opened(target.target_id)
            self._calls.background(page_actions.enable_metrics(self._host, target.target_id))
        if kind == "opened" and len(self._pages) > MAX_PAGES:
            self._host.cdp.close_target(target.target_id)
        if kind == "closed":
            self._screens.pop(target.target_id, None)
            if (queue := self._queues.pop(target.target_id, None)) is not None:
                queue.close()
            self._pages.remove(target.target_id)
            if not len(self._pages):
                self._maybe_gone(self._inner)

    def _on_dialog(self, dialog: Dialog) -> None:
        page_id = self._pages.id_of(dialog.page)
        self._dialogs.opened(dialog, navigating=page_id is not None and self._host.link.dialogs.is_navigating(page_id))

    def _on_dialog_event(self, event: ContextEvent, dialog: Dialog) -> None:
        self._publish(ContextEvent(event.kind, {"page_id": self._pages.id_of(dialog.page), **event.data}))

    def _publish(self, event: ContextEvent) -> None:
        if self._gone:
            return
        try:
            self._on_event(event)
        except Exception:  # Playwright would raise a listener's error from our next call
            log.exception("browser.listener_failed", kind=event.kind)

    def _maybe_gone(self, _inner: BrowserContext) -> None:
        if not self._gone:
            self._calls.background(self._check_gone())

    async def _check_gone(self) -> None:
        """Publishes `context.died` if the context was disposed of without us. The death of a browser is reported by its
        process instead."""
        if await self._host.has_context(self._context_id) is False and not self._gone:
            self._publish(ContextEvent("context.died"))
            self._gone = True
            self.stop_events()


async def remove(folder: Path) -> None:
    """Removes a session's folder in a thread."""
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
