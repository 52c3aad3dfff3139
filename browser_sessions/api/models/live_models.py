"""Watching a session, controlling it, and its DevTools."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from browser_sessions.api.models.model_parts import REQUEST, WithTickets


class LiveTicket(WithTickets):
    live_url: str


class ControlBody(BaseModel):
    model_config = REQUEST

    action: Literal["take", "release"]


class ControlResponse(BaseModel):
    """The name of the person who has control (null: the clients), and the number of clients with a command waiting."""

    controlled_by: str | None
    waiting: int


class DevToolsBody(BaseModel):
    model_config = REQUEST

    page_id: str = Field(min_length=1, max_length=64)


class DevToolsResponse(BaseModel):
    """A path to open in a new tab; it holds a ticket."""

    url: str = Field(repr=False)
