"""A query parameter that an operation does not have is an error: it may be misspelt. Filters by metadata."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection

from browser_sessions.domain.errors import InvalidField

MAX_NAME: Final = 100
"""Characters of an unknown name that the error repeats."""
MAX_METADATA_FILTERS: Final = 32
"""As many as a session may have metadata pairs."""
_CHECKED_BY_ITSELF: Final = frozenset({"list_browser_sessions", "stream_events"})
"""Operations with parameters whose names are the caller's: `metadata.<key>`."""


async def check_query(connection: HTTPConnection) -> None:
    """For each documented operation. Raises `InvalidField`."""
    route = connection.scope.get("route")
    if not connection.query_params or not isinstance(route, APIRoute) or not route.include_in_schema:
        return
    if route.name not in _CHECKED_BY_ITSELF:
        refuse_unknown(connection.query_params, _declared(route))


def refuse_unknown(query: QueryParams, known: Collection[str]) -> None:
    """Raises `InvalidField` with the first parameter that is not `known`."""
    for name in query:
        if name not in known:
            takes = "this takes " + " and ".join(known) if known else "this takes none"
            raise InvalidField(("query", name[:MAX_NAME]), f"is no parameter; {takes}")


def metadata_filters(query: QueryParams, known: Collection[str]) -> tuple[tuple[str, str], ...]:
    """The `metadata.<key>=<value>` pairs of a query. Raises `InvalidField` for a parameter that is neither one nor
    `known`."""
    pairs = []
    for name, value in query.multi_items():
        prefix, dot, key = name.partition(".")
        if prefix == "metadata" and dot and key:
            pairs.append((key, value))
        elif name not in known:
            takes = f"this takes {', '.join(known)} and metadata.<key>"
            raise InvalidField(("query", name[:MAX_NAME]), f"is no parameter; {takes}")
    if len(pairs) > MAX_METADATA_FILTERS:
        raise InvalidField(("query", "metadata"), f"at most {MAX_METADATA_FILTERS} metadata filters are accepted")
    return tuple(pairs)


def _declared(route: APIRoute) -> list[str]:
    found: list[str] = []
    left = [route.dependant]
    while left:
        dependant = left.pop()
        for field in dependant.query_params:
            model: Any = field.field_info.annotation
            is_model = isinstance(model, type) and issubclass(model, BaseModel)
            found += list(model.model_fields) if is_model else [field.alias]
        left += dependant.dependencies
    return found
