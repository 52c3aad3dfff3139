"""Files of a session: what its pages have downloaded, and what they may be given."""

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


class UploadResponse(BaseModel):
    upload_id: str
    name: str
    size: int
    path: str


class UploadList(BaseModel):
    uploads: list[UploadResponse]
