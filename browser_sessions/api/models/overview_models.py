"""All sessions and the node at once, for the console."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from browser_sessions.api.models.account_models import WhoAmI
from browser_sessions.api.models.node_models import PoolHistory, PoolState
from browser_sessions.api.models.session_models import StatusName


class SessionRow(BaseModel):
    """One session in the overview. `memory_bytes` is its share of its browser's memory: that is measured for the whole
    process group, and sessions of one browser count alike. `bytes_up` and `bytes_down` have passed the
    egress proxy. `responsive` is false while its page does not respond."""

    session_id: str
    status: StatusName
    owner: str
    owner_name: str
    viewport_width: int
    viewport_height: int
    created_at: datetime
    last_activity: datetime
    expires_at: datetime | None
    ended_at: datetime | None
    end_reason: str | None
    metadata: dict[str, str]
    isolation: Literal["context", "browser"]
    title: str
    url: str
    page_count: int
    connections: int
    viewers: int
    controlled_by: str | None
    memory_bytes: int | None
    bytes_up: int | None
    bytes_down: int | None
    responsive: bool
    browser_id: str | None


class OverviewResponse(BaseModel):
    sessions: list[SessionRow]
    pool: PoolState | None
    history: PoolHistory | None
    you: WhoAmI
    position: str
