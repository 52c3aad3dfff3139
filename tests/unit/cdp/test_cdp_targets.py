"""The tree of targets stays correct whatever the order of Chromium's events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browser_sessions.cdp import Target, TargetTree
from tests.harness.fakes.fake_browser import EPOCH
from tests.harness.fakes.scripted_chromium import info


class Watcher:
    """Records notifications, and whether the tree had the target at that time."""

    def __init__(self, tree: TargetTree) -> None:
        self.tree = tree
        self.events: list[tuple[str, str, bool]] = []

    def note(self, name: str, target: Target) -> None:
        self.events.append((name, target.target_id, self.tree.get(target.target_id) is target))

    def target_created(self, target: Target) -> None:
        self.note("created", target)

    def target_changed(self, target: Target) -> None:
        self.note("changed", target)

    def target_destroyed(self, target: Target) -> None:
        self.note("destroyed", target)

    def target_crashed(self, target: Target, params: Mapping[str, Any]) -> None:
        self.note(f"crashed {params['status']}", target)

    def target_paused(self, target: Target) -> list[object]:
        return []


def tree() -> TargetTree:
    return TargetTree(lambda: EPOCH)


NAMES = st.integers(0, 4)
EVENTS = st.lists(st.tuples(st.sampled_from(["seen", "destroyed", "crashed"]), NAMES), max_size=40)


def context_of(number: int) -> str:
    return "ab"[number % 2]


def type_of(number: int) -> str:
    return "page" if number < 3 else "worker"


@given(EVENTS)
def test_targets_are_listed_oldest_first_in_any_order_of_events(events: list[tuple[str, int]]) -> None:
    targets, watchers = tree(), {}
    for context_id in "ab":
        watchers[context_id] = Watcher(targets)
        targets.watch(context_id, watchers[context_id])
    opened: list[int] = []
    expected: dict[str, list[tuple[str, str, bool]]] = {"a": [], "b": []}
    for name, number in events:
        target_id, there = f"T{number}", number in opened
        note = expected[context_of(number)]
        if name == "seen":
            targets.update(info(target_id, context_of(number), type_of(number)))
            note.append(("changed" if there else "created", target_id, True))
            if not there:
                opened.append(number)
        elif name == "destroyed":
            targets.destroyed(target_id)
            if there:
                opened.remove(number)
                note.append(("destroyed", target_id, False))
        else:
            targets.crashed({"targetId": target_id, "status": "killed"})
            if there:
                note.append(("crashed killed", target_id, True))
        for context_id in "ab":
            here = [each for each in opened if context_of(each) == context_id]
            assert [each.target_id for each in targets.of(context_id)] == [f"T{each}" for each in here]
            pages = [f"T{each}" for each in here if type_of(each) == "page"]
            assert [each.target_id for each in targets.of(context_id, "page")] == pages
    assert {context_id: each.events for context_id, each in watchers.items()} == expected
    assert set(targets._contexts) == {context_of(each) for each in opened}, "contexts without targets must be removed"


def test_a_target_keeps_its_creation_time_and_has_the_latest_info() -> None:
    moments = iter([EPOCH, EPOCH + timedelta(seconds=1)])
    targets = TargetTree(lambda: next(moments))
    first = targets.update(info("T"))
    again = targets.update({**info("T"), "url": "https://a.test/", "title": "A"})
    assert again is first
    assert (first.url, first.title, first.created_at, first.crashed) == ("https://a.test/", "A", EPOCH, False)


def test_an_empty_url_does_not_replace_the_last_one() -> None:
    targets = tree()
    target = targets.update({**info("T", url="https://a.test/"), "title": "A"})
    targets.update({**info("T", url=""), "title": ""})
    assert (target.url, target.title) == ("https://a.test/", "A")
    targets.update({**info("T", url="https://b.test/"), "title": ""})
    assert (target.url, target.title) == ("https://b.test/", "")


def test_a_crashed_target_stays_and_a_new_one_of_its_id_is_not_crashed() -> None:
    targets = tree()
    targets.update(info("T"))
    targets.crashed({"targetId": "T"})
    assert [each.crashed for each in targets.of("C")] == [True]
    targets.destroyed("T")
    assert not targets.update(info("T")).crashed


@pytest.mark.parametrize("target_id", [None, 5, ["T"], {}, "t", ""])
def test_an_invalid_target_id_finds_nothing(target_id: object) -> None:
    targets = tree()
    targets.update(info("T"))
    assert targets.get(target_id) is None


def test_each_watcher_is_notified_once_of_its_context_until_unwatch() -> None:
    targets = tree()
    one, other, elsewhere = Watcher(targets), Watcher(targets), Watcher(targets)
    targets.watch("C", one)
    targets.watch("C", other)
    targets.watch("D", elsewhere)
    targets.update(info("T"))
    targets.unwatch("C", one)
    targets.unwatch("C", one)
    targets.unwatch("E", one)
    targets.destroyed("T")
    assert [name for name, _, _ in one.events] == ["created"]
    assert [name for name, _, _ in other.events] == ["created", "destroyed"]
    assert elsewhere.events == []
    targets.unwatch("C", other)
    assert targets.watchers("C") == ()
    assert set(targets._watchers) == {"D"}


def test_a_watcher_may_unwatch_during_a_notification() -> None:
    targets = tree()

    class Unwatching(Watcher):
        def target_created(self, target: Target) -> None:
            super().target_created(target)
            targets.unwatch("C", self)

    leaving, staying = Unwatching(targets), Watcher(targets)
    targets.watch("C", leaving)
    targets.watch("C", staying)
    targets.update(info("T"))
    targets.update(info("T"))
    assert [name for name, _, _ in leaving.events] == ["created"]
    assert [name for name, _, _ in staying.events] == ["created", "changed"]


@pytest.mark.parametrize("later", [None, "another"])
def test_a_target_stays_in_the_context_that_it_was_created_in(later: str | None) -> None:
    targets = tree()
    created = info("T", "C")
    targets.update(created)
    changed = {name: value for name, value in created.items() if name != "browserContextId"}
    targets.update(changed if later is None else changed | {"browserContextId": later})
    assert [target.target_id for target in targets.of("C")] == ["T"]
    targets.destroyed("T")
    assert targets.of("C") == []
