"""Every type of event there is: its fields, what it says, who may hear it. docs/events.md is the same for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class EventType:
    """`fields` are the keys its `data` may have; `operators`: not for clients; `passing`: sent, not kept with the
    session's story, for the next one of its kind replaces it."""

    name: str
    fields: tuple[str, ...]
    what: str
    operators: bool = False
    passing: bool = False


ROW_FIELDS: Final = (
    "status",
    "title",
    "url",
    "page_count",
    "last_activity",
    "expires_at",
    "connections",
    "viewers",
    "controlled_by",
    "memory_bytes",
)
"""What of a session's row in the overview changes while it lives."""

POOL_FIELDS: Final = (
    "node",
    "capacity",
    "taken",
    "free",
    "queue",
    "warm_spares",
    "draining",
    "sandbox",
    "refused_total",
    "browsers",
)

_TYPES: Final = (
    EventType("session.queued", ("wait_seconds",), "Waits for a free place, at most so long."),
    EventType("session.active", ("seconds", "browser_id"), "Ready to use, so many seconds after it was asked for."),
    EventType("session.extended", ("seconds",), "Its hard limit moved by so much."),
    EventType(
        "session.ended", ("status", "reason", "seconds", "closing_seconds"), "Final. The last event of a session."
    ),
    EventType(
        "session.updated",
        ROW_FIELDS,
        "What changed in its row of the overview; at most once a second.",
        passing=True,
    ),
    EventType("client.connected", ("kind",), "Somebody connected: `cdp` drives it, `live` looks at it."),
    EventType("client.disconnected", ("kind",), "Somebody left."),
    EventType("control.taken", ("by",), "An operator or the owner took the wheel: the client's commands wait."),
    EventType("control.released", ("by",), "The client goes on."),
    EventType("control.waiting", ("count",), "So many clients have a command waiting for the wheel."),
    EventType("page.opened", ("page_id", "url"), "A page is there."),
    EventType("page.closed", ("page_id",), "A page is gone."),
    EventType("page.crashed", ("page_id",), "A page's renderer died; the session lives on."),
    EventType("page.navigated", ("page_id", "url", "title"), "A page shows another document."),
    EventType("page.error", ("page_id", "text"), "An error that the page's scripts did not catch."),
    EventType("console", ("page_id", "level", "text", "url", "line"), "A line of the page's console."),
    EventType(
        "network.failed",
        ("page_id", "url", "method", "error"),
        "A request that got no answer, or one of 400 and more. `method` is null where Chromium does not say.",
    ),
    EventType(
        "network.response",
        ("page_id", "url", "method", "status", "type", "ms"),
        "An answer came; told only while somebody watches the session's live view.",
    ),
    EventType("download.started", ("page_id", "url", "filename"), "A page offers a file."),
    EventType("download.finished", ("page_id", "filename", "state"), "`completed`, `canceled` or `over_quota`."),
    EventType("dialog.opened", ("page_id", "type", "message"), "An alert, confirm, prompt or beforeunload waits."),
    EventType(
        "dialog.closed",
        ("page_id", "accepted"),
        "It was answered; by a client itself: told only while somebody watches the session's live view.",
    ),
    EventType("browser.started", ("browser_id", "pid", "version", "seconds"), "A Chromium runs.", operators=True),
    EventType(
        "browser.start_failed", ("reason", "failures", "pause"), "None starts; the next try is later.", operators=True
    ),
    EventType(
        "browser.retiring", ("browser_id", "reason", "sessions"), "It takes no new sessions any more.", operators=True
    ),
    EventType(
        "browser.swamped",
        ("browser_id", "misses", "pid"),
        "A page kept it from answering and was ended: `page.crashed` follows.",
        operators=True,
    ),
    EventType("browser.died", ("browser_id", "reason", "sessions"), "Its sessions are `crashed`.", operators=True),
    EventType("browser.ended", ("browser_id", "reason"), "It was closed.", operators=True),
    EventType(
        "pool.updated",
        POOL_FIELDS,
        "Places and browsers, when they changed; at most once in two seconds.",
        operators=True,
        passing=True,
    ),
)

EVENTS: Final[Mapping[str, EventType]] = {known.name: known for known in _TYPES}

GAP: Final = "gap"
"""Sent by a stream itself, with `reason`: `too_old` (what came next is no longer kept) or `restarted` (the numbers are
of an earlier run). Whoever gets it reads again what it shows."""
