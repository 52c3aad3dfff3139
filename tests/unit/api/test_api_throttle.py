"""Attempts in a sliding window, in bounded memory."""

from __future__ import annotations

import pytest

from browser_sessions.auth.throttle import Throttle
from browser_sessions.domain.errors import QuotaExceeded
from tests.harness.fakes.fake_browser import ManualClock


def test_the_attempt_after_the_last_allowed_one_is_refused_until_the_window_has_moved() -> None:
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


def test_a_refused_attempt_does_not_lengthen_the_wait() -> None:
    clock = ManualClock()
    throttle = Throttle(clock, attempts=1, window_seconds=60.0)
    throttle.attempt("ann")
    for _ in range(5):
        clock.advance(11.0)
        with pytest.raises(QuotaExceeded):
            throttle.attempt("ann")
    clock.advance(5.0)
    throttle.attempt("ann")


def test_one_name_does_not_slow_another() -> None:
    throttle = Throttle(ManualClock(), attempts=1, window_seconds=60.0)
    throttle.attempt("ann")
    throttle.attempt("bob")


def test_who_was_right_starts_anew() -> None:
    throttle = Throttle(ManualClock(), attempts=1, window_seconds=60.0)
    throttle.attempt("ann")
    throttle.reset("ann")
    throttle.attempt("ann")


def test_memory_is_bounded_by_the_number_of_names_watched() -> None:
    throttle = Throttle(ManualClock(), attempts=2, window_seconds=60.0, max_names=100)
    for number in range(10_000):
        throttle.attempt(f"name {number}")
    assert len(throttle) == 100
