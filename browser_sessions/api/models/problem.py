"""The body of every error."""

from __future__ import annotations

from pydantic import BaseModel


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    session_id: str | None = None
