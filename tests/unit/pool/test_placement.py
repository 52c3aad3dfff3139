"""Choice of the browser for the next context."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browser_sessions.pool.browsers.placement import RECYCLE_AGE_S, RECYCLE_SERVED, SlotInfo, choose, recycle_reason
from browser_sessions.telemetry import RETIREMENT_REASONS

FRESH = SlotInfo("fresh", None, False, 0, 0, 1.0, 1.0, 0, False)
MINE = SlotInfo("mine", "me", False, 2, 5, 9.0, 0.0, 0, False)
THEIRS = SlotInfo("theirs", "you", False, 1, 1, 9.0, 0.0, 0, False)


@pytest.mark.parametrize(
    ("slots", "dedicated", "chosen"),
    [
        ([], False, None),
        ([THEIRS], False, None),
        ([FRESH, MINE, THEIRS], False, "mine"),
        ([FRESH, replace(MINE, taken=3)], False, "fresh"),
        ([replace(MINE, taken=3)], False, None),
        ([replace(MINE, closed=True)], False, None),
        ([MINE, replace(MINE, browser_id="fuller", taken=2, age=1.0)], False, "fuller"),
        ([MINE], True, None),
        ([MINE, FRESH], True, "fresh"),
        ([replace(MINE, dedicated=True, taken=0)], False, None),
        ([replace(FRESH, served=1)], False, None),
    ],
)
def test_choice(slots: list[SlotInfo], dedicated: bool, chosen: str | None) -> None:
    assert choose(slots, "me", dedicated=dedicated, capacity=3) == chosen


slot = st.builds(
    SlotInfo,
    browser_id=st.uuids().map(str),
    partition=st.sampled_from([None, "me", "you"]),
    dedicated=st.booleans(),
    taken=st.integers(0, 5),
    served=st.integers(0, 5),
    age=st.floats(0, 100),
    empty_for=st.floats(0, 100),
    memory_bytes=st.integers(0, 2**30),
    closed=st.booleans(),
)


@given(st.lists(slot, max_size=8), st.booleans(), st.integers(1, 5))
def test_contexts_never_share_a_browser_across_principals_or_exceed_its_capacity(
    slots: list[SlotInfo], dedicated: bool, capacity: int
) -> None:
    chosen = choose(slots, "me", dedicated=dedicated, capacity=capacity)
    if chosen is None:
        return
    taken = next(s for s in slots if s.browser_id == chosen)
    assert not taken.closed
    assert not taken.dedicated
    assert taken.partition in (None, "me")
    assert taken.taken < capacity
    if dedicated or taken.partition is None:
        assert taken.taken == 0
        assert taken.served == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"age": RECYCLE_AGE_S}, "age"),
        ({"served": RECYCLE_SERVED}, "sessions served"),
        ({"memory_bytes": 2**40}, "memory"),
        ({"taken": 0, "empty_for": 31.0}, "empty"),
        ({"taken": 0, "empty_for": 29.0}, None),
        ({"dedicated": True, "taken": 0}, "dedicated session ended"),
        ({"age": RECYCLE_AGE_S, "closed": True}, None),
    ],
)
def test_recycling(change: dict[str, object], reason: str | None) -> None:
    assert recycle_reason(replace(MINE, **change), capacity=3) == reason  # type: ignore[arg-type]
    assert reason is None or reason in RETIREMENT_REASONS, "the metric must start at zero for it"
