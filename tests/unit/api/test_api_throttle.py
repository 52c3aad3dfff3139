"""The throttle: attempts in a sliding window, in bounded memory."""

from __future__ import annotations

import pytest

from browser_sessions.auth.throttle import Throttle
from browser_sessions.domain.errors import QuotaExceeded
from tests.harness.fakes.fake_browser import ManualClock


def test_attempts_beyond_the_limit_are_refused_until_the_window_has_moved() -> None:
    clock = ManualClock()
    throttle = Throttle(clock, attempts=3, window_seconds=60.0)
    for _ in range(3):
        throttle.attempt("ann")
        clock.advance(10.0)
    with pytest.raises(QuotaExceeded) as refusal:
        throttle.attempt("ann")
    assert refusal.value.retry_after == pytest.approx(30.0)
    clock.advance(30.0)
    throttle.attempt("ann")


def test_a_refused_attempt_does_not_extend_the_wait() -> None:
    clock = ManualClock()
    throttle = Throttle(clock, attempts=1, window_seconds=60.0)
    throttle.attempt("ann")
    for _ in range(5):
        clock.advance(11.0)
        with pytest.raises(QuotaExceeded):
            throttle.attempt("ann")
    clock.advance(5.0)
    throttle.attempt("ann")


def test_names_are_throttled_independently() -> None:
    throttle = Throttle(ManualClock(), attempts=1, window_seconds=60.0)
    throttle.attempt("ann")
    throttle.attempt("bob")


def test_a_successful_attempt_resets_the_limit() -> None:
    throttle = Throttle(ManualClock(), attempts=1, window_seconds=60.0)
    throttle.attempt("ann")
    throttle.reset("ann")
    throttle.attempt("ann")


def test_the_number_of_tracked_names_is_bounded() -> None:
    throttle = Throttle(ManualClock(), attempts=2, window_seconds=60.0, max_names=100)
    for number in range(10_000):
        throttle.attempt(f"name {number}")
    assert len(throttle) == 100
