"""Who gets a place, and in which order: never over the limits, first come first served within a principal, fair between
them."""

from __future__ import annotations

import asyncio
from collections import Counter, deque

from browser_sessions.model.errors import Draining, PoolFull, QuotaExceeded


class Admission:
    """Counts places on one event loop; no lock, for nothing here awaits between looking and taking."""

    def __init__(self, capacity: int, quota: int | None) -> None:
        self.capacity = capacity
        self.quota = quota
        self.taken = 0
        self.refused = 0
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """By principal, in the order of whose turn is next."""
        self._closed = False

    def __repr__(self) -> str:
        return f"<Admission {self.taken}/{self.capacity} taken, {self.waiting} waiting>"

    @property
    def waiting(self) -> int:
        return sum(len(queue) for queue in self._waiting.values())

    def held_by(self, principal_id: str) -> int:
        return self._held[principal_id]

    def check(self, principal_id: str) -> None:
        """Raises what keeps the principal from a place this moment: `Draining`, `QuotaExceeded` or `PoolFull`."""
        if self._closed:
            raise Draining("The service is going down and starts no new sessions. Try again in a moment.")
        if self._over_quota(principal_id):
            self.refused += 1
            raise QuotaExceeded(
                f"You have {self._held[principal_id]} live sessions, as many as you may. "
                "End one, or wait with wait_seconds."
            )
        if self.taken >= self.capacity:
            self.refused += 1
            raise PoolFull(f"All {self.capacity} places are taken. Try again later, or wait for one with wait_seconds.")

    def try_take(self, principal_id: str) -> None:
        """Takes a place now. Raises as `check`."""
        self.check(principal_id)
        self._take(principal_id)

    async def take(self, principal_id: str, wait_seconds: float) -> None:
        """Takes a place, waiting at most `wait_seconds`. Raises as `try_take`; a cancelled wait leaves nothing."""
        try:
            return self.try_take(principal_id)
        except (PoolFull, QuotaExceeded) as refusal:
            if wait_seconds <= 0:
                raise
            refused = refusal
        self.refused -= 1
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(principal_id, deque()).append(turn)
        try:
            async with asyncio.timeout(wait_seconds):
                await turn
        except TimeoutError:
            self._leave(principal_id, turn)
            self.refused += 1
            raise refused from None
        except BaseException:
            self._leave(principal_id, turn)
            raise

    def release(self, principal_id: str) -> None:
        """Gives a place back; the next in line gets it at once."""
        self.taken -= 1
        self._held[principal_id] -= 1
        if self._held[principal_id] <= 0:
            del self._held[principal_id]
        self._admit()

    def close(self) -> None:
        """Takes nobody any more; those who wait are refused."""
        self._closed = True
        for queue in self._waiting.values():
            for turn in queue:
                if not turn.done():
                    turn.set_exception(Draining("The service is going down and starts no new sessions."))
        self._waiting.clear()

    def _over_quota(self, principal_id: str) -> bool:
        return self.quota is not None and self._held[principal_id] >= self.quota

    def _take(self, principal_id: str) -> None:
        self.taken += 1
        self._held[principal_id] += 1

    def _leave(self, principal_id: str, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            self.release(principal_id)
            return
        queue = self._waiting.get(principal_id)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[principal_id]

    def _admit(self) -> None:
        while self.taken < self.capacity:
            principal_id = next((who for who in self._waiting if not self._over_quota(who)), None)
            if principal_id is None:
                return
            queue = self._waiting.pop(principal_id)
            turn = queue.popleft()
            if queue:
                self._waiting[principal_id] = queue
            if not turn.done():
                self._take(principal_id)
                turn.set_result(None)
