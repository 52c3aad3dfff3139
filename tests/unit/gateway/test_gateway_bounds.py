"""Values that would end a process which others share are refused, and the error names the field and what is right."""

from __future__ import annotations

from typing import Any

import pytest

from browser_sessions.gateway.policy.client_options import Options
from browser_sessions.gateway.policy.command_policy import decide
from browser_sessions.gateway.policy.parameter_bounds import BOUNDS, NotEmpty, OneOf, Range, out_of_bounds
from browser_sessions.gateway.scope.command_decision import Pass, Refuse
from tests.harness.fakes.gateway_world import say, world

NO_NUMBERS: list[Any] = ["NaN", "1", True, [1], {}]


def with_value(path: str, value: Any) -> dict[str, Any]:
    """Parameters that have a value at a path, and nothing else."""
    name, _, rest = path.partition(".")
    inside = with_value(rest, value) if rest else value
    return {name.removesuffix("[]"): [{}, inside] if name.endswith("[]") else inside}


RANGES = [(m, path, bound) for m, rows in BOUNDS.items() for path, bound in rows.items() if isinstance(bound, Range)]
CHOICES = [(m, path, bound) for m, rows in BOUNDS.items() for path, bound in rows.items() if isinstance(bound, OneOf)]


@pytest.mark.parametrize(("method", "path", "bound"), RANGES)
def test_a_number_beyond_either_end(method: str, path: str, bound: Range) -> None:
    for good in (bound.low, bound.high, None, *NO_NUMBERS):  # Chromium refuses what is no number
        assert out_of_bounds(method, with_value(path, good)) is None
    for bad in (bound.low - 1e-4, bound.high * 1.001, 1.7e308, -1.7e308, float("inf"), float("nan")):
        answer = out_of_bounds(method, with_value(path, bad))
        assert answer is not None
        assert answer.startswith(f"{path}: must be a number from {bound.low:g} to ")


@pytest.mark.parametrize(("method", "path", "bound"), CHOICES)
def test_a_word_that_is_not_one_of_the_list(method: str, path: str, bound: OneOf) -> None:
    for good in (*bound.names, None, 5, [bound.names[0]]):
        assert out_of_bounds(method, with_value(path, good)) is None
    for bad in ("", "x", bound.names[0].upper(), f"{bound.names[0]}\0"):
        answer = out_of_bounds(method, with_value(path, bad))
        assert answer == f"{path}: must be one of {', '.join(bound.names)}"


def test_a_list_that_may_not_be_empty() -> None:
    rows = [(m, path) for m, each in BOUNDS.items() for path, bound in each.items() if isinstance(bound, NotEmpty)]
    assert rows
    for method, path in rows:
        answer = out_of_bounds(method, with_value(path, []))
        assert answer is not None
        assert answer.startswith(f"{path}: must not be empty; use ")
        for left in ({}, with_value(path, None), with_value(path, "x"), with_value(path, [{}])):
            assert out_of_bounds(method, left) is None


def test_audio_is_not_recorded() -> None:
    for good in ({}, {"audio": False}, {"audio": None}):
        assert out_of_bounds("Page.startScreenRecording", good) is None
    bad = out_of_bounds("Page.startScreenRecording", {"audio": True})
    assert bad == "audio: must not be true; recording audio crashes the browser"


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"paperWidth": 1e-308}, "paperWidth: must be a number from 0.001 to 10000 inches"),
        ({"paperHeight": 1e-9, "marginLeft": 0}, "paperHeight: must be a number from 0.001 to 10000 inches"),
        ({"marginTop": -1}, "marginTop: must be a number from 0 to 10000 inches"),
        ({"scale": 0}, "scale: must be a number from 0.1 to 2"),
    ],
)
def test_paper_says_what_it_should_be(params: dict[str, Any], text: str) -> None:
    assert decide(say("Page.printToPDF", params, "S-PAGE"), world(), Options()) == Refuse(-32602, text)


def test_what_people_print_on_passes() -> None:
    for width, height in ((8.5, 11), (8.27, 11.7), (2.25, 1.25), (0.5, 0.5), (8.5, 1500)):
        params = {"paperWidth": width, "paperHeight": height, "marginTop": 0.4, "marginLeft": 0, "scale": 1}
        assert decide(say("Page.printToPDF", params, "S-PAGE"), world(), Options()) == Pass()
    assert decide(say("Page.printToPDF", {}, "S-PAGE"), world(), Options()) == Pass()


def test_a_window_s_sides_are_capped_one_by_one_since_each_may_come_alone() -> None:
    for size in ({"width": 65536}, {"height": 65536}):
        for method, params in (
            ("Browser.setContentsSize", {"windowId": 7, **size}),
            ("Browser.setWindowBounds", {"windowId": 7, "bounds": size}),
            ("Target.createTarget", {"url": "about:blank", **size}),
            ("Emulation.setDeviceMetricsOverride", {"width": 0, "height": 0, "deviceScaleFactor": 1, **size}),
        ):
            answer = decide(say(method, params, "S-PAGE"), world(), Options())
            assert isinstance(answer, Refuse), method
            assert answer.code == -32602


def test_another_shape_is_left_to_chromium() -> None:
    shapes: list[Any] = [5, [], {}]
    for posture in shapes:
        assert out_of_bounds("Emulation.setDeviceMetricsOverride", {"devicePosture": posture}) is None
