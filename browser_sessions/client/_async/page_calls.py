"""Operations on the pages of a session."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from browser_sessions.api.models.page_models import (
    EvaluateResponse,
    NavigationResponse,
    PageContent,
    PageList,
    PageResponse,
)
from browser_sessions.client._async.transport import Transport, parsed
from browser_sessions.client.page_options import PdfOptions, ScreenshotOptions, pdf_query, screenshot_query
from browser_sessions.client.paths import page_path, session_path
from browser_sessions.client.session_options import WaitUntil, documented


class PageCalls:
    """Every method raises `ClientError`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def pages(self, session_id: str) -> Sequence[PageResponse]:
        """Open pages, oldest first. Does not count as activity."""
        return parsed(PageList, await self._transport.send("GET", session_path(session_id, "pages"))).pages

    async def open_page(self, session_id: str, url: str | None = None) -> PageResponse:
        """Opens a page, empty or at `url`."""
        body = None if url is None else {"url": url}
        return parsed(PageResponse, await self._transport.send("POST", session_path(session_id, "pages"), body=body))

    async def close_page(self, session_id: str, page_id: str) -> None:
        """Closes a page."""
        await self._transport.send("DELETE", page_path(session_id, page_id))

    async def navigate(
        self,
        session_id: str,
        page_id: str,
        url: str,
        *,
        wait_until: WaitUntil = "load",
        timeout_seconds: float = 30.0,
    ) -> NavigationResponse:
        """Navigates the page to a URL and waits for `wait_until`. Raises `PageFailed` if it does not load."""
        response = await self._transport.send(
            "POST",
            page_path(session_id, page_id, "navigate"),
            body={"url": url, "wait_until": wait_until, "timeout_seconds": timeout_seconds},
            service_time=timeout_seconds,
        )
        return parsed(NavigationResponse, response)

    async def evaluate(self, session_id: str, page_id: str, expression: str, *, timeout_seconds: float = 30.0) -> Any:
        """The JSON value of a JavaScript expression; a promise is awaited. Raises `ScriptFailed` if it throws."""
        response = await self._transport.send(
            "POST",
            page_path(session_id, page_id, "evaluate"),
            body={"expression": expression, "timeout_seconds": timeout_seconds},
            service_time=timeout_seconds,
        )
        return parsed(EvaluateResponse, response).result

    @documented(ScreenshotOptions)
    async def screenshot(self, session_id: str, page_id: str, **options: Unpack[ScreenshotOptions]) -> bytes:
        """A screenshot."""
        query = screenshot_query(options)
        return (await self._transport.send("GET", page_path(session_id, page_id, "screenshot"), query=query)).content

    async def content(self, session_id: str, page_id: str) -> PageContent:
        """The page's current HTML, URL and title."""
        return parsed(PageContent, await self._transport.send("GET", page_path(session_id, page_id, "content")))

    @documented(PdfOptions)
    async def pdf(self, session_id: str, page_id: str, **options: Unpack[PdfOptions]) -> bytes:
        """The page as a PDF."""
        query = pdf_query(options)
        return (await self._transport.send("GET", page_path(session_id, page_id, "pdf"), query=query)).content
