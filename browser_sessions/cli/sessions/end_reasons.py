"""Why a session ended, as a sentence, with what to do about it: those of the console. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

WHY_ENDED: Final[Mapping[str, str]] = {
    "deleted": "Ended by its owner.",
    "ended_by_operator": "Ended by an operator.",
    "client_left": "The one-line connection that created it was closed.",
    "cancelled": "The caller disconnected before it was ready.",
    "queue_timeout": "No slot became free within the wait time of its create.",
    "drained": "The service shut down.",
    "idle_timeout": "Unused for the length of its idle timeout.",
    "max_lifetime": "It reached its maximum lifetime.",
    "browser_died": "Its Chromium process died. Check the kernel log for out-of-memory kills.",
    "browser_hung": "Its Chromium process stopped responding and was killed.",
    "context_died": "Its browser context was closed from outside.",
    "driver_died": "Playwright's driver process died.",
    "start_page_failed": "Its start page did not load. The response to its create has the reason.",
    "invalid_options": "The browser does not accept one of its options. The response to its create named it.",
    "start_failed": "It could not be started. The response to its create has the reason.",
    "node_lost": "The server stopped without ending it; found at the next start.",
}
