"""What others can cause without end is done in slices, so that the loop has time for everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from itertools import groupby

from browser_sessions.loop_shares import STEPS, Shares, Work
from tests.harness.waiting import until


class Load:
    """Work of some steps; `log` gets its name at each."""

    def __init__(self, name: str, steps: int, log: list[str]) -> None:
        self.name, self.left, self.log = name, steps, log

    def __call__(self, steps: int) -> int:
        now = min(steps, self.left)
        self.log += [self.name] * now
        self.left -= now
        return steps - now


def in_turns(log: list[str]) -> Callable[[], int]:
    """Counts what is logged in each turn of the loop from now on. The function returns the most in one."""
    loop, most, seen = asyncio.get_running_loop(), 0, len(log)

    def turn() -> None:
        nonlocal most, seen
        most, seen = max(most, len(log) - seen), len(log)
        loop.call_soon(turn)

    loop.call_soon(turn)
    return lambda: max(most, len(log) - seen)


async def test_work_within_the_allowance_is_done_at_once() -> None:
    log: list[str] = []
    share = Shares().of("a")
    assert share.run(Load("a", STEPS - 1, log))
    assert len(log) == STEPS - 1


async def test_no_turn_has_more_than_a_slice_however_many_connections_a_holder_has() -> None:
    log: list[str] = []
    shares = Shares()
    loads = [Load("a", 200, log) for _ in range(10)]
    kept = shares.of("a")
    done = [shares.of("a").run(each) for each in loads]
    assert not any(done)
    assert len(log) == STEPS, "one allowance for all of them"
    most = in_turns(log)
    async with asyncio.timeout(30):
        await until(lambda: not any(each.left for each in loads))
    assert most() <= STEPS
    del kept


async def test_holders_have_slices_in_turn_and_a_light_one_does_not_wait_for_heavy_ones() -> None:
    log: list[str] = []
    shares = Shares()
    heavy, light = shares.of("heavy"), shares.of("light")
    for _ in range(20):
        heavy.run(Load("heavy", 10 * STEPS, log))
    assert light.run(Load("light", 10, log)), "within its allowance, at once"
    last = Load("light", 2 * STEPS, log)
    assert not light.run(last)
    async with asyncio.timeout(30):
        await until(lambda: not last.left)
    del log[len(log) - log[::-1].index("light") :]
    runs = [(name, len(list(each))) for name, each in groupby(log)]
    assert all(count <= 2 * STEPS for name, count in runs if name == "heavy"), runs
    assert sum(count for name, count in runs if name == "heavy") < 10 * STEPS, "of 200 slices"


async def test_work_that_fails_is_reported_and_stops_no_other() -> None:
    log: list[str] = []
    reported: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    share = Shares().of("a")
    share.run(Load("a", STEPS, log))

    def failing(steps: int) -> int:
        raise ValueError(steps)

    last = Load("b", STEPS, log)
    works: list[Work] = [failing, last]
    for work in works:
        assert not share.run(work)
    async with asyncio.timeout(30):
        await until(lambda: not last.left)
    assert [type(each) for each in reported] == [ValueError]


async def test_who_waits_for_work_goes_on_when_it_is_done_and_may_give_up() -> None:
    log: list[str] = []
    share = Shares().of("a")
    given_up = asyncio.ensure_future(share.finish(Load("b", 3 * STEPS, log)))
    await asyncio.sleep(0)
    given_up.cancel()
    with suppress(asyncio.CancelledError):
        await given_up
    load = Load("a", 3 * STEPS, log)
    async with asyncio.timeout(30):
        await share.finish(load)
    assert not load.left
