"""Target filters match as in Chromium 156."""

from __future__ import annotations

from typing import Any

import pytest

from browser_sessions.gateway.scope.target_filters import DEFAULT_FILTER, MAX_ENTRIES, BadFilter, parse_filter


@pytest.mark.parametrize(
    ("raw", "included", "excluded"),
    [
        (None, ["page", "iframe", "worker", "service_worker"], ["browser", "tab"]),
        ([], [], ["page", "tab", "worker"]),
        ([{}], ["page", "tab", "browser"], []),
        ([{"type": "page"}], ["page"], ["tab", "iframe"]),
        ([{"type": "page", "exclude": True}, {}], ["tab", "iframe"], ["page"]),
        ([{}, {"type": "page", "exclude": True}], ["page"], []),
        ([{"exclude": True}, {}], [], ["page"]),
        ([{"type": "tab"}, {"type": "page"}], ["tab", "page"], ["worker"]),
    ],
)
def test_the_first_matching_entry_decides(raw: Any, included: list[str], excluded: list[str]) -> None:
    wanted = parse_filter(raw)
    assert [t for t in included if not wanted.matches(t)] == []
    assert [t for t in excluded if wanted.matches(t)] == []
    assert parse_filter(wanted.as_params()) == wanted


def test_a_filter_that_is_too_long_is_refused() -> None:
    assert parse_filter([{}] * MAX_ENTRIES).matches("page")
    with pytest.raises(BadFilter, match="filter: at most 64 entries"):
        parse_filter([{}] * (MAX_ENTRIES + 1))


def test_a_filter_that_includes_tabs_and_pages_is_detected() -> None:
    assert parse_filter([{}]).takes_tabs_and_pages
    assert not DEFAULT_FILTER.takes_tabs_and_pages
