"""A session's status transitions and deadlines."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browser_sessions.domain.errors import IllegalTransition
from browser_sessions.domain.session import FINAL, TRANSITIONS, EndReason, Session, SessionStatus, due, overdue
from browser_sessions.domain.session_spec import MASK, Proxy, SessionSpec
from browser_sessions.domain.urls import without_password, without_passwords
from tests.harness.fakes.fake_browser import EPOCH, ManualClock


def session(
    *,
    idle: float | None = 300.0,
    lifetime: float | None = 3600.0,
    status: SessionStatus = SessionStatus.ACTIVE,
    last_active: float = 0.0,
) -> Session:
    return Session(
        session_id="ses_1",
        owner="prn_1",
        owner_name="me",
        spec=SessionSpec(idle_timeout_seconds=idle, max_lifetime_seconds=lifetime),
        node="node",
        created_at=EPOCH,
        created=0.0,
        last_active=last_active,
        hard_deadline=lifetime,
        status=status,
    )


@pytest.mark.parametrize("start", list(SessionStatus))
@pytest.mark.parametrize("to", list(SessionStatus))
def test_only_transitions_of_the_table_are_allowed(start: SessionStatus, to: SessionStatus) -> None:
    subject = session(status=start)
    if to in TRANSITIONS[start]:
        subject.move(to)
        assert subject.status is to
    else:
        with pytest.raises(IllegalTransition):
            subject.move(to)
        assert subject.status is start


def test_final_statuses_have_no_transitions_and_every_end_reason_has_one() -> None:
    assert all(not TRANSITIONS[status] for status in FINAL)
    assert {reason.status for reason in EndReason} == FINAL


@pytest.mark.parametrize(
    ("idle_for", "reason"),
    [(299.0, None), (299.999, None), (300.0, EndReason.IDLE), (301.0, EndReason.IDLE), (3600.0, EndReason.LIFETIME)],
)
def test_only_idle_or_expired_sessions_are_due(idle_for: float, reason: EndReason | None) -> None:
    assert due(session(), idle_for) is reason


@pytest.mark.parametrize("status", [s for s in SessionStatus if s.final] + [SessionStatus.CLOSING])
def test_an_ended_session_is_never_due(status: SessionStatus) -> None:
    assert due(session(status=status), 1e9) is None


def test_a_starting_session_can_exceed_its_lifetime_but_not_its_idle_timeout() -> None:
    starting = session(status=SessionStatus.STARTING)
    assert due(starting, 400.0) is None
    assert due(starting, 3600.0) is EndReason.LIFETIME


def test_a_session_without_limits_has_no_deadline() -> None:
    subject = session(idle=None, lifetime=None)
    assert subject.deadline(0.0) is None
    assert subject.record(ManualClock()).expires_at is None
    assert overdue([subject], 1e12) == []


def test_activity_after_the_end_is_refused() -> None:
    subject = session(status=SessionStatus.CLOSING, last_active=5.0)
    assert subject.touch(100.0) is False
    assert subject.last_active == 5.0


def test_last_activity_never_decreases() -> None:
    subject = session(last_active=50.0)
    assert subject.touch(40.0) is True
    assert subject.last_active == 50.0


@given(
    idle=st.none() | st.floats(0.1, 1e6),
    lifetime=st.none() | st.floats(0.1, 1e6),
    touches=st.lists(st.floats(0, 1e6), max_size=10),
    now=st.floats(0, 2e6),
)
def test_a_session_is_due_exactly_from_its_deadline(
    idle: float | None, lifetime: float | None, touches: list[float], now: float
) -> None:
    subject = session(idle=idle, lifetime=lifetime)
    for moment in sorted(touches):
        subject.touch(moment)
    deadline = subject.deadline(now)
    assert (due(subject, now) is not None) == (deadline is not None and now >= deadline)


@given(
    idle=st.none() | st.floats(0.1, 1e6),
    lifetime=st.none() | st.floats(0.1, 1e6),
    calls=st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), max_size=6),
    now=st.floats(0, 3e6),
)
def test_the_idle_timeout_starts_after_the_last_call_and_not_during_calls(
    idle: float | None, lifetime: float | None, calls: list[tuple[float, float]], now: float
) -> None:
    subject = session(idle=idle, lifetime=lifetime)
    spans = [(begin, begin + lasts) for begin, lasts in calls]
    moments = sorted([(begin, "begins") for begin, _ in spans] + [(end, "ends") for _, end in spans])
    for moment, what in moments:
        if moment > now:
            break
        if what == "begins":
            assert subject.begin_use(moment)
        else:
            subject.end_use(moment)
    under_way = sum(begin <= now < end for begin, end in spans if begin != end)
    last_end = max([0.0, *(end for _, end in spans if end <= now)])
    assert subject.in_use == under_way
    assert subject.last_used(now) == (now if under_way else last_end)
    limits = [] if lifetime is None else [lifetime]
    if idle is not None:
        limits.append(subject.last_used(now) + idle)
    assert subject.deadline(now) == min(limits, default=None)
    out_of_time = lifetime is not None and now >= lifetime
    idle_too_long = idle is not None and not under_way and now >= last_end + idle
    assert due(subject, now) is (EndReason.LIFETIME if out_of_time else EndReason.IDLE if idle_too_long else None)


def test_calls_count_as_activity_up_to_the_sessions_end() -> None:
    subject = session(lifetime=100.0)
    subject.begin_use(5.0)
    subject.begin_use(6.0)
    subject.move(SessionStatus.CLOSING)
    subject.ended = 100.0
    assert subject.last_used(150.0) == 100.0
    subject.end_use(150.0, uses=2)
    assert (subject.in_use, subject.last_used(160.0)) == (0, 100.0)


def test_options_contain_no_secret() -> None:
    spec = SessionSpec(
        proxy=Proxy("http://proxy:3128", username="u", password="hunter2"),
        extra_http_headers=(("Authorization", "Bearer hunter2"),),
        storage_state={"cookies": [{"name": "sid", "value": "hunter2"}], "origins": []},
    )
    shown = spec.options()
    assert "hunter2" not in repr(shown)
    assert "hunter2" not in repr(spec)
    assert shown["proxy"]["password"] == MASK
    assert shown["storage_state"] == {"cookies": 1, "origins": 0}


def test_expires_at_is_computed_with_the_current_wall_clock() -> None:
    clock = ManualClock()
    subject = replace(session(), created=clock.now, last_active=clock.now, hard_deadline=clock.now + 3600)
    before = subject.record(clock).expires_at
    assert before is not None
    assert (before - clock.wall()).total_seconds() == 300


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ann:secret@a.example/x?y=1", "https://ann:***@a.example/x?y=1"),
        ("http:\\\\ann:secret@a.example", "http://ann:***@a.example/"),
        ("https://ann:se:cr@et@a.example/", "https://ann:***@a.example/"),
        ("https://ann:it's@a.example/", "https://ann:***@a.example/"),
        ("https://:secret@a.example/", "https://:***@a.example/"),
        ("blob:http://ann:secret@a.example/1", "blob:http://ann:***@a.example/1"),
        ("https://ann@a.example/", "https://ann@a.example/"),
        ("https://a.example:8080/ann:b@c", "https://a.example:8080/ann:b@c"),
        ("https://a.example/?at=b:c@d", "https://a.example/?at=b:c@d"),
        ("data:text/html,a:b@c", "data:text/html,a:b@c"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_passwords_of_all_addresses_in_a_text_are_masked() -> None:
    text = (
        'net::ERR_FAILED at http://ann:s@e:c@a.example/, "ftp://b:c@d", {"at":"http://a.example","by":"b:c@d.example"}'
    )
    shown = (
        'net::ERR_FAILED at http://ann:***@a.example/, "ftp://b:***@d", {"at":"http://a.example","by":"b:c@d.example"}'
    )
    assert without_passwords(text) == shown


def test_masking_passwords_takes_linear_time() -> None:
    for text in ("://a:" * 20_000 + "@ ", "://" + "a:" * 50_000 + " @", "://" * 50_000 + "@"):
        began = time.perf_counter()
        without_passwords(text)
        assert time.perf_counter() - began < 0.5
