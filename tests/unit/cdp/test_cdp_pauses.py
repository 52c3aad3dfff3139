"""What keeps a new target paused, and for how long at most."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from browser_sessions.cdp.pauses import HOLD_S, OWNER_HOLD_S, Pauses


class Timer:
    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when = when
        self.call = call
        self.over = False

    def cancel(self) -> None:
        self.over = True


class Time:
    """Stands in for the running loop: time passes when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def call_later(self, delay: float, call: Callable[..., None], *args: Any) -> Timer:
        timer = Timer(self.now + delay, lambda: call(*args))
        self.timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for timer in self.timers:
            if not timer.over and timer.when <= self.now:
                timer.over = True
                timer.call()
        self.timers = [timer for timer in self.timers if not timer.over]


class World:
    """Pauses whose releases are written down; that a target runs is said by the test."""

    def __init__(self) -> None:
        self.time = Time()
        self.said: list[str] = []
        self.pauses = Pauses(lambda target_id, sessions: self.said.append(f"{target_id} {'+'.join(sessions)}"))

    def note(self, text: str) -> Callable[[], None]:
        return lambda: self.said.append(text)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: made.time)
    yield made
    made.pauses.close()
    made.time.advance(0)
    assert made.time.timers == []


def test_a_target_without_clients_is_resumed_at_once(world: World) -> None:
    world.pauses.begin("T", "S", [])
    assert world.said == ["T S"]
    assert "T" in world.pauses, "it runs when Chromium has said so"
    world.pauses.running("T")
    assert "T" not in world.pauses


def test_a_target_is_resumed_when_the_last_of_its_clients_has_resumed_it(world: World) -> None:
    world.pauses.begin("T", "S", ["one", "other"])
    world.pauses.resumed("T", "one")
    world.pauses.resumed("T", "one")
    world.pauses.resumed("T", "stranger")
    world.pauses.resumed("U", "other")
    assert world.said == []
    world.pauses.resumed("T", "other")
    world.pauses.resumed("T", "other")
    assert world.said == ["T S"], "once"


def test_all_paused_sessions_are_resumed(world: World) -> None:
    world.pauses.begin("T", "S", ["one"])
    world.pauses.add_session("T", "S-ONE")
    world.pauses.add_session("T", "S-TAB")
    world.pauses.add_session("U", "S-OTHER")
    world.pauses.resumed("T", "one")
    assert world.said == ["T S+S-ONE+S-TAB"]


def test_a_pause_waits_for_a_client_that_attaches_later_too(world: World) -> None:
    world.pauses.begin("T", "S", ["one"])
    world.pauses.wait_for("T", "other")
    world.pauses.resumed("T", "one")
    assert world.said == []
    world.pauses.resumed("T", "other")
    world.pauses.wait_for("T", "late")
    assert world.said == ["T S"]


@pytest.mark.parametrize("begun", [False, True])
def test_a_kept_target_has_no_time_limit_until_it_starts(world: World, begun: bool) -> None:
    world.pauses.add_owner("owner")
    if not begun:
        world.pauses.suspend_limit("T")
    world.pauses.begin("T", "S", ["owner", "client"])
    if begun:
        world.pauses.suspend_limit("T")
    world.time.advance(10 * OWNER_HOLD_S)
    assert (world.said, "T" in world.pauses) == ([], True)
    world.pauses.start_limit("T")
    world.time.advance(HOLD_S)
    world.pauses.resumed("T", "owner")
    assert world.said == ["T S"], "the client was not waited for any longer"


def test_a_kept_target_has_the_whole_time_when_its_limit_starts(world: World) -> None:
    world.pauses.suspend_limit("T")
    world.pauses.begin("T", "S", ["client"])
    world.time.advance(HOLD_S * 0.9)
    world.pauses.start_limit("T")
    world.time.advance(HOLD_S * 0.9)
    assert world.said == []
    world.time.advance(HOLD_S * 0.1)
    assert world.said == ["T S"]
    world.pauses.start_limit("U")
    world.pauses.gone("T")
    assert world.pauses._kept == set()


