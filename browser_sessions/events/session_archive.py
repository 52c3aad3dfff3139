"""The archive of ended sessions: events and last picture, one small file each.

Written once, in a thread, after the session has ended. A server that is killed before loses these, never a record.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import re
from collections import deque
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from browser_sessions.events.journal import Event, Journal

log = structlog.get_logger()

KEPT_IN_MEMORY: Final = 50
"""Ended sessions whose events stay in memory too: somebody may still be watching."""
FOLDER_BYTES: Final = 2 * 2**30
"""Of all files; beyond it the oldest are removed before their retention is over. A session takes 5 to 150 kB."""
_SESSION_ID: Final = re.compile(r"ses_[0-9a-f]{32}")

Picture = Callable[[str], bytes | None]
"""Hands over the last picture of a session as a JPEG, if there is one."""


def wire(journal: Journal, event: Event) -> dict[str, Any]:
    """An event as JSON: in streams, histories and files."""
    return {
        "id": f"{journal.boot}-{event.seq}",
        "type": event.kind,
        "at": event.at,
        "session_id": event.session_id,
        "owner": event.owner,
        "data": event.data,
    }


class Archive:
    """Files in one folder, by session id. Errors of the disk are logged, never raised."""

    def __init__(self, folder: Path, journal: Journal, picture: Picture) -> None:
        self._folder = folder
        self._journal = journal
        self._picture = picture
        self._writing: dict[str, asyncio.Task[None]] = {}
        self._one_at_a_time = asyncio.Lock()
        self._in_memory: deque[str] = deque()
        journal.sinks.append(self._happened)

    async def events(self, session_id: str) -> list[dict[str, Any]]:
        """The kept events of a session, oldest first: from memory, else from its file, else none."""
        kept = self._journal.of(session_id)
        if kept:
            return [wire(self._journal, event) for event in kept]
        return await asyncio.to_thread(_read_events, self._path(session_id, ".json.gz"))

    async def picture(self, session_id: str) -> bytes | None:
        """The last picture of an ended session as a JPEG."""
        if (writing := self._writing.get(session_id)) is not None:
            await asyncio.wait({writing})
        return await asyncio.to_thread(_read, self._path(session_id, ".jpg"))

    async def purge(self, before: datetime) -> None:
        """Removes files of sessions that ended before a moment, and the oldest beyond `FOLDER_BYTES`."""
        await asyncio.to_thread(_purge, self._folder, before.timestamp())

    async def close(self) -> None:
        """Returns when all files are written."""
        while self._writing:
            await asyncio.wait(set(self._writing.values()))

    def _happened(self, event: Event) -> None:
        if event.kind != "session.ended" or event.session_id is None:
            return
        session_id = event.session_id
        events = [wire(self._journal, each) for each in self._journal.of(session_id)]
        picture = self._picture(session_id)
        task = asyncio.create_task(self._write(session_id, events, picture), name="archive")
        self._writing[session_id] = task
        task.add_done_callback(lambda _: self._writing.pop(session_id, None))

    async def _write(self, session_id: str, events: list[dict[str, Any]], picture: bytes | None) -> None:
        try:
            async with self._one_at_a_time:  # many ends at once must not occupy every thread
                await asyncio.to_thread(self._store, session_id, events, picture)
        except OSError as error:
            log.error("archive.not_written", session_id=session_id, reason=error.strerror or str(error))
            return
        self._in_memory.append(session_id)
        if len(self._in_memory) > KEPT_IN_MEMORY:
            self._journal.forget(self._in_memory.popleft())

    def _store(self, session_id: str, events: list[dict[str, Any]], picture: bytes | None) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        body = orjson.dumps(events, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS, default=str)
        _replace(self._path(session_id, ".json.gz"), gzip.compress(body, 5))
        if picture is not None:
            _replace(self._path(session_id, ".jpg"), picture)

    def _path(self, session_id: str, ending: str) -> Path:
        name = session_id if _SESSION_ID.fullmatch(session_id) else "none"
        return self._folder / (name + ending)


def _replace(path: Path, content: bytes) -> None:
    """Writes atomically."""
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _read_events(path: Path) -> list[dict[str, Any]]:
    packed = _read(path)
    if packed is None:
        return []
    try:
        events: list[dict[str, Any]] = orjson.loads(gzip.decompress(packed))
    except (OSError, EOFError, ValueError) as error:
        log.error("archive.not_readable", file=path.name, reason=str(error))
        return []
    return events


def _purge(folder: Path, before: float) -> None:
    found: list[tuple[float, int, Path]] = []
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            with contextlib.suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                found.append((status.st_mtime, status.st_size, Path(entry.path)))
    found.sort()
    total = sum(size for _, size, _ in found)
    for modified, size, path in found:
        if modified >= before and total <= FOLDER_BYTES:
            break
        with contextlib.suppress(OSError):
            path.unlink()
        total -= size
