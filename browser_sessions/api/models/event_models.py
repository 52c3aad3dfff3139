"""Events of sessions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel


class SessionEvent(BaseModel):
    """See docs/events.md."""

    id: str
    type: str
    at: datetime
    session_id: str | None
    owner: str | None
    data: dict[str, Any]


class SessionHistory(BaseModel):
    events: list[SessionEvent]
    has_frame: bool
