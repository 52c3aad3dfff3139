"""Where a body ends, without a copy of it: `take` says how many of the bytes that have come belong to it."""

from __future__ import annotations

import re
import sys
from typing import Final, Protocol

_MOST_IN_LINE: Final = 4096
"""Bytes of a chunk's size line, or of a trailer's."""
_MOST_TRAILERS: Final = 64 * 1024
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")


class Malformed(Exception):
    """The peer does not speak HTTP. The text says what is wrong."""


class Framing(Protocol):
    done: bool
    ends_with_connection: bool
    has_lines: bool
    """Whether `take` takes time: other bodies are not looked at."""
    lines: int
    """Those that were read: sizes of chunks and trailers."""

    def take(self, data: bytes, most_lines: int = sys.maxsize) -> int:
        """The number of bytes at the beginning of `data` that belong to the body, as far as `lines` is below
        `most_lines`. Raises `Malformed`."""


class Counted:
    """A body of a known length."""

    ends_with_connection = has_lines = False
    lines = 0

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0

    def take(self, data: bytes, most_lines: int = sys.maxsize) -> int:
        taken = min(self._left, len(data))
        self._left -= taken
        self.done = self._left == 0
        return taken


class UntilEnd:
    """Everything until the connection ends."""

    ends_with_connection = True
    done = has_lines = False
    lines = 0

    def __init__(self) -> None:
        self.total = 0

    def take(self, data: bytes, most_lines: int = sys.maxsize) -> int:
        self.total += len(data)
        return len(data)


class Chunked:
    """Chunks, then trailers up to an empty line."""

    ends_with_connection = False
    has_lines = True

    def __init__(self) -> None:
        self.done = False
        self.lines = 0
        self._left = 0
        """Bytes of the chunk that are to come, with the line's end after it."""
        self._line = b""
        """A line that has not come completely."""
        self._in_trailers = False
        self._trailers = 0

    def take(self, data: bytes, most_lines: int = sys.maxsize) -> int:
        at = 0
        while not self.done and at < len(data) and self.lines < most_lines:
            if self._left:
                step = min(self._left, len(data) - at)
                self._check_end(data, at, step)
                self._left -= step
                at += step
                continue
            self.lines += 1
            end = data.find(b"\n", at) + 1
            line = self._line + data[at : end or len(data)]
            if len(line) > _MOST_IN_LINE:
                raise Malformed("a line between chunks is too long")
            at = end or len(data)
            self._line = b"" if end else line
            if end:
                self._take_line(line)
        return at

    def _check_end(self, data: bytes, at: int, step: int) -> None:
        """The two bytes after a chunk are the line's end: otherwise, its size is not what the sender meant."""
        for offset in range(max(0, self._left - 2), self._left):
            if offset < step and data[at + offset] != b"\r\n"[offset - self._left]:
                raise Malformed("a chunk is not as long as it says")

    def _take_line(self, line: bytes) -> None:
        if self._in_trailers:
            self._trailers += len(line)
            if self._trailers > _MOST_TRAILERS:
                raise Malformed("the trailers are too long")
            self.done = line in (b"\r\n", b"\n")
        elif size := _SIZE.fullmatch(line):
            length = int(size[1], 16)
            self._left = length + 2 if length else 0
            self._in_trailers = not length
        else:
            raise Malformed("a chunk's size is none")
