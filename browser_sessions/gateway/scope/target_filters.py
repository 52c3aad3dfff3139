"""The `filter` parameter of `Target.setAutoAttach`, `setDiscoverTargets` and `getTargets`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

MAX_ENTRIES: Final = 64
"""There are about fifteen types; a longer list would only cost time at each new target."""


class BadFilter(ValueError):
    """A filter that is too long."""


@dataclass(frozen=True, slots=True)
class TargetFilter:
    """The first entry that matches the type decides; types without a matching entry are excluded.

    Source: `TargetFilter` in Chromium's protocol description; verified with headless shell 156.
    """

    entries: tuple[tuple[str | None, bool], ...]
    """(type or None for any, excluded)"""

    def matches(self, target_type: str) -> bool:
        for named, excluded in self.entries:
            if named is None or named == target_type:
                return not excluded
        return False

    @property
    def takes_tabs_and_pages(self) -> bool:
        """Chromium rejects auto-attach to both, because pages are attached through their tabs."""
        return self.matches("tab") and self.matches("page")

    def as_params(self) -> list[dict[str, Any]]:
        """The filter in the protocol's format."""
        return [
            {"exclude": excluded} if named is None else {"type": named, "exclude": excluded}
            for named, excluded in self.entries
        ]


DEFAULT_FILTER: Final = TargetFilter((("browser", True), ("tab", True), (None, False)))
"""Chromium's default."""


def parse_filter(raw: list[dict[str, Any]] | None) -> TargetFilter:
    """The filter of a command's params; the default for None. Raises `BadFilter`."""
    if raw is None:
        return DEFAULT_FILTER
    if len(raw) > MAX_ENTRIES:
        raise BadFilter(f"filter: at most {MAX_ENTRIES} entries")
    return TargetFilter(tuple((entry.get("type"), entry.get("exclude", False)) for entry in raw))
