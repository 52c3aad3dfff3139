"""The semaphore whose permits go round between principals; `test_admission.py` has the same order for admissions."""

from __future__ import annotations

import asyncio

from browser_sessions.pool.fair_queue import FairSemaphore


class Callers:
    """Callers of one semaphore, which hold their permit until `finish`."""

    def __init__(self, permits: int) -> None:
        self.semaphore = FairSemaphore(permits)
        self.served: list[str] = []
        self._finish = asyncio.Event()

    async def come(self, *principals: str) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self._one(who)) for who in principals]
        await asyncio.sleep(0)
        return tasks

    def finish(self) -> None:
        self._finish.set()

    async def _one(self, who: str) -> None:
        async with self.semaphore.permit(who[0]):
            self.served.append(who)
            await self._finish.wait()


async def test_permits_go_round_between_principals_in_the_order_of_arrival_within_one() -> None:
    callers = Callers(2)
    tasks = await callers.come("a1", "a2", "a3", "a4", "a5", "b1", "b2", "c1")
    assert callers.served == ["a1", "a2"]
    callers.finish()
    await asyncio.gather(*tasks)
    assert callers.served == ["a1", "a2", "a3", "b1", "c1", "a4", "b2", "a5"]


async def test_a_cancelled_caller_leaves_its_place_and_no_permit_is_lost() -> None:
    callers = Callers(1)
    holder, waiting, next_one = await callers.come("a1", "a2", "b1")
    waiting.cancel()
    callers.finish()
    await asyncio.gather(holder, next_one)
    assert callers.served == ["a1", "b1"]
    assert repr(callers.semaphore) == "<FairSemaphore 1 free, 0 waiting>"


async def test_a_permit_that_is_granted_while_its_caller_is_cancelled_goes_to_the_next() -> None:
    for cancelled_first in (True, False):
        semaphore = FairSemaphore(1)
        holding = semaphore.permit("a")
        await holding.__aenter__()
        callers = Callers(1)
        callers.semaphore = semaphore
        callers.finish()
        cancelled, next_one = await callers.come("a1", "b1")
        if cancelled_first:
            cancelled.cancel()
        await holding.__aexit__(None, None, None)
        cancelled.cancel()
        await asyncio.wait([cancelled, next_one], timeout=5)
        assert cancelled.cancelled()
        assert callers.served == ["b1"]
        assert repr(semaphore) == "<FairSemaphore 1 free, 0 waiting>"
