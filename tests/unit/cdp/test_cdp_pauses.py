"""Pauses of new targets: who is waited for, and the time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings
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
    """A fake event loop whose time is advanced by the test."""

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


class Harness:
    """Pauses with recorded releases; the test reports when a target runs."""

    def __init__(self) -> None:
        self.time = Time()
        self.log: list[str] = []
        self.pauses = Pauses(lambda target_id, sessions: self.log.append(f"{target_id} {'+'.join(sessions)}"))

    def note(self, text: str) -> Callable[[], None]:
        return lambda: self.log.append(text)


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Iterator[Harness]:
    made = Harness()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: made.time)
    yield made
    made.pauses.close()
    made.time.advance(0)
    assert made.time.timers == []


def test_a_target_without_clients_is_resumed_at_once(harness: Harness) -> None:
    harness.pauses.begin("T", "S", [])
    assert harness.log == ["T S"]
    assert "T" in harness.pauses, "it stays paused until Chromium reports that it runs"
    harness.pauses.running("T")
    assert "T" not in harness.pauses


def test_a_target_is_resumed_when_the_last_of_its_clients_has_resumed_it(harness: Harness) -> None:
    harness.pauses.begin("T", "S", ["one", "other"])
    harness.pauses.resumed("T", "one")
    harness.pauses.resumed("T", "one")
    harness.pauses.resumed("T", "unknown")
    harness.pauses.resumed("U", "other")
    assert harness.log == []
    harness.pauses.resumed("T", "other")
    harness.pauses.resumed("T", "other")
    assert harness.log == ["T S"], "released once"


def test_all_paused_sessions_are_resumed(harness: Harness) -> None:
    harness.pauses.begin("T", "S", ["one"])
    harness.pauses.add_session("T", "S-ONE")
    harness.pauses.add_session("T", "S-TAB")
    harness.pauses.add_session("U", "S-OTHER")
    harness.pauses.resumed("T", "one")
    assert harness.log == ["T S+S-ONE+S-TAB"]


def test_a_pause_waits_for_a_client_that_attaches_later_too(harness: Harness) -> None:
    harness.pauses.begin("T", "S", ["one"])
    harness.pauses.wait_for("T", "other")
    harness.pauses.resumed("T", "one")
    assert harness.log == []
    harness.pauses.resumed("T", "other")
    harness.pauses.wait_for("T", "late")
    assert harness.log == ["T S"]


@pytest.mark.parametrize("begun", [False, True])
def test_a_suspended_limit_starts_when_requested(harness: Harness, begun: bool) -> None:
    harness.pauses.add_owner("owner")
    if not begun:
        harness.pauses.suspend_limit("T")
    harness.pauses.begin("T", "S", ["owner", "client"])
    if begun:
        harness.pauses.suspend_limit("T")
    harness.time.advance(10 * OWNER_HOLD_S)
    assert (harness.log, "T" in harness.pauses) == ([], True)
    harness.pauses.start_limit("T")
    harness.time.advance(HOLD_S)
    harness.pauses.resumed("T", "owner")
    assert harness.log == ["T S"], "the client must not be waited for any longer"


def test_a_suspended_limit_starts_with_the_full_time(harness: Harness) -> None:
    harness.pauses.suspend_limit("T")
    harness.pauses.begin("T", "S", ["client"])
    harness.time.advance(HOLD_S * 0.9)
    harness.pauses.start_limit("T")
    harness.time.advance(HOLD_S * 0.9)
    assert harness.log == []
    harness.time.advance(HOLD_S * 0.1)
    assert harness.log == ["T S"]
    harness.pauses.start_limit("U")
    harness.pauses.gone("T")
    assert harness.pauses._kept == set()


def test_a_pause_does_not_wait_for_a_disconnected_client(harness: Harness) -> None:
    harness.pauses.begin("T", "S", ["client"])
    harness.pauses.begin("U", "S", ["client", "other"])
    harness.pauses.client_left("client")
    assert harness.log == ["T S"]
    harness.pauses.client_left("other")
    assert harness.log == ["T S", "U S"]


def test_no_client_delays_a_target_beyond_the_limit(harness: Harness) -> None:
    harness.pauses.begin("T", "S", ["never"])
    harness.time.advance(HOLD_S * 0.99)
    assert harness.log == []
    harness.time.advance(HOLD_S * 0.02)
    assert harness.log == ["T S"]


def test_a_pause_does_not_wait_for_a_stalled_client_until_it_resumes_one(harness: Harness) -> None:
    harness.pauses.begin("T", "S", ["slow", "quick"])
    harness.pauses.resumed("T", "quick")
    harness.time.advance(HOLD_S)
    harness.pauses.begin("U", "S", ["slow"])
    harness.pauses.wait_for("U", "slow")
    assert harness.log == ["T S", "U S"]
    harness.pauses.begin("V", "S", ["quick", "slow"])
    harness.pauses.wait_for("V", "slow")
    harness.pauses.resumed("V", "quick")
    assert harness.log == ["T S", "U S", "V S"]
    harness.pauses.release("T", "slow")  # its session ended with the window, which does not count as resuming
    harness.pauses.begin("X", "S", ["slow"])
    assert harness.log == ["T S", "U S", "V S", "X S"]
    harness.log.pop()
    harness.pauses.resumed("T", "slow")  # late, but it counts
    harness.pauses.begin("W", "S", ["slow"])
    assert len(harness.log) == 3
    harness.pauses.resumed("W", "slow")
    assert len(harness.log) == 4


def test_a_client_that_reconnects_under_the_same_name_is_waited_for_again(harness: Harness) -> None:
    harness.pauses.begin("T", "S", ["slow"])
    harness.time.advance(HOLD_S)
    harness.pauses.client_left("slow")
    harness.pauses.begin("U", "S", ["slow"])
    assert harness.log == ["T S"]


def test_a_callback_added_during_the_resume_is_called_when_the_target_runs(harness: Harness) -> None:
    harness.pauses.when_running("T", harness.note("no pause"))
    assert harness.log == ["no pause"]
    harness.pauses.begin("T", "S", ["one"])
    harness.pauses.when_running("T", harness.note("first"))
    harness.pauses.resumed("T", "one")
    harness.pauses.when_running("T", harness.note("second"))
    assert harness.log == ["no pause", "T S"]
    harness.pauses.running("T")
    harness.pauses.running("T")
    assert harness.log == ["no pause", "T S", "first", "second"]
    harness.pauses.when_running("T", harness.note("at once"))
    assert harness.log[-1] == "at once"


@pytest.mark.parametrize("ending", ["gone", "close"])
def test_all_callbacks_are_called_and_nothing_is_left_at_the_end(harness: Harness, ending: str) -> None:
    harness.pauses.begin("T", "S", ["client"])
    harness.pauses.begin("U", "S", ["client"])
    harness.pauses.when_running("T", harness.note("T goes"))
    harness.pauses.when_running("U", harness.note("U goes"))
    if ending == "close":
        harness.pauses.close()
    else:
        harness.pauses.running("T")
        harness.pauses.running("U")
    harness.time.advance(HOLD_S)
    assert harness.log == ["T goes", "U goes"]
    assert len(harness.pauses) == 0


def test_a_window_with_an_opener_is_closed_once_it_runs_and_others_at_once(harness: Harness) -> None:
    harness.pauses.window_created("T")
    harness.pauses.when_closable("T", harness.note("close T"))
    harness.pauses.begin("T", "S", ["client"])
    harness.pauses.when_closable("T", harness.note("close T again"))
    harness.pauses.begin("U", "S", ["client"])
    harness.pauses.when_closable("U", harness.note("close U"))
    assert harness.log == ["close U"]
    harness.pauses.resumed("T", "client")
    assert harness.log == ["close U", "T S"]
    harness.pauses.running("T")
    assert harness.log == ["close U", "T S", "close T", "close T again"]
    harness.pauses.when_closable("T", harness.note("at once"))
    assert harness.log[-1] == "at once"


TARGETS = st.sampled_from(["T", "U", "V"])
CLIENTS = st.sampled_from(["one", "two", "three"])


class PausesMachine(RuleBasedStateMachine):
    """Compares with a model that tracks for each target which clients are waited for and since when."""

    def __init__(self) -> None:
        super().__init__()
        self.time = Time()
        self.released: dict[str, tuple[str, ...]] = {}
        self.pauses = Pauses(self._release)
        self.waiting: dict[str, set[str]] = {}
        """Clients waited for, by paused target."""
        self.since: dict[str, float] = {}
        self.holders: dict[str, list[str]] = {}
        self.early: dict[str, list[str]] = {}
        """Holders of targets that are not yet paused."""
        self.begun: set[str] = set()
        self.stalled: set[str] = set()
        self.callbacks: list[str] = []
        self.expected_callbacks: list[str] = []
        self.pending_callbacks: dict[str, list[str]] = {}
        self.numbers = iter(range(10**6))
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(asyncio, "get_running_loop", lambda: self.time)

    def teardown(self) -> None:
        self.pauses.close()
        for names in self.pending_callbacks.values():
            self.expected_callbacks += names
        assert sorted(self.callbacks) == sorted(self.expected_callbacks), "each is called once"
        assert len(self.pauses) == 0
        self.time.advance(10 * HOLD_S)
        self.patch.undo()

    def _release(self, target_id: str, sessions: tuple[str, ...]) -> None:
        assert target_id not in self.released, "released twice"
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
        self.pending_callbacks[target_id] = []
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
    def request_callback(self, target_id: str) -> None:
        name = f"then{next(self.numbers)}"
        if target_id in self.pauses:
            self.pending_callbacks[target_id].append(name)
        else:
            self.expected_callbacks.append(name)
        self.pauses.when_running(target_id, lambda: self.callbacks.append(name))
        assert self.callbacks[-1:] == [name] or target_id in self.pauses

    @precondition(lambda self: len(self.pauses) > 0)
    @rule(target_id=TARGETS)
    def runs_or_is_gone(self, target_id: str) -> None:
        self.waiting.pop(target_id, None)
        self.expected_callbacks += self.pending_callbacks.pop(target_id, [])
        self.pauses.running(target_id)
        assert target_id not in self.pauses

    @invariant()
    def targets_are_released_once_no_client_is_waited_for(self) -> None:
        for target_id in ("T", "U", "V"):
            if target_id not in self.pauses:
                continue
            assert (target_id in self.released) is (target_id not in self.waiting)
            if target_id in self.released:
                assert self.released[target_id] == tuple(self.holders[target_id])
        assert self.pauses._stalled == self.stalled
        assert self.callbacks == self.expected_callbacks


TestAnyOrder = PausesMachine.TestCase
TestAnyOrder.settings = settings(max_examples=40)
