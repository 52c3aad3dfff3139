"""The throttle: attempts in a sliding window, in bounded memory."""

from __future__ import annotations

import contextlib

import pytest

from browser_sessions.auth.throttle import (
    ATTEMPTS_PER_ADDRESS,
    ATTEMPTS_PER_NAME,
    ATTEMPTS_PER_NAME_AND_ADDRESS,
    SignInThrottle,
    Throttle,
)
from browser_sessions.domain.errors import QuotaExceeded
from tests.harness.fakes.fake_browser import ManualClock


def attempt(throttle: Throttle, key: str) -> None:
    throttle.check(key)
    throttle.count(key)


def fill(throttle: SignInThrottle, count: int, name: str, address: str) -> None:
    """`count` wrong passwords; `#` in the name or the address becomes their number."""
    for number in range(count):
        throttle.attempt(name.replace("#", str(number)), address.replace("#", str(number)))


def test_attempts_beyond_the_limit_are_refused_until_the_window_has_moved() -> None:
    clock = ManualClock()
    throttle = Throttle(clock, attempts=3, window_seconds=60.0)
    for _ in range(3):
        attempt(throttle, "ann")
        clock.advance(10.0)
    with pytest.raises(QuotaExceeded) as refusal:
        attempt(throttle, "ann")
    assert refusal.value.retry_after == pytest.approx(30.0)
    assert "Wait 30 s" in refusal.value.detail
    clock.advance(30.0)
    attempt(throttle, "ann")


def test_a_refused_attempt_does_not_extend_the_wait() -> None:
    clock = ManualClock()
    throttle = Throttle(clock, attempts=1, window_seconds=60.0)
    attempt(throttle, "ann")
    for _ in range(5):
        clock.advance(11.0)
        with pytest.raises(QuotaExceeded):
            attempt(throttle, "ann")
    clock.advance(5.0)
    attempt(throttle, "ann")


def test_names_are_throttled_independently() -> None:
    throttle = Throttle(ManualClock(), attempts=1, window_seconds=60.0)
    attempt(throttle, "ann")
    attempt(throttle, "bob")


def test_an_attempt_is_taken_back_alone_or_all_are_dropped() -> None:
    throttle = Throttle(ManualClock(), attempts=2, window_seconds=60.0)
    attempt(throttle, "ann")
    attempt(throttle, "ann")
    throttle.take_back("ann")
    attempt(throttle, "ann")
    with pytest.raises(QuotaExceeded):
        attempt(throttle, "ann")
    throttle.reset("ann")
    attempt(throttle, "ann")


def test_the_number_of_tracked_names_is_bounded() -> None:
    throttle = Throttle(ManualClock(), attempts=2, window_seconds=60.0, max_keys=100)
    for number in range(10_000):
        attempt(throttle, f"name {number}")
    assert len(throttle) == 100


def test_wrong_passwords_from_one_address_do_not_lock_out_the_name_elsewhere() -> None:
    throttle = SignInThrottle(ManualClock())
    fill(throttle, ATTEMPTS_PER_NAME_AND_ADDRESS, "ann", "192.0.2.1")
    with pytest.raises(QuotaExceeded):
        throttle.attempt("ann", "192.0.2.1")
    throttle.attempt("bob", "192.0.2.1")
    throttle.attempt("ann", "192.0.2.2")


def test_many_addresses_cannot_lock_out_a_name_where_it_has_signed_in() -> None:
    throttle = SignInThrottle(ManualClock())
    throttle.attempt("ann", "192.0.2.250")
    throttle.succeeded("ann", "192.0.2.250")
    fill(throttle, ATTEMPTS_PER_NAME, "ann", "192.0.2.#")
    with pytest.raises(QuotaExceeded):
        throttle.attempt("ann", "192.0.2.251")
    throttle.attempt("ann", "192.0.2.250")


def test_a_neighbour_behind_one_address_cannot_lock_out_who_has_signed_in_from_it() -> None:
    throttle = SignInThrottle(ManualClock())
    throttle.attempt("ann", "192.0.2.1")
    throttle.succeeded("ann", "192.0.2.1")
    fill(throttle, ATTEMPTS_PER_ADDRESS, "name #", "192.0.2.1")
    with pytest.raises(QuotaExceeded):
        throttle.attempt("bob", "192.0.2.1")
    fill(throttle, ATTEMPTS_PER_NAME_AND_ADDRESS, "ann", "192.0.2.1")
    with pytest.raises(QuotaExceeded):
        throttle.attempt("ann", "192.0.2.1")


def test_right_passwords_do_not_count_and_a_rejected_attempt_counts_nowhere() -> None:
    throttle = SignInThrottle(ManualClock())
    for number in range(ATTEMPTS_PER_ADDRESS + 1):
        throttle.attempt(f"name {number}", "192.0.2.1")
        throttle.succeeded(f"name {number}", "192.0.2.1")
    for _ in range(ATTEMPTS_PER_NAME):
        with contextlib.suppress(QuotaExceeded):
            throttle.attempt("ann", "192.0.2.2")
    throttle.attempt("bob", "192.0.2.2")
    throttle.attempt("ann", "192.0.2.3")


@pytest.mark.parametrize(
    ("address", "same", "other"),
    [
        ("2001:db8::#", "2001:db8::ffff", "2001:db8:0:1::1"),
        ("::ffff:192.0.2.1", "192.0.2.1", "::ffff:192.0.2.2"),
    ],
)
def test_the_addresses_of_one_subscriber_are_one(address: str, same: str, other: str) -> None:
    throttle = SignInThrottle(ManualClock())
    fill(throttle, ATTEMPTS_PER_NAME_AND_ADDRESS, "ann", address)
    with pytest.raises(QuotaExceeded):
        throttle.attempt("ann", same)
    throttle.attempt("ann", other)
