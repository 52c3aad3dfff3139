"""The status response of a live session, created without a record, equals that of its record."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from browser_sessions.api.session_access import live_summary, summary
from browser_sessions.domain.session import Session, SessionStatus, new_session_id
from browser_sessions.domain.session_spec import SessionSpec
from tests.harness.fakes.fake_browser import ManualClock


@pytest.mark.parametrize("status", [status for status in SessionStatus if not status.final])
@pytest.mark.parametrize(
    "spec",
    [
        SessionSpec(),
        SessionSpec(viewport_width=800, viewport_height=600, user_agent="Agent/1", idle_timeout_seconds=None),
        SessionSpec(idle_timeout_seconds=5.0, max_lifetime_seconds=60.0),
    ],
)
def test_a_live_session_is_summarized_as_its_record(status: SessionStatus, spec: SessionSpec) -> None:
    clock = ManualClock()
    session = Session(new_session_id(), "prn", "name", spec, "node", datetime.now(UTC), 0.0, 1.0, None, status=status)
    expected = summary(session.record(clock))
    assert list(live_summary(session, clock).items()) == list(expected.items())
    assert len(expected) == 8
