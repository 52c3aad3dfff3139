"""What several models share: types of fields, the configuration of requests, a `repr` without tickets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from browser_sessions.domain.limits import URL_CHARACTERS
from browser_sessions.domain.urls import REFUSED, may_open

_TICKET: Final = re.compile(r"ticket=[^&\s]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def _printable(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("must not contain control characters")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode (no lone surrogates)") from None
    return value


def _header_value(value: str) -> str:
    _printable(value)
    if not value.isascii():
        raise ValueError("must contain ASCII characters only")
    return value


def _address(value: str) -> str:
    if not may_open(value):
        raise ValueError(REFUSED)
    return value


Printable = Annotated[str, AfterValidator(_printable)]
HeaderValue = Annotated[str, Field(max_length=8192), AfterValidator(_header_value)]
Address = Annotated[
    str, Field(min_length=1, max_length=URL_CHARACTERS), AfterValidator(_printable), AfterValidator(_address)
]

REQUEST = ConfigDict(extra="forbid", strict=True, frozen=True)
"""Requests: an unknown field or a wrong type is an error, never guessed at."""


class WithTickets(BaseModel):
    """Its `repr`, which ends up in logs, hides the tickets of its URLs."""

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, _TICKET.sub("ticket=***", value) if isinstance(value, str) else value
