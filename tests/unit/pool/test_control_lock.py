"""The control lock: clients wait while it is held, and no command is lost or reordered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from browser_sessions.domain.errors import Conflict
from browser_sessions.domain.principal import Principal, Role
from browser_sessions.pool.control_lock import ControlLock

ANN = Principal("ann", Role.OPERATOR, "Ann", "key:ann")
CHIEF = Principal("chief", Role.ADMIN, "Chief")
BOB = Principal("bob", Role.OPERATOR, "Bob")


class Recorder:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, kind: str, **data: Any) -> None:
        self.events.append((kind, data))


async def settle() -> None:
    """Lets all ready tasks run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_free_lock_does_not_block() -> None:
    lock = ControlLock(Recorder())
    await asyncio.wait_for(lock.until_free("client"), 1)
    assert not lock.held


async def test_commands_wait_while_the_lock_is_held_and_continue_in_order() -> None:
    recorder = Recorder()
    lock = ControlLock(recorder)
    assert lock.take(ANN)
    passed: list[int] = []

    async def client() -> None:
        for command in range(5):
            await lock.until_free("client")
            passed.append(command)

    running = asyncio.create_task(client())
    await settle()
    assert passed == []
    assert lock.waiting == 1
    assert lock.release(ANN)
    await running
    assert passed == [0, 1, 2, 3, 4]
    assert recorder.events == [
        ("control.taken", {"by": "Ann"}),
        ("control.waiting", {"count": 1}),
        ("control.released", {"by": "Ann"}),
    ]


async def test_clients_keep_waiting_if_the_lock_is_taken_again_at_once() -> None:
    lock = ControlLock(Recorder())
    lock.take(ANN)
    waiting = asyncio.create_task(lock.until_free("client"))
    await settle()
    lock.release(ANN)
    lock.take(BOB)
    await settle()
    assert not waiting.done()
    lock.release(BOB)
    await waiting


async def test_a_cancelled_client_is_no_longer_counted_as_waiting() -> None:
    recorder = Recorder()
    lock = ControlLock(recorder)
    lock.take(ANN)
    waiting = [asyncio.create_task(lock.until_free(name)) for name in ("one", "two")]
    await settle()
    assert lock.waiting == 2
    waiting[0].cancel()
    await settle()
    assert lock.waiting == 1
    assert recorder.events[-1] == ("control.waiting", {"count": 1})
    lock.release(ANN)
    await waiting[1]


def test_only_the_holder_can_release_the_lock() -> None:
    lock = ControlLock(Recorder())
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
    """An input source that counts release notifications."""

    def __init__(self) -> None:
        self.releases = 0

    def control_released(self) -> None:
        self.releases += 1


async def test_clients_continue_when_the_last_input_source_is_done() -> None:
    lock = ControlLock(Recorder())
    lock.take(ANN)
    one, two = Source(), Source()
    for source in (one, two):
        lock.input_begins(source)
    waiting = asyncio.create_task(lock.until_free("client"))
    await settle()
    lock.release(ANN)
    assert (one.releases, two.releases) == (1, 1)
    for source in (one, two):
        await settle()
        assert not waiting.done()
        assert lock.held
        lock.input_done(source)
    await waiting
    assert not lock.held


def test_an_admin_takes_over_and_releases_for_others() -> None:
    recorder = Recorder()
    lock = ControlLock(recorder)
    source = Source()
    lock.take(ANN)
    lock.input_begins(source)
    with pytest.raises(Conflict, match="an admin"):
        lock.take(BOB)
    assert lock.take(CHIEF)
    assert (lock.holder, source.releases) == (CHIEF, 1)
    lock.release()
    lock.take(ANN)
    with pytest.raises(Conflict, match="an admin"):
        lock.release(BOB)
    assert lock.release(CHIEF)
    taken = [data["by"] for kind, data in recorder.events if kind == "control.taken"]
    assert taken == ["Ann", "Chief", "Ann"]


def test_control_without_a_view_ends_unless_it_is_taken_again() -> None:
    lock = ControlLock(Recorder())
    lock.take(ANN, until=10.0)
    lock.expire(9.9)
    assert lock.held_by("ann")
    assert not lock.take(ANN, until=20.0)
    lock.expire(19.9)
    assert lock.held_by("ann")
    lock.expire(20.0)
    assert not lock.held_by("ann")

    lock.take(ANN, until=30.0)
    lock.has_view()
    lock.take(ANN, until=30.0)
    lock.expire(99.0)
    assert lock.held_by("ann"), "it ends with the view"
    lock.release()
    lock.take(BOB)
    lock.expire(99.0)
    assert lock.held_by("bob")


def test_control_ends_with_its_credential() -> None:
    lock = ControlLock(Recorder())
    lock.take(ANN)
    lock.revoked("key:bob")
    assert lock.held_by("ann")
    lock.revoked("key:ann")
    assert not lock.held_by("ann")
    lock.take(Principal("bob", Role.OPERATOR, "Bob", "user:bob", "sgn_1"))
    lock.revoked("sgn_1")
    assert not lock.held_by("bob")


async def test_an_input_source_that_is_done_late_does_not_free_the_lock_of_the_next() -> None:
    lock = ControlLock(Recorder())
    lock.take(ANN)
    source = Source()
    lock.input_begins(source)
    lock.release(ANN)
    lock.take(BOB)
    waiting = asyncio.create_task(lock.until_free("client"))
    lock.input_done(source)
    await settle()
    assert not waiting.done()
    lock.release(BOB)
    await waiting
