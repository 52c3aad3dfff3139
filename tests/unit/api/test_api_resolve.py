"""Resolving a create request to a session spec."""

from __future__ import annotations

from typing import Any

import pytest

from browser_sessions.api.dependencies import ApiOptions
from browser_sessions.api.models.create_body import CreateBrowserSession
from browser_sessions.api.routes.session_create import digest
from browser_sessions.api.spec_resolution import resolve
from browser_sessions.domain.errors import InvalidField
from browser_sessions.domain.session_spec import SessionSpec
from tests.harness.fakes.fake_node import IPHONE

DEVICES = {"iPhone 15": IPHONE, "iPhone 15 Pro": IPHONE, "Pixel 7": IPHONE}


def spec(options: ApiOptions | None = None, **fields: Any) -> SessionSpec:
    return resolve(CreateBrowserSession(**fields), DEVICES, options or ApiOptions())


def test_an_empty_request_has_the_documented_defaults() -> None:
    assert spec() == SessionSpec()


def test_a_device_sets_its_values() -> None:
    made = spec(device="iPhone 15")
    assert (made.viewport_width, made.viewport_height) == (393, 659)
    assert (made.user_agent, made.device_scale_factor, made.is_mobile, made.has_touch) == (
        IPHONE["user_agent"],
        3,
        True,
        True,
    )


def test_explicit_values_override_the_devices_even_if_they_are_defaults() -> None:
    made = spec(device="iPhone 15", viewport_width=1280, user_agent=None)
    assert (made.viewport_width, made.viewport_height) == (1280, 659)
    assert made.user_agent is None


@pytest.mark.parametrize(("name", "near"), [("iphone 15", "'iPhone 15'"), ("Pixl 7", "'Pixel 7'"), ("zzzz", "such as")])
def test_an_unknown_device_is_refused_with_similar_names(name: str, near: str) -> None:
    with pytest.raises(InvalidField, match=near) as refusal:
        spec(device=name)
    assert refusal.value.loc == ("body", "device")


def test_omitted_limits_are_the_servers_defaults() -> None:
    options = ApiOptions(default_idle_timeout_seconds=None, default_max_lifetime_seconds=77.0)
    made = spec(options)
    assert (made.idle_timeout_seconds, made.max_lifetime_seconds) == (None, 77.0)


def test_explicit_null_limits_are_kept() -> None:
    options = ApiOptions(max_lifetime_seconds=None)
    made = spec(options, idle_timeout_seconds=None, max_lifetime_seconds=None)
    assert (made.idle_timeout_seconds, made.max_lifetime_seconds) == (None, None)


@pytest.mark.parametrize(
    ("maximum", "requested", "allowed"),
    [(60.0, 60.0, True), (60.0, 60.1, False), (60.0, None, False), (None, None, True), (None, 2_592_000.0, True)],
)
def test_a_lifetime_is_within_the_servers_maximum(
    maximum: float | None, requested: float | None, allowed: bool
) -> None:
    options = ApiOptions(max_lifetime_seconds=maximum)
    if allowed:
        assert spec(options, max_lifetime_seconds=requested).max_lifetime_seconds == requested
    else:
        with pytest.raises(InvalidField, match="at most 60"):
            spec(options, max_lifetime_seconds=requested)


def test_equivalent_bodies_have_the_same_digest() -> None:
    one: dict[str, Any] = {
        "viewport_width": 3,
        "metadata": {"a": "1", "b": "2"},
        "extra_http_headers": {"X-A": "1", "X-B": "2"},
    }
    two: dict[str, Any] = {
        "extra_http_headers": {"X-B": "2", "X-A": "1"},
        "metadata": {"b": "2", "a": "1"},
        "viewport_width": 3,
    }
    spelt_out = two | {"viewport_height": 720, "idle_timeout_seconds": 300.0, "isolation": "context", "locale": None}
    assert digest(spec(**one)) == digest(spec(**two)) == digest(spec(**spelt_out))
    assert digest(spec(**one)) != digest(spec(**two | {"viewport_width": 4}))
    cookie = {"name": "a", "value": "1", "domain": "a.test", "path": "/"}
    states = [{"cookies": [cookie], "origins": []}, {"origins": [], "cookies": [cookie | {"expires": -1}]}]
    assert len({digest(spec(storage_state=state)) for state in states}) == 1
    assert digest(spec(storage_state=states[0])) != digest(spec())


def test_a_devices_values_that_are_spelt_out_have_the_same_digest() -> None:
    values = ("viewport_width", "viewport_height", "user_agent", "device_scale_factor", "is_mobile", "has_touch")
    short = spec(device="iPhone 15")
    for name in values:
        assert digest(spec(device="iPhone 15", **{name: getattr(short, name)})) == digest(short), name
    assert digest(spec(device="iPhone 15", device_scale_factor=3)) == digest(short)
    assert digest(spec(device="iPhone 15", device_scale_factor=2)) != digest(short)


def test_clipboard_reading_requires_a_dedicated_browser() -> None:
    with pytest.raises(InvalidField, match="isolation: browser"):
        spec(permissions=["geolocation", "clipboard-read"])
    assert spec(permissions=["clipboard-read"], isolation="browser").permissions == ("clipboard-read",)
