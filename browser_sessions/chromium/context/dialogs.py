"""Who answers a page's dialogs: the clients that are attached, or, with none, the session itself, at once.

Playwright dismisses dialogs by itself unless somebody listens; this listens, so that a client can handle its own.
"""

from __future__ import annotations

from collections.abc import Callable

from playwright.async_api import Dialog

from browser_sessions.chromium.driver.playwright_calls import Calls
from browser_sessions.chromium.ports import ContextEvent
from browser_sessions.domain.limits import TEXT_CHARACTERS


class Dialogs:
    """Open dialogs of one context. `clients` is the number of clients that may answer them."""

    def __init__(self, calls: Calls, tell: Callable[[ContextEvent, Dialog], None]) -> None:
        self._calls = calls
        self._tell = tell
        self._open: set[Dialog] = set()
        self._clients = 0

    def clients_changed(self, count: int) -> None:
        """Answers what is open when the last client has gone."""
        self._clients = count
        if count == 0:
            for dialog in tuple(self._open):
                self._calls.background(self._answer(dialog))

    def opened(self, dialog: Dialog) -> None:
        self._open.add(dialog)
        message = dialog.message[:TEXT_CHARACTERS]
        self._tell(ContextEvent("dialog.opened", {"type": dialog.type, "message": message}), dialog)
        if self._clients == 0:
            self._calls.background(self._answer(dialog))

    async def _answer(self, dialog: Dialog) -> None:
        """Dismisses it; lets a page go that asks whether to leave. One that was answered already is no error."""
        self._open.discard(dialog)
        accepted = dialog.type == "beforeunload"
        await (dialog.accept() if accepted else dialog.dismiss())
        self._tell(ContextEvent("dialog.closed", {"accepted": accepted}), dialog)
