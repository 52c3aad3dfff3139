"""Who gets a place, and in which order: never over the limits, first come first served within a principal, fair between
them."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass

from browser_sessions.domain.errors import Draining, PoolFull, QuotaExceeded


@dataclass(eq=False, slots=True)
class Turn:
    """Somebody's place in the line."""

    principal_id: str
    refusal: PoolFull | QuotaExceeded
    """What is said when it never comes."""
    came: asyncio.Future[None]
    """Done once a place was taken for it, or none will be."""


class Admission:
    """Counts places on one event loop; no lock, for nothing here awaits between looking and taking."""

    def __init__(self, capacity: int, quota: int | None) -> None:
        self.capacity = capacity
        self.quota = quota
        self.taken = 0
        self.refused = 0
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, deque[Turn]] = {}
        """By principal, in the order of whose turn is next."""
        self._closed = False

    def __repr__(self) -> str:
        return f"<Admission {self.taken}/{self.capacity} taken, {self.waiting} waiting>"

    @property
    def waiting(self) -> int:
        return sum(len(queue) for queue in self._waiting.values())

    def held_by(self, principal_id: str) -> int:
        return self._held[principal_id]

    @property
    def crowded(self) -> bool:
        """Whether `check` may refuse somebody this moment."""
        return self._closed or self.taken >= self.capacity or self.quota is not None

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

    def ask(self, principal_id: str, wait_seconds: float) -> Turn | None:
        """Takes a place (None), or a turn in the line for who may wait: `wait` or `leave` must follow. Now, so that who
        asked first is served first. Raises as `check` for who may not wait."""
        try:
            self.try_take(principal_id)
            return None
        except (PoolFull, QuotaExceeded) as refusal:
            if wait_seconds <= 0:
                raise
            self.refused -= 1
            turn = Turn(principal_id, refusal, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(principal_id, deque()).append(turn)
        return turn

    async def wait(self, turn: Turn, wait_seconds: float) -> None:
        """Returns with a place, after at most `wait_seconds`. Raises as `check`; a cancelled wait leaves nothing."""
        try:
            async with asyncio.timeout(wait_seconds):
                await turn.came
        except TimeoutError:
            self.leave(turn)
            self.refused += 1
            raise turn.refusal from None
        except BaseException:
            self.leave(turn)
            raise

    def leave(self, turn: Turn) -> None:
        """Gives up a turn, or the place that it has become."""
        if turn.came.done() and not turn.came.cancelled() and turn.came.exception() is None:
            self.release(turn.principal_id)
            return
        turn.came.cancel()
        queue = self._waiting.get(turn.principal_id)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[turn.principal_id]

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
                if not turn.came.done():
                    turn.came.set_exception(Draining("The service is going down and starts no new sessions."))
        self._waiting.clear()

    def _over_quota(self, principal_id: str) -> bool:
        return self.quota is not None and self._held[principal_id] >= self.quota

    def _take(self, principal_id: str) -> None:
        self.taken += 1
        self._held[principal_id] += 1

    def _admit(self) -> None:
        while self.taken < self.capacity:
            principal_id = next((who for who in self._waiting if not self._over_quota(who)), None)
            if principal_id is None:
                return
            queue = self._waiting.pop(principal_id)
            turn = queue.popleft()
            if queue:
                self._waiting[principal_id] = queue
            if not turn.came.done():
                self._take(principal_id)
                turn.came.set_result(None)
