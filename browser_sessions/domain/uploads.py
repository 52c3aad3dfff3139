"""The uploads of a session: their names and their quota.

A name is that of a file, `report.pdf`, or of a file in a folder, `docs/2026/report.pdf`. All uploads whose names begin
with the same folder form that folder, and have its path.
"""

from __future__ import annotations

import secrets
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import Final

from browser_sessions.domain.errors import Conflict, UploadNotFound, UploadTooLarge

MAX_UPLOADS: Final = 1000
"""Files of a session: enough for a folder of photos, too few to use up the file system's inodes."""
MAX_PART_BYTES: Final = 255
"""Of a file's or folder's name: the limit of Linux file systems."""
MAX_NAME_BYTES: Final = 1024
"""Of a name with its folders. With the session's folder it stays far below the 4096 bytes of a path in Linux."""

_FORBIDDEN: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories: control characters, lone surrogates, line and paragraph separators."""
_DIRECTION: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Controls of the direction of text, which show a name as another: `gpj.exe` as `exe.jpg`."""


@dataclass(frozen=True, slots=True)
class Upload:
    upload_id: str
    name: str
    size: int
    """Bytes."""
    path: str
    """What a file input takes: the file, or its folder with a slash at the end."""


@dataclass(slots=True)
class Slot:
    """An upload in progress."""

    upload_id: str
    name: str
    group: str
    """The folder that holds this file, or the whole folder that it belongs to."""
    received: int = 0


class Ledger:
    """The uploads of one session, oldest first, and its quota in bytes."""

    def __init__(self, limit_bytes: int, limit_files: int = MAX_UPLOADS) -> None:
        self._limit_bytes = limit_bytes
        self._limit_files = limit_files
        self._running: dict[str, Slot] = {}
        self._uploads: dict[str, Upload] = {}
        self._groups: dict[str, str] = {}
        """The `Slot.group` of each folder, by its name."""
        self._paths: Counter[str] = Counter()
        """Number of complete uploads with this path."""

    @property
    def paths(self) -> Counter[str]:
        return self._paths

    @property
    def left(self) -> int:
        """Bytes that the quota has left."""
        used = sum(each.size for each in self._uploads.values()) + sum(each.received for each in self._running.values())
        return max(0, self._limit_bytes - used)

    def all(self) -> list[Upload]:
        return list(self._uploads.values())

    def begin(self, name: str, size: int | None) -> Slot:
        """Reserves a name. Raises `Conflict`, `UploadTooLarge` (by its announced size already)."""
        if len(self._uploads) + len(self._running) >= self._limit_files:
            raise Conflict(f"The session has reached its limit of {self._limit_files} uploads. Remove one first.")
        if size is not None and size > self.left:
            raise UploadTooLarge(self._limit_bytes, self.left)
        upload_id = f"upl_{secrets.token_hex(16)}"
        folder, slash, _ = name.partition("/")
        if slash and name in self._names():
            raise Conflict(f"name: the folder {folder!r} has this file already. Remove it first.")
        group = self._groups.setdefault(folder, upload_id) if slash else upload_id
        slot = self._running[upload_id] = Slot(upload_id, name, group)
        return slot

    def receive(self, slot: Slot, size: int) -> None:
        """Counts bytes that are about to be written. Raises `UploadTooLarge`."""
        if size > self.left:
            raise UploadTooLarge(self._limit_bytes, self.left + slot.received)
        slot.received += size

    def complete(self, slot: Slot, path: str) -> Upload:
        del self._running[slot.upload_id]
        done = self._uploads[slot.upload_id] = Upload(slot.upload_id, slot.name, slot.received, path)
        self._paths[path] += 1
        return done

    def abandon(self, slot: Slot) -> None:
        del self._running[slot.upload_id]
        self._forget_group(slot.name)

    def remove(self, upload_id: str) -> Upload:
        """Frees the upload's share of the quota. Raises `UploadNotFound`."""
        found = self._uploads.pop(upload_id, None)
        if found is None:
            raise UploadNotFound(upload_id)
        self._paths -= Counter([found.path])  # drops a path without uploads
        self._forget_group(found.name)
        return found

    def _forget_group(self, name: str) -> None:
        """A folder that is empty: the next one of this name is another."""
        folder, slash, _ = name.partition("/")
        if slash and not any(each.startswith(f"{folder}/") for each in self._names()):
            del self._groups[folder]

    def _names(self) -> list[str]:
        return [each.name for each in self._uploads.values()] + [each.name for each in self._running.values()]


def name_problem(name: str) -> str | None:
    """Why a session cannot have an upload of this name; None if it can."""
    if any(unicodedata.category(each) in _FORBIDDEN or each in _DIRECTION for each in name):
        return "must not contain control characters, line breaks or controls of the text's direction"
    if "\\" in name:
        return "must not contain a backslash; folders are separated by slashes"
    parts = name.split("/")
    if not all(parts) or not {".", ".."}.isdisjoint(parts):
        return "must be a file's name, or a path relative to a folder, such as docs/a.txt, without . and .."
    if max(len(each.encode()) for each in parts) > MAX_PART_BYTES or len(name.encode()) > MAX_NAME_BYTES:
        return f"must have at most {MAX_PART_BYTES} bytes, and at most {MAX_NAME_BYTES} with its folders"
    return None
