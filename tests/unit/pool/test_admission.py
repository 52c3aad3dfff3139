"""Who gets a place, and in which order."""

from __future__ import annotations

import asyncio

import pytest

from browser_sessions.domain.errors import Draining, PoolFull, QuotaExceeded
from browser_sessions.pool.admission import Admission


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def take(admission: Admission, who: str, wait: float) -> None:
    if (ticket := admission.ask(who, wait)) is not None:
        try:
            await admission.wait(ticket, wait)
        except BaseException:
            admission.leave(ticket)
            raise


def enter(admission: Admission, who: str, order: list[str], name: str, wait: float = 60.0) -> asyncio.Task[None]:
    async def come() -> None:
        await take(admission, who, wait)
        order.append(name)

    return asyncio.create_task(come())


def test_never_over_the_limit() -> None:
    admission = Admission(2, None)
    admission.ask("a", 0)
    admission.ask("b", 0)
    with pytest.raises(PoolFull) as refusal:
        admission.ask("c", 0)
    assert refusal.value.retry_after == 5.0
    assert admission.taken == 2
    assert admission.refused.total() == 1


def test_a_principal_has_its_own_limit() -> None:
    admission = Admission(10, 1)
    admission.ask("a", 0)
    with pytest.raises(QuotaExceeded):
        admission.ask("a", 0)
    admission.ask("b", 0)


async def test_first_come_first_served_within_a_principal_and_fair_between_them() -> None:
    admission = Admission(1, None)
    admission.ask("x", 0)
    order: list[str] = []
    tasks = [enter(admission, "a", order, f"a{n}") for n in range(3)]
    await settle()
    tasks += [enter(admission, "b", order, f"b{n}") for n in range(2)]
    await settle()
    assert admission.waiting == 5
    for _ in range(5):
        admission.release("x" if not order else order[-1][0])
        await settle()
    assert order == ["a0", "b0", "a1", "b1", "a2"]
    await asyncio.gather(*tasks)
    assert admission.taken == 1


async def test_who_leaves_the_queue_leaves_nothing() -> None:
    admission = Admission(1, None)
    admission.ask("x", 0)
    order: list[str] = []
    leaving, staying = enter(admission, "a", order, "leaving"), enter(admission, "a", order, "staying")
    await settle()
    leaving.cancel()
    await settle()
    assert admission.waiting == 1
    admission.release("x")
    await staying
    assert order == ["staying"]
    assert admission.taken == 1


async def test_who_leaves_at_the_moment_of_its_turn_gives_the_place_on() -> None:
    admission = Admission(1, None)
    admission.ask("x", 0)
    order: list[str] = []
    leaving, staying = enter(admission, "a", order, "leaving"), enter(admission, "a", order, "staying")
    await settle()
    admission.release("x")
    leaving.cancel()
    await staying
    assert admission.taken == 1
    assert admission._held["a"] == 1


async def test_a_turn_is_given_up_before_and_after_it_came() -> None:
    admission = Admission(1, None)
    assert admission.ask("x", 9) is None
    first, second, third = (admission.ask("a", 9) for _ in range(3))
    assert first is not None
    assert second is not None
    assert third is not None
    admission.leave(first)
    assert admission.waiting == 2
    admission.release("x")
    assert second.came.done()
    admission.leave(second)
    assert third.came.done()
    await admission.wait(third, 9)
    assert (admission.taken, admission.waiting) == (1, 0)


async def test_waiting_has_an_end() -> None:
    admission = Admission(1, None)
    admission.ask("x", 0)
    with pytest.raises(PoolFull):
        await take(admission, "a", 0.01)
    assert admission.waiting == 0
    assert admission.refused.total() == 1


async def test_one_over_its_quota_does_not_hold_up_the_others() -> None:
    admission = Admission(2, 1)
    admission.ask("a", 0)
    admission.ask("x", 0)
    order: list[str] = []
    a, b = enter(admission, "a", order, "a"), enter(admission, "b", order, "b")
    await settle()
    admission.release("x")
    await b
    assert order == ["b"]
    admission.release("a")
    await a


async def test_closing_refuses_all_who_wait_and_all_who_come() -> None:
    admission = Admission(1, None)
    admission.ask("x", 0)
    waiting = enter(admission, "a", [], "a")
    await settle()
    admission.close()
    with pytest.raises(Draining):
        await waiting
    with pytest.raises(Draining):
        admission.ask("b", 0)
