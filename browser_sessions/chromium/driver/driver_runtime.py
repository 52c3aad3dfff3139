"""What Playwright gets of the `Runtime` domain: nothing of the console, and each execution context once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from browser_sessions.cdp.messages import read

RUNTIME_EVENT: Final = b'{"method":"Runtime.'
_DROPPED_EVENTS: Final = (
    b'{"method":"Runtime.consoleAPICalled"',
    b'{"method":"Runtime.exceptionThrown"',
)
"""The service does not read the console through Playwright, and a page can log faster than the driver reads."""
_EXECUTION_CONTEXT: Final = b'{"method":"Runtime.executionContext'
FLOOD_EVENTS: Final = 1000
"""Dropped events of one page within a second that disable its `Runtime` domain for `FLOOD_S`. A page that logs 100,000
lines a second keeps its browser from responding to any client (measured: for five seconds)."""
FLOOD_S: Final = 2.0
RELEASE_EVERY: Final = 100
"""Dropped events after which Chromium may release the objects in them, which it keeps for Playwright to inspect."""

Post = Callable[[str, str, Mapping[str, Any]], None]
"""Sends a call on one of the driver's CDP sessions: (session id, method, params)."""


@dataclass(slots=True)
class _Flood:
    """Dropped events of one page within a second."""

    since: float
    disabled: bool
    """Whether the page's `Runtime` domain was disabled."""
    events: int = 0


class DriverRuntime:
    """One per browser."""

    def __init__(self, post: Post, holds: Callable[[str], bool]) -> None:
        """`holds`: whether a CDP session is still the driver's."""
        self._post = post
        self._holds = holds
        self._execution_contexts: dict[str, set[str]] = {}
        """Unique ids of those reported to Playwright, by its CDP session."""
        self._floods: dict[str, _Flood] = {}
        """By Playwright's CDP session."""

    def detached(self, session_id: str) -> None:
        self._floods.pop(session_id, None)
        self._execution_contexts.pop(session_id, None)

    def forwards_event(self, message: bytes, session_id: str) -> bool:
        """Whether to forward a `Runtime` event to the driver."""
        if message.startswith(_DROPPED_EVENTS):
            self._count_dropped(session_id)
            return False
        return not message.startswith(_EXECUTION_CONTEXT) or self._changes_contexts(message, session_id)

    def _changes_contexts(self, message: bytes, session_id: str) -> bool:
        """False for a context that is reported again because `Runtime` was enabled again. Playwright would replace what
        it has of it, and fail the evaluations under way ("Execution context was destroyed")."""
        known, event = self._execution_contexts.setdefault(session_id, set()), read(message)
        params = event["params"]
        match event["method"]:
            case "Runtime.executionContextCreated":
                unique_id = params["context"]["uniqueId"]
                if unique_id in known:
                    return False
                known.add(unique_id)
            case "Runtime.executionContextDestroyed":
                known.discard(params["executionContextUniqueId"])
            case _:
                known.clear()
        return True

    def _count_dropped(self, session_id: str) -> None:
        flood = self._floods.get(session_id)
        loop = asyncio.get_running_loop()
        if flood is None or loop.time() - flood.since > 1.0:
            flood = self._floods[session_id] = _Flood(loop.time(), disabled=flood is not None and flood.disabled)
        flood.events += 1
        if flood.events % RELEASE_EVERY == 0:
            self._post(session_id, "Runtime.releaseObjectGroup", {"objectGroup": "console"})
        if flood.events >= FLOOD_EVENTS and not flood.disabled:
            flood.disabled = True
            self._post(session_id, "Runtime.disable", {})
            loop.call_later(FLOOD_S, self._enable, session_id)

    def _enable(self, session_id: str) -> None:
        """Enables the domain again, which also reports execution contexts to Playwright. Console entries collected in
        the meantime are discarded first: Chromium would send them all at once."""
        self._floods.pop(session_id, None)
        if self._holds(session_id):
            for method in ("Runtime.discardConsoleEntries", "Runtime.enable"):
                self._post(session_id, method, {})
