"""The download ledger: quota, number of files, and their states."""

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


def test_a_file_within_the_limit_completes() -> None:
    downloads = ledger("a")
    assert downloads.progress("a", 60, None, UNDER_WAY)
    assert downloads.progress("a", 100, None, DONE)
    assert [(each.state, each.received_bytes) for each in downloads.all()] == [(DONE, 100)]


@pytest.mark.parametrize(
    ("received", "total"), [(101, None), (0, 101)], ids=["received too much", "announced size too large"]
)
def test_a_file_over_the_limit_is_refused_and_does_not_count(received: int, total: int | None) -> None:
    downloads = ledger("a")
    assert not downloads.progress("a", received, total, UNDER_WAY)
    assert (downloads.all()[0].state, downloads.received_bytes) == (OVER, 0)
    assert downloads.begin(download("b"))
    assert downloads.progress("b", 100, None, DONE)


def test_all_files_of_a_session_count_together() -> None:
    downloads = ledger("a", "b")
    assert downloads.progress("a", 60, None, DONE)
    assert not downloads.progress("b", 41, None, UNDER_WAY)


def test_a_cancelled_file_does_not_count_and_later_progress_is_ignored() -> None:
    downloads = ledger("a")
    assert downloads.progress("a", 90, None, UNDER_WAY)
    assert downloads.progress("a", 90, None, CANCELED)
    assert downloads.progress("a", 500, None, UNDER_WAY)
    assert (downloads.all()[0].state, downloads.received_bytes) == (CANCELED, 0)


def test_the_number_of_files_is_limited() -> None:
    downloads = Ledger(100, limit_files=2)
    assert [downloads.begin(download(str(n))) for n in range(3)] == [True, True, False]
    assert len(downloads.all()) == 2


def test_a_removed_file_does_not_count_and_its_later_progress_is_ignored() -> None:
    downloads = Ledger(100, limit_files=1)
    assert downloads.begin(download("a"))
    assert downloads.progress("a", 100, None, DONE)
    assert not downloads.begin(download("b"))
    assert downloads.remove("a") is not None
    assert downloads.remove("a") is None
    assert downloads.progress("a", 500, None, UNDER_WAY)
    assert (downloads.all(), downloads.received_bytes) == ([], 0)
    assert downloads.begin(download("b"))


def test_no_download_begins_when_the_quota_is_used_up() -> None:
    downloads = ledger("a")
    assert downloads.progress("a", 100, None, DONE)
    assert not downloads.begin(download("b"))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 80), st.sampled_from([UNDER_WAY, DONE, CANCELED]))))
def test_received_bytes_never_exceed_the_limit(steps: list[tuple[str, int, DownloadState]]) -> None:
    downloads = ledger("a", "b", "c")
    for name, received, state in steps:
        downloads.progress(name, received, None, state)
        assert downloads.received_bytes <= 100
