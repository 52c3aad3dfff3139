"""Log lines and metrics derived from the journal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from browser_sessions.events.journal import Event, Journal
from browser_sessions.telemetry import Metrics

log = structlog.get_logger()

LOGGED: Final = ("session.", "browser.", "control.", "client.", "egress.")
"""Events that are logged. What pages do (console, network, navigation) is in the event streams only."""
NOT_LOGGED: Final = frozenset({"session.updated"})
DETAILS: Final = frozenset({"egress.refused", "egress.failed"})
"""Logged at level debug: a page can cause twenty a second."""
WARNINGS: Final = frozenset({"browser.died", "browser.start_failed"})


def project(journal: Journal, metrics: Metrics) -> None:
    """Logs and counts every event from now on."""
    journal.sinks += [_log, _count(metrics)]


def _log(event: Event) -> None:
    if not event.kind.startswith(LOGGED) or event.kind in NOT_LOGGED:
        return
    facts = {"session_id": event.session_id, "owner": event.owner} if event.session_id else {}
    crashed = event.kind == "session.ended" and event.data.get("status") == "crashed"
    write = log.warning if crashed or event.kind in WARNINGS else log.info
    if event.kind in DETAILS:
        write = log.debug
    write(event.kind, **facts, **event.data)


def _count(metrics: Metrics) -> Callable[[Event], None]:
    def count(event: Event) -> None:
        if event.kind == "session.active":
            metrics.create_seconds.observe(event.data["seconds"])
        elif event.kind == "session.ended":
            metrics.sessions_ended.labels(event.data["reason"] or "unknown").inc()
            if (closing := event.data.get("closing_seconds")) is not None:
                metrics.end_seconds.observe(closing)
        elif event.kind == "upload.added":
            _accepted(metrics, "upload", event)
        elif event.kind == "download.finished" and event.data["state"] == "completed":
            _accepted(metrics, "download", event)
        elif event.kind == "download.finished" and event.data["state"] == "over_quota":
            metrics.files.labels("download", "refused").inc()
        elif event.kind == "browser.started":
            metrics.browser_start_seconds.observe(event.data["seconds"])
        elif event.kind == "browser.died":
            metrics.browser_restarts.labels(event.data["reason"]).inc()
        elif event.kind == "browser.retiring":
            metrics.browsers_retired.labels(event.data["reason"]).inc()

    return count


def _accepted(metrics: Metrics, direction: str, event: Event) -> None:
    metrics.files.labels(direction, "accepted").inc()
    metrics.file_bytes.labels(direction).inc(event.data["size"])
