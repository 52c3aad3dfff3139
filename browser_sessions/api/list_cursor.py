"""The cursor of a list: opaque to the caller, parsed strictly.

Unsigned, because it gives access to nothing that the query would not list.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import Final

from browser_sessions.domain.errors import InvalidField
from browser_sessions.domain.session import SessionRecord

_INSIDE: Final = re.compile(r"1\|(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?\+00:00)\|(ses_[0-9a-f]{32})")
"""Format version, creation time, session id."""


def cursor_after(record: SessionRecord) -> str:
    """The cursor of the page that begins after `record`."""
    text = f"1|{record.created_at.astimezone(UTC).isoformat()}|{record.session_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def moment_of(cursor: str) -> tuple[datetime, str]:
    """The (created_at, session_id) in a cursor. Raises `InvalidField` unless it is one of ours."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
        inside = _INSIDE.fullmatch(text)
        if inside is None:
            raise ValueError(text)
        return datetime.fromisoformat(inside.group(1)), inside.group(2)
    except (ValueError, binascii.Error):
        raise InvalidField(("query", "cursor"), "must be the next_cursor of an earlier answer, unchanged") from None
