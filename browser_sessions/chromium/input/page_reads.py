"""What a person needs from a page beside its picture: the selected text, and the pop-up of a form control, which
Chromium draws outside the page, so that no frame shows it. Read in a world of our own, so that no script of the page
interferes. Frames of other sites are not read."""

from __future__ import annotations

import json
from typing import Any, Final

from browser_sessions.cdp import CdpError, Session
from browser_sessions.chromium.page_session import call
from browser_sessions.domain.errors import InvalidField, PageFailed
from browser_sessions.domain.text import valid

COPY_CHARACTERS: Final = 1_000_000
"""Limit of one copy; no document that a person reads is longer."""
OPTIONS: Final = 1000
"""Options of a `<select>` that are sent; nobody scrolls through more."""

_WORLD: Final = "browser-sessions"
_FOCUSED: Final = """
let focused = document.activeElement;
let left = -(visualViewport?.offsetLeft ?? 0), top = -(visualViewport?.offsetTop ?? 0);
for (;;) {
  if (focused?.shadowRoot?.activeElement) focused = focused.shadowRoot.activeElement;
  else if (focused?.contentDocument?.activeElement) {
    const frame = focused.getBoundingClientRect();
    left += frame.left + focused.clientLeft;
    top += frame.top + focused.clientTop;
    focused = focused.contentDocument.activeElement;
  } else break;
}"""
"""Sets `focused` to the element with the focus, in shadow trees and frames too, and `left`, `top` to its frame's
place."""
_SELECTED: Final = """
  if (focused?.type !== "password" && typeof focused?.selectionStart === "number") {
    const part = focused.value.slice(focused.selectionStart, focused.selectionEnd);
    if (part) return part;
  }
  return String(focused?.ownerDocument.getSelection() ?? "") || String(getSelection() ?? "");
"""
_OPENED: Final = """
  if (!focused?.matches("select:open, input:open")) return null;
  const box = focused.getBoundingClientRect();
  const place = { x: left + box.left, y: top + box.top, width: box.width, height: box.height };
  if (focused.localName === "input") {
    const { type: element, value, min, max, step } = focused;
    if (!/^(color|date|datetime-local|month|time|week)$/.test(element)) return null;
    return { element, value, min, max, step, ...place };
  }
  const options = [...focused.options].slice(0, OPTIONS).map((option) => {
    const group = option.closest("optgroup");
    return {
      label: (option.label || option.text).slice(0, 200), group: group?.label.slice(0, 200) ?? null,
      disabled: option.disabled || Boolean(group?.disabled),
    };
  });
  return { element: "select", options, selected: focused.selectedIndex, ...place };
""".replace("OPTIONS", str(OPTIONS))
_CHOOSE: Final = """
  const option = focused?.localName === "select" ? focused.options[choice] : null;
  if (option && !option.disabled) focused.selectedIndex = choice;
  else if (focused?.localName === "input" && typeof choice === "string") focused.value = choice;
  else return;
  focused.dispatchEvent(new Event("input", { bubbles: true, composed: true }));
  focused.dispatchEvent(new Event("change", { bubbles: true }));
"""
_ESCAPE: Final = {"key": "Escape", "code": "Escape", "windowsVirtualKeyCode": 27}


async def selected_text(session: Session, page_id: str, *, timeout: float) -> str:
    """Raises `PageFailed`, and as `page_session.call`."""
    text = await _evaluate(session, page_id, _SELECTED, timeout)
    if not isinstance(text, str):
        return ""
    if len(text) > COPY_CHARACTERS:
        raise PageFailed(f"The selection has more than {COPY_CHARACTERS} characters. Copy it in parts.")
    return valid(text)


async def open_picker(session: Session, page_id: str, *, timeout: float) -> dict[str, Any] | None:
    """The pop-up of the focused control, if it is open (docs/live.md). Raises as `selected_text`."""
    found = await _evaluate(session, page_id, _OPENED, timeout)
    return found if isinstance(found, dict) else None


async def choose(session: Session, page_id: str, choice: Any, *, timeout: float) -> None:
    """Closes the pop-up of the focused control, if one is open. `choice`: the index of an option, or an input's value;
    None chooses nothing. Raises `InvalidField`, and as `selected_text`."""
    if choice is not None and (isinstance(choice, bool) or not isinstance(choice, int | str) or len(str(choice)) > 100):
        raise InvalidField(("choice",), "must be the index of an option, or a value")
    if await open_picker(session, page_id, timeout=timeout) is None:
        return  # the focus may be elsewhere by now
    for kind in ("rawKeyDown", "keyUp"):
        await call(session, "Input.dispatchKeyEvent", {"type": kind, **_ESCAPE}, timeout=timeout)
    if choice is not None:
        await _evaluate(session, page_id, f"const choice = {json.dumps(choice)};{_CHOOSE}", timeout)


async def _evaluate(session: Session, page_id: str, body: str, timeout: float) -> Any:
    """What `body` returns, a function's that knows `focused`, `left` and `top`."""
    expression = f"(() => {{{_FOCUSED}\n{body}}})()"
    try:
        frame = {"frameId": page_id, "worldName": _WORLD}  # the id of a page's main frame is the page's
        world = await call(session, "Page.createIsolatedWorld", frame, timeout=timeout)
        asked = {"expression": expression, "contextId": world["executionContextId"], "returnByValue": True}
        answer = await call(session, "Runtime.evaluate", asked, timeout=timeout)
    except CdpError as error:
        raise PageFailed(error.message) from None
    if "exceptionDetails" in answer:
        raise PageFailed("The page could not be read.")
    return answer["result"].get("value")