def test_a_pause_does_not_wait_for_a_disconnected_client(world: World) -> None:
    world.pauses.begin("T", "S", ["client"])
    world.pauses.begin("U", "S", ["client", "other"])
    world.pauses.client_left("client")
    assert world.said == ["T S"]
    world.pauses.client_left("other")
    assert world.said == ["T S", "U S"]


def test_no_client_delays_a_target_beyond_the_limit(world: World) -> None:
    world.pauses.begin("T", "S", ["never"])
    world.time.advance(HOLD_S * 0.99)
    assert world.said == []
    world.time.advance(HOLD_S * 0.02)
    assert world.said == ["T S"]


def test_a_pause_does_not_wait_for_a_stalled_client_until_it_resumes_one(world: World) -> None:
    world.pauses.begin("T", "S", ["slow", "quick"])
    world.pauses.resumed("T", "quick")
    world.time.advance(HOLD_S)
    world.pauses.begin("U", "S", ["slow"])
    world.pauses.wait_for("U", "slow")
    assert world.said == ["T S", "U S"]
    world.pauses.begin("V", "S", ["quick", "slow"])
    world.pauses.wait_for("V", "slow")
    world.pauses.resumed("V", "quick")
    assert world.said == ["T S", "U S", "V S"]
    world.pauses.release("T", "slow")  # its session has ended with the window: that says nothing for it
    world.pauses.begin("X", "S", ["slow"])
    assert world.said == ["T S", "U S", "V S", "X S"]
    world.said.pop()
    world.pauses.resumed("T", "slow")  # late, and yet
    world.pauses.begin("W", "S", ["slow"])
    assert len(world.said) == 3
    world.pauses.resumed("W", "slow")
    assert len(world.said) == 4


def test_a_disconnected_client_is_forgotten_and_one_of_the_same_name_counts(world: World) -> None:
    world.pauses.begin("T", "S", ["slow"])
    world.time.advance(HOLD_S)
    world.pauses.client_left("slow")
    world.pauses.begin("U", "S", ["slow"])
    assert world.said == ["T S"]


def test_a_callback_added_during_the_resume_is_called_when_the_target_runs(world: World) -> None:
    world.pauses.when_running("T", world.note("no pause"))
    assert world.said == ["no pause"]
    world.pauses.begin("T", "S", ["one"])
    world.pauses.when_running("T", world.note("first"))
    world.pauses.resumed("T", "one")
    world.pauses.when_running("T", world.note("second"))
    assert world.said == ["no pause", "T S"]
    world.pauses.running("T")
    world.pauses.running("T")
    assert world.said == ["no pause", "T S", "first", "second"]
    world.pauses.when_running("T", world.note("at once"))
    assert world.said[-1] == "at once"


@pytest.mark.parametrize("ending", ["gone", "close"])
def test_all_callbacks_are_called_and_nothing_is_left_at_the_end(world: World, ending: str) -> None:
    world.pauses.begin("T", "S", ["client"])
    world.pauses.begin("U", "S", ["client"])
    world.pauses.when_running("T", world.note("T goes"))
    world.pauses.when_running("U", world.note("U goes"))
    if ending == "close":
        world.pauses.close()
    else:
        world.pauses.running("T")
        world.pauses.running("U")
    world.time.advance(HOLD_S)
    assert world.said == ["T goes", "U goes"]
    assert len(world.pauses) == 0


TARGETS = st.sampled_from(["T", "U", "V"])
CLIENTS = st.sampled_from(["one", "two", "three"])


