"""The node: its health, its pool, its recent history."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel


class HealthzResponse(BaseModel):
    status: Literal["ok"]
    version: str


class ReadyzResponse(BaseModel):
    ready: bool
    problems: list[str]
    warnings: list[str]


class BrowserState(BaseModel):
    browser_id: str
    pid: int
    version: str
    state: str
    principal_id: str | None
    dedicated: bool
    sessions: int
    places: int
    age_seconds: float
    memory_bytes: int | None


class PoolState(BaseModel):
    """The node's capacity and processes."""

    node: str
    capacity: int
    taken: int
    free: int
    queue: int
    warm_spares: int
    draining: bool
    sandbox: bool
    refused_total: int
    browsers: list[BrowserState]


class HistoryPoint(BaseModel):
    """The node at one moment. `refused` counts since the start; `loop_lag_ms` is the worst since the point before."""

    at: datetime
    active: int
    queue: int
    refused: int
    memory_bytes: int
    loop_lag_ms: float
    browsers: int


class PoolHistory(BaseModel):
    step_seconds: float
    points: list[HistoryPoint]
