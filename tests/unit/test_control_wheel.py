"""The wheel: clients wait while somebody holds it, and none of their commands is lost or overtaken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from browser_sessions.domain.errors import Conflict
from browser_sessions.domain.principal import Principal, Role
from browser_sessions.pool.control_lock import Wheel

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


async def test_a_free_wheel_holds_nobody() -> None:
    wheel = Wheel()
    await asyncio.wait_for(wheel.passage("client"), 1)
    assert not wheel.held


async def test_commands_wait_while_it_is_held_and_go_on_in_order() -> None:
    told = Told()
    wheel = Wheel(told)
    assert wheel.take(ANN)
    passed: list[int] = []

    async def client() -> None:
        for command in range(5):
            await wheel.passage("client")
            passed.append(command)

    running = asyncio.create_task(client())
    await turns()
    assert passed == []
    assert wheel.waiting == 1
    assert wheel.release(ANN)
    await running
    assert passed == [0, 1, 2, 3, 4]
    assert told.said == [
        ("control.taken", {"by": "Ann"}),
        ("control.waiting", {"count": 1}),
        ("control.released", {"by": "Ann"}),
    ]


async def test_taken_again_before_the_waiting_ones_ran_they_still_wait() -> None:
    wheel = Wheel()
    wheel.take(ANN)
    waiting = asyncio.create_task(wheel.passage("client"))
    await turns()
    wheel.release(ANN)
    wheel.take(BOB)
    await turns()
    assert not waiting.done()
    wheel.release(BOB)
    await waiting


async def test_a_client_that_leaves_waits_no_more() -> None:
    told = Told()
    wheel = Wheel(told)
    wheel.take(ANN)
    waiting = [asyncio.create_task(wheel.passage(name)) for name in ("one", "two")]
    await turns()
    assert wheel.waiting == 2
    waiting[0].cancel()
    await turns()
    assert wheel.waiting == 1
    assert told.said[-1] == ("control.waiting", {"count": 1})
    wheel.release(ANN)
    await waiting[1]


def test_it_is_taken_once_and_given_back_by_its_holder_only() -> None:
    wheel = Wheel()
    assert wheel.take(ANN)
    assert not wheel.take(ANN)
    with pytest.raises(Conflict, match="Ann"):
        wheel.take(BOB)
    with pytest.raises(Conflict, match="Ann"):
        wheel.release(BOB)
    assert wheel.release()
    assert not wheel.release(ANN)
    assert wheel.take(BOB)


class Grip:
    """A hand that says how often it was told to let go."""

    def __init__(self) -> None:
        self.told = 0

    def let_go(self) -> None:
        self.told += 1


async def test_clients_go_on_when_the_last_hand_has_let_go() -> None:
    wheel = Wheel()
    wheel.take(ANN)
    one, two = Grip(), Grip()
    for hand in (one, two):
        wheel.grip(hand)
    waiting = asyncio.create_task(wheel.passage("client"))
    await turns()
    wheel.release(ANN)
    assert (one.told, two.told) == (1, 1)
    for hand in (one, two):
        await turns()
        assert not waiting.done()
        assert wheel.held
        wheel.loosen(hand)
    await waiting
    assert not wheel.held


async def test_a_hand_that_lets_go_late_does_not_free_the_wheel_of_the_next() -> None:
    wheel = Wheel()
    wheel.take(ANN)
    hand = Grip()
    wheel.grip(hand)
    wheel.release(ANN)
    wheel.take(BOB)
    waiting = asyncio.create_task(wheel.passage("client"))
    wheel.loosen(hand)
    await turns()
    assert not waiting.done()
    wheel.release(BOB)
    await waiting