class PausesMachine(RuleBasedStateMachine):
    """Against a model that says for each target who is waited for and since when."""

    def __init__(self) -> None:
        super().__init__()
        self.time = Time()
        self.released: dict[str, tuple[str, ...]] = {}
        self.pauses = Pauses(self._release)
        self.waiting: dict[str, set[str]] = {}
        """By target that is paused and was not released."""
        self.since: dict[str, float] = {}
        self.holders: dict[str, list[str]] = {}
        self.early: dict[str, list[str]] = {}
        """Holders of targets that have not come yet."""
        self.begun: set[str] = set()
        self.stalled: set[str] = set()
        self.callbacks: list[str] = []
        self.expected_callbacks: list[str] = []
        self.asked: dict[str, list[str]] = {}
        self.numbers = iter(range(10**6))
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(asyncio, "get_running_loop", lambda: self.time)

    def teardown(self) -> None:
        self.pauses.close()
        for names in self.asked.values():
            self.expected_callbacks += names
        assert sorted(self.callbacks) == sorted(self.expected_callbacks), "each once"
        assert len(self.pauses) == 0
        self.time.advance(10 * HOLD_S)
        self.patch.undo()

    def _release(self, target_id: str, sessions: tuple[str, ...]) -> None:
        assert target_id not in self.released, "once"
        self.released[target_id] = sessions

    def _model_ready(self) -> None:
        for target_id in [each for each, waiting in self.waiting.items() if not waiting]:
            del self.waiting[target_id]

    @rule(target_id=TARGETS, clients=st.sets(CLIENTS))
    def begin(self, target_id: str, clients: set[str]) -> None:
        if target_id in self.pauses:
            return
        self.released.pop(target_id, None)
        self.waiting[target_id] = clients - self.stalled
        self.since[target_id] = self.time.now
        self.holders[target_id] = [f"S{next(self.numbers)}", *self.early.pop(target_id, [])]
        self.begun.add(target_id)
        self.asked[target_id] = []
        self.pauses.begin(target_id, self.holders[target_id][0], clients)
        self._model_ready()

    @rule(target_id=TARGETS, client=CLIENTS)
    def resume(self, target_id: str, client: str) -> None:
        self.stalled.discard(client)
        self.waiting.get(target_id, set()).discard(client)
        self.pauses.resumed(target_id, client)
        self._model_ready()

    @rule(target_id=TARGETS, client=CLIENTS)
    def wait_for(self, target_id: str, client: str) -> None:
        if target_id in self.waiting and client not in self.stalled:
            self.waiting[target_id].add(client)
        self.pauses.wait_for(target_id, client)

    @rule(target_id=TARGETS)
    def hold(self, target_id: str) -> None:
        session_id = f"S{next(self.numbers)}"
        if target_id in self.waiting:
            self.holders[target_id].append(session_id)
        elif target_id not in self.begun:
            self.early.setdefault(target_id, []).append(session_id)
        is_resumed_here = self.pauses.add_session(target_id, session_id)
        assert is_resumed_here is (target_id in self.waiting or target_id not in self.begun)

    @rule(client=CLIENTS)
    def leave(self, client: str) -> None:
        for waiting in self.waiting.values():
            waiting.discard(client)
        self.stalled.discard(client)
        self.pauses.client_left(client)
        self._model_ready()

    @rule(share=st.sampled_from([0.3, 0.7, 1.0]))
    def pass_time(self, share: float) -> None:
        self.time.advance(share * HOLD_S)
        for target_id, waiting in self.waiting.items():
            if self.time.now >= self.since[target_id] + HOLD_S:
                self.stalled |= waiting
                waiting.clear()
        self._model_ready()

    @rule(target_id=TARGETS)
    def ask(self, target_id: str) -> None:
        name = f"then{next(self.numbers)}"
        if target_id in self.pauses:
            self.asked[target_id].append(name)
        else:
            self.expected_callbacks.append(name)
        self.pauses.when_running(target_id, lambda: self.callbacks.append(name))
        assert self.callbacks[-1:] == [name] or target_id in self.pauses

    @precondition(lambda self: len(self.pauses) > 0)
    @rule(target_id=TARGETS)
    def runs_or_is_gone(self, target_id: str) -> None:
        self.waiting.pop(target_id, None)
        self.expected_callbacks += self.asked.pop(target_id, [])
        self.pauses.running(target_id)
        assert target_id not in self.pauses

    @invariant()
    def what_nobody_waits_for_is_released_and_nothing_else(self) -> None:
        for target_id in ("T", "U", "V"):
            if target_id not in self.pauses:
                continue
            assert (target_id in self.released) is (target_id not in self.waiting)
            if target_id in self.released:
                assert self.released[target_id] == tuple(self.holders[target_id])
        assert self.pauses._stalled == self.stalled
        assert self.callbacks == self.expected_callbacks


TestAnyOrder = PausesMachine.TestCase
