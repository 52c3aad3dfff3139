"""Removes the browser's command line, which names folders of the host, from a trace stream.

Seen on headless shell 156 with all categories: events (`Tracing.dataCollected`) do not contain the command line, a JSON
stream contains it once, as a string named `command_line` in its metadata, a Perfetto stream many times.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

_KEY: Final = b'"command_line":"'
_QUOTE, _BACKSLASH = ord(b'"'), ord("\\")


class TraceReader:
    """Filters one stream, chunk by chunk from its start; a chunk may end anywhere."""

    def __init__(self) -> None:
        self._before = b""
        """The end of the previous chunk, in which the key may begin."""
        self._inside = False
        self._escaped = False

    def read(self, result: Mapping[str, Any]) -> Mapping[str, Any]:
        """A result of `IO.read` without the characters of the command line."""
        data = str(result.get("data", ""))
        if result.get("base64Encoded"):
            return {**result, "data": base64.b64encode(self._filtered(base64.b64decode(data))).decode()}
        return {
            **result,
            "data": self._filtered(data.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass"),
        }

    def _filtered(self, data: bytes) -> bytes:
        kept, position = bytearray(), 0
        while position < len(data):
            if self._inside:
                position = self._skip(data, position)
                continue
            known = self._before + data[position:]
            found = known.find(_KEY)
            end = len(data) if found < 0 else position + found + len(_KEY) - len(self._before)
            kept += data[position:end]
            self._before = b"" if found >= 0 else known[-(len(_KEY) - 1) :]
            self._inside = found >= 0
            position = end
        return bytes(kept)

    def _skip(self, data: bytes, position: int) -> int:
        """The end of the string value at `position`, or of the chunk."""
        while position < len(data) and self._inside:
            if self._escaped:
                self._escaped = False
            elif data[position] == _BACKSLASH:
                self._escaped = True
            elif data[position] == _QUOTE:
                self._inside = False
                return position
            position += 1
        return position
