"""The uploads of one session: saved to its folder, limited by its quota.

```
uploads/<upload id>.part            a file in progress
uploads/<upload id>/report.pdf      a file
uploads/<upload id>/docs/a.txt      a file of a folder; the id is that of the folder's first file
```
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator, Callable, Container
from pathlib import Path
from typing import Final

from browser_sessions.chromium.launch import folders
from browser_sessions.chromium.launch.user import BrowserUser
from browser_sessions.chromium.ports import ContextEvent
from browser_sessions.domain.errors import BrowserGone, Conflict, Unavailable
from browser_sessions.domain.limits import TEXT_CHARACTERS
from browser_sessions.domain.uploads import Ledger, Slot, Upload

WRITE_BYTES: Final = 2**20
"""Written at once, in a thread: a thread for each piece from the network would cost more than the write."""
AT_ONCE: Final = 8
"""Uploads of a session that are received at once, each of which holds up to `WRITE_BYTES`; the next ones wait."""
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TAKEN: Final = (FileExistsError, NotADirectoryError, IsADirectoryError)


class Uploads:
    """Implements `chromium.ports.Uploads`."""

    def __init__(
        self, folder: Path, user: BrowserUser | None, limit_bytes: int, publish: Callable[[ContextEvent], None]
    ) -> None:
        self._folder = folder
        self._publish = publish
        self._user = user
        self._ledger = Ledger(limit_bytes)
        self._placing = asyncio.Lock()
        """Held while files of folders are put into place or removed: both may concern the same folder."""
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._closed = False

    @property
    def paths(self) -> Container[str]:
        return self._ledger.paths

    def all(self) -> list[Upload]:
        return self._ledger.all()

    async def add(self, name: str, size: int | None, content: AsyncIterator[bytes]) -> Upload:
        """As `ports.Uploads.add`."""
        async with self._turns:
            return await self._add(name, size, content)

    async def remove(self, upload_id: str) -> None:
        """As `ports.Uploads.remove`."""
        removed = self._ledger.remove(upload_id)
        async with self._placing:
            await asyncio.to_thread(self._remove, removed)
        self._report("upload.removed", removed)

    def _report(self, kind: str, upload: Upload) -> None:
        data = {"upload_id": upload.upload_id, "name": upload.name[:TEXT_CHARACTERS], "size": upload.size}
        self._publish(ContextEvent(kind, data))

    def close(self) -> None:
        """Ends uploads in progress. The caller removes the folder."""
        self._closed = True

    async def _add(self, name: str, size: int | None, content: AsyncIterator[bytes]) -> Upload:
        slot = self._ledger.begin(name, size)
        partial = self._folder / f"{slot.upload_id}.part"
        try:
            descriptor = await asyncio.to_thread(self._create, partial)
            try:
                await self._receive(slot, descriptor, content)
            finally:
                os.close(descriptor)
            async with self._placing:
                path = await asyncio.to_thread(self._place, partial, slot)
            if self._closed:
                raise BrowserGone("The session has ended.")
        except BaseException as error:
            self._ledger.abandon(slot)
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            if not isinstance(error, OSError):
                raise
            raise self._translated(error) from error
        done = self._ledger.complete(slot, path)
        self._report("upload.added", done)
        return done

    async def _receive(self, slot: Slot, descriptor: int, content: AsyncIterator[bytes]) -> None:
        waiting = bytearray()
        async for piece in content:
            if self._closed:
                raise BrowserGone("The session has ended.")
            waiting += piece
            if len(waiting) >= WRITE_BYTES:
                await self._write(slot, descriptor, waiting)
        await self._write(slot, descriptor, waiting)

    async def _write(self, slot: Slot, descriptor: int, waiting: bytearray) -> None:
        self._ledger.receive(slot, len(waiting))
        data = bytes(waiting)
        waiting.clear()
        await asyncio.to_thread(_write, descriptor, data)

    def _create(self, partial: Path) -> int:
        try:
            self._folder.mkdir(mode=0o700)  # without its parents: the session's folder is gone when it has ended
            folders.share(self._folder, self._user)
        except FileExistsError:
            pass
        return os.open(partial, _NEW_FILE, 0o600)

    def _place(self, partial: Path, slot: Slot) -> str:
        """Puts a complete file into its place. Returns the upload's path."""
        top = self._folder / slot.group
        target = top / slot.name
        missing = [each for each in target.parents if each == top or top in each.parents]
        for folder in reversed(missing):
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
                folders.share(folder, self._user)
        folders.share(partial, self._user)
        partial.rename(target)
        folder_name, slash, _ = slot.name.partition("/")
        return f"{top / folder_name}/" if slash else str(target)

    def _remove(self, removed: Upload) -> None:
        """Removes a file and the folders that are empty then."""
        place = Path(removed.path)
        file = place.parent / removed.name
        file.unlink(missing_ok=True)
        for folder in file.parents:
            if folder == self._folder:
                break
            try:
                folder.rmdir()
            except OSError:  # other files of the folder
                break

    def _translated(self, error: OSError) -> BrowserGone | Conflict | Unavailable:
        if self._closed or isinstance(error, FileNotFoundError):
            return BrowserGone("The session has ended.")
        if isinstance(error, _TAKEN):
            return Conflict("name: the folder has a file or a folder of this name already. Remove it first.")
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        return Unavailable(f"The file could not be saved: {reason}.")


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
