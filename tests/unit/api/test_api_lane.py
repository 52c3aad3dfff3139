"""The queue of slow requests: in order, one a turn of the loop, and nobody waits for who has left."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from browser_sessions.api.request_queue import RequestQueue


async def test_between_two_of_them_everything_else_that_is_ready_runs() -> None:
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


async def test_who_left_takes_no_turn() -> None:
    queue = RequestQueue()
    first, second, third = (asyncio.create_task(queue.turn()) for _ in range(3))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait_for(asyncio.gather(first, third), 1)
    await asyncio.wait_for(queue.turn(), 1)
