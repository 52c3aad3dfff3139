"""Keys that paste. All contexts of a browser share one clipboard: pasting would insert what another session copied."""

from __future__ import annotations

from typing import Final

ALT, CONTROL, META, SHIFT = 1, 2, 4, 8
"""Bits of `modifiers` of the CDP's input commands."""
_VK_V: Final = 86
_VK_INSERT: Final = 45


def pastes(key: str, code: str, virtual_key: float, modifiers: int) -> bool:
    """Whether a key pastes. On headless shell 156 Ctrl+V (with Shift too), Shift+Insert and the Paste key do; Meta+V
    and the control character do not."""
    held = (virtual_key == _VK_V and modifiers & CONTROL) or (virtual_key == _VK_INSERT and modifiers & SHIFT)
    return bool(held) or "paste" in (key.lower(), code.lower())
