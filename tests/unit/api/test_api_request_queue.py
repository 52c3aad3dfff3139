"""The queue of slow requests: in order, one per loop iteration, without waiting for cancelled ones."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

from browser_sessions.api.request_queue import LONG_S, RequestQueue


async def test_other_ready_tasks_run_between_two_queued_requests() -> None:
    queue, ran = RequestQueue(), list[str]()

    async def slow(name: str) -> None:
        await queue.turn("caller")
        ran.append(name)

    async def quick() -> None:
        for _ in range(8):
            ran.append("quick")
            await asyncio.sleep(0)

    await asyncio.gather(*(slow(name) for name in "abc"), quick())
    assert [name for name in ran if name != "quick"] == ["a", "b", "c"]
    slow_ones = [number for number, name in enumerate(ran) if name != "quick"]
    assert all(later - earlier > 1 for earlier, later in pairwise(slow_ones))


async def test_a_cancelled_request_is_skipped() -> None:
    queue = RequestQueue()
    first, second, third = (asyncio.create_task(queue.turn("caller")) for _ in range(3))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait_for(asyncio.gather(first, third), 1)
    await asyncio.wait_for(queue.turn("caller"), 1)


async def test_holders_take_turns() -> None:
    queue, ran = RequestQueue(), list[str]()

    async def slow(holder: str) -> None:
        await queue.turn(holder)
        ran.append(holder)

    await asyncio.gather(*(slow(holder) for holder in ("many", "many", "many", "many", "one")))
    assert ran.index("one") <= 2, "not behind all that came before it"


async def test_after_one_that_takes_long_there_is_time_for_others() -> None:
    queue, between = RequestQueue(pauses=True), list[float]()

    async def long() -> None:
        await queue.turn("caller")
        began = time.perf_counter()
        if ended:
            between.append(began - ended[-1])
        while time.perf_counter() - began < 4 * LONG_S:
            pass
        ended.append(time.perf_counter())

    ended: list[float] = []
    await asyncio.gather(long(), long(), long())
    await long()  # nor does one that comes during the pause begin at once
    assert min(between) > 4 * LONG_S
