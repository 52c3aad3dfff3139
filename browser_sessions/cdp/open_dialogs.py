"""The JavaScript dialogs that are open in pages, and the navigations under way.

A document that is committed in the process of a page with an open dialog never loads, and from then on Chromium (156)
closes that dialog by no command; detaching a session from the page, or disabling its `Page` domain, ends the whole
browser. So a dialog is closed before each navigation, as a browser with windows does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from browser_sessions.cdp.messages import read

NAVIGATIONS: Final = frozenset({"Page.navigate", "Page.reload", "Page.navigateToHistoryEntry"})
EVENTS: Final = (
    b'{"method":"Page.javascriptDialog',
    b'{"method":"Page.frameStartedNavigating"',
    b'{"method":"Page.frameStoppedLoading"',
    b'{"method":"Page.frameNavigated"',
)
_SAME_DOCUMENT: Final = ("sameDocument", "historySameDocument")


class OpenDialogs:
    """Of all pages of one CDP client, which has enabled their `Page` domain. `post` sends a command to a page."""

    def __init__(self, post: Callable[[str, str, Mapping[str, Any]], None]) -> None:
        self._post = post
        self._open: dict[str, tuple[str, str]] = {}
        """(CDP session, type of dialog) by page."""
        self._navigating: set[str] = set()
        """Pages whose navigation to another document has begun, and has neither been committed nor failed."""

    def receive(self, message: bytes, session_id: str, page_id: str) -> None:
        """One of `EVENTS` of a page, or of a frame in a process of its own."""
        received = read(message)
        params: Mapping[str, Any] = received["params"]
        match received["method"]:
            case "Page.javascriptDialogOpening":
                self._open[page_id] = session_id, str(params["type"])
            case "Page.javascriptDialogClosed":
                self._open.pop(page_id, None)
            case "Page.frameStartedNavigating" if params["frameId"] == page_id:
                if params.get("navigationType") not in _SAME_DOCUMENT:
                    self._navigating.add(page_id)
            case "Page.frameStoppedLoading" if params["frameId"] == page_id:
                self._navigating.discard(page_id)
            case "Page.frameNavigated" if params["frame"]["id"] == page_id:
                self._navigating.discard(page_id)

    def kind(self, page_id: str) -> str | None:
        """`alert`, `confirm`, `prompt` or `beforeunload`; None if no dialog is open."""
        found = self._open.get(page_id)
        return None if found is None else found[1]

    def is_navigating(self, page_id: str) -> bool:
        return page_id in self._navigating

    def close(self, page_id: str) -> bool | None:
        """Dismisses the page's dialog, but accepts `beforeunload`. Returns whether it was accepted, None if none was
        open. Commands that are sent later find it closed."""
        found = self._open.pop(page_id, None)
        if found is None:
            return None
        session_id, kind = found
        accepted = kind == "beforeunload"
        self._post(session_id, "Page.handleJavaScriptDialog", {"accept": accepted})
        return accepted

    def forget(self, page_id: str) -> None:
        """The page is closed."""
        self._open.pop(page_id, None)
        self._navigating.discard(page_id)
