"""WebSocket close codes by end reason: the table of docs/api.md."""

from __future__ import annotations

from typing import Final

from browser_sessions.domain.session import EndReason, SessionStatus

PING_TIMEOUT: Final = 1011

_BY_REASON: Final = {EndReason.DRAINED: 1001, EndReason.OPERATOR: 4001, EndReason.NODE_LOST: 1011}
_BY_STATUS: Final = {
    SessionStatus.CLOSED: 1000,
    SessionStatus.EXPIRED: 4000,
    SessionStatus.CRASHED: 1011,
    SessionStatus.LOST: 1011,
}
_REASON_TEXT: Final = {
    EndReason.DRAINED: "the server is draining",
    EndReason.OPERATOR: "an operator ended the session",
    EndReason.DELETED: "the session was ended",
    EndReason.IDLE: "the session expired: idle timeout",
    EndReason.LIFETIME: "the session expired: maximum lifetime",
    EndReason.BROWSER_DIED: "the browser crashed",
    EndReason.BROWSER_HUNG: "the browser did not respond and was killed",
    EndReason.CONTEXT_DIED: "the session's browser context crashed",
    EndReason.DRIVER_DIED: "the Playwright driver crashed",
}


def close_code(reason: EndReason) -> tuple[int, str]:
    """(close code, reason text) for a client of a session that ended for `reason`."""
    code = _BY_REASON.get(reason, _BY_STATUS[reason.status])
    return code, _REASON_TEXT.get(reason, f"the session ended: {reason.value}")
