"""How much a session may download, and what is told of each file."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browser_sessions.domain.download_ledger import Download, DownloadState, Ledger

UNDER_WAY, DONE, CANCELED, OVER = (
    DownloadState.IN_PROGRESS,
    DownloadState.COMPLETED,
    DownloadState.CANCELED,
    DownloadState.OVER_QUOTA,
)


def download(name: str) -> Download:
    return Download(name, "page", f"http://site/{name}", name, datetime(2026, 1, 1, tzinfo=UTC))


def ledger(*names: str, limit: int = 100) -> Ledger:
    made = Ledger(limit)
    for name in names:
        assert made.begin(download(name))
    return made


def test_a_file_within_the_limit_is_taken_to_its_end() -> None:
    book = ledger("a")
    assert book.progress("a", 60, None, UNDER_WAY)
    assert book.progress("a", 100, None, DONE)
    assert [(each.state, each.received_bytes) for each in book.all()] == [(DONE, 100)]


@pytest.mark.parametrize(
    ("received", "total"), [(101, None), (0, 101)], ids=["it has grown too long", "it says that it will be too long"]
)
def test_a_file_over_the_limit_is_told_and_takes_no_room(received: int, total: int | None) -> None:
    book = ledger("a")
    assert not book.progress("a", received, total, UNDER_WAY)
    assert (book.all()[0].state, book.received_bytes) == (OVER, 0)
    assert book.begin(download("b"))
    assert book.progress("b", 100, None, DONE)


def test_all_files_of_a_session_count_together() -> None:
    book = ledger("a", "b")
    assert book.progress("a", 60, None, DONE)
    assert not book.progress("b", 41, None, UNDER_WAY)


def test_a_cancelled_file_takes_no_room_and_what_comes_after_changes_nothing() -> None:
    book = ledger("a")
    assert book.progress("a", 90, None, UNDER_WAY)
    assert book.progress("a", 90, None, CANCELED)
    assert book.progress("a", 500, None, UNDER_WAY)
    assert (book.all()[0].state, book.received_bytes) == (CANCELED, 0)


def test_there_are_no_more_files_than_a_session_may_have() -> None:
    book = Ledger(100, limit_files=2)
    assert [book.begin(download(str(n))) for n in range(3)] == [True, True, False]
    assert len(book.all()) == 2


def test_what_is_removed_makes_room_and_is_not_heard_of_again() -> None:
    book = Ledger(100, limit_files=1)
    assert book.begin(download("a"))
    assert book.progress("a", 100, None, DONE)
    assert not book.begin(download("b"))
    assert book.remove("a") is not None
    assert book.remove("a") is None
    assert book.progress("a", 500, None, UNDER_WAY)
    assert (book.all(), book.received_bytes) == ([], 0)
    assert book.begin(download("b"))


def test_nothing_begins_when_the_room_is_used_up() -> None:
    book = ledger("a")
    assert book.progress("a", 100, None, DONE)
    assert not book.begin(download("b"))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 80), st.sampled_from([UNDER_WAY, DONE, CANCELED]))))
def test_what_is_kept_never_exceeds_the_limit(steps: list[tuple[str, int, DownloadState]]) -> None:
    book = ledger("a", "b", "c")
    for name, received, state in steps:
        book.progress(name, received, None, state)
        assert book.received_bytes <= 100
