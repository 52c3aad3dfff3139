"""The queue of actions on one page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browser_sessions.chromium.context.action_queue import Action, ActionQueue, Ticket
from browser_sessions.chromium.driver.playwright_calls import TargetClosed
from browser_sessions.domain.errors import BrowserTimeout
from tests.harness.waiting import until

READ, DRAW, NAVIGATE, LOAD = Action.READ, Action.DRAW, Action.NAVIGATE, Action.LOAD
DISTURB = {
    frozenset({NAVIGATE}),
    frozenset({NAVIGATE, READ}),
    frozenset({NAVIGATE, DRAW}),
    frozenset({NAVIGATE, LOAD}),
    frozenset({DRAW}),
}
"""Pairs that must never run concurrently; a single action stands for two of its kind."""


class Caller:
    """An action started and finished by the test."""

    def __init__(self, queue: ActionQueue, action: Action, timeout: float = 60.0) -> None:
        self.action = action
        self.ticket: Ticket | None = None
        self._finished = asyncio.Event()
        self.task = asyncio.create_task(self._run(queue, timeout))

    def under_way(self) -> bool:
        return self.ticket is not None and not self.task.done()

    def commit(self) -> None:
        assert self.ticket is not None
        self.ticket.committed()
        self.action = LOAD

    def finish(self) -> None:
        self._finished.set()

    async def _run(self, queue: ActionQueue, timeout: float) -> None:
        async with queue.enter(self.action, timeout=timeout) as ticket:
            self.ticket = ticket
            await self._finished.wait()


async def settle() -> None:
    """Lets every task run as far as it can, since each change may wake further tasks."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        (READ, READ, True),
        (READ, DRAW, True),
        (DRAW, READ, True),
        (DRAW, DRAW, False),
        (READ, NAVIGATE, False),
        (NAVIGATE, READ, False),
        (DRAW, NAVIGATE, False),
        (NAVIGATE, DRAW, False),
        (NAVIGATE, NAVIGATE, False),
    ],
)
async def test_only_conflicting_actions_wait(first: Action, second: Action, together: bool) -> None:
    queue = ActionQueue()
    one, other = Caller(queue, first), Caller(queue, second)
    await settle()
    assert (one.under_way(), other.under_way()) == (True, together)
    one.finish()
    await settle()
    assert other.under_way()
    other.finish()
    await asyncio.gather(one.task, other.task)


async def test_a_script_runs_while_the_new_document_loads_and_the_next_navigation_waits() -> None:
    queue = ActionQueue()
    navigation, script, next_navigation = Caller(queue, NAVIGATE), Caller(queue, READ), Caller(queue, NAVIGATE)
    await settle()
    assert not script.under_way()
    navigation.commit()
    await until(lambda: script.under_way())
    script.finish()
    await settle()
    assert not next_navigation.under_way()
    navigation.finish()
    await settle()
    assert next_navigation.under_way()
    next_navigation.finish()
    await asyncio.gather(navigation.task, script.task, next_navigation.task)


async def test_a_timeout_names_the_earlier_action_and_does_not_block_the_queue() -> None:
    queue = ActionQueue()
    navigation = Caller(queue, NAVIGATE)
    await settle()
    late, script = Caller(queue, NAVIGATE, timeout=0.05), Caller(queue, READ)
    with pytest.raises(BrowserTimeout, match=r"earlier navigation for 0\.05 s"):
        await late.task
    navigation.finish()
    await settle()
    assert script.under_way()
    script.finish()
    await asyncio.gather(navigation.task, script.task)


async def test_a_hung_script_does_not_block_navigation_for_ever() -> None:
    queue = ActionQueue()
    hung, next_navigation = Caller(queue, READ), Caller(queue, NAVIGATE, timeout=0.2)
    await until(lambda: next_navigation.under_way())
    assert hung.under_way()
    next_navigation.finish()
    hung.finish()
    await asyncio.gather(hung.task, next_navigation.task)


async def test_a_screenshot_does_not_wait_for_a_slow_load_for_ever() -> None:
    queue = ActionQueue()
    loading = Caller(queue, NAVIGATE)
    await settle()
    loading.commit()
    picture = Caller(queue, DRAW, timeout=0.2)
    await settle()
    assert not picture.under_way()
    await until(lambda: picture.under_way())
    picture.finish()
    loading.finish()
    await asyncio.gather(picture.task, loading.task)


async def test_a_cancelled_action_does_not_block_the_queue() -> None:
    queue = ActionQueue()
    first, second, third = (Caller(queue, DRAW) for _ in range(3))
    await settle()
    second.task.cancel()
    first.finish()
    await settle()
    assert third.under_way()
    third.finish()
    await asyncio.gather(first.task, third.task)
    assert repr(queue) == "<ActionQueue 0 running, 0 waiting>"


async def test_a_closed_queue_starts_no_action() -> None:
    queue = ActionQueue()
    running, *waiting = [Caller(queue, NAVIGATE) for _ in range(3)]
    await settle()
    queue.close()
    waiting.append(Caller(queue, DRAW))
    await settle()
    assert running.under_way()
    running.finish()
    await running.task
    for caller in waiting:
        with pytest.raises(TargetClosed):
            await caller.task
    assert repr(queue) == "<ActionQueue 0 running, 0 waiting>"


STEPS = st.lists(
    st.one_of(
        st.sampled_from([READ, DRAW, NAVIGATE]).map(lambda action: ("enter", action)),
        st.tuples(st.sampled_from(["finish", "commit", "cancel"]), st.integers(0, 20)),
    ),
    max_size=40,
)


@given(STEPS)
def test_conflicting_actions_never_overlap_and_none_is_lost(steps: list[tuple[str, object]]) -> None:
    asyncio.run(_run_steps(steps))


async def _run_steps(steps: list[tuple[str, object]]) -> None:
    queue = ActionQueue()
    callers: list[Caller] = []
    does: dict[str, Callable[[Caller], object]] = {
        "finish": Caller.finish,
        "commit": lambda caller: caller.commit() if caller.action is NAVIGATE and caller.under_way() else None,
        "cancel": lambda caller: caller.task.cancel(),
    }
    for what, which in steps:
        if isinstance(which, Action):
            callers.append(Caller(queue, which))
        elif callers:
            assert isinstance(which, int)
            does[what](callers[which % len(callers)])
        await settle()
        under_way = [caller for caller in callers if caller.under_way()]
        for one in under_way:
            for other in under_way:
                assert one is other or frozenset({one.action, other.action}) not in DISTURB
        waiting = [caller for caller in callers if caller.ticket is None and not caller.task.done()]
        assert under_way or not waiting, "the queue must not stall"
    for caller in callers:
        caller.finish()
    await asyncio.gather(*(caller.task for caller in callers), return_exceptions=True)
    assert all(caller.ticket is not None or caller.task.cancelled() for caller in callers)
