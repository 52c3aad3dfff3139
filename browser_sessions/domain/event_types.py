"""Every event type with its fields, meaning and audience. docs/events.md lists the same (a test compares)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class EventType:
    """`fields` are the keys its `data` may have; `operators_only`: not sent to clients; `transient`: sent, but not kept
    in the session's history, because the next event of the type replaces it."""

    name: str
    fields: tuple[str, ...]
    description: str
    operators_only: bool = False
    transient: bool = False


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
    "bytes_up",
    "bytes_down",
    "responsive",
)
"""Fields of a session's row in the overview that change during its life."""

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
    EventType("session.queued", ("wait_seconds",), "Waits for a free slot, at most `wait_seconds`."),
    EventType("session.active", ("seconds", "browser_id"), "Ready to use, `seconds` after the request."),
    EventType("session.extended", ("seconds",), "Its maximum lifetime was extended by `seconds`."),
    EventType(
        "session.ended",
        ("status", "reason", "seconds", "closing_seconds", "bytes_up", "bytes_down"),
        "Final. The last event of a session.",
    ),
    EventType(
        "session.updated",
        ROW_FIELDS,
        "Fields of its row in the overview that changed; at most once a second.",
        transient=True,
    ),
    EventType("client.connected", ("kind",), "A client (`cdp`) or a viewer (`live`) connected."),
    EventType("client.disconnected", ("kind",), "A client or a viewer disconnected."),
    EventType("control.taken", ("by",), "An operator or the owner took control: the client's commands wait."),
    EventType("control.released", ("by",), "Control was given back: the client's commands continue."),
    EventType("control.waiting", ("count",), "Number of clients with a command waiting for control."),
    EventType("page.opened", ("page_id", "url"), "A page was opened."),
    EventType("page.closed", ("page_id",), "A page was closed."),
    EventType("page.crashed", ("page_id",), "A page's renderer died; the session continues."),
    EventType(
        "page.navigated",
        ("page_id", "url", "title", "error"),
        "A page loaded another document; with `error`, it could not, and shows an error page.",
    ),
    EventType("page.error", ("page_id", "text"), "An uncaught error in a page's script."),
    EventType("console", ("page_id", "level", "text", "url", "line"), "A line of the page's console."),
    EventType(
        "network.failed",
        ("page_id", "url", "method", "error"),
        "A request that failed or got a status of 400 or more. `method` is null where Chromium does not send it.",
    ),
    EventType(
        "network.response",
        ("page_id", "url", "method", "status", "type", "ms", "size"),
        "A response, complete after `ms` milliseconds, `size` bytes; sent only while somebody watches the session's "
        "live view.",
    ),
    EventType("download.started", ("page_id", "url", "filename"), "A download started."),
    EventType(
        "download.finished",
        ("page_id", "filename", "state", "size"),
        "`completed`, with its `size` in bytes, `canceled` or `over_quota`.",
    ),
    EventType("upload.added", ("upload_id", "name", "size"), "A file of `size` bytes was uploaded to the session."),
    EventType("upload.removed", ("upload_id", "name", "size"), "It was removed."),
    EventType(
        "egress.refused",
        ("host", "port", "address", "rule", "setting"),
        "A connection that the egress proxy refused: the `rule` that denies it and the `setting` that can allow it; at "
        "most 20 a second.",
    ),
    EventType(
        "egress.failed",
        ("host", "port", "reason"),
        "A connection of the egress proxy that failed though it is allowed, such as to a name that does not exist; at "
        "most 20 a second.",
    ),
    EventType(
        "egress.traffic_limit",
        ("max_traffic_bytes",),
        "The session has transferred `max_traffic_bytes`: its connections are closed and no others are made.",
    ),
    EventType("dialog.opened", ("page_id", "type", "message"), "An alert, confirm, prompt or beforeunload is open."),
    EventType("dialog.closed", ("page_id", "accepted"), "A dialog was closed."),
    EventType(
        "browser.started", ("browser_id", "pid", "version", "seconds"), "A Chromium is running.", operators_only=True
    ),
    EventType(
        "browser.start_failed",
        ("reason", "failures", "pause"),
        "Chromium did not start; the next attempt follows after `pause` seconds.",
        operators_only=True,
    ),
    EventType(
        "browser.retiring",
        ("browser_id", "reason", "sessions"),
        "It accepts no new sessions and is closed once empty.",
        operators_only=True,
    ),
    EventType(
        "browser.swamped",
        ("browser_id", "misses", "pid"),
        "A page kept it from responding and was killed: `page.crashed` follows.",
        operators_only=True,
    ),
    EventType(
        "browser.died",
        ("browser_id", "reason", "sessions", "pid", "exit"),
        "Its sessions are `crashed`. `exit` is how the process exited by itself, such as `was killed by SIGKILL`; null "
        "if the service has ended it.",
        operators_only=True,
    ),
    EventType("browser.ended", ("browser_id", "reason"), "It was closed.", operators_only=True),
    EventType(
        "pool.updated",
        POOL_FIELDS,
        "Slots and browsers, when they changed; at most once in two seconds.",
        operators_only=True,
        transient=True,
    ),
)

EVENTS: Final[Mapping[str, EventType]] = {known.name: known for known in _TYPES}

GAP: Final = "gap"
"""Sent by a stream itself, with `reason`: `too_old` (the next events are no longer kept) or `restarted` (the id is of
an earlier run). The reader must reload its state."""
GROUPS: Final = sorted({name.partition(".")[0] for name in EVENTS})
"""The parts of types' names before the dot."""


def of_types(names: Iterable[str]) -> Callable[[str], bool]:
    """Whether a type is one of these, or of one of these groups (`page`); all are, without any.

    Raises `ValueError` for a name that is neither.
    """
    wanted = frozenset(names)
    if not wanted <= {*EVENTS, *GROUPS}:
        raise ValueError(f"must be an event type, or a group of them: {', '.join(GROUPS)}")
    return lambda kind: not wanted or kind in wanted or kind.partition(".")[0] in wanted
