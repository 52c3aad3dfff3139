"""What a session has downloaded, and how much it may. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

FILES_AT_MOST: Final = 100
"""Files of a session: beyond, a page that downloads for ever gets nothing more."""
DEFAULT_BYTES: Final = 512 * 2**20
"""All files of a session together, where the operator says nothing else."""


class DownloadState(StrEnum):
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELED = "canceled"
    OVER_QUOTA = "over_quota"


@dataclass(slots=True)
class Download:
    download_id: str
    page_id: str | None
    """None where a frame of a page began it and its page is not known."""
    url: str
    filename: str
    """As the site names it: text of a stranger's, never a path."""
    started_at: datetime
    state: DownloadState = DownloadState.IN_PROGRESS
    received_bytes: int = 0
    total_bytes: int | None = None
    """None where the site does not say."""


class Ledger:
    """The downloads of one session, oldest first."""

    def __init__(self, limit_bytes: int, limit_files: int = FILES_AT_MOST) -> None:
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
        """Takes it out; its room is free. None when there is none."""
        return self._downloads.pop(download_id, None)

    def begin(self, download: Download) -> bool:
        """Takes it in. False: it is one too many, and is to be cancelled."""
        if len(self._downloads) >= self._limit_files or self.received_bytes >= self._limit_bytes:
            return False
        self._downloads[download.download_id] = download
        return True

    def progress(self, download_id: str, received: int, total: int | None, state: DownloadState) -> bool:
        """Takes in how far it is. False: with it, the session has more than it may; it is to be cancelled, and takes no
        room any more. A file that says how long it will be need not be waited for."""
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
