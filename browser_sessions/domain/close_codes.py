"""Close codes of a WebSocket, by what ended it: the table of docs/api.md. Pure."""

from __future__ import annotations

from typing import Final

from browser_sessions.domain.session import EndReason, SessionStatus

WENT_SILENT: Final = 1011

_BY_REASON: Final = {EndReason.DRAINED: 1001, EndReason.OPERATOR: 4001, EndReason.NODE_LOST: 1011}
_BY_STATUS: Final = {
    SessionStatus.CLOSED: 1000,
    SessionStatus.EXPIRED: 4000,
    SessionStatus.CRASHED: 1011,
    SessionStatus.LOST: 1011,
}
_WORDS: Final = {
    EndReason.DRAINED: "the server is draining",
    EndReason.OPERATOR: "an operator ended the session",
    EndReason.DELETED: "the session was ended",
    EndReason.IDLE: "the session expired: it was not used for its idle timeout",
    EndReason.LIFETIME: "the session expired: its lifetime is over",
    EndReason.BROWSER_DIED: "the browser crashed",
    EndReason.BROWSER_HUNG: "the browser did not answer and was ended",
    EndReason.CONTEXT_DIED: "the session's browser context crashed",
    EndReason.DRIVER_DIED: "the browser's driver crashed",
}


def close_code(reason: EndReason) -> tuple[int, str]:
    """(close code, words) for a client of a session that ended for `reason`."""
    code = _BY_REASON.get(reason, _BY_STATUS[reason.status])
    return code, _WORDS.get(reason, f"the session ended: {reason.value}")
