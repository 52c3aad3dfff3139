"""A session of this node while it lives: the record, its context, and who is connected to it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Protocol

from browser_sessions.model.errors import WrongState
from browser_sessions.model.ports import ContextHandle
from browser_sessions.model.session import EndReason, Session, SessionRecord, SessionStatus
from browser_sessions.pool.fleet import Berth


class Attached(Protocol):
    """Somebody connected to a session: a CDP client, a viewer."""

    drives: bool
    """True for a client that can use the browser, False for one that only looks."""

    def session_ended(self, reason: EndReason) -> None:
        """The session is over: close the connection with the code of the reason. Called once, must not block."""


@dataclass(eq=False)
class Live:
    session: Session
    berth: Berth | None = None
    handle: ContextHandle | None = None
    attached: set[Attached] = field(default_factory=set)
    creating: asyncio.Task[Any] | None = None
    placed: bool = False
    """True from when it holds one of the node's places."""
    cancelled: bool = False
    """True once its start was told to stop: a second word would interrupt the undo."""
    ending: asyncio.Task[SessionRecord] | None = None
    saving: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Stores of one session go one after the other, so that versions follow each other."""

    def attach(self, who: Attached) -> None:
        """Raises `WrongState` when the session takes nobody (any more)."""
        require_active(self.session)
        self.attached.add(who)
        self._tell_handle()

    def detach(self, who: Attached) -> None:
        self.attached.discard(who)
        self._tell_handle()

    def dismiss(self, reason: EndReason) -> None:
        """Tells everybody who is connected that the session is over."""
        for who in list(self.attached):
            who.session_ended(reason)
        self.attached.clear()

    def _tell_handle(self) -> None:
        if self.handle is not None:
            self.handle.clients_attached = sum(who.drives for who in self.attached)
            self.handle.watched = any(not who.drives for who in self.attached)


def require_active(session: Session) -> None:
    """Raises `WrongState` unless the session can be used now."""
    if session.status is not SessionStatus.ACTIVE:
        why = f" ({session.end_reason.value})" if session.end_reason else ""
        raise WrongState(
            f"The session is {session.status.value}{why}; only an active one can be used.",
            session_id=session.session_id,
        )
