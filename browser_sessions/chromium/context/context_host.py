"""The parts of a running browser that its contexts use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from playwright.async_api import Browser

from browser_sessions.background_tasks import Background
from browser_sessions.cdp import Browser as CdpBrowser
from browser_sessions.cdp import CdpClosed, CdpError
from browser_sessions.chromium.deadline import Deadline
from browser_sessions.chromium.downloads.download_events import DownloadEvents
from browser_sessions.chromium.driver.playwright_calls import Calls
from browser_sessions.chromium.driver.playwright_link import PlaywrightLink
from browser_sessions.chromium.launch.user import BrowserUser
from browser_sessions.chromium.page_registry import PageRegistry
from browser_sessions.chromium.page_session import call, page_session
from browser_sessions.domain.clock import Clock
from browser_sessions.domain.errors import PageFailed
from browser_sessions.egress.egress import BrowserEgress

CHECK_SECONDS: Final = 2.0
"""Timeout of calls to the browser process alone, which take a millisecond."""


@dataclass(frozen=True, slots=True)
class Host:
    """One running browser, for its contexts."""

    browser: Browser
    calls: Calls
    link: PlaywrightLink
    cdp: CdpBrowser
    registry: PageRegistry
    downloads: DownloadEvents
    user: BrowserUser | None
    """The user that the browser runs as; None: our own."""
    clock: Clock
    file_bytes: int
    """Limit of one session's downloads in total, and of its uploads."""
    egress: BrowserEgress | None
    """Opens each context's proxy; None: contexts use the session's own, or none."""
    background: Background
    """What its contexts leave to do after their end; `ChromiumProcess.close` waits for it."""
    alive: Callable[[], bool]

    async def call_page(
        self, page_id: str, *commands: tuple[str, dict[str, Any]], timeout: float
    ) -> list[dict[str, Any]]:
        """Sends CDP commands to a page on our own session, without Playwright, and returns their results.

        Raises `BrowserTimeout`, `BrowserGone`, `PageNotFound`, `PageFailed`.
        """
        deadline = Deadline(timeout)
        try:
            session = await page_session(self.cdp, page_id, timeout=timeout)
            return [await call(session, method, params, timeout=deadline.left) for method, params in commands]
        except CdpError as error:
            raise PageFailed(error.message) from error

    async def has_context(self, context_id: str) -> bool | None:
        """Whether the browser still has this context; None if it does not respond."""
        try:
            contexts = await self.cdp.root.call("Target.getBrowserContexts", timeout=CHECK_SECONDS)
        except (CdpClosed, CdpError, TimeoutError):
            return None
        return context_id in contexts["browserContextIds"]

    async def has_target(self, target_id: str) -> bool | None:
        """Whether the browser still has this target; None if it does not respond."""
        try:
            await self.cdp.root.call("Target.getTargetInfo", {"targetId": target_id}, timeout=CHECK_SECONDS)
        except CdpError:
            return False
        except (CdpClosed, TimeoutError):
            return None
        return True
