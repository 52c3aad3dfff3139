"""The control lock: clients wait while somebody holds it, and none of their commands is lost or overtaken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from browser_sessions.domain.errors import Conflict
from browser_sessions.domain.principal import Principal, Role
from browser_sessions.pool.control_lock import ControlLock

ANN = Principal("ann", Role.OPERATOR, "Ann")
BOB = Principal("bob", Role.OPERATOR, "Bob")


class Told:
    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, kind: str, **data: Any) -> None:
        self.said.append((kind, data))


async def turns() -> None:
    """Lets everything run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_free_lock_holds_nobody() -> None:
    lock = ControlLock(Told())
    await asyncio.wait_for(lock.until_free("client"), 1)
    assert not lock.held


async def test_commands_wait_while_it_is_held_and_go_on_in_order() -> None:
    told = Told()
    lock = ControlLock(told)
    assert lock.take(ANN)
    passed: list[int] = []

    async def client() -> None:
        for command in range(5):
            await lock.until_free("client")
            passed.append(command)

    running = asyncio.create_task(client())
    await turns()
    assert passed == []
    assert lock.waiting == 1
    assert lock.release(ANN)
    await running
    assert passed == [0, 1, 2, 3, 4]
    assert told.said == [
        ("control.taken", {"by": "Ann"}),
        ("control.waiting", {"count": 1}),
        ("control.released", {"by": "Ann"}),
    ]


async def test_taken_again_before_the_waiting_ones_ran_they_still_wait() -> None:
    lock = ControlLock(Told())
    lock.take(ANN)
    waiting = asyncio.create_task(lock.until_free("client"))
    await turns()
    lock.release(ANN)
    lock.take(BOB)
    await turns()
    assert not waiting.done()
    lock.release(BOB)
    await waiting


async def test_a_client_that_leaves_waits_no_more() -> None:
    told = Told()
    lock = ControlLock(told)
    lock.take(ANN)
    waiting = [asyncio.create_task(lock.until_free(name)) for name in ("one", "two")]
    await turns()
    assert lock.waiting == 2
    waiting[0].cancel()
    await turns()
    assert lock.waiting == 1
    assert told.said[-1] == ("control.waiting", {"count": 1})
    lock.release(ANN)
    await waiting[1]


def test_it_is_taken_once_and_given_back_by_its_holder_only() -> None:
    lock = ControlLock(Told())
    assert lock.take(ANN)
    assert not lock.take(ANN)
    with pytest.raises(Conflict, match="Ann"):
        lock.take(BOB)
    with pytest.raises(Conflict, match="Ann"):
        lock.release(BOB)
    assert lock.release()
    assert not lock.release(ANN)
    assert lock.take(BOB)


class Source:
    """An input source that counts how often it was told of the release."""

    def __init__(self) -> None:
        self.told = 0

    def control_released(self) -> None:
        self.told += 1


async def test_clients_go_on_when_the_last_input_source_is_done() -> None:
    lock = ControlLock(Told())
    lock.take(ANN)
    one, two = Source(), Source()
    for source in (one, two):
        lock.input_begins(source)
    waiting = asyncio.create_task(lock.until_free("client"))
    await turns()
    lock.release(ANN)
    assert (one.told, two.told) == (1, 1)
    for source in (one, two):
        await turns()
        assert not waiting.done()
        assert lock.held
        lock.input_done(source)
    await waiting
    assert not lock.held


async def test_an_input_source_that_is_done_late_does_not_free_the_lock_of_the_next() -> None:
    lock = ControlLock(Told())
    lock.take(ANN)
    source = Source()
    lock.input_begins(source)
    lock.release(ANN)
    lock.take(BOB)
    waiting = asyncio.create_task(lock.until_free("client"))
    lock.input_done(source)
    await turns()
    assert not waiting.done()
    lock.release(BOB)
    await waiting
