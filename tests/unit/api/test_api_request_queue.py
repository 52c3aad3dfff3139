"""The queue of slow requests: in order, one per loop iteration, without waiting for cancelled ones."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from browser_sessions.api.request_queue import RequestQueue


async def test_other_ready_tasks_run_between_two_queued_requests() -> None:
    queue, ran = RequestQueue(), list[str]()

    async def slow(name: str) -> None:
        await queue.turn()
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
    first, second, third = (asyncio.create_task(queue.turn()) for _ in range(3))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait_for(asyncio.gather(first, third), 1)
    await asyncio.wait_for(queue.turn(), 1)
