"""What a context needs of the browser it lives in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from playwright.async_api import Browser

from browser_sessions.cdp import Browser as CdpBrowser
from browser_sessions.cdp import CdpClosed, CdpError
from browser_sessions.chromium.deadline import Deadline
from browser_sessions.chromium.downloads.download_events import DownloadEvents
from browser_sessions.chromium.driver.playwright_calls import Calls
from browser_sessions.chromium.driver.playwright_link import PlaywrightLink
from browser_sessions.chromium.launch.user import BrowserUser
from browser_sessions.chromium.page_session import ask, page_session
from browser_sessions.chromium.page_targets import TargetRegistry
from browser_sessions.domain.clock import Clock
from browser_sessions.domain.errors import PageFailed

CHECK_SECONDS: Final = 2.0
"""For the question whether something still exists, which the browser process answers by itself in a millisecond."""


@dataclass(frozen=True, slots=True)
class Host:
    """One running browser, as its contexts see it."""

    browser: Browser
    calls: Calls
    link: PlaywrightLink
    cdp: CdpBrowser
    registry: TargetRegistry
    downloads: DownloadEvents
    user: BrowserUser | None
    """Who the browser runs as; None: our own user."""
    clock: Clock
    download_bytes: int
    """What one session may download in all."""
    alive: Callable[[], bool]

    async def ask(self, page_id: str, *asked: tuple[str, dict[str, Any]], timeout: float) -> list[dict[str, Any]]:
        """The results of CDP calls to one page on its raw session: no state of Playwright's is in the way.

        Raises `BrowserTimeout`, `BrowserGone`, `PageNotFound`, `PageFailed`.
        """
        deadline = Deadline(timeout)
        try:
            session = await page_session(self.cdp, page_id, timeout=timeout)
            return [await ask(session, method, params, timeout=deadline.left) for method, params in asked]
        except CdpError as error:
            raise PageFailed(error.message) from error

    async def has_context(self, context_id: str) -> bool | None:
        """Whether the browser has this context now; None when it does not say."""
        try:
            answer = await self.cdp.root.call("Target.getBrowserContexts", timeout=CHECK_SECONDS)
        except (CdpClosed, CdpError, TimeoutError):
            return None
        return context_id in answer["browserContextIds"]

    async def has_target(self, target_id: str) -> bool | None:
        """Whether the browser has this target now; None when it does not say."""
        try:
            await self.cdp.root.call("Target.getTargetInfo", {"targetId": target_id}, timeout=CHECK_SECONDS)
        except CdpError:
            return False
        except (CdpClosed, TimeoutError):
            return None
        return True
