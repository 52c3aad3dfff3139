"""The registry of event types, the code that publishes them and docs/events.md say the same."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from browser_sessions.domain.event_types import EVENTS, POOL_FIELDS
from browser_sessions.events.journal import NODE_EVENTS, SESSION_EVENTS, SESSION_UPDATES, Journal, clip
from browser_sessions.pool.pool_report import PoolSnapshot
from tests.harness.fakes.fake_browser import ManualClock
from tests.harness.paths import ROOT

ROW = re.compile(r"^\| `([a-z._]+)` \| (.*?) \| (.*) \|$", re.MULTILINE)
PUBLISHERS = {"observer.py": {"_say"}, "control_lock.py": {"_say"}, "live_session.py": {"_happened"}}
"""Calls that publish what their first argument names, where they are others than `publish` and `ContextEvent`."""


def published() -> Iterator[tuple[str, frozenset[str], str]]:
    """(event, keys of its data, where) for every event that a call to publish, _say or ContextEvent names."""
    for path in (ROOT / "browser_sessions").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            kind = node.args[0].value
            if name not in PUBLISHERS.get(path.name, {"publish", "ContextEvent"}) or not isinstance(kind, str):
                continue
            keys = {word.arg for word in node.keywords if word.arg is not None}
            for argument in node.args[1:]:
                if isinstance(argument, ast.Dict):
                    keys |= {str(key.value) for key in argument.keys if isinstance(key, ast.Constant)}
            yield kind, frozenset(keys), f"{path.relative_to(ROOT)}:{node.lineno}"


def test_what_the_code_publishes_is_registered_with_its_fields() -> None:
    found = list(published())
    assert len(found) > 10, "the search itself works"
    for kind, keys, where in found:
        if kind == "context.died":
            continue  # for the pool, which turns it into session.ended
        assert kind in EVENTS, f"{where} publishes {kind}, which domain/event_types.py does not have"
        assert keys <= set(EVENTS[kind].fields), f"{where}: {kind} has fields that domain/event_types.py does not name"


def test_the_page_lists_every_type_with_its_fields_and_nothing_else() -> None:
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    rows = {name: (tuple(re.findall(r"`([a-z_]+)`", fields)), says) for name, fields, says in ROW.findall(page)}
    assert set(rows) == set(EVENTS)
    for name, (fields, says) in rows.items():
        known = EVENTS[name]
        assert fields == known.fields, name
        assert says.startswith(known.description), name
        assert ("perators" in says.removeprefix(known.description)) is known.operators_only, name
        assert ("ransient" in says.removeprefix(known.description)) is known.transient, name


def test_the_page_names_the_bounds_of_the_code() -> None:
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    assert f"{SESSION_EVENTS} events a session" in page
    assert f"{NODE_EVENTS:,} of all" in page


def test_pool_updated_has_the_fields_of_the_pool_state() -> None:
    assert tuple(PoolSnapshot.__dataclass_fields__) == POOL_FIELDS


def test_what_passes_does_not_push_the_story_out() -> None:
    journal = Journal(ManualClock())
    journal.publish("session.active", "s", "o", seconds=1)
    for count in range(3 * SESSION_EVENTS):
        journal.publish("session.updated", "s", "o", connections=count)
    assert [event.kind for event in journal.of("s")] == ["session.active"]
    fresh, missed = journal.since(journal.newest - 5, session_id="s")
    assert [event.data["connections"] for event in fresh] == list(range(3 * SESSION_EVENTS - 5, 3 * SESSION_EVENTS))
    assert not missed
    _, missed = journal.since(journal.newest - SESSION_UPDATES - 1, session_id="s")
    assert missed


def test_story_and_updates_come_in_their_order() -> None:
    journal = Journal(ManualClock())
    for kind in ("session.active", "session.updated", "page.opened", "session.updated", "page.closed"):
        journal.publish(kind, "s", "o")
    assert [event.seq for event in journal.since(0, session_id="s")[0]] == [1, 2, 3, 4, 5]


def test_an_owner_reads_nothing_of_others() -> None:
    journal = Journal(ManualClock())
    journal.publish("page.opened", "s1", "me")
    journal.publish("page.opened", "s2", "them")
    journal.publish("browser.died", browser_id="browser-1")
    fresh, _ = journal.since(0, owner="me")
    assert [event.session_id for event in fresh] == ["s1"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x" * 501, "x" * 499 + "…"),
        ("half \ud83d a character", "half \ufffd a character"),
        ({"a": ["\udc00"]}, {"a": ["\ufffd"]}),
        (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
def test_what_pages_say_is_cut_and_valid_unicode(value: object, shown: object) -> None:
    assert clip(value) == shown


async def test_readers_are_told_when_nothing_more_comes() -> None:
    journal = Journal(ManualClock())
    journal.close()
    await journal.news(journal.newest)
