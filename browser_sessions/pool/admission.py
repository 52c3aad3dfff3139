"""Decides every create: admit, queue or reject. Never exceeds the limits; first come, first served within a principal,
round-robin between principals."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from browser_sessions.domain.errors import (
    BrowserSessionsError,
    Draining,
    EgressUnavailable,
    NoBrowser,
    Overloaded,
    PoolFull,
    QuotaExceeded,
    StoreUnavailable,
)
from browser_sessions.domain.principal import Role
from browser_sessions.pool.fair_queue import FairQueue

REFUSALS: Final = (Draining, EgressUnavailable, NoBrowser, Overloaded, PoolFull, QuotaExceeded, StoreUnavailable)
Refusal = Draining | Overloaded | QuotaExceeded | PoolFull
E = TypeVar("E", bound=BrowserSessionsError)


@dataclass(eq=False, slots=True)
class QueueTicket:
    """One create in the queue."""

    principal_id: str
    role: Role
    refusal: PoolFull | QuotaExceeded
    """Raised when it is not admitted in time."""
    came: asyncio.Future[None]
    """Done once the create is admitted; an error when it never will be."""


class Admission:
    """Counts the sessions of one event loop against the limits; no lock, because nothing here awaits between reading
    and writing."""

    def __init__(self, capacity: int, quotas: Mapping[Role, int]) -> None:
        """`quotas`: live sessions of one principal, by the role of its caller; a role without one may have all."""
        self.capacity = capacity
        self.quotas = quotas
        self.taken = 0
        self.refused: Counter[type[BrowserSessionsError]] = Counter(dict.fromkeys(REFUSALS, 0))
        """Rejected creates by error, zeros included. Read by the metric and by the pool's state."""
        self.shortage = ""
        """Which resource is short, as a sentence; empty when none is."""
        self.closed = False
        """True while the node drains."""
        self._held: Counter[str] = Counter()
        self._waiting: FairQueue[QueueTicket] = FairQueue()

    def __repr__(self) -> str:
        return f"<Admission {self.taken}/{self.capacity} taken, {self.waiting} waiting>"

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def report_shortage(self, shortage: str) -> None:
        """Rejects every create until it is called with an empty text."""
        self.shortage = shortage

    def refuse(self, error: E) -> E:
        """Counts a rejected create and returns its error for the caller to raise. Nothing else counts."""
        self.refused[type(error)] += 1
        return error

    def check(self, principal_id: str, role: Role = Role.CLIENT) -> None:
        """Raises `Draining`, `Overloaded`, `QuotaExceeded` or `PoolFull` when the principal cannot be admitted now."""
        if (refusal := self._refusal(principal_id, role)) is not None:
            raise self.refuse(refusal)

    def ask(self, principal_id: str, wait_seconds: float, role: Role = Role.CLIENT) -> QueueTicket | None:
        """Admits now (None), or queues a create that may wait: follow a ticket with `wait`, and with `leave` unless
        `wait` returns. No await before the decision, so first come is first served. Raises as `check`."""
        refusal = self._refusal(principal_id, role)
        if refusal is None:
            self._take(principal_id)
            return None
        if wait_seconds <= 0 or not isinstance(refusal, PoolFull | QuotaExceeded):
            raise self.refuse(refusal)
        ticket = QueueTicket(principal_id, role, refusal, asyncio.get_running_loop().create_future())
        self._waiting.add(principal_id, ticket)
        return ticket

    async def wait(self, ticket: QueueTicket, wait_seconds: float) -> None:
        """Returns once admitted. Raises `Draining`, and after `wait_seconds` the ticket's refusal."""
        try:
            async with asyncio.timeout(wait_seconds):
                await ticket.came
        except TimeoutError:
            raise self.refuse(ticket.refusal) from None

    def leave(self, ticket: QueueTicket) -> None:
        """Removes a ticket from the queue, or releases its capacity when it was just admitted."""
        if ticket.came.done() and not ticket.came.cancelled() and ticket.came.exception() is None:
            self.release(ticket.principal_id)
            return
        ticket.came.cancel()
        self._waiting.remove(ticket.principal_id, ticket)

    def release(self, principal_id: str) -> None:
        """Frees the capacity of one session and admits the next in the queue."""
        self.taken -= 1
        self._held[principal_id] -= 1
        if self._held[principal_id] <= 0:
            del self._held[principal_id]
        self._admit()

    def close(self) -> None:
        """Rejects every create from now on, queued ones too."""
        self.closed = True
        for ticket in self._waiting:
            if not ticket.came.done():
                refusal = Draining("The service is shutting down and accepts no new sessions.")
                ticket.came.set_exception(self.refuse(refusal))
        self._waiting.clear()

    def _refusal(self, principal_id: str, role: Role) -> Refusal | None:
        if self.closed:
            return Draining("The service is shutting down and accepts no new sessions. Try again in a moment.")
        if self.shortage:
            return Overloaded(f"{self.shortage} Try again later.")
        if self._over_quota(principal_id, role):
            return QuotaExceeded(
                f"You have {self._held[principal_id]} live sessions, which is your limit. "
                "End one, or wait with wait_seconds."
            )
        if self.taken >= self.capacity:
            return PoolFull(
                f"All {self.capacity} sessions of this node are in use. Try again later, or wait with wait_seconds."
            )
        return None

    def _over_quota(self, principal_id: str, role: Role) -> bool:
        quota = self.quotas.get(role)
        return quota is not None and self._held[principal_id] >= quota

    def _take(self, principal_id: str) -> None:
        self.taken += 1
        self._held[principal_id] += 1

    def _admit(self) -> None:
        while self.taken < self.capacity:
            ticket = self._waiting.next(lambda who, ticket: not self._over_quota(who, ticket.role))
            if ticket is None:
                return
            if not ticket.came.done():
                self._take(ticket.principal_id)
                ticket.came.set_result(None)
