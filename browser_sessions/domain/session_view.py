"""The external view of a session, from which all responses, rows and events about it are made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Final

from browser_sessions.domain.session import SessionRecord


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session's record with the state that only its node has; the defaults are those of an ended session."""

    record: SessionRecord
    title: str = ""
    url: str = ""
    """Title and URL of the newest page; for an ended session, the last known ones."""
    page_count: int = 0
    connections: int = 0
    """CDP clients."""
    viewers: int = 0
    controlled_by: str | None = None
    """Name of the person who has control; None: the clients."""
    memory_bytes: int | None = None
    """Its share of its browser's memory; None until that was measured."""
    responsive: bool = True
    """Whether its page responded when it was last probed."""
    browser_id: str | None = None
    bytes_up: int | None = None
    bytes_down: int | None = None
    """Through the egress proxy; None without it."""

    def pick(self, names: Iterable[str]) -> dict[str, Any]:
        """The named fields, of the record or of the view, in this order."""
        return {name: getattr(self.record if name in _RECORDED else self, name) for name in names}

    @classmethod
    def of_ended(cls, record: SessionRecord, title: str = "", url: str = "", page_count: int = 0) -> SessionView:
        traffic = record.traffic or {}
        return cls(
            record, title, url, page_count, bytes_up=traffic.get("bytes_up"), bytes_down=traffic.get("bytes_down")
        )


_RECORDED: Final = frozenset(field.name for field in fields(SessionRecord))
