"""Options in the address of a one-line connection."""

from __future__ import annotations

import difflib

import pytest

from browser_sessions.api.routes import one_line
from browser_sessions.domain.errors import InvalidField


def test_only_some_unknown_options_are_compared_with_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each comparison takes time, and an address has room for thousands."""
    compared: list[str] = []
    compare = difflib.get_close_matches

    def counted(word: str, *others: object) -> object:
        compared.append(word)
        return compare(word, *others)  # type: ignore[call-overload]

    monkeypatch.setattr(difflib, "get_close_matches", counted)
    one_line._asked({"stealth" + "x" * 40: "", "blockAds": "", **{f"x{number}": "" for number in range(200)}})
    assert compared == ["blockads", "x0", "x1", "x2"]


def test_a_misspelling_is_found_after_a_few_other_unknown_options() -> None:
    with pytest.raises(InvalidField, match="viewport_width"):
        one_line._asked({"--no-sandbox": "", "stealth": "true", "viewportWidth": "100"})
