"""From what Playwright makes of a JavaScript value to what JSON can say. Pure.

| JavaScript | JSON |
|---|---|
| `NaN`, `Infinity`, `undefined`, functions, symbols | `null`, as `JSON.stringify` has it |
| `Date` | its ISO 8601 text, UTC |
| `bigint` | a number up to 2^53 - 1, its digits as text beyond: other readers of JSON would round it |
| `URL`, `RegExp`, `Error` | their text |
| `Map`, `Set` | `{}`, as `JSON.stringify` has it |
| an object that contains itself | the text `[Circular]` where it comes again |
| half of a surrogate pair | U+FFFD: it cannot be written as UTF-8 |
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Any, Final
from urllib.parse import ParseResult

from browser_sessions.model.errors import PageFailed

DEPTH_AT_MOST: Final = 200
"""Nested deeper than this, most JSON readers give up; Python's own writer at about 1,000."""
SAFE_INTEGER: Final = 2**53 - 1
"""`Number.MAX_SAFE_INTEGER`."""


def jsonable(value: Any) -> Any:
    """`value` in terms of JSON. Raises `PageFailed` when it is nested too deeply."""
    return _convert(value, (), 0)


def text(value: str) -> str:
    """`value` with every half of a surrogate pair replaced, so that it can be encoded."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def _convert(value: Any, within: tuple[int, ...], depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return text(value)
    if isinstance(value, int):
        return value if -SAFE_INTEGER <= value <= SAFE_INTEGER else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict | list):
        if id(value) in within:
            return "[Circular]"
        if depth >= DEPTH_AT_MOST:
            raise PageFailed(f"The value is nested more than {DEPTH_AT_MOST} levels deep. Return a flatter one.")
        inside = (*within, id(value))
        if isinstance(value, list):
            return [_convert(item, inside, depth + 1) for item in value]
        return {text(str(key)): _convert(item, inside, depth + 1) for key, item in value.items()}
    return text(_as_text(value))


def _as_text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, ParseResult):
        return value.geturl()
    if isinstance(value, re.Pattern):
        return str(value.pattern)
    return str(value)
