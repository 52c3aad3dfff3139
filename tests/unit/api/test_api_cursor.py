"""List cursors round-trip and are parsed strictly."""

from __future__ import annotations

import base64
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browser_sessions.api.list_cursor import cursor_after, moment_of
from browser_sessions.domain.errors import InvalidField
from browser_sessions.domain.session import Session, SessionRecord, new_session_id
from browser_sessions.domain.session_spec import SessionSpec
from tests.harness.fakes.fake_browser import ManualClock


def record(created_at: datetime) -> SessionRecord:
    clock = ManualClock()
    return Session(new_session_id(), "prn", "name", SessionSpec(), "node", created_at, 0.0, 0.0, None).record(clock)


@given(
    st.datetimes(
        datetime(2000, 1, 1),  # noqa: DTZ001 - hypothesis wants naive bounds and adds the zone itself
        datetime(2100, 1, 1),  # noqa: DTZ001 - as above
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
    )
)
def test_a_cursor_holds_the_time_and_the_id_of_its_session(created_at: datetime) -> None:
    made = record(created_at)
    assert moment_of(cursor_after(made)) == (created_at, made.session_id)


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


GOOD = "1|2026-01-01T00:00:00+00:00|ses_" + "0" * 32


def test_the_valid_cursor_of_this_test_is_accepted() -> None:
    assert moment_of(encoded(GOOD)) == (datetime(2026, 1, 1, tzinfo=UTC), "ses_" + "0" * 32)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "abc",
        "ü",
        "\ud800",
        "%%%",
        encoded("2" + GOOD[1:]),
        encoded(GOOD.replace("ses_", "SES_")),
        encoded(GOOD.replace("2026-01-01", "2026-13-01")),
        encoded(GOOD.replace("+00:00", "")),
        encoded(GOOD + "'; DROP TABLE sessions"),
        encoded(GOOD) + "\n",
        encoded("x" * 10_000),
    ],
)
def test_an_invalid_cursor_is_refused_by_name(cursor: str) -> None:
    with pytest.raises(InvalidField) as refusal:
        moment_of(cursor)
    assert refusal.value.loc == ("query", "cursor")


@given(st.text(max_size=200))
def test_any_text_is_accepted_or_refused_as_an_invalid_field(cursor: str) -> None:
    with suppress(InvalidField):
        moment_of(cursor)
