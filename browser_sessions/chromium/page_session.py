"""Our own CDP session on a page, with errors that say what they mean to a session's owner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from browser_sessions.cdp import Browser, CdpClosed, CdpError, Session
from browser_sessions.domain.errors import BrowserGone, BrowserTimeout, PageNotFound


async def page_session(cdp: Browser, page_id: str, *, timeout: float) -> Session:
    """The session on a page, the same for everybody. Raises `PageNotFound`, `BrowserGone`, `BrowserTimeout`."""
    if cdp.closed.done():
        raise BrowserGone("The browser has ended.")
    try:
        session = await cdp.page(page_id, timeout=timeout)
    except TimeoutError:
        raise BrowserTimeout(f"The page could not be attached to within {timeout:g} s.") from None
    if session is None:
        raise PageNotFound("", page_id)
    return session


async def ask(
    session: Session, method: str, params: Mapping[str, Any] | None = None, *, timeout: float
) -> dict[str, Any]:
    """The result of one call. Raises `PageNotFound`, `BrowserGone`, `BrowserTimeout`, and `CdpError` when Chromium
    refuses."""
    try:
        return await session.call(method, params, timeout=timeout)
    except CdpClosed:
        raise BrowserGone("The browser went away under the call.") from None
    except TimeoutError:
        raise BrowserTimeout(f"The page did not answer {method} within {timeout:g} s.") from None
    except CdpError:
        if session.closed.done():
            raise PageNotFound("", session.target_id) from None
        raise
