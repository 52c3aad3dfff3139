"""Models of uploads."""

from __future__ import annotations

from pydantic import BaseModel


class UploadResponse(BaseModel):
    upload_id: str
    name: str
    size: int
    path: str


class UploadList(BaseModel):
    uploads: list[UploadResponse]
