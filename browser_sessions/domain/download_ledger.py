"""The downloads of a session and their quota."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

MAX_FILES: Final = 100
"""Files of a session: stops a page that downloads in an endless loop."""
DEFAULT_QUOTA_BYTES: Final = 512 * 2**20
"""Total size of a session's files, unless the operator sets another."""


class DownloadState(StrEnum):
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELED = "canceled"
    OVER_QUOTA = "over_quota"


@dataclass(slots=True)
class Download:
    download_id: str
    page_id: str | None
    """None where a frame started it and the frame's page is unknown."""
    url: str
    filename: str
    """As the site names it: untrusted text, never used as a path."""
    started_at: datetime
    state: DownloadState = DownloadState.IN_PROGRESS
    received_bytes: int = 0
    total_bytes: int | None = None
    """None where the site does not send it."""


class Ledger:
    """The downloads of one session, oldest first."""

    def __init__(self, limit_bytes: int, limit_files: int = MAX_FILES) -> None:
        self._limit_bytes = limit_bytes
        self._limit_files = limit_files
        self._downloads: dict[str, Download] = {}

    @property
    def received_bytes(self) -> int:
        return sum(each.received_bytes for each in self._downloads.values())

    def get(self, download_id: str) -> Download | None:
        return self._downloads.get(download_id)

    def all(self) -> list[Download]:
        return list(self._downloads.values())

    def remove(self, download_id: str) -> Download | None:
        """Removes a download and frees its share of the quota. None when there is no such download."""
        return self._downloads.pop(download_id, None)

    def begin(self, download: Download) -> bool:
        """Adds a download. False: the quota is used up and the caller must cancel it."""
        if len(self._downloads) >= self._limit_files or self.received_bytes >= self._limit_bytes:
            return False
        self._downloads[download.download_id] = download
        return True

    def progress(self, download_id: str, received: int, total: int | None, state: DownloadState) -> bool:
        """Records progress in bytes. False: the download exceeds the quota (by its announced size already, where there
        is one), no longer counts towards it, and the caller must cancel it."""
        download = self._downloads.get(download_id)
        if download is None or download.state is not DownloadState.IN_PROGRESS:
            return True
        others = self.received_bytes - download.received_bytes
        download.state, download.received_bytes = state, received
        download.total_bytes = total or download.total_bytes
        if state is DownloadState.CANCELED:
            download.received_bytes = 0
        elif others + max(received, download.total_bytes or 0) > self._limit_bytes:
            download.state, download.received_bytes = DownloadState.OVER_QUOTA, 0
            return False
        return True
