"""A session's life and its deadlines."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browser_sessions.domain.errors import IllegalTransition
from browser_sessions.domain.session import FINAL, TRANSITIONS, EndReason, Session, SessionStatus, due, overdue
from browser_sessions.domain.session_spec import MASK, Proxy, SessionSpec
from browser_sessions.domain.urls import without_password
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
def test_a_session_moves_only_as_the_table_says(start: SessionStatus, to: SessionStatus) -> None:
    it = session(status=start)
    if to in TRANSITIONS[start]:
        it.move(to)
        assert it.status is to
    else:
        with pytest.raises(IllegalTransition):
            it.move(to)
        assert it.status is start


def test_final_statuses_have_no_way_out_and_every_reason_leads_to_one() -> None:
    assert all(not TRANSITIONS[status] for status in FINAL)
    assert {reason.status for reason in EndReason} == FINAL


@pytest.mark.parametrize(
    ("quiet_for", "reason"),
    [(299.0, None), (299.999, None), (300.0, EndReason.IDLE), (301.0, EndReason.IDLE), (3600.0, EndReason.LIFETIME)],
)
def test_only_quiet_or_old_sessions_are_due(quiet_for: float, reason: EndReason | None) -> None:
    assert due(session(), quiet_for) is reason


@pytest.mark.parametrize("status", [s for s in SessionStatus if s.final] + [SessionStatus.CLOSING])
def test_what_has_ended_is_never_due(status: SessionStatus) -> None:
    assert due(session(status=status), 1e9) is None


def test_a_session_that_starts_cannot_be_idle_but_can_be_out_of_time() -> None:
    starting = session(status=SessionStatus.STARTING)
    assert due(starting, 400.0) is None
    assert due(starting, 3600.0) is EndReason.LIFETIME


def test_nothing_limits_a_session_without_limits() -> None:
    it = session(idle=None, lifetime=None)
    assert it.deadline(0.0) is None
    assert it.record(ManualClock()).expires_at is None
    assert overdue([it], 1e12) == []


def test_activity_after_the_end_is_refused_and_moves_nothing() -> None:
    it = session(status=SessionStatus.CLOSING, last_active=5.0)
    assert it.touch(100.0) is False
    assert it.last_active == 5.0


def test_activity_never_moves_back() -> None:
    it = session(last_active=50.0)
    assert it.touch(40.0) is True
    assert it.last_active == 50.0


@given(
    idle=st.none() | st.floats(0.1, 1e6),
    lifetime=st.none() | st.floats(0.1, 1e6),
    touches=st.lists(st.floats(0, 1e6), max_size=10),
    now=st.floats(0, 2e6),
)
def test_due_exactly_from_the_deadline_on(
    idle: float | None, lifetime: float | None, touches: list[float], now: float
) -> None:
    it = session(idle=idle, lifetime=lifetime)
    for moment in sorted(touches):
        it.touch(moment)
    deadline = it.deadline(now)
    assert (due(it, now) is not None) == (deadline is not None and now >= deadline)


@given(
    idle=st.none() | st.floats(0.1, 1e6),
    lifetime=st.none() | st.floats(0.1, 1e6),
    calls=st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), max_size=6),
    now=st.floats(0, 3e6),
)
def test_the_idle_timeout_runs_from_the_last_answer_on_and_not_while_one_is_due(
    idle: float | None, lifetime: float | None, calls: list[tuple[float, float]], now: float
) -> None:
    it = session(idle=idle, lifetime=lifetime)
    spans = [(begin, begin + lasts) for begin, lasts in calls]
    moments = sorted([(begin, "begins") for begin, _ in spans] + [(end, "ends") for _, end in spans])
    for moment, what in moments:
        if moment > now:
            break
        if what == "begins":
            assert it.begin_use(moment)
        else:
            it.end_use(moment)
    under_way = sum(begin <= now < end for begin, end in spans if begin != end)
    last_answer = max([0.0, *(end for _, end in spans if end <= now)])
    assert it.in_use == under_way
    assert it.last_used(now) == (now if under_way else last_answer)
    limits = [] if lifetime is None else [lifetime]
    if idle is not None:
        limits.append(it.last_used(now) + idle)
    assert it.deadline(now) == min(limits, default=None)
    out_of_time = lifetime is not None and now >= lifetime
    gone_quiet = idle is not None and not under_way and now >= last_answer + idle
    assert due(it, now) is (EndReason.LIFETIME if out_of_time else EndReason.IDLE if gone_quiet else None)


def test_use_ends_with_the_session_at_the_latest() -> None:
    it = session(lifetime=100.0)
    it.begin_use(5.0)
    it.begin_use(6.0)
    it.move(SessionStatus.CLOSING)
    it.ended = 100.0
    assert it.last_used(150.0) == 100.0
    it.end_use(150.0, uses=2)
    assert (it.in_use, it.last_used(160.0)) == (0, 100.0)


def test_options_show_no_secret() -> None:
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


def test_a_record_tells_when_it_ends_by_the_wall_clock_of_now() -> None:
    clock = ManualClock()
    it = replace(session(), created=clock.now, last_active=clock.now, hard_deadline=clock.now + 3600)
    before = it.record(clock).expires_at
    assert before is not None
    assert (before - clock.wall()).total_seconds() == 300


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ann:secret@a.example/x?y=1", "https://ann:***@a.example/x?y=1"),
        ("http:\\\\ann:secret@a.example", "http://ann:***@a.example/"),
        ("https://ann:se:cr@et@a.example/", "https://ann:***@a.example/"),
        ("https://:secret@a.example/", "https://:***@a.example/"),
        ("https://ann@a.example/", "https://ann@a.example/"),
        ("https://a.example:8080/ann:b@c", "https://a.example:8080/ann:b@c"),
        ("https://a.example/?at=b:c@d", "https://a.example/?at=b:c@d"),
        ("data:text/html,a:b@c", "data:text/html,a:b@c"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown
