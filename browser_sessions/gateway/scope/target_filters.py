"""Target filters, as `Target.setAutoAttach`, `setDiscoverTargets` and `getTargets` take them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

MAX_ENTRIES: Final = 64
"""Entries of one filter: there are about fifteen types; a longer list only costs us time at each new target."""


class BadFilter(ValueError):
    """Not a filter. The text says what would be one."""


@dataclass(frozen=True, slots=True)
class TargetFilter:
    """The first entry that names the type, or names none, decides; a type that no entry meets is left out.

    Source: `TargetFilter` in Chromium's own protocol description, and tried on headless shell 156.
    """

    entries: tuple[tuple[str | None, bool], ...]
    """Type (None: any) and whether it is excluded."""

    def matches(self, target_type: str) -> bool:
        for named, excluded in self.entries:
            if named is None or named == target_type:
                return not excluded
        return False

    @property
    def takes_tabs_and_pages(self) -> bool:
        """Chromium refuses to auto-attach to both: pages are attached through their tabs."""
        return self.matches("tab") and self.matches("page")

    def as_params(self) -> list[dict[str, Any]]:
        """The filter as Chromium reads it."""
        return [
            {"exclude": excluded} if named is None else {"type": named, "exclude": excluded}
            for named, excluded in self.entries
        ]


DEFAULT_FILTER: Final = TargetFilter((("browser", True), ("tab", True), (None, False)))
"""What Chromium takes when none is named."""


def parse_filter(raw: object) -> TargetFilter:
    """The filter of a command's params; None is the default one. Raises `BadFilter`."""
    if raw is None:
        return DEFAULT_FILTER
    if not isinstance(raw, list) or len(raw) > MAX_ENTRIES:
        raise BadFilter(f"filter: must be a list of at most {MAX_ENTRIES} entries like {{type, exclude}}")
    entries: list[tuple[str | None, bool]] = []
    for entry in raw:
        if not isinstance(entry, dict):
            raise BadFilter("filter: each entry must be an object like {type, exclude}")
        named, excluded = entry.get("type"), entry.get("exclude", False)
        if not (named is None or isinstance(named, str)) or not isinstance(excluded, bool):
            raise BadFilter("filter: type must be a string, exclude true or false")
        entries.append((named, excluded))
    return TargetFilter(tuple(entries))
