"""What can be uploaded: files by path, bytes, file objects, and the files of a folder. Everything here blocks."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import IO, Any, Final

from browser_sessions.client.errors import InvalidArgument

PIECE_BYTES: Final = 256 * 1024
"""Read at once: a thread for each piece costs less than sending it."""

Uploadable = str | PathLike[str] | bytes | IO[bytes]


@dataclass(frozen=True, slots=True)
class Source:
    file: IO[Any]
    name: str
    size: int | None
    """Bytes, where it is known."""
    close: Callable[[], None]


def opened(file: Uploadable, name: str | None) -> Source:
    """Opens a path; a file object stays the caller's. Raises `InvalidArgument`, `OSError`."""
    if isinstance(file, bytes | bytearray | memoryview):
        return _source(io.BytesIO(file), name, lambda: None)
    if isinstance(file, str | PathLike):
        stream = Path(file).open("rb")  # noqa: SIM115 - closed after the upload
        return _source(stream, name or Path(file).name, stream.close)
    if not hasattr(file, "read"):
        raise InvalidArgument(f"file must be a path, bytes or a binary file object, not {file!r:.80}.")
    own = getattr(file, "name", None)
    return _source(file, name or (Path(own).name if isinstance(own, str) else None), lambda: None)


def members(folder: Path) -> list[Path]:
    """The files of a folder and the folders in it. Raises `InvalidArgument` for a symbolic link, and without files;
    `OSError`."""
    found = []
    for top, folders, files in os.walk(folder, onerror=_raise):
        for each in (Path(top, name) for name in (*folders, *files)):
            if each.is_symlink():
                raise InvalidArgument(f"{each} is a symbolic link: upload what it points to by itself.")
        found += [Path(top, name) for name in files]
    if not found:
        raise InvalidArgument(f"{folder} has no files: there are no empty folders to upload.")
    return sorted(found)


def _source(file: IO[Any], name: str | None, close: Callable[[], None]) -> Source:
    if not name:
        raise InvalidArgument("name must be given for a file that has none.")
    return Source(file, name, _bytes_left(file), close)


def _bytes_left(file: IO[Any]) -> int | None:
    """None for a pipe, and for whatever else cannot say so."""
    try:
        here = file.tell()
        end = file.seek(0, io.SEEK_END)
        file.seek(here)
    except (OSError, ValueError, AttributeError):
        return None
    return end - here


def _raise(error: OSError) -> None:
    raise error
