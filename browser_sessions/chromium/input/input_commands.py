"""Translates viewers' input messages to CDP commands, validated and clamped. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from browser_sessions.chromium.input.key_codes import virtual_key
from browser_sessions.domain.errors import InvalidField
from browser_sessions.domain.limits import URL_CHARACTERS
from browser_sessions.domain.paste_keys import ALT, CONTROL, META, pastes
from browser_sessions.domain.text import valid
from browser_sessions.domain.urls import REFUSED, may_open, normalise

Command = tuple[str, dict[str, Any]]
Message = Mapping[str, Any]

TEXT_CHARACTERS: Final = 100_000
"""Limit of one paste: a long document. More would keep the page busy for seconds."""
UNBOUNDED: Final = 100_000.0
"""CSS pixels: beyond the largest viewport (8192)."""
MAX_CLICKS: Final = 1000
"""Clicks in a row: browsers count on beyond a triple click."""
MAX_TOUCHES: Final = 10
"""Touch points: ten fingers."""
NAME_CHARACTERS: Final = 32
"""Length of a key's name: the longest in UI Events has 27."""

_MOUSE: Final = {"move": "mouseMoved", "down": "mousePressed", "up": "mouseReleased"}
_BUTTONS: Final = frozenset({"none", "left", "middle", "right", "back", "forward"})
_TOUCH: Final = {"start": "touchStart", "move": "touchMove", "end": "touchEnd", "cancel": "touchCancel"}
_KEYPAD: Final = 3
"""`KeyboardEvent.location` of the keypad."""


def commands(message: Message, width: float = UNBOUNDED, height: float = UNBOUNDED) -> list[Command]:
    """The CDP commands for one message, for a viewport of `width` x `height` CSS pixels. Raises `InvalidField`."""
    kind = message.get("type")
    make = _MAKERS.get(kind) if isinstance(kind, str) else None
    if make is None:
        raise InvalidField(("type",), f"must be one of {', '.join(sorted(_MAKERS))}")
    return make(message, width, height)


def _mouse(message: Message, width: float, height: float) -> list[Command]:
    action = _one_of(message, "action", _MOUSE)
    button = message.get("button", "none")
    if not isinstance(button, str) or button not in _BUTTONS:
        raise InvalidField(("button",), f"must be one of {', '.join(sorted(_BUTTONS))}")
    params = {
        "type": _MOUSE[action],
        "x": _number(message, "x", 0.0, width - 1),
        "y": _number(message, "y", 0.0, height - 1),
        "button": button,
        "buttons": _integer(message, "buttons", 31),
        "modifiers": _integer(message, "modifiers", 15),
        "clickCount": _integer(message, "click_count", MAX_CLICKS),
        "pointerType": "mouse",
    }
    return [("Input.dispatchMouseEvent", params)]


def _wheel(message: Message, width: float, height: float) -> list[Command]:
    params = {
        "type": "mouseWheel",
        "x": _number(message, "x", 0.0, width - 1),
        "y": _number(message, "y", 0.0, height - 1),
        "deltaX": _number(message, "dx", -UNBOUNDED, UNBOUNDED),
        "deltaY": _number(message, "dy", -UNBOUNDED, UNBOUNDED),
        "modifiers": _integer(message, "modifiers", 15),
        "pointerType": "mouse",
    }
    return [("Input.dispatchMouseEvent", params)]


def _key(message: Message, _width: float, _height: float) -> list[Command]:
    down = _one_of(message, "action", {"down", "up"}) == "down"
    key, code = _text(message, "key", NAME_CHARACTERS), _text(message, "code", NAME_CHARACTERS)
    modifiers = _integer(message, "modifiers", 15)
    location = _integer(message, "location", 3)
    text = _typed(key, _text(message, "text", NAME_CHARACTERS), modifiers) if down else ""
    number = virtual_key(code, key)
    if pastes(key, code, number, modifiers):
        return []  # the console sends what the person pastes as text
    params = {
        "type": ("keyDown" if text else "rawKeyDown") if down else "keyUp",
        "key": key,
        "code": code,
        "modifiers": modifiers,
        "windowsVirtualKeyCode": number,
        "nativeVirtualKeyCode": number,
        "location": location if location != _KEYPAD else 0,
        "isKeypad": location == _KEYPAD,
        "autoRepeat": message.get("repeat") is True,
    }
    if text:
        params |= {"text": text, "unmodifiedText": text}
    return [("Input.dispatchKeyEvent", params)]


