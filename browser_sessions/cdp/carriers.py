"""Sessions on new targets that Chromium itself has attached, kept ready for the clients that want them.

What a session says to a page that is about to load reaches the page only after it has, unless Chromium attached the
session by itself when the page was made (seen with Chromium 156, windows without an opener): init scripts and options
would come too late. A client's own auto-attach would attach it to every page of the browser. So a few browser sessions
of ours, the carriers, auto-attach to everything, and each new target has a session of each carrier: clients are handed
those. What nobody takes stays on a page, since the end of any session takes emulated media and network conditions off
it, and is detached from a worker, which would not end otherwise, once that runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from browser_sessions.cdp.cdp_session import BrowserSession, OnAnswer, Session
from browser_sessions.cdp.pauses import Pauses

CALL_S: Final = 5.0
"""For calls that Chromium's browser process answers by itself in a millisecond."""
_AUTO_ATTACH: Final[Mapping[str, Any]] = {
    "autoAttach": True,
    "waitForDebuggerOnStart": True,
    "flatten": True,
    "filter": [{"type": "page"}, {"type": "service_worker"}, {"type": "shared_worker"}, {"exclude": True}],
}


class Carriers:
    """Of one browser."""

    def __init__(self, root: Session, pauses: Pauses) -> None:
        self._root = root
        self._pauses = pauses
        self._carriers: list[Session] = []
        self._free: dict[str, list[tuple[Session, dict[str, Any]]]] = {}
        """By target: the carrier, and what Chromium told it of the attach."""
        self._asked: dict[str, list[tuple[BrowserSession, Callable[[], None]]]] = {}
        """By target: who is to be handed a session, and what is done when there is none."""
        self._lent: dict[str, tuple[Session, BrowserSession]] = {}
        """By session: what detaches it, and whose it is."""

    def __len__(self) -> int:
        return len(self._carriers)

    def __repr__(self) -> str:
        return f"<Carriers {len(self._carriers)}, {len(self._lent)} sessions lent>"

    async def add(self) -> None:
        """One more. Raises `CdpError`, `CdpClosed`, `TimeoutError`."""
        answer = await self._root.call("Target.attachToBrowserTarget", timeout=CALL_S)
        carrier = Session(self._root.connection, answer["sessionId"])
        carrier.on("Target.attachedToTarget", lambda params: self._attached(carrier, params))
        carrier.on("Target.detachedFromTarget", self._detached)
        self._carriers.append(carrier)
        await carrier.call("Target.setAutoAttach", _AUTO_ATTACH, timeout=CALL_S)

    def borrow(self, target_id: str, borrower: BrowserSession, otherwise: Callable[[], None]) -> None:
        """Hands a session on a new target to a client, now or in a moment. `otherwise` is called when there is none."""
        free = self._free.get(target_id)
        if free:
            self._hand_over(*free.pop(0), borrower)
        elif target_id not in self._pauses or not self._carriers:
            otherwise()
        else:
            waiting = self._asked.get(target_id)
            if waiting is None:
                waiting = self._asked[target_id] = []
                self._pauses.once_running(target_id, lambda: self._too_late(target_id))
            waiting.append((borrower, otherwise))

    def give_back(self, session_id: str, on_answer: OnAnswer | None = None) -> None:
        """The client does not want it any more."""
        lent = self._lent.get(session_id)
        if lent is not None:
            lent[0].post("Target.detachFromTarget", {"sessionId": session_id}, on_answer)

    def _attached(self, carrier: Session, params: dict[str, Any]) -> None:
        session_id, target_id = params["sessionId"], params["targetInfo"]["targetId"]
        if not params.get("waitingForDebugger"):
            _leave(carrier, params)  # it was there before the carrier
            return
        if not self._pauses.held_by(target_id, session_id):
            carrier.post("Runtime.runIfWaitingForDebugger", session_id=session_id)
            _leave(carrier, params)
            return
        asked = self._asked.get(target_id)
        if asked:
            borrower, _ = asked.pop(0)
            self._hand_over(carrier, params, borrower)
            return
        free = self._free.get(target_id)
        if free is None:
            free = self._free[target_id] = []
            self._pauses.once_running(target_id, lambda: self._drop(target_id))
        free.append((carrier, params))

    def _hand_over(self, carrier: Session, params: dict[str, Any], borrower: BrowserSession) -> None:
        self._lent[params["sessionId"]] = carrier, borrower
        borrower.lend(params)

    def _too_late(self, target_id: str) -> None:
        for _, otherwise in self._asked.pop(target_id, ()):
            otherwise()

    def _drop(self, target_id: str) -> None:
        for carrier, params in self._free.pop(target_id, ()):
            _leave(carrier, params)

    def _detached(self, params: dict[str, Any]) -> None:
        lent = self._lent.pop(params["sessionId"], None)
        if lent is not None:
            lent[1].lent_gone(params)


def _leave(carrier: Session, params: Mapping[str, Any]) -> None:
    """Nobody needs this session."""
    if params["targetInfo"]["type"] != "page":
        carrier.post("Target.detachFromTarget", {"sessionId": params["sessionId"]})
