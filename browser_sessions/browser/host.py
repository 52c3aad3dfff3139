"""What a context needs of the browser it lives in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from playwright.async_api import Browser

from browser_sessions.browser.attach import Attachments
from browser_sessions.browser.calls import Calls
from browser_sessions.browser.deadline import Deadline
from browser_sessions.browser.download_events import DownloadEvents
from browser_sessions.browser.targets import TargetRegistry
from browser_sessions.cdp import CdpClosed, CdpError, Connection
from browser_sessions.model.clock import Clock
from browser_sessions.model.errors import PageFailed

CHECK_SECONDS: Final = 2.0
"""For the question whether something still exists, which the browser process answers by itself in a millisecond."""


@dataclass(frozen=True, slots=True)
class Host:
    """One running browser, as its contexts see it."""

    browser: Browser
    calls: Calls
    connection: Connection
    registry: TargetRegistry
    attachments: Attachments
    downloads: DownloadEvents
    clock: Clock
    download_bytes: int
    """What one session may download in all."""
    alive: Callable[[], bool]
    births: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a context is made: the one that is new afterwards is that one."""

    async def ask(self, page_id: str, *asked: tuple[str, dict[str, Any]], timeout: float) -> list[dict[str, Any]]:
        """The results of CDP calls to one page on its raw session: no state of Playwright's is in the way.

        Raises `BrowserTimeout`, `BrowserGone`, `PageNotFound`, `PageFailed`.
        """
        deadline = Deadline(timeout)
        try:
            session = await self.attachments.page(page_id, timeout=timeout)
            return [await session.call(method, params, timeout=deadline.left) for method, params in asked]
        except CdpError as error:
            raise PageFailed(error.message) from error

    async def context_ids(self) -> frozenset[str] | None:
        """Every context that the browser has now; None when it does not say."""
        try:
            answer = await self.connection.call("Target.getBrowserContexts", timeout=CHECK_SECONDS)
        except (CdpClosed, CdpError, TimeoutError):
            return None
        return frozenset(answer["browserContextIds"])

    async def has_context(self, context_id: str) -> bool | None:
        """Whether the browser has this context now; None when it does not say."""
        there = await self.context_ids()
        return None if there is None else context_id in there

    async def has_target(self, target_id: str) -> bool | None:
        """Whether the browser has this target now; None when it does not say."""
        try:
            await self.connection.call("Target.getTargetInfo", {"targetId": target_id}, timeout=CHECK_SECONDS)
        except CdpError:
            return False
        except (CdpClosed, TimeoutError):
            return None
        return True
