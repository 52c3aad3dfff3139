"""Session records for store tests. Imports little, because programs that tests kill import it at their start."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from browser_sessions.domain.session import SessionRecord, SessionStatus, new_session_id
from browser_sessions.domain.session_spec import Isolation, SessionSpec

NOON: Final = datetime(2026, 3, 1, 12, 0, 0, 250_001, tzinfo=UTC)


def a_record(**values: Any) -> SessionRecord:
    """A queued session created at `NOON`, with a new id."""
    defaults: dict[str, Any] = {
        "session_id": new_session_id(),
        "owner": "prn_ada",
        "owner_name": "Ada",
        "node": "node-1",
        "status": SessionStatus.QUEUED,
        "viewport_width": 1280,
        "viewport_height": 720,
        "user_agent": None,
        "isolation": Isolation.CONTEXT,
        "created_at": NOON,
        "last_activity": NOON,
        "expires_at": None,
        "ended_at": None,
        "end_reason": None,
        "idle_timeout_seconds": 300.0,
        "max_lifetime_seconds": 3600.0,
        "metadata": {},
        "options": SessionSpec().options(),
    }
    return SessionRecord(**(defaults | values))
