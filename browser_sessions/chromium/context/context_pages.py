"""Maps the CDP targets of one context to Playwright's pages."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from playwright.async_api import CDPSession, Frame, Page

from browser_sessions.cdp import Target
from browser_sessions.chromium.context.context_host import Host
from browser_sessions.chromium.context.load_failures import ERROR_PAGE, UNKNOWN_ERROR, LoadFailures
from browser_sessions.chromium.deadline import seconds
from browser_sessions.chromium.driver.playwright_calls import Calls
from browser_sessions.chromium.page_registry import title_of
from browser_sessions.chromium.ports import PageInfo
from browser_sessions.domain.errors import BrowserGone, BrowserTimeout, PageNotFound
from browser_sessions.domain.urls import without_fragment, without_passwords

IDENTIFY_SECONDS: Final = 10.0
"""Timeout for learning a page's target id, which takes 4 ms, or seconds if a client keeps the page paused."""


async def identify(calls: Calls, page: Page, *, timeout: float) -> tuple[str, str]:
    """The context id and the target id of a page, which Playwright does not expose. The CDP session for it stays until
    the page closes, because its end would reset emulation by clients, see `cdp.page_overrides`."""
    session = await calls(page.context.new_cdp_session(page), timeout=timeout, undo=CDPSession.detach)
    info = (await calls(session.send("Target.getTargetInfo"), timeout=timeout))["targetInfo"]
    return info["browserContextId"], info["targetId"]


class Pages:
    """Finds the Playwright page of a target id. Playwright reports pages that clients or scripts open a few
    milliseconds after their creation."""

    def __init__(self, host: Host, context_id: str, session_id: str) -> None:
        self._calls = host.calls
        self._registry = host.registry
        self._ended = host.cdp.closed
        self.failures = LoadFailures(host, host.registry.touch)
        self._context_id = context_id
        self._session_id = session_id
        self._by_id: dict[str, asyncio.Future[Page]] = {}
        self._ids: dict[Page, str] = {}
        self._loaded_url: dict[str, str] = {}
        """By page id: the URL of the last document that is no error page. When it is still the target's, what failed is
        not known yet."""
        self._identifying: dict[Page, asyncio.Task[str]] = {}

    def __len__(self) -> int:
        return len(self._registry.pages(self._context_id))

    def infos(self) -> list[PageInfo]:
        """Open pages, oldest first."""
        return [self._info(target) for target in self._registry.pages(self._context_id)]

    def info(self, page_id: str) -> PageInfo:
        """Raises `PageNotFound`."""
        return self._info(self._target(page_id))

    def add(self, page: Page, page_id: str) -> None:
        """Adds a page whose target id is known."""
        self._ids[page] = page_id
        future = self._future(page_id)
        if not future.done():
            future.set_result(page)
        page.on("close", self._closed)
        page.on("framenavigated", self._navigated)
        page.on("load", self._loaded)
        if page.url.startswith(ERROR_PAGE):
            self.failures.committed(page_id, page.url)
        else:
            self._loaded_url[page_id] = page.url
        self._registry.touch()

    def identify(self, page: Page) -> asyncio.Task[str]:
        """Returns the task that determines a new page's target id and adds it, one per page."""
        task = self._identifying.get(page)
        if task is None:
            task = self._identifying[page] = asyncio.create_task(self._identify(page))
            task.add_done_callback(lambda done: self._identified(page, done))
        return task

    def on_page(self, page: Page) -> None:
        """Listener for pages that clients and scripts open."""
        _ = self.identify(page)

    def id_of(self, page: Page | None) -> str | None:
        return None if page is None else self._ids.get(page)

    async def find(self, page_id: str, *, timeout: float) -> Page:
        """Waits until Playwright knows the page. Raises `PageNotFound`, `BrowserGone`, `BrowserTimeout`."""
        self._target(page_id)
        future = self._future(page_id)
        if not future.done():
            either: set[asyncio.Future[Any]] = {future, self._ended}
            await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if self._ended.done():
            raise BrowserGone("The browser has ended.")
        self._target(page_id)
        if future.cancelled():  # the context was closed meanwhile
            raise PageNotFound(self._session_id, page_id)
        if not future.done():
            raise BrowserTimeout(f"The page was not ready within {seconds(timeout)}: a client may keep it paused.")
        return future.result()

    def remove(self, page_id: str) -> None:
        """The page is closed."""
        self.failures.closed(page_id)
        self._loaded_url.pop(page_id, None)
        future = self._by_id.pop(page_id, None)
        if future is not None:
            future.cancel()

    def close(self) -> None:
        """The context is closed."""
        for page_id in tuple(self._by_id):
            self.remove(page_id)
        for task in tuple(self._identifying.values()):
            task.cancel()

    def is_committed(self, target: Target) -> bool:
        """Whether the page shows the document of its target's URL, or the error page of it."""
        shown = self._shown_url(target.target_id)
        if shown is None:
            return False
        if shown.startswith(ERROR_PAGE):
            failure = self.failures.get(target.target_id)
            return failure is not None and without_fragment(failure.url) == without_fragment(target.url)
        return without_fragment(shown) == without_fragment(target.url)

    def error_of(self, target: Target) -> str | None:
        """Why the page shows an error page; None if it does not, or this is not known yet."""
        failure = self.failures.get(target.target_id)
        return None if failure is None else failure.error

    def _shown_url(self, page_id: str) -> str | None:
        """The URL of its document, with a changed fragment, for which Chromium sends no target event."""
        future = self._by_id.get(page_id)
        return future.result().url if future is not None and future.done() and not future.cancelled() else None

    def _target(self, page_id: str) -> Target:
        target = self._registry.get(page_id)
        if target is None or target.context_id != self._context_id:
            raise PageNotFound(self._session_id, page_id)
        return target

    def _future(self, page_id: str) -> asyncio.Future[Page]:
        return self._by_id.setdefault(page_id, asyncio.get_running_loop().create_future())

    def _info(self, target: Target) -> PageInfo:
        url, error = target.url, None
        shown = self._shown_url(target.target_id)
        if shown is not None and shown.startswith(ERROR_PAGE):
            if (failure := self.failures.get(target.target_id)) is not None:
                url, error = failure.url, failure.error
            elif without_fragment(url) != without_fragment(self._loaded_url.get(target.target_id, "")):
                error = UNKNOWN_ERROR
        elif shown is not None:
            url = shown
        return PageInfo(
            target.target_id, without_passwords(url), title_of(target), target.created_at, target.crashed, error
        )

    async def _identify(self, page: Page) -> str:
        _, page_id = await identify(self._calls, page, timeout=IDENTIFY_SECONDS)
        self.add(page, page_id)
        return page_id

    def _identified(self, page: Page, task: asyncio.Task[str]) -> None:
        self._identifying.pop(page, None)
        if not task.cancelled():
            task.exception()  # retrieved, because a page may close before its id is known

    def _closed(self, page: Page) -> None:
        page_id = self._ids.pop(page, None)
        if page_id is not None:
            self.remove(page_id)

    def _navigated(self, frame: Frame) -> None:
        if frame.parent_frame is None:
            if (page_id := self._ids.get(frame.page)) is not None:
                self.failures.committed(page_id, frame.url)
                if not frame.url.startswith(ERROR_PAGE):
                    self._loaded_url[page_id] = frame.url
            self._registry.touch()

    def _loaded(self, _page: Page) -> None:
        self._registry.touch()
