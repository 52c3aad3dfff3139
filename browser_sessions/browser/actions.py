"""What can be done with one page: each a few Playwright calls under one deadline.

All raise `BrowserTimeout`, `BrowserGone`, `PageFailed` and `calls.TargetClosed`, which the context turns into what it
means there.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Literal, cast

from playwright.async_api import CDPSession, Page

from browser_sessions.browser.calls import Calls
from browser_sessions.browser.jsonable import jsonable, text
from browser_sessions.model.errors import InvalidField, PageFailed
from browser_sessions.model.urls import REFUSED, may_open, normalise

FULL_PAGE_HEIGHT: Final = 16_384
"""CSS pixels of a full-page screenshot: Chromium's own largest texture; beyond it, pictures repeat or stay blank."""
FULL_PAGE_PIXELS: Final = 8192 * 8192
"""Device pixels of a full-page screenshot: 256 MB of bitmap, the largest viewport a session may have."""
_GRACE_SECONDS: Final = 0.25
"""Playwright's own deadline comes this much before ours, so that it cleans up after itself where it can."""

WaitUntil = Literal["commit", "domcontentloaded", "load", "networkidle"]


def _milliseconds(timeout: float) -> float:
    """Playwright's deadline; never 0, which means none there."""
    return max((timeout - _GRACE_SECONDS) * 1000, 1.0)


def check_address(url: str, loc: tuple[str | int, ...]) -> str:
    """The address as Chromium will read it. Raises `InvalidField` at `loc` when a session may not be sent there."""
    if not may_open(url):
        raise InvalidField(loc, REFUSED)
    return normalise(url)


async def goto(calls: Calls, page: Page, url: str, *, wait_until: str, timeout: float) -> int | None:
    """Navigates; the HTTP status of the main resource, None where there is none (data:, about:, the same document)."""
    response = await calls(
        page.goto(url, wait_until=cast("WaitUntil", wait_until), timeout=_milliseconds(timeout)), timeout=timeout
    )
    return None if response is None else response.status


async def screenshot(
    calls: Calls, page: Page, *, image_format: str, quality: int | None, full_page: bool, timeout: float
) -> bytes:
    """A picture of what is seen, or of the whole page within `FULL_PAGE_HEIGHT` and `FULL_PAGE_PIXELS`."""
    deadline = asyncio.get_running_loop().time() + timeout
    if full_page:
        await _check_size(calls, page, timeout=timeout)
    left = deadline - asyncio.get_running_loop().time()
    return await calls(
        page.screenshot(
            type=cast("Literal['jpeg', 'png']", image_format),
            quality=quality if image_format == "jpeg" else None,
            full_page=full_page,
            timeout=_milliseconds(left),
        ),
        timeout=left,
    )


async def content(calls: Calls, page: Page, *, timeout: float) -> str:
    """The page's HTML as it stands now."""
    return text(await calls(page.content(), timeout=timeout))


async def pdf(calls: Calls, page: Page, *, timeout: float) -> bytes:
    """The page printed. Headless Chromium only, which is what we start."""
    return await calls(page.pdf(), timeout=timeout)


async def evaluate(calls: Calls, page: Page, expression: str, *, timeout: float) -> Any:
    """The value of a JavaScript expression as `jsonable` puts it; a function is called, a promise awaited."""
    value = await calls(page.evaluate(expression), timeout=timeout)
    return jsonable(value)


async def metrics(calls: Calls, page: Page, *, timeout: float) -> dict[str, float]:
    """Chromium's `Performance.getMetrics` of the page's renderer, by name."""
    deadline = asyncio.get_running_loop().time() + timeout
    session = await calls(page.context.new_cdp_session(page), timeout=timeout, undo=CDPSession.detach)
    try:
        await calls(session.send("Performance.enable"), timeout=deadline - asyncio.get_running_loop().time())
        answer = await calls(
            session.send("Performance.getMetrics"), timeout=deadline - asyncio.get_running_loop().time()
        )
    finally:
        calls.background(session.detach())
    return {entry["name"]: float(entry["value"]) for entry in answer["metrics"]}


async def _check_size(calls: Calls, page: Page, *, timeout: float) -> None:
    """Raises `PageFailed` for a page too large to draw. Asks the layout, not the page's scripts."""
    session = await calls(page.context.new_cdp_session(page), timeout=timeout, undo=CDPSession.detach)
    try:
        size = (await calls(session.send("Page.getLayoutMetrics"), timeout=timeout))["cssContentSize"]
        scale = float(await calls(page.evaluate("devicePixelRatio"), timeout=timeout))
    finally:
        calls.background(session.detach())
    width, height = float(size["width"]), float(size["height"])
    if height > FULL_PAGE_HEIGHT or width * height * scale * scale > FULL_PAGE_PIXELS:
        raise PageFailed(
            f"The page is {width:.0f} x {height:.0f} pixels, too large for one picture (height at most "
            f"{FULL_PAGE_HEIGHT}, {FULL_PAGE_PIXELS} pixels in all). Take one without full_page, or the PDF."
        )
