"""A session of this node while it lives: the record, its context, and who is connected to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from browser_sessions.chromium.ports import ContextHandle
from browser_sessions.domain.errors import WrongState
from browser_sessions.domain.session import EndReason, Session, SessionRecord, SessionStatus
from browser_sessions.pool.browsers.fleet import Berth
from browser_sessions.pool.control_lock import Wheel


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
    begun: bool = False
    """True once the task that starts it runs: one that is cancelled before its first step would undo nothing."""
    cancelled: bool = False
    """True once its start was told to stop: a second word would interrupt the undo."""
    context_died: bool = False
    """True once its context was gone behind our back, however far its start had come."""
    ending: asyncio.Task[SessionRecord] | None = None
    saving: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Stores of one session go one after the other, so that versions follow each other."""
    publish: Callable[..., Any] | None = None
    """Called with an event's name and its fields."""
    wheel: Wheel = field(init=False)

    def __post_init__(self) -> None:
        self.wheel = Wheel(self._happened)

    @property
    def clients(self) -> int:
        """How many that are connected can use the browser."""
        return sum(who.drives for who in self.attached)

    @property
    def viewers(self) -> int:
        """How many that are connected only look."""
        return len(self.attached) - self.clients

    def attach(self, who: Attached) -> None:
        """Raises `WrongState` when the session takes nobody (any more)."""
        require_active(self.session)
        if who not in self.attached:
            self.attached.add(who)
            self._happened("client.connected", kind=_kind(who))

    def detach(self, who: Attached) -> None:
        if who in self.attached:
            self.attached.discard(who)
            self._happened("client.disconnected", kind=_kind(who))

    def dismiss(self, reason: EndReason) -> None:
        """Tells everybody who is connected that the session is over."""
        self.wheel.release()
        for who in list(self.attached):
            who.session_ended(reason)
        self.attached.clear()

    def _happened(self, event: str, /, **data: Any) -> None:
        if self.handle is not None:
            # who has the wheel answers dialogs like a client
            self.handle.clients_attached = self.clients + (self.wheel.holder is not None)
            self.handle.watched = self.viewers > 0
        if self.publish is not None:
            self.publish(event, **data)


def _kind(who: Attached) -> str:
    return "cdp" if who.drives else "live"


def require_active(session: Session) -> None:
    """Raises `WrongState` unless the session can be used now."""
    if session.status is not SessionStatus.ACTIVE:
        why = f" ({session.end_reason.value})" if session.end_reason else ""
        raise WrongState(
            f"The session is {session.status.value}{why}; only an active one can be used.",
            session_id=session.session_id,
        )
