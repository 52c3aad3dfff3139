"""A trace's stream as a client may read it: without the browser's command line, which names folders of the host. Pure.

Tried on headless shell 156, all categories: events (`Tracing.dataCollected`) do not hold the command line, a JSON
stream holds it once, as a string named `command_line` in its metadata, a Perfetto stream many times.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

_KEY: Final = b'"command_line":"'
_QUOTE, _BACKSLASH = ord(b'"'), ord("\\")


class TraceReader:
    """Reads one stream piece by piece, from its beginning; a piece may end anywhere."""

    def __init__(self) -> None:
        self._before = b""
        """The last bytes that were passed on: a key may begin in them."""
        self._inside = False
        self._escaped = False

    def read(self, answer: Mapping[str, Any]) -> Mapping[str, Any]:
        """An answer to `IO.read` with the command line's characters left out."""
        data = str(answer.get("data", ""))
        if answer.get("base64Encoded"):
            return {**answer, "data": base64.b64encode(self._without(base64.b64decode(data))).decode()}
        return {**answer, "data": self._without(data.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")}

    def _without(self, data: bytes) -> bytes:
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
        """Where the value that `position` is in ends, or where the piece does."""
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
