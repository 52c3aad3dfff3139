"""Tracking of pressed keys, buttons and touches, and the commands that release them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from browser_sessions.chromium.input.input_commands import Command, commands
from browser_sessions.chromium.input.page_input import PageInput, track_pressed
from browser_sessions.domain.errors import BrowserTimeout


def pressed(*messages: dict[str, Any]) -> list[Command]:
    down: dict[str, Command] = {}
    for message in messages:
        for command in commands(message, 1280, 720):
            track_pressed(down, command)
    return list(down.values())


def key(action: str, name: str) -> dict[str, Any]:
    return {"type": "key", "action": action, "key": name, "code": f"Key{name.upper()}", "text": name}


def mouse(action: str, button: str = "left") -> dict[str, Any]:
    return {"type": "mouse", "action": action, "x": 5, "y": 5, "button": button, "buttons": 1, "click_count": 1}


def test_released_input_is_not_pressed() -> None:
    fingers = [{"x": 1, "y": 1, "id": 1}]
    assert pressed(key("down", "a"), key("up", "a"), mouse("down"), mouse("move", "none"), mouse("up")) == []
    assert pressed({"type": "touch", "action": "start", "points": fingers}, {"type": "touch", "action": "end"}) == []
    assert pressed({"type": "wheel", "x": 1, "y": 1, "dx": 0, "dy": 5}, {"type": "text", "text": "a"}) == []


def test_a_button_is_released_outside_the_page_so_that_nothing_is_clicked() -> None:
    [(method, params)] = pressed(mouse("down"), mouse("down", "right"), mouse("up", "right"))
    assert method == "Input.dispatchMouseEvent"
    assert (params["type"], params["button"], params["buttons"]) == ("mouseReleased", "left", 0)
    assert params["x"] < 0
    assert params["y"] < 0


def test_a_key_is_released_without_text() -> None:
    [(_, params)] = pressed(key("down", "a"), key("down", "a"))
    assert (params["type"], params["key"], params["code"], params["windowsVirtualKeyCode"]) == (
        "keyUp",
        "a",
        "KeyA",
        65,
    )
    assert not {"text", "unmodifiedText", "autoRepeat"} & params.keys()


def test_touches_are_cancelled() -> None:
    [(_, params)] = pressed({"type": "touch", "action": "start", "points": [{"x": 1, "y": 1, "id": 1}]})
    assert params == {"type": "touchCancel", "touchPoints": []}


async def test_an_input_that_the_page_does_not_process_in_time_is_a_browser_timeout() -> None:
    processed = asyncio.Event()

    async def call(*_: Any, **__: Any) -> dict[str, Any]:
        await processed.wait()
        return {}

    async def attached(_: float) -> Any:
        return SimpleNamespace(call=call)

    page = PageInput(attached)
    with pytest.raises(BrowserTimeout):
        await page.dispatch(key("down", "a"), 1280, 720, timeout=0.01)
    processed.set()
    await page.release(timeout=1)
