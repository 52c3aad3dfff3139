"""Files that the pages of a session have downloaded."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from browser_sessions.domain.download_ledger import DownloadState


class DownloadResponse(BaseModel):
    download_id: str
    page_id: str | None
    url: str
    filename: str
    state: DownloadState
    received_bytes: int
    total_bytes: int | None
    started_at: datetime


class DownloadList(BaseModel):
    downloads: list[DownloadResponse]
