"""A live session of this node: its state, what it holds, and who is connected to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from browser_sessions.chromium.ports import BrowserProcess, ContextHandle
from browser_sessions.domain.clock import Clock
from browser_sessions.domain.errors import WrongState
from browser_sessions.domain.session import EndReason, Session, SessionRecord, require_active
from browser_sessions.domain.session_view import SessionView
from browser_sessions.domain.text import clipped
from browser_sessions.pool.admission import QueueTicket
from browser_sessions.pool.browsers.fleet import BrowserSlot
from browser_sessions.pool.control_lock import ControlLock
from browser_sessions.pool.session_egress import traffic_of


class Attached(Protocol):
    """A connection to a session: a CDP client or a viewer."""

    drives: bool
    """True for a CDP client, False for a viewer."""

    def session_ended(self, reason: EndReason) -> None:
        """The session has ended: close the connection with the code of the reason. Called once, must not block."""


@dataclass(frozen=True, slots=True)
class Queued:
    """In the queue; holds nothing."""

    ticket: QueueTicket


@dataclass(frozen=True, slots=True)
class Admitted:
    """Counts against the limits; its context is not open yet."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Has a context in a browser: from the last step of its start until it ends."""

    slot: BrowserSlot
    process: BrowserProcess
    context: ContextHandle


@dataclass(frozen=True, slots=True)
class Ending(Opened):
    """Its context is closing or closed."""

    record: asyncio.Task[SessionRecord]
    """The final one."""


@dataclass(eq=False)
class Live:
    """A session with what it holds. `session.status` is its state for callers; `state` says what to release at its
    end."""

    session: Session
    state: Queued | Admitted | Opened
    publish: Callable[..., Any]
    """Called with an event's name and its fields."""
    attached: set[Attached] = field(default_factory=set)
    saving: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Writes of one session are serialised, so that versions are consecutive."""
    responsive: bool = True
    """Whether its page responded when it was last probed (`live/page_watch.py`)."""
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
        """None before it is open."""
        return self.state.context if isinstance(self.state, Opened) else None

    @property
    def traffic(self) -> dict[str, Any] | None:
        """None before it has a context, and without the egress proxy."""
        usage = None if self.context is None else self.context.traffic
        return None if usage is None else traffic_of(usage)

    @property
    def clients(self) -> int:
        """Number of CDP clients."""
        return sum(who.drives for who in self.attached)

    @property
    def viewers(self) -> int:
        """Number of viewers."""
        return len(self.attached) - self.clients

    def view(self, clock: Clock) -> SessionView:
        """What it looks like from outside now; from memory."""
        opened = self.state if isinstance(self.state, Opened) else None
        pages = opened.context.pages() if opened else ()
        usage = opened.context.traffic if opened else None
        return SessionView(
            record=self.session.record(clock),
            title=clipped(pages[-1].title) if pages else "",
            url=clipped(pages[-1].url) if pages else "",
            page_count=len(pages),
            connections=self.clients,
            viewers=self.viewers,
            controlled_by=self.control.holder.name if self.control.holder else None,
            memory_bytes=opened.slot.memory_bytes // max(1, opened.slot.taken) or None if opened else None,
            responsive=self.responsive,
            browser_id=opened.slot.browser_id if opened else None,
            bytes_up=usage.bytes_up if usage else None,
            bytes_down=usage.bytes_down if usage else None,
        )

    def attach(self, who: Attached) -> None:
        """Raises `WrongState` unless the session is active."""
        require_active(self.session)
        if who not in self.attached:
            self.attached.add(who)
            self._happened("client.connected", kind=_kind(who))

    def detach(self, who: Attached) -> None:
        if who in self.attached:
            self.attached.discard(who)
            self._happened("client.disconnected", kind=_kind(who))

    def dismiss(self, reason: EndReason) -> None:
        """Notifies all clients and viewers that the session has ended."""
        self.control.release()
        for who in list(self.attached):
            who.session_ended(reason)
        self.attached.clear()

    def _happened(self, event: str, /, **data: Any) -> None:
        if (context := self.context) is not None:
            controlled = self.control.holder is not None
            context.connections_changed(clients=self.clients, viewers=self.viewers, controlled=controlled)
        self.publish(event, **data)


def _kind(who: Attached) -> str:
    return "cdp" if who.drives else "live"
