"""The registry of event types, the publishing code and docs/events.md agree."""

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
"""Calls by file that publish the event named by their first argument, besides `publish` and `ContextEvent`."""


def published() -> Iterator[tuple[str, frozenset[str], str]]:
    """(event, keys of its data, location) of every call that publishes an event."""
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


def test_published_events_and_fields_are_registered() -> None:
    found = list(published())
    assert len(found) > 10, "the search must find calls"
    for kind, keys, where in found:
        if kind == "context.died":
            continue  # for the pool, which turns it into session.ended
        assert kind in EVENTS, f"{where} publishes {kind}, which domain/event_types.py does not have"
        assert keys <= set(EVENTS[kind].fields), f"{where}: {kind} has fields that domain/event_types.py does not name"


def test_the_docs_page_lists_exactly_the_registered_types_and_fields() -> None:
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    rows = {
        name: (tuple(re.findall(r"`([a-z_]+)`", fields)), description)
        for name, fields, description in ROW.findall(page)
    }
    assert set(rows) == set(EVENTS)
    for name, (fields, description) in rows.items():
        known = EVENTS[name]
        assert fields == known.fields, name
        assert description.startswith(known.description), name
        assert ("perators" in description.removeprefix(known.description)) is known.operators_only, name
        assert ("ransient" in description.removeprefix(known.description)) is known.transient, name
    groups = page.partition("groups of types:")[2].partition(". ")[0]
    assert set(re.findall(r"`([a-z]+)`", groups)) == {name.partition(".")[0] for name in EVENTS}


def test_the_docs_page_has_the_limits_of_the_code() -> None:
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    assert f"{SESSION_EVENTS} events a session" in page
    assert f"{NODE_EVENTS:,} of all" in page


def test_pool_updated_has_the_fields_of_the_pool_state() -> None:
    assert tuple(PoolSnapshot.__dataclass_fields__) == POOL_FIELDS


def test_transient_events_do_not_displace_the_history() -> None:
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


def test_history_and_transient_events_are_merged_in_order() -> None:
    journal = Journal(ManualClock())
    for kind in ("session.active", "session.updated", "page.opened", "session.updated", "page.closed"):
        journal.publish(kind, "s", "o")
    assert [event.seq for event in journal.since(0, session_id="s")[0]] == [1, 2, 3, 4, 5]


def test_an_owner_reads_only_its_own_events() -> None:
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
def test_text_of_pages_is_truncated_to_valid_unicode(value: object, shown: object) -> None:
    assert clip(value) == shown


async def test_readers_are_woken_when_the_journal_closes() -> None:
    journal = Journal(ManualClock())
    journal.close()
    await journal.news(journal.newest)
