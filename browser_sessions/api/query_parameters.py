"""A query parameter that an operation does not have is an error: it may be misspelt. So is one that is there twice,
unless it is a list. Filters by metadata."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, get_args, get_origin

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
    declared = _declared(route)
    if route.name not in _CHECKED_BY_ITSELF:
        refuse_unknown(connection.query_params, declared)
    refuse_repeated(connection.query_params, [name for name, is_list in declared.items() if not is_list])


def refuse_unknown(query: QueryParams, known: Collection[str]) -> None:
    """Raises `InvalidField` with the first parameter that is not `known`."""
    for name in query:
        if name not in known:
            takes = "this takes " + " and ".join(known) if known else "this takes none"
            raise InvalidField(("query", name[:MAX_NAME]), f"is no parameter; {takes}")


def refuse_repeated(query: QueryParams, single: Collection[str]) -> None:
    """Raises `InvalidField` with the first parameter of `single` that is there twice: which one would count?"""
    for name in single:
        if len(query.getlist(name)) > 1:
            raise InvalidField(("query", name), "is given more than once")


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


def _declared(route: APIRoute) -> dict[str, bool]:
    """The parameters, and whether each is a list."""
    found: dict[str, bool] = {}
    left = [route.dependant]
    while left:
        dependant = left.pop()
        for field in dependant.query_params:
            model: Any = field.field_info.annotation
            is_model = isinstance(model, type) and issubclass(model, BaseModel)
            fields = model.model_fields.items() if is_model else [(field.alias, field.field_info)]
            found |= {name: _is_list(each.annotation) for name, each in fields}
        left += dependant.dependencies
    return found


def _is_list(annotation: Any) -> bool:
    """Also `list[…] | None`."""
    return list in [get_origin(each) for each in (annotation, *get_args(annotation))]
