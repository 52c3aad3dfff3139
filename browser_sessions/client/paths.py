"""Paths and queries of the API. An id is checked and becomes exactly one segment of a path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote

from browser_sessions.client.errors import InvalidArgument

SESSIONS: Final = "/v1/browser/sessions"
EVENTS: Final = "/v1/browser/events"
KEYS: Final = "/v1/auth/keys"
USERS: Final = "/v1/auth/users"

Query = Mapping[str, str | float | list[str]]

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Ids of sessions, pages, files and keys. Their exact form is the service's affair."""
_USERNAME: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._@-]{1,64}")
"""The service's pattern, without `.` and `..`, which are not names of their own in a path."""


def checked_page_id(page_id: str) -> str:
    """Raises `InvalidArgument`, as all functions here."""
    return _segment("page_id", page_id, _ID)


def session_path(session_id: str, *rest: str) -> str:
    return "/".join([SESSIONS, _segment("session_id", session_id, _ID), *rest])


def page_path(session_id: str, page_id: str, *rest: str) -> str:
    return session_path(session_id, "pages", checked_page_id(page_id), *rest)


def download_path(session_id: str, download_id: str) -> str:
    return session_path(session_id, "downloads", _segment("download_id", download_id, _ID))


def upload_path(session_id: str, upload_id: str) -> str:
    return session_path(session_id, "uploads", _segment("upload_id", upload_id, _ID))


def key_path(key_id: str) -> str:
    return f"{KEYS}/{_segment('key_id', key_id, _ID)}"


def user_path(username: str) -> str:
    return f"{USERS}/{_segment('username', username, _USERNAME)}"


def list_query(
    *,
    status: str | Iterable[str] = (),
    limit: int,
    cursor: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Query:
    """The query of a list call. `status` is one or several."""
    query: dict[str, str | float | list[str]] = {"limit": limit}
    if statuses := several(status):
        query["status"] = statuses
    if (cursor := not_empty("cursor", cursor)) is not None:
        query["cursor"] = cursor
    return query | _filters(metadata)


def events_query(
    *,
    types: str | Iterable[str] = (),
    session_ids: str | Iterable[str] = (),
    metadata: Mapping[str, str] | None = None,
    since: str | None = None,
) -> Query:
    """The query of an event stream."""
    query: dict[str, str | float | list[str]] = {}
    if of_types := several(types):
        query["type"] = of_types
    if of_sessions := several(session_ids):
        query["session_id"] = of_sessions
    if since is not None:
        query["since"] = since
    return query | _filters(metadata)


def not_empty(name: str, value: str | None) -> str | None:
    """The optional argument; an empty one is an unset variable of a program, never meant."""
    if value == "":
        raise InvalidArgument(f"{name} must not be empty; leave it out instead.")
    return value


def several(names: str | Iterable[str]) -> list[str]:
    """One name or several as a list."""
    if isinstance(names, str):
        return [names]
    if not isinstance(names, Iterable):
        raise InvalidArgument(f"One or several names are expected, not {names!r:.80}.")
    return [*names]


def _filters(metadata: Mapping[str, str] | None) -> dict[str, str]:
    if metadata is not None and not isinstance(metadata, Mapping):
        raise InvalidArgument(f"metadata must be a mapping, not {metadata!r:.80}.")
    return {f"metadata.{key}": value for key, value in (metadata or {}).items()}


def _segment(name: str, value: object, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise InvalidArgument(f"{name} must be the id that the service gave, not {value!r:.80}.")
    return quote(value, safe="")
