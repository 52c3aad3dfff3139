"""One client at one page, as Chromium's own DevTools wants it: messages without a `sessionId` are that page's.

The page is attached to on the client's own upstream under a CDP session that the client never hears of. Its commands
are decided on as commands on that session, so at page level; what comes from it loses its `sessionId`. Sessions below
it (frames, workers) pass as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from browser_sessions.gateway.contexts import shown
from browser_sessions.gateway.message import Command, decode
from browser_sessions.gateway.relay import Relay
from browser_sessions.gateway.scope import Event
from browser_sessions.model.errors import BrowserGone, PageNotFound

ATTACH_TIMEOUT_S: Final = 5.0
"""For two calls that Chromium's browser process answers by itself in a millisecond."""


class PageRelay(Relay):
    """A relay whose client stands at one page's root. `attach` comes before the client's transport."""

    _root = ""
    """The hidden CDP session. Set before the client can say anything."""
    _tail = b""
    """How Chromium ends a message of that session: it puts the id last, and inside a string its quotes would be
    escaped."""

    async def attach(self, page_id: str) -> None:
        """Raises `PageNotFound` when the session has no such page, `BrowserGone`."""
        self._upstream.start(self, whole=True)
        missing = PageNotFound(self.live.session.session_id, page_id)
        try:
            async with asyncio.timeout(ATTACH_TIMEOUT_S):
                told = await self._asked("Target.getTargetInfo", {"targetId": page_id})
                info: Mapping[str, Any] = (told or {}).get("targetInfo", {})
                if info.get("type") != "page" or not shown(info):
                    raise missing
                if not self.room.contexts.holds(info.get("browserContextId")):
                    raise missing
                self.scope.attaching(page_id, None, automatic=False, waiting=page_id in self.hub.holds)
                attached = await self._asked("Target.attachToTarget", {"targetId": page_id, "flatten": True})
        except TimeoutError as error:
            raise BrowserGone("The browser does not answer.") from error
        if attached is None or self.scope.session(attached["sessionId"]) is None:
            raise missing
        self._root = attached["sessionId"]
        self._tail = b',"sessionId":"%b"}' % self._root.encode()

    def begin(self) -> None:
        """It has begun: nothing is enabled yet, so nothing came."""

    def emit(self, told: Event) -> None:
        if told.session_id is None:  # the client is at no browser's level
            if told.method == "Target.detachedFromTarget" and told.params.get("sessionId") == self._root:
                super().emit(Event("Inspector.detached", {"reason": "target_closed"}))
                self.downstream.close(1000, "the page was closed")
            return
        super().emit(replace(told, session_id=None) if told.session_id == self._root else told)

    def pass_on(self, payload: bytes) -> None:
        if payload.endswith(self._tail):
            payload = payload[: -len(self._tail)] + b"}"
        super().pass_on(payload)

    def _decode(self, payload: bytes) -> Command:
        command = decode(payload)
        return replace(command, session_id=self._root) if command.session_id is None else command

    def _named(self, session_id: str | None) -> str | None:
        return None if session_id == self._root else session_id

    async def _asked(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The result of a call of our own, None for an error."""
        answer: asyncio.Future[Mapping[str, Any] | None] = asyncio.get_running_loop().create_future()
        self.call(method, params, None, _into(answer))
        return await answer


def _into(
    answer: asyncio.Future[Mapping[str, Any] | None],
) -> Callable[[Mapping[str, Any] | None, Mapping[str, Any] | None], None]:
    def on_answer(value: Mapping[str, Any] | None, _error: Mapping[str, Any] | None) -> None:
        if not answer.done():
            answer.set_result(value)

    return on_answer
