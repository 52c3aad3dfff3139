"""A session of this node while it lives: the record, what it holds of the node, and who is connected to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from browser_sessions.chromium.ports import BrowserProcess, ContextHandle
from browser_sessions.domain.clock import Clock
from browser_sessions.domain.errors import WrongState
from browser_sessions.domain.session import EndReason, Session, SessionRecord, SessionStatus
from browser_sessions.domain.session_view import SessionView
from browser_sessions.domain.text import clipped
from browser_sessions.pool.admission import QueueTicket
from browser_sessions.pool.browsers.fleet import BrowserSlot
from browser_sessions.pool.control_lock import ControlLock


class Attached(Protocol):
    """Somebody connected to a session: a CDP client, a viewer."""

    drives: bool
    """True for a client that can use the browser, False for one that only looks."""

    def session_ended(self, reason: EndReason) -> None:
        """The session is over: close the connection with the code of the reason. Called once, must not block."""


@dataclass(frozen=True, slots=True)
class Queued:
    """It holds nothing but its place in the queue."""

    ticket: QueueTicket


@dataclass(frozen=True, slots=True)
class Admitted:
    """It counts against the node's limits; its context is still to be opened."""


@dataclass(frozen=True, slots=True)
class Opened:
    """It has a context in a browser: the last step of its start, and while it is active."""

    slot: BrowserSlot
    process: BrowserProcess
    context: ContextHandle


@dataclass(frozen=True, slots=True)
class Ending(Opened):
    """Its context is being closed, or has been."""

    record: asyncio.Task[SessionRecord]
    """The final one."""


@dataclass(eq=False)
class Live:
    """What it is to the outside is `session.status`; `state` is what there is to give back when it ends."""

    session: Session
    state: Queued | Admitted | Opened
    publish: Callable[..., Any]
    """Called with an event's name and its fields."""
    attached: set[Attached] = field(default_factory=set)
    saving: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Stores of one session go one after the other, so that versions follow each other."""
    control: ControlLock = field(init=False)

    def __post_init__(self) -> None:
        self.control = ControlLock(self._happened)

    @property
    def opened(self) -> Opened:
        """Its browser and context. Raises `WrongState` before it has them, which no active session does."""
        if not isinstance(self.state, Opened):
            raise WrongState(f"The session is {self.session.status}.", session_id=self.session.session_id)
        return self.state

    @property
    def context(self) -> ContextHandle | None:
        """For who shows what there is: None before it is opened."""
        return self.state.context if isinstance(self.state, Opened) else None

    @property
    def clients(self) -> int:
        """How many that are connected can use the browser."""
        return sum(who.drives for who in self.attached)

    @property
    def viewers(self) -> int:
        """How many that are connected only look."""
        return len(self.attached) - self.clients

    def view(self, clock: Clock) -> SessionView:
        """What it looks like from outside now. From memory."""
        opened = self.state if isinstance(self.state, Opened) else None
        pages = opened.context.pages() if opened else ()
        return SessionView(
            record=self.session.record(clock),
            title=clipped(pages[-1].title) if pages else "",
            url=clipped(pages[-1].url) if pages else "",
            page_count=len(pages),
            connections=self.clients,
            viewers=self.viewers,
            controlled_by=self.control.holder.name if self.control.holder else None,
            memory_bytes=opened.slot.memory_bytes // max(1, opened.slot.taken) or None if opened else None,
            browser_id=opened.slot.browser_id if opened else None,
        )

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
        self.control.release()
        for who in list(self.attached):
            who.session_ended(reason)
        self.attached.clear()

    def _happened(self, event: str, /, **data: Any) -> None:
        if (context := self.context) is not None:
            # who is in control answers dialogs like a client
            clients = self.clients + (self.control.holder is not None)
            context.connections_changed(clients=clients, viewers=self.viewers)
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
