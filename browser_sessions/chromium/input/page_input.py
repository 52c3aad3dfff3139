"""What a hand does to one page: put in in its order, known until Chromium has answered, and let go of.

Chromium answers input when the page has taken it. A page that is busy takes it later than anybody waits for, but take
it it will: so what was not answered is remembered, for whoever gives the page to somebody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from browser_sessions.cdp import CdpError, Session
from browser_sessions.chromium.input.input_commands import Command, commands
from browser_sessions.chromium.page_session import ask
from browser_sessions.domain.errors import BrowserTimeout, InvalidField, PageFailed
from browser_sessions.domain.urls import may_open

LONGEST_S: Final = 60.0
"""A page that has not taken an input by then is taken to have lost it."""
OUTSIDE: Final = -1.0
"""A place outside the page: a button that is let go of there clicks nothing."""


class PageHands:
    """One page's. `attached` gives the page's session within so many seconds."""

    def __init__(self, attached: Callable[[float], Awaitable[Session]]) -> None:
        self._attached = attached
        self._pressed: dict[str, Command] = {}
        """What lets go of each key, button and finger that is down."""
        self._under_way: set[asyncio.Task[dict[str, Any]]] = set()

    async def do(self, message: Mapping[str, Any], width: float, height: float, *, timeout: float) -> None:
        """As `chromium.ports.Screen.do`, for a page of so many CSS pixels."""
        async with asyncio.timeout(timeout) as deadline:
            try:
                if message.get("type") == "go":
                    todo = await self._go(message, timeout)
                else:
                    todo = commands(message, width, height)
                session = await self._attached(timeout)
                for command in todo:
                    answer = await asyncio.shield(self._begin(session, command))
                    if answer.get("errorText"):
                        raise PageFailed(f"The page could not be opened: {answer['errorText']}")
            except CdpError as error:
                raise PageFailed(error.message) from None
            except TimeoutError:
                if deadline.expired():
                    raise BrowserTimeout(f"The page did not answer within {timeout:g} s.") from None
                raise

    async def let_go(self, *, timeout: float) -> None:
        """As `chromium.ports.Screen.let_go`."""
        pressed, self._pressed = self._pressed, {}
        begun = set(self._under_way)
        if pressed:
            session = await self._attached(timeout)
            begun |= {self._begin(session, command) for command in pressed.values()}
        if begun:
            await asyncio.wait(begun, timeout=timeout)

    def _begin(self, session: Session, command: Command) -> asyncio.Task[dict[str, Any]]:
        note(self._pressed, command)
        method, params = command
        sending = asyncio.create_task(ask(session, method, params, timeout=LONGEST_S), name="hand")
        self._under_way.add(sending)
        sending.add_done_callback(self._answered)
        return sending

    def _answered(self, sending: asyncio.Task[dict[str, Any]]) -> None:
        self._under_way.discard(sending)
        if not sending.cancelled():
            sending.exception()  # read: who waited has gone, or was told

    async def _go(self, message: Mapping[str, Any], timeout: float) -> list[Command]:
        delta = message.get("delta")
        if delta not in (-1, 1):
            raise InvalidField(("delta",), "must be -1 (back) or 1 (forward)")
        session = await self._attached(timeout)
        history = await ask(session, "Page.getNavigationHistory", timeout=timeout)
        place = history["currentIndex"] + delta
        if not 0 <= place < len(history["entries"]) or not may_open(history["entries"][place]["url"]):
            return []
        return [("Page.navigateToHistoryEntry", {"entryId": history["entries"][place]["id"]})]


def note(pressed: dict[str, Command], command: Command) -> None:
    """Enters into `pressed` what would let go of what `command` presses, and strikes out what it lets go of."""
    method, params = command
    kind = params.get("type")
    if method == "Input.dispatchMouseEvent":
        button = f"button {params.get('button')}"
        if kind == "mousePressed":
            away = {"type": "mouseReleased", "x": OUTSIDE, "y": OUTSIDE, "buttons": 0, "clickCount": 0}
            pressed[button] = method, params | away
        elif kind == "mouseReleased":
            pressed.pop(button, None)
    elif method == "Input.dispatchKeyEvent":
        key = f"key {params['code'] or params['key']}"
        if kind == "keyUp":
            pressed.pop(key, None)
        else:
            written = ("text", "unmodifiedText", "autoRepeat")
            up = {name: value for name, value in params.items() if name not in written}
            pressed[key] = method, up | {"type": "keyUp", "modifiers": 0}
    elif method == "Input.dispatchTouchEvent":
        if kind in ("touchStart", "touchMove"):
            pressed["fingers"] = method, {"type": "touchCancel", "touchPoints": []}
        else:
            pressed.pop("fingers", None)
