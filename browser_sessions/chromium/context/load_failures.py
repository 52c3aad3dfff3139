"""The pages that show Chromium's error page instead of their URL, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from browser_sessions.chromium.context.context_host import CHECK_SECONDS, Host
from browser_sessions.domain.errors import BrowserSessionsError
from browser_sessions.domain.limits import TEXT_CHARACTERS
from browser_sessions.domain.urls import without_fragment

ERROR_PAGE: Final = "chrome-error:"
"""How the URL of an error page begins."""
UNKNOWN_ERROR: Final = "unknown error"
"""Of a navigation by a script or a client while nobody observed the page's requests: the error page does not say it."""


@dataclass(frozen=True, slots=True)
class LoadFailure:
    url: str
    error: str
    """Such as net::ERR_NAME_NOT_RESOLVED."""


class LoadFailures:
    """Those of one context's pages. `changed` is called when one has become known."""

    def __init__(self, host: Host, changed: Callable[[], None]) -> None:
        self._host = host
        self._changed = changed
        self._shown: dict[str, LoadFailure] = {}
        """By page id: what its error page is about."""
        self._reported: dict[str, LoadFailure] = {}
        """By page id: a failed request whose error page has not been shown yet. Its URL is empty if there may have been
        redirects."""

    def get(self, page_id: str) -> LoadFailure | None:
        """None until it is known."""
        return self._shown.get(page_id)

    def report(self, page_id: str, error: str, url: str = "") -> None:
        """The request of the page's document failed. `url` is where it was redirected to in the end, if known, and may
        be truncated."""
        shown = self._shown.get(page_id)
        if shown is not None and not url and shown.error != UNKNOWN_ERROR:
            return
        if shown is not None and shown.error == UNKNOWN_ERROR and _may_be(url, shown.url):
            self._shown[page_id] = replace(shown, error=error)
            self._changed()
        elif url or page_id not in self._reported:
            self._reported[page_id] = LoadFailure(url, error)

    def committed(self, page_id: str, shown_url: str) -> None:
        """The page shows another document."""
        self._shown.pop(page_id, None)
        if shown_url.startswith(ERROR_PAGE):
            self._host.calls.background(self._look(page_id))
        else:
            self._reported.pop(page_id, None)

    def closed(self, page_id: str) -> None:
        self._shown.pop(page_id, None)
        self._reported.pop(page_id, None)

    async def _look(self, page_id: str) -> None:
        """Asks for the URL of the error page, which is not the target's while the next navigation has begun."""
        try:
            (found,) = await self._host.call_page(page_id, ("Page.getFrameTree", {}), timeout=CHECK_SECONDS)
        except BrowserSessionsError:
            return
        frame: dict[str, Any] = found["frameTree"]["frame"]
        url = frame.get("unreachableUrl")
        if url is None:  # it shows another document meanwhile
            return
        reported = self._reported.pop(page_id, None)
        known = reported is not None and _may_be(reported.url, url)
        self._shown[page_id] = LoadFailure(url, reported.error if reported is not None and known else UNKNOWN_ERROR)
        self._changed()


def _may_be(reported: str, shown: str) -> bool:
    """Whether the request of a URL is that of the error page."""
    return not reported or without_fragment(reported) == without_fragment(shown)[:TEXT_CHARACTERS]
