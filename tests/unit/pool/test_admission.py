"""Admission to browser slots, and the order of the queue."""

from __future__ import annotations

import asyncio

import pytest

from browser_sessions.domain.errors import Draining, PoolFull, QuotaExceeded
from browser_sessions.domain.principal import Role
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
    async def take_slot() -> None:
        await take(admission, who, wait)
        order.append(name)

    return asyncio.create_task(take_slot())


def test_the_limit_is_never_exceeded() -> None:
    admission = Admission(2, {})
    admission.ask("a", 0)
    admission.ask("b", 0)
    with pytest.raises(PoolFull) as refusal:
        admission.ask("c", 0)
    assert refusal.value.retry_after == 5.0
    assert admission.taken == 2
    assert admission.refused.total() == 1


def test_a_principal_has_its_own_limit() -> None:
    admission = Admission(10, {Role.CLIENT: 1})
    admission.ask("a", 0)
    with pytest.raises(QuotaExceeded):
        admission.ask("a", 0)
    admission.ask("b", 0)


def test_the_limit_is_that_of_the_callers_role() -> None:
    admission = Admission(3, {Role.CLIENT: 1})
    admission.ask("a", 0)
    with pytest.raises(QuotaExceeded):
        admission.check("a")
    admission.check("a", Role.OPERATOR)
    for _ in range(2):
        admission.ask("root", 0, Role.ADMIN)
    with pytest.raises(PoolFull):
        admission.ask("root", 0, Role.ADMIN)


async def test_the_queue_is_fifo_within_a_principal_and_fair_between_principals() -> None:
    admission = Admission(1, {})
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


async def test_a_cancelled_wait_is_removed_from_the_queue() -> None:
    admission = Admission(1, {})
    admission.ask("x", 0)
    order: list[str] = []
    cancelled, waiting = enter(admission, "a", order, "cancelled"), enter(admission, "a", order, "waiting")
    await settle()
    cancelled.cancel()
    await settle()
    assert admission.waiting == 1
    admission.release("x")
    await waiting
    assert order == ["waiting"]
    assert admission.taken == 1


async def test_a_slot_granted_to_a_cancelled_wait_goes_to_the_next() -> None:
    admission = Admission(1, {})
    admission.ask("x", 0)
    order: list[str] = []
    cancelled, waiting = enter(admission, "a", order, "cancelled"), enter(admission, "a", order, "waiting")
    await settle()
    admission.release("x")
    cancelled.cancel()
    await waiting
    assert admission.taken == 1
    assert admission._held["a"] == 1


async def test_a_ticket_can_be_returned_before_and_after_it_is_granted() -> None:
    admission = Admission(1, {})
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


async def test_waiting_times_out() -> None:
    admission = Admission(1, {})
    admission.ask("x", 0)
    with pytest.raises(PoolFull):
        await take(admission, "a", 0.01)
    assert admission.waiting == 0
    assert admission.refused.total() == 1


async def test_a_principal_at_its_limit_does_not_block_others_in_the_queue() -> None:
    admission = Admission(2, {Role.CLIENT: 1})
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


async def test_closing_refuses_waiting_and_new_requests() -> None:
    admission = Admission(1, {})
    admission.ask("x", 0)
    waiting = enter(admission, "a", [], "a")
    await settle()
    admission.close()
    with pytest.raises(Draining):
        await waiting
    with pytest.raises(Draining):
        admission.ask("b", 0)
