"""What one viewer can take, judged by how soon it draws."""

from __future__ import annotations

from browser_sessions.chromium.ports import Demand
from browser_sessions.live.flow_control import IN_FLIGHT, LEVELS, LOOK_EVERY_S, LOST_S, PATIENCE, Pace

ASKED = Demand(max_width=1000, max_height=2000, fps=30, quality=70)


def watch(pace: Pace, began: float, *, took: float, seconds: float) -> float:
    """A viewer that draws each frame `took` seconds after it was sent; when that was over."""
    now, seq = began, 0
    while now < began + seconds:
        seq += 1
        assert pace.may_send(now)
        pace.sent(seq, now)
        now += took
        pace.drawn(seq, now)
        pace.judge(now)
    return now


def test_two_frames_are_on_the_way_and_no_more() -> None:
    pace = Pace(ASKED)
    for seq in range(IN_FLIGHT):
        assert pace.may_send(0.0)
        pace.sent(seq, 0.0)
    assert not pace.may_send(0.1)
    pace.drawn(0, 0.1)
    assert pace.may_send(0.1)


def test_drawing_a_frame_is_word_of_all_before_it() -> None:
    pace = Pace(ASKED)
    pace.sent(1, 0.0)
    pace.sent(2, 0.0)
    pace.drawn(2, 0.1)
    pace.sent(3, 0.1)
    assert pace.may_send(0.1)


def test_a_frame_that_was_never_drawn_is_given_up() -> None:
    pace = Pace(ASKED)
    pace.sent(1, 0.0)
    pace.sent(2, 0.5)
    assert not pace.may_send(LOST_S)
    assert pace.wait(1.0) == LOST_S - 1.0
    assert pace.may_send(LOST_S + 0.01)


def test_a_slow_viewer_gets_less_and_a_quick_one_all() -> None:
    pace = Pace(ASKED)
    now = watch(pace, 0.0, took=0.05, seconds=20)
    assert pace.demand == ASKED
    now = watch(pace, now, took=0.6, seconds=2 * LOOK_EVERY_S)
    quality, part = LEVELS[1]
    assert pace.demand.quality == quality
    assert pace.demand.max_width == 1000 * part
    now = watch(pace, now, took=0.6, seconds=20)
    assert pace.demand.quality == LEVELS[-1][0]
    assert pace.demand.max_width == 500
    now = watch(pace, now, took=0.05, seconds=(PATIENCE * len(LEVELS) + 1) * (LOOK_EVERY_S + 0.1))
    assert pace.demand == ASKED


def test_one_that_is_neither_stays_where_it_is() -> None:
    pace = Pace(ASKED)
    now = watch(pace, 0.0, took=0.6, seconds=2 * LOOK_EVERY_S)
    now = watch(pace, now, took=0.2, seconds=2 * LOOK_EVERY_S)
    level = pace.demand
    watch(pace, now, took=0.2, seconds=30)
    assert pace.demand == level


def test_what_is_asked_for_is_never_exceeded() -> None:
    pace = Pace(Demand(200, 400, 5, 40))
    assert pace.demand == Demand(200, 400, 5, 40)
