"""Our own CDP session on a page, with CDP errors translated to the domain's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from browser_sessions.cdp import Browser, CdpClosed, CdpError, Session
from browser_sessions.chromium.deadline import seconds
from browser_sessions.domain.errors import BrowserGone, BrowserTimeout, PageNotFound


async def page_session(cdp: Browser, page_id: str, *, timeout: float) -> Session:
    """Our session on a page, shared by all callers. Raises `PageNotFound`, `BrowserGone`, `BrowserTimeout`."""
    if cdp.closed.done():
        raise BrowserGone("The browser has ended.")
    try:
        session = await cdp.page(page_id, timeout=timeout)
    except TimeoutError:
        raise BrowserTimeout(f"Attaching to the page took more than {seconds(timeout)}.") from None
    if session is None:
        raise PageNotFound("", page_id)
    return session


async def call(
    session: Session, method: str, params: Mapping[str, Any] | None = None, *, timeout: float
) -> dict[str, Any]:
    """The result of one command. Raises `PageNotFound`, `BrowserGone`, `BrowserTimeout`, and `CdpError` for an error
    response."""
    try:
        return await session.call(method, params, timeout=timeout)
    except CdpClosed:
        raise BrowserGone("The browser closed during the call.") from None
    except TimeoutError:
        raise BrowserTimeout(f"The page did not respond to {method} within {seconds(timeout)}.") from None
    except CdpError:
        if session.closed.done():
            raise PageNotFound("", session.target_id) from None
        raise