def _typed(key: str, text: str, modifiers: int) -> str:
    """The text that the key enters: none for a shortcut. AltGr is reported as Control and Alt, and does enter text."""
    shortcut = bool(modifiers & META) or bool(modifiers & CONTROL) is not bool(modifiers & ALT)
    if shortcut:
        return ""
    if key == "Enter":
        return "\r"
    return text or (key if len(key) == 1 else "")


def _insert(message: Message, _width: float, _height: float) -> list[Command]:
    text = _text(message, "text", TEXT_CHARACTERS)
    return [("Input.insertText", {"text": text})] if text else []


def _touch(message: Message, width: float, height: float) -> list[Command]:
    action = _one_of(message, "action", _TOUCH)
    points = message.get("points", [])
    if not isinstance(points, Sequence) or isinstance(points, str) or len(points) > MAX_TOUCHES:
        raise InvalidField(("points",), f"must be a list of at most {MAX_TOUCHES} points")
    touch_points: list[dict[str, Any]] = []
    if action in ("start", "move"):  # Chromium expects no points for end and cancel
        for point in points:
            if not isinstance(point, Mapping):
                raise InvalidField(("points",), "must hold objects with x, y and id")
            touch_points.append(
                {
                    "x": _number(point, "x", 0.0, width - 1),
                    "y": _number(point, "y", 0.0, height - 1),
                    "id": _integer(point, "id", 2**31 - 1),
                }
            )
        if not touch_points:
            raise InvalidField(("points",), "must hold at least one point")
    return [("Input.dispatchTouchEvent", {"type": _TOUCH[action], "touchPoints": touch_points})]


def _navigate(message: Message, _width: float, _height: float) -> list[Command]:
    url = _text(message, "url", URL_CHARACTERS)
    if not may_open(url):
        raise InvalidField(("url",), REFUSED)
    return [("Page.navigate", {"url": normalise(url)})]


def _reload(_message: Message, _width: float, _height: float) -> list[Command]:
    return [("Page.reload", {})]


def _dialog(message: Message, _width: float, _height: float) -> list[Command]:
    params: dict[str, Any] = {"accept": message.get("accept") is True}
    if message.get("text") is not None:
        params["promptText"] = _text(message, "text", TEXT_CHARACTERS)
    return [("Page.handleJavaScriptDialog", params)]


_MAKERS: Final[dict[str, Callable[[Message, float, float], list[Command]]]] = {
    "mouse": _mouse,
    "wheel": _wheel,
    "key": _key,
    "text": _insert,
    "touch": _touch,
    "navigate": _navigate,
    "reload": _reload,
    "dialog": _dialog,
}


def _one_of(message: Message, name: str, allowed: Mapping[str, Any] | set[str]) -> str:
    value = message.get(name)
    if not isinstance(value, str) or value not in allowed:
        raise InvalidField((name,), f"must be one of {', '.join(sorted(allowed))}")
    return value


def _number(message: Message, name: str, least: float, most: float) -> float:
    """A finite number, clamped to the range: a pointer that leaves the image stays at its edge."""
    value = message.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidField((name,), "must be a finite number")
    return min(max(float(value), least), max(least, most))


def _integer(message: Message, name: str, most: int) -> int:
    value = message.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise InvalidField((name,), f"must be a whole number from 0 to {most}")
    return value


def _text(message: Message, name: str, most: int) -> str:
    value = message.get(name, "")
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > most:
        raise InvalidField((name,), f"must be text of at most {most} characters")
    return valid(value)
