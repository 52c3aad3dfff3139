"""Windows virtual key codes by `KeyboardEvent.code`, by which Chromium recognises keys such as Backspace and the
arrows.

Source of the numbers: https://learn.microsoft.com/windows/win32/inputdev/virtual-key-codes; of the names:
https://www.w3.org/TR/uievents-code/.
"""

from __future__ import annotations

from typing import Final

_NAMED: Final = {
    "Backspace": 8,
    "Tab": 9,
    "Enter": 13,
    "NumpadEnter": 13,
    "ShiftLeft": 16,
    "ShiftRight": 16,
    "ControlLeft": 17,
    "ControlRight": 17,
    "AltLeft": 18,
    "AltRight": 18,
    "Pause": 19,
    "CapsLock": 20,
    "Escape": 27,
    "Space": 32,
    "PageUp": 33,
    "PageDown": 34,
    "End": 35,
    "Home": 36,
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
    "PrintScreen": 44,
    "Insert": 45,
    "Delete": 46,
    "MetaLeft": 91,
    "MetaRight": 92,
    "ContextMenu": 93,
    "NumpadMultiply": 106,
    "NumpadAdd": 107,
    "NumpadSubtract": 109,
    "NumpadDecimal": 110,
    "NumpadDivide": 111,
    "NumLock": 144,
    "ScrollLock": 145,
    "Semicolon": 186,
    "Equal": 187,
    "Comma": 188,
    "Minus": 189,
    "Period": 190,
    "Slash": 191,
    "Backquote": 192,
    "BracketLeft": 219,
    "Backslash": 220,
    "BracketRight": 221,
    "Quote": 222,
    "IntlBackslash": 226,
}
_BY_CODE: Final = (
    _NAMED
    | {f"Key{letter}": ord(letter) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
    | {f"Digit{digit}": ord("0") + digit for digit in range(10)}
    | {f"Numpad{digit}": 96 + digit for digit in range(10)}
    | {f"F{number}": 111 + number for number in range(1, 25)}
)


def virtual_key(code: str, key: str) -> int:
    """The code for the physical key, else (on-screen keyboards send none) for the key's meaning; 0 if unknown."""
    if code in _BY_CODE:
        return _BY_CODE[code]
    if len(key) == 1 and key.isascii() and key.isalnum():
        return ord(key.upper())
    return _BY_CODE.get({"Shift": "ShiftLeft", "Control": "ControlLeft", "Alt": "AltLeft"}.get(key, key), 0)
