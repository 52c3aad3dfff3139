"""What a session's traffic is counted as."""

from __future__ import annotations

from browser_sessions.egress.rules import Refusal
from browser_sessions.egress.usage import Failed, Meter, Usage

REFUSAL = Refusal("a.example", 80, "10.0.0.1", "10.0.0.0/8", "S")


def test_traffic_is_counted_in_all_and_by_host() -> None:
    usage, limits, refusals, failures = Usage(), list[str](), list[Refusal](), list[Failed]()
    meter = Meter(usage, 100, lambda: limits.append("over"), refusals.append, failures.append)
    for number in range(1000):
        up, down = meter.connected(f"host{number}.example")
        if number % 20 == 0:
            up(1)
            down(1)
    assert (usage.bytes_up, usage.bytes_down, usage.connections) == (50, 50, 1000)
    assert not limits
    _, down = meter.connected("host980.example")
    usage.bytes_up -= 2
    assert down(2) == 2
    assert not limits
    assert down(2) == 0
    assert limits == ["over"]
    assert meter.over_limit
    top = usage.hosts
    assert len(top) == 20
    assert (top[0].host, top[0].bytes_up, top[0].bytes_down, top[0].connections) == ("host980.example", 1, 3, 2)


def test_every_refusal_is_counted_and_twenty_a_second_are_reported() -> None:
    usage, refusals, failures = Usage(), list[Refusal](), list[Failed]()
    meter = Meter(usage, None, lambda: None, refusals.append, failures.append)
    for _ in range(50):
        meter.refused(REFUSAL, 7.5)
        meter.failed(Failed("b.example", 80, "No."), 7.5)
    assert len(failures) == 20
    assert (usage.refused, usage.hosts[0].refused, len(refusals)) == (50, 50, 20)
    meter.refused(REFUSAL, 8.1)
    assert len(refusals) == 21
