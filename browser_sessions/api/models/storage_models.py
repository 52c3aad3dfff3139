"""Playwright's storage state: cookies and what origins have stored."""

from __future__ import annotations

import re
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from browser_sessions.api.models.model_parts import REQUEST, Address, Printable
from browser_sessions.domain.limits import MAX_COOKIES

MAX_NESTING: Final = 50
"""Depth of what is passed on unread (IndexedDB in a storage state): Playwright's own stays below ten."""
MAX_NUMBER: Final = 2.0**63
"""Beyond it integers are not exact in JavaScript anyway, and some JSON readers refuse them."""

_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


def _plain(value: Any, depth: int = 0) -> bool:
    """True for what every JSON reader on the way to the browser takes."""
    if isinstance(value, dict):
        return depth < MAX_NESTING and all(_plain(k, depth) and _plain(v, depth + 1) for k, v in value.items())
    if isinstance(value, list):
        return depth < MAX_NESTING and all(_plain(item, depth + 1) for item in value)
    if isinstance(value, str):
        return not _SURROGATE.search(value)
    return not isinstance(value, int | float) or abs(value) <= MAX_NUMBER


class Cookie(BaseModel):
    model_config = REQUEST

    name: Printable = Field(max_length=4096)
    value: Printable = Field(max_length=4096)
    domain: Printable = Field(max_length=253)
    path: Printable = Field("/", max_length=4096)
    expires: float = Field(-1.0, allow_inf_nan=False)
    httpOnly: bool = False  # noqa: N815 - Playwright's name, part of its storage-state file format
    secure: bool = False
    sameSite: Literal["Strict", "Lax", "None"] = "Lax"  # noqa: N815 - as above
    partitionKey: str | None = Field(None, max_length=4096)  # noqa: N815 - as above
    cross_site_ancestor: bool | None = Field(None, alias="_crHasCrossSiteAncestor", description="Of a partitioned one")


class StorageItem(BaseModel):
    model_config = REQUEST

    name: str = Field(max_length=65_536)
    value: str


class Origin(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    origin: Address
    localStorage: list[StorageItem] = Field(default_factory=list, max_length=10_000, fail_fast=True)  # noqa: N815 - as above

    @model_validator(mode="after")
    def _plain_extras(self) -> Origin:
        if self.model_extra and not _plain(self.model_extra):
            raise ValueError(f"must be plain JSON: valid Unicode, finite numbers, nested at most {MAX_NESTING} deep")
        return self


class StorageState(BaseModel):
    """Playwright's storage state, as `context.storage_state()` gives it."""

    model_config = REQUEST

    cookies: list[Cookie] = Field(default_factory=list, max_length=MAX_COOKIES, fail_fast=True)
    origins: list[Origin] = Field(default_factory=list, max_length=1_000, fail_fast=True)

    def as_playwright(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True, by_alias=True)
