"""An operator's input as CDP commands: validated and clamped to the viewport."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browser_sessions.chromium.input.input_commands import UNBOUNDED, commands
from browser_sessions.chromium.screencast.screencast_frame import jpeg_size
from browser_sessions.domain.errors import InvalidField


def one(**message: Any) -> tuple[str, dict[str, Any]]:
    [command] = commands(message, 1280, 720)
    return command


def test_a_click_has_its_position_and_button() -> None:
    method, params = one(
        type="mouse", action="down", x=10.5, y=20, button="left", buttons=1, modifiers=8, click_count=2
    )
    assert method == "Input.dispatchMouseEvent"
    assert params == {
        "type": "mousePressed",
        "x": 10.5,
        "y": 20.0,
        "button": "left",
        "buttons": 1,
        "modifiers": 8,
        "clickCount": 2,
        "pointerType": "mouse",
    }


def test_clicks_in_a_row_are_counted_beyond_three() -> None:
    _, params = one(type="mouse", action="down", x=1, y=1, button="left", buttons=1, click_count=25)
    assert params["clickCount"] == 25


@pytest.mark.parametrize(
    ("x", "y", "where"), [(-5, -5, (0, 0)), (5000, 5000, (1279, 719)), (1279.5, 3, (1279, 3)), (0, 719, (0, 719))]
)
def test_positions_outside_the_viewport_are_clamped(x: float, y: float, where: tuple[float, float]) -> None:
    _, params = one(type="mouse", action="move", x=x, y=y)
    assert (params["x"], params["y"]) == where


@pytest.mark.parametrize(
    ("message", "kind", "text", "number"),
    [
        ({"key": "a", "code": "KeyA", "text": "a"}, "keyDown", "a", 65),
        ({"key": "a", "code": "KeyA"}, "keyDown", "a", 65),
        ({"key": "A", "code": "KeyA", "text": "A", "modifiers": 8}, "keyDown", "A", 65),
        ({"key": "ß", "code": "Minus", "text": "ß"}, "keyDown", "ß", 189),
        ({"key": "Enter", "code": "Enter"}, "keyDown", "\r", 13),
        ({"key": "Enter", "code": "", "text": ""}, "keyDown", "\r", 13),
        ({"key": "Backspace", "code": "Backspace", "text": ""}, "rawKeyDown", None, 8),
        ({"key": "ArrowLeft", "code": "ArrowLeft"}, "rawKeyDown", None, 37),
        ({"key": "a", "code": "KeyA", "text": "a", "modifiers": 2}, "rawKeyDown", None, 65),
        ({"key": "c", "code": "KeyC", "text": "c", "modifiers": 4}, "rawKeyDown", None, 67),
        ({"key": "@", "code": "KeyQ", "text": "@", "modifiers": 3}, "keyDown", "@", 81),
        ({"key": "Shift", "code": "ShiftLeft", "modifiers": 8}, "rawKeyDown", None, 16),
        ({"key": "7", "code": "", "text": "7"}, "keyDown", "7", 55),
        ({"key": "F5", "code": "F5"}, "rawKeyDown", None, 116),
    ],
)
def test_keys_are_dispatched_with_their_text(message: dict[str, Any], kind: str, text: str | None, number: int) -> None:
    _, params = one(type="key", action="down", **message)
    assert params["type"] == kind
    assert params.get("text") == text
    assert params["windowsVirtualKeyCode"] == number
    _, params = one(type="key", action="up", **message)
    assert params["type"] == "keyUp"
    assert "text" not in params


def test_keypad_keys_are_marked() -> None:
    _, params = one(type="key", action="down", key="1", code="Numpad1", text="1", location=3)
    assert params["isKeypad"] is True
    assert params["windowsVirtualKeyCode"] == 97


def test_touch_points_are_clamped() -> None:
    _, params = one(type="touch", action="start", points=[{"x": 1, "y": 2, "id": 0}, {"x": 9999, "y": 2, "id": 1}])
    assert params["touchPoints"] == [{"x": 1, "y": 2, "id": 0}, {"x": 1279, "y": 2, "id": 1}]
    _, params = one(type="touch", action="end", points=[{"x": 1, "y": 2, "id": 0}])
    assert params == {"type": "touchEnd", "touchPoints": []}


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", " f\tile:///etc/passwd", "chrome://version", "javascript:alert(1)", "about:config", ""],
)
def test_urls_of_the_host_are_refused(url: str) -> None:
    with pytest.raises(InvalidField):
        one(type="navigate", url=url)


def test_urls_are_normalised_as_in_chromium() -> None:
    assert one(type="navigate", url=" HTTP://example.org/") == ("Page.navigate", {"url": "http://example.org/"})


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({}, "type"),
        ({"type": "exec"}, "type"),
        ({"type": ["mouse"]}, "type"),
        ({"type": "mouse", "action": "hover"}, "action"),
        ({"type": "mouse", "action": "move", "x": "1"}, "x"),
        ({"type": "mouse", "action": "move", "x": float("nan")}, "x"),
        ({"type": "mouse", "action": "move", "y": True}, "y"),
        ({"type": "mouse", "action": "down", "button": "sixth"}, "button"),
        ({"type": "mouse", "action": "down", "button": ["left"]}, "button"),
        ({"type": "mouse", "action": "down", "modifiers": 16}, "modifiers"),
        ({"type": "mouse", "action": "down", "click_count": 1001}, "click_count"),
        ({"type": "key", "action": "down", "key": "k" * 100}, "key"),
        ({"type": "key", "action": "press", "key": "a"}, "action"),
        ({"type": "text", "text": "x" * 100_001}, "text"),
        ({"type": "text", "text": 7}, "text"),
        ({"type": "touch", "action": "start", "points": "here"}, "points"),
        ({"type": "touch", "action": "start", "points": [{}] * 11}, "points"),
        ({"type": "touch", "action": "start", "points": []}, "points"),
        ({"type": "touch", "action": "start", "points": [7]}, "points"),
    ],
)
def test_an_invalid_message_is_refused_with_the_field(message: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidField) as refused:
        commands(message, 1280, 720)
    assert refused.value.loc == (field,)


names = st.sampled_from(
    ["type", "action", "x", "y", "button", "modifiers", "key", "code", "text", "points", "dx", "dy", "url", "accept"]
)
words = st.sampled_from(
    ["mouse", "wheel", "key", "text", "touch", "dialog", "reload", "navigate", "move", "down", "up"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(names, values, max_size=8), words)
def test_any_message_is_refused_or_stays_in_bounds(message: dict[str, Any], kind: str) -> None:
    try:
        todo = commands({**message, "type": kind}, 1280, 720)
    except InvalidField:
        return
    for method, params in todo:
        assert method.partition(".")[0] in ("Input", "Page")
        assert 0 <= params.get("x", 0) <= 1279
        assert 0 <= params.get("y", 0) <= 719
        assert abs(params.get("deltaY", 0)) <= UNBOUNDED


@given(st.binary(max_size=200))
def test_any_bytes_have_a_non_negative_jpeg_size(noise: bytes) -> None:
    width, height = jpeg_size(noise)
    assert width >= 0
    assert height >= 0


@pytest.mark.parametrize(
    "keys",
    [
        {"key": "v", "code": "KeyV", "modifiers": 2},
        {"key": "V", "code": "KeyV", "modifiers": 10},
        {"key": "Insert", "code": "Insert", "modifiers": 8},
        {"key": "Paste", "code": "Paste", "modifiers": 0},
    ],
)
def test_paste_keys_are_ignored_because_the_clipboard_is_shared(keys: dict[str, Any]) -> None:
    assert commands({"type": "key", "action": "down", **keys}) == []
