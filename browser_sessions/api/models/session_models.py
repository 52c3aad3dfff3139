"""A session as callers see it. Field order is part of the contract."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field, WithJsonSchema

from browser_sessions.api.models.egress_models import EgressResponse, Traffic
from browser_sessions.api.models.model_parts import REQUEST, WithTickets
from browser_sessions.domain.limits import MAX_TIMEOUT_SECONDS

LIST_LIMIT: Final = 500
"""Sessions on one page of the list."""

StatusName = Literal["queued", "starting", "active", "closing", "closed", "expired", "crashed", "lost"]


class BrowserSessionResponse(BaseModel):
    """Response schema for browser session information"""

    session_id: str
    status: Annotated[StatusName, WithJsonSchema({"type": "string"})]  # the contract has no enum here
    viewport_width: int
    viewport_height: int
    user_agent: str | None
    created_at: datetime
    last_activity: datetime
    expires_at: datetime | None


class BrowserSessionCreated(WithTickets, BrowserSessionResponse):
    """A new session: its eight fields, and where to connect and to watch. Both addresses hold a ticket: keep them
    secret."""

    status: StatusName
    connect_url: str
    live_url: str


class BrowserSessionDetails(WithTickets, BrowserSessionResponse):
    """All that is known about a session. The addresses are null once it has ended."""

    status: StatusName
    end_reason: str | None
    ended_at: datetime | None
    isolation: Literal["context", "browser"]
    node: str
    owner: str
    connections: int
    pages: int
    idle_timeout_seconds: float | None
    max_lifetime_seconds: float | None
    metadata: dict[str, str]
    connect_url: str | None
    live_url: str | None
    options: dict[str, Any]
    key_egress: EgressResponse | None = Field(
        description="The rules of the key that it was created with; null without any, and once it has ended"
    )
    traffic: Traffic | None = Field(description="null before it starts, and where the server has the egress proxy off")


class BrowserSessionList(BaseModel):
    sessions: list[BrowserSessionResponse]
    next_cursor: str | None


class BrowserSessionHealth(BaseModel):
    """What a probe of the live browser found, now. `memory_bytes` is the JavaScript heap of the pages' renderers,
    `cpu_seconds` what their main threads have used since the pages are in them: a page that goes to another site begins
    anew."""

    healthy: bool
    status: StatusName
    browser_alive: bool
    page_responsive: bool
    latency_ms: float
    pages: int
    memory_bytes: int | None
    cpu_seconds: float | None
    connections: int
    checked_at: datetime
    problem: str | None


class KeepaliveBody(BaseModel):
    model_config = REQUEST

    extend_seconds: float | None = Field(
        None, gt=0, le=MAX_TIMEOUT_SECONDS, allow_inf_nan=False, description="Moves the hard limit by so much"
    )
