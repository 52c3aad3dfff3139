"""Flow control of one viewer, based on its acknowledgements."""

from __future__ import annotations

from browser_sessions.chromium.ports import StreamSettings
from browser_sessions.live.flow_control import (
    ACK_TIMEOUT_S,
    ADJUST_EVERY_S,
    LEVELS,
    MAX_IN_FLIGHT,
    UPGRADE_AFTER,
    FlowControl,
)

REQUESTED = StreamSettings(max_width=1000, max_height=2000, fps=30, quality=70)


def watch(flow: FlowControl, began: float, *, took: float, seconds: float) -> float:
    """Simulates a viewer that acknowledges each frame after `took` seconds. Returns the end time."""
    now, seq = began, 0
    while now < began + seconds:
        seq += 1
        assert flow.may_send(now)
        flow.sent(seq, now)
        now += took
        flow.acked(seq, now)
        flow.adjust(now)
    return now


def test_at_most_two_frames_are_in_flight() -> None:
    flow = FlowControl(REQUESTED)
    for seq in range(MAX_IN_FLIGHT):
        assert flow.may_send(0.0)
        flow.sent(seq, 0.0)
    assert not flow.may_send(0.1)
    flow.acked(0, 0.1)
    assert flow.may_send(0.1)


def test_an_ack_covers_all_earlier_frames() -> None:
    flow = FlowControl(REQUESTED)
    flow.sent(1, 0.0)
    flow.sent(2, 0.0)
    flow.acked(2, 0.1)
    flow.sent(3, 0.1)
    assert flow.may_send(0.1)


def test_a_frame_without_an_ack_times_out() -> None:
    flow = FlowControl(REQUESTED)
    flow.sent(1, 0.0)
    flow.sent(2, 0.5)
    assert not flow.may_send(ACK_TIMEOUT_S)
    assert flow.until_timeout(1.0) == ACK_TIMEOUT_S - 1.0
    assert flow.may_send(ACK_TIMEOUT_S + 0.01)


def test_a_slow_viewer_gets_lower_quality_and_a_fast_one_the_requested() -> None:
    flow = FlowControl(REQUESTED)
    now = watch(flow, 0.0, took=0.05, seconds=20)
    assert flow.current == REQUESTED
    now = watch(flow, now, took=0.6, seconds=2 * ADJUST_EVERY_S)
    quality, part = LEVELS[1]
    assert flow.current.quality == quality
    assert flow.current.max_width == 1000 * part
    now = watch(flow, now, took=0.6, seconds=20)
    assert flow.current.quality == LEVELS[-1][0]
    assert flow.current.max_width == 500
    now = watch(flow, now, took=0.05, seconds=(UPGRADE_AFTER * len(LEVELS) + 1) * (ADJUST_EVERY_S + 0.1))
    assert flow.current == REQUESTED


def test_a_viewer_of_medium_speed_keeps_its_level() -> None:
    flow = FlowControl(REQUESTED)
    now = watch(flow, 0.0, took=0.6, seconds=2 * ADJUST_EVERY_S)
    now = watch(flow, now, took=0.2, seconds=2 * ADJUST_EVERY_S)
    level = flow.current
    watch(flow, now, took=0.2, seconds=30)
    assert flow.current == level


def test_requested_settings_are_never_exceeded() -> None:
    flow = FlowControl(StreamSettings(200, 400, 5, 40))
    assert flow.current == StreamSettings(200, 400, 5, 40)
