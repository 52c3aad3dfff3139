"""Values that would crash a shared process are refused with an error that names the parameter and the allowed
values."""

from __future__ import annotations

from typing import Any

import pytest

from browser_sessions.gateway.policy.client_options import Options
from browser_sessions.gateway.policy.command_policy import decide
from browser_sessions.gateway.policy.parameter_bounds import BOUNDS, NotEmpty, OneOf, Range, out_of_bounds
from browser_sessions.gateway.scope.command_decision import Pass, Refuse
from tests.harness.fakes.gateway_scope import cdp, session_scope

NO_NUMBERS: list[Any] = ["NaN", "1", True, [1], {}]


def with_value(path: str, value: Any) -> dict[str, Any]:
    """Parameters with a value at a path only."""
    name, _, rest = path.partition(".")
    inside = with_value(rest, value) if rest else value
    return {name.removesuffix("[]"): [{}, inside] if name.endswith("[]") else inside}


RANGES = [(m, path, bound) for m, rows in BOUNDS.items() for path, bound in rows.items() if isinstance(bound, Range)]
CHOICES = [(m, path, bound) for m, rows in BOUNDS.items() for path, bound in rows.items() if isinstance(bound, OneOf)]


@pytest.mark.parametrize(("method", "path", "bound"), RANGES)
def test_numbers_out_of_range_are_refused(method: str, path: str, bound: Range) -> None:
    for good in (bound.low, bound.high, None, *NO_NUMBERS):  # Chromium itself refuses other types
        assert out_of_bounds(method, with_value(path, good)) is None
    for bad in (bound.low - 1e-4, bound.high * 1.001, 1.7e308, -1.7e308, float("inf"), float("nan")):
        decision = out_of_bounds(method, with_value(path, bad))
        assert decision is not None
        assert decision.startswith(f"{path}: must be a number from {bound.low:g} to ")


@pytest.mark.parametrize(("method", "path", "bound"), CHOICES)
def test_names_that_are_not_in_the_list_are_refused(method: str, path: str, bound: OneOf) -> None:
    for good in (*bound.names, None, 5, [bound.names[0]]):
        assert out_of_bounds(method, with_value(path, good)) is None
    for bad in ("", "x", bound.names[0].upper(), f"{bound.names[0]}\0"):
        decision = out_of_bounds(method, with_value(path, bad))
        assert decision == f"{path}: must be one of {', '.join(bound.names)}"


@pytest.mark.parametrize("method", ["Network.setCookies", "Storage.setCookies"])
def test_too_many_cookies_at_once_are_refused(method: str) -> None:
    cookie = {"name": "a", "value": "b", "domain": "a.example"}
    for good in ([], [cookie] * 5000, None, "x"):
        assert out_of_bounds(method, {"cookies": good}) is None
    assert out_of_bounds(method, {"cookies": [cookie] * 5001}) == "cookies: must have at most 5000 items"


def test_empty_lists_are_refused() -> None:
    rows = [(m, path) for m, each in BOUNDS.items() for path, bound in each.items() if isinstance(bound, NotEmpty)]
    assert rows
    for method, path in rows:
        decision = out_of_bounds(method, with_value(path, []))
        assert decision is not None
        assert decision.startswith(f"{path}: must not be empty; use ")
        for left in ({}, with_value(path, None), with_value(path, "x"), with_value(path, [{}])):
            assert out_of_bounds(method, left) is None


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"paperWidth": 1e-308}, "paperWidth: must be a number from 0.001 to 10000 inches"),
        ({"paperHeight": 1e-9, "marginLeft": 0}, "paperHeight: must be a number from 0.001 to 10000 inches"),
        ({"marginTop": -1}, "marginTop: must be a number from 0 to 10000 inches"),
        ({"scale": 0}, "scale: must be a number from 0.1 to 2"),
    ],
)
def test_errors_about_paper_name_range_and_unit(params: dict[str, Any], text: str) -> None:
    assert decide(cdp("Page.printToPDF", params, "S-PAGE"), session_scope(), Options()) == Refuse(-32602, text)


def test_common_paper_sizes_pass() -> None:
    for width, height in ((8.5, 11), (8.27, 11.7), (2.25, 1.25), (0.5, 0.5), (8.5, 1500)):
        params = {"paperWidth": width, "paperHeight": height, "marginTop": 0.4, "marginLeft": 0, "scale": 1}
        assert decide(cdp("Page.printToPDF", params, "S-PAGE"), session_scope(), Options()) == Pass()
    assert decide(cdp("Page.printToPDF", {}, "S-PAGE"), session_scope(), Options()) == Pass()


def test_each_side_of_a_window_is_limited_by_itself() -> None:
    for size in ({"width": 65536}, {"height": 65536}):
        for method, params in (
            ("Browser.setContentsSize", {"windowId": 7, **size}),
            ("Browser.setWindowBounds", {"windowId": 7, "bounds": size}),
            ("Target.createTarget", {"url": "about:blank", **size}),
            ("Emulation.setDeviceMetricsOverride", {"width": 0, "height": 0, "deviceScaleFactor": 1, **size}),
        ):
            decision = decide(cdp(method, params, "S-PAGE"), session_scope(), Options())
            assert isinstance(decision, Refuse), method
            assert decision.code == -32602


def test_values_of_other_types_are_left_to_chromium() -> None:
    shapes: list[Any] = [5, [], {}]
    for posture in shapes:
        assert out_of_bounds("Emulation.setDeviceMetricsOverride", {"devicePosture": posture}) is None
