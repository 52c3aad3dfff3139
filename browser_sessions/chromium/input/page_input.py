"""Sends input to one page in order, and releases pressed keys, buttons and touches.

Chromium responds to an input command when the page has processed it. A busy page may do so after the caller's timeout,
so commands without a response are tracked: control of the page must not pass on before they are processed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from browser_sessions.cdp import CdpError, Session
from browser_sessions.chromium.input.input_commands import Command, commands
from browser_sessions.chromium.page_session import call
from browser_sessions.domain.errors import BrowserTimeout, DownloadStarted, InvalidField, PageFailed
from browser_sessions.domain.urls import may_open

RESPONSE_S: Final = 60.0
"""Input that a page has not processed after this long counts as lost."""
OUTSIDE: Final = -1.0
"""A coordinate outside the page: a button released there does not click."""


class PageInput:
    """The input of one page. `attached` returns the page's session within the given seconds."""

    def __init__(self, attached: Callable[[float], Awaitable[Session]]) -> None:
        self._attached = attached
        self._pressed: dict[str, Command] = {}
        """The command that releases each pressed key, button and touch."""
        self._pending: set[asyncio.Task[dict[str, Any]]] = set()

    async def dispatch(self, message: Mapping[str, Any], width: float, height: float, *, timeout: float) -> None:
        """As `chromium.ports.Screen.dispatch_input`, for a viewport of `width` x `height` CSS pixels."""
        try:
            async with asyncio.timeout(timeout):
                if message.get("type") == "go":
                    to_send = await self._go(message, timeout)
                else:
                    to_send = commands(message, width, height)
                session = await self._attached(timeout)
                for command in to_send:
                    response = await asyncio.shield(self._send(session, command))
                    if response.get("isDownload"):
                        raise DownloadStarted("The address is a file, which is downloaded.")
                    if response.get("errorText"):
                        raise PageFailed(f"The page could not be opened: {response['errorText']}")
        except CdpError as error:
            raise PageFailed(error.message) from None
        except TimeoutError:
            raise BrowserTimeout(f"The page did not respond within {timeout:g} s.") from None

    async def release(self, *, timeout: float) -> None:
        """As `chromium.ports.Screen.release_input`."""
        pressed, self._pressed = self._pressed, {}
        pending = set(self._pending)
        if pressed:
            session = await self._attached(timeout)
            pending |= {self._send(session, command) for command in pressed.values()}
        if pending:
            await asyncio.wait(pending, timeout=timeout)

    def _send(self, session: Session, command: Command) -> asyncio.Task[dict[str, Any]]:
        track_pressed(self._pressed, command)
        method, params = command
        sending = asyncio.create_task(call(session, method, params, timeout=RESPONSE_S), name="input")
        self._pending.add(sending)
        sending.add_done_callback(self._done)
        return sending

    def _done(self, sending: asyncio.Task[dict[str, Any]]) -> None:
        self._pending.discard(sending)
        if not sending.cancelled():
            sending.exception()  # retrieved, because the caller may have timed out

    async def _go(self, message: Mapping[str, Any], timeout: float) -> list[Command]:
        delta = message.get("delta")
        if delta not in (-1, 1):
            raise InvalidField(("delta",), "must be -1 (back) or 1 (forward)")
        session = await self._attached(timeout)
        history = await call(session, "Page.getNavigationHistory", timeout=timeout)
        index = history["currentIndex"] + delta
        if not 0 <= index < len(history["entries"]) or not may_open(history["entries"][index]["url"]):
            return []
        return [("Page.navigateToHistoryEntry", {"entryId": history["entries"][index]["id"]})]


def track_pressed(pressed: dict[str, Command], command: Command) -> None:
    """Updates `pressed`: adds the release command for what `command` presses, removes what it releases. Pure."""
    method, params = command
    kind = params.get("type")
    if method == "Input.dispatchMouseEvent":
        button = f"button {params.get('button')}"
        if kind == "mousePressed":
            release = {"type": "mouseReleased", "x": OUTSIDE, "y": OUTSIDE, "buttons": 0, "clickCount": 0}
            pressed[button] = method, params | release
        elif kind == "mouseReleased":
            pressed.pop(button, None)
    elif method == "Input.dispatchKeyEvent":
        key = f"key {params['code'] or params['key']}"
        if kind == "keyUp":
            pressed.pop(key, None)
        else:
            down_only = ("text", "unmodifiedText", "autoRepeat")
            up = {name: value for name, value in params.items() if name not in down_only}
            pressed[key] = method, up | {"type": "keyUp", "modifiers": 0}
    elif method == "Input.dispatchTouchEvent":
        if kind in ("touchStart", "touchMove"):
            pressed["touches"] = method, {"type": "touchCancel", "touchPoints": []}
        else:
            pressed.pop("touches", None)
