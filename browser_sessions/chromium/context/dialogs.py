"""Closes the dialogs of pages while nobody is connected who could.

Playwright dismisses dialogs by itself unless there is a listener. With this one, connected clients can handle them.
"""

from __future__ import annotations

from collections.abc import Callable

from playwright.async_api import Dialog

from browser_sessions.chromium.driver.playwright_calls import Calls
from browser_sessions.chromium.ports import ContextEvent
from browser_sessions.domain.limits import TEXT_CHARACTERS


class Dialogs:
    """The open dialogs of one context."""

    def __init__(self, calls: Calls, publish: Callable[[ContextEvent, Dialog], None]) -> None:
        self._calls = calls
        self._publish = publish
        self._open: set[Dialog] = set()
        self._clients = 0
        self._controlled = False

    def clients_changed(self, count: int, *, controlled: bool) -> None:
        """Sets the number of connected clients, and whether a person has control. Without either, open dialogs are
        closed."""
        self._clients, self._controlled = count, controlled
        if not self._waits():
            for dialog in tuple(self._open):
                self._calls.background(self._close(dialog))

    def opened(self, dialog: Dialog, *, navigating: bool = False) -> None:
        """`navigating`: a navigation of the page is under way, which the dialog must not outlast. A program that is
        connected responds in time, a person does not."""
        self._open.add(dialog)
        message = dialog.message[:TEXT_CHARACTERS]
        self._publish(ContextEvent("dialog.opened", {"type": dialog.type, "message": message}), dialog)
        if not self._waits() or (navigating and self._clients == 0 and dialog.type != "beforeunload"):
            self._calls.background(self._close(dialog))

    def _waits(self) -> bool:
        return self._clients > 0 or self._controlled

    async def _close(self, dialog: Dialog) -> None:
        """Dismisses a dialog, but accepts `beforeunload`. No error if it is closed already. `Observer` publishes that
        it is closed, whoever closed it."""
        self._open.discard(dialog)
        await (dialog.accept() if dialog.type == "beforeunload" else dialog.dismiss())
