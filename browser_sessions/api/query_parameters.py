"""A query parameter that an operation does not have is an error: it may be misspelt."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from fastapi.routing import APIRoute
from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection

from browser_sessions.domain.errors import InvalidField

MAX_NAME: Final = 100
"""Characters of an unknown name that the error repeats."""
_CHECKED_BY_ITSELF: Final = frozenset({"list_browser_sessions"})
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


def _declared(route: APIRoute) -> list[str]:
    found, left = [], [route.dependant]
    while left:
        dependant = left.pop()
        found += [field.alias for field in dependant.query_params]
        left += dependant.dependencies
    return found
