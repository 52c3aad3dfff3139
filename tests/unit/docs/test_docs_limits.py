"""docs/limits.md: the constants and settings that it names exist and have the values that it gives, and no limit of a
request's fields is missing."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from browser_sessions.api.dependencies import ApiOptions
from browser_sessions.domain.clock import SystemClock
from browser_sessions.settings import Settings
from tests.harness.documents import codes, rows
from tests.harness.fakes.fake_node import assemble
from tests.harness.paths import ROOT

PAGE: Final = "docs/limits.md"
LIMITS: Final = [
    *(
        (f"{what}: {value}; {beyond}", by)
        for what, value, beyond, by in rows(PAGE, "limit", "value", "beyond it", "set by")
    ),
    *((f"{what}: {value}", by) for what, value, by in rows(PAGE, "limit", "value", "set by")),
]
"""(what the limit is, what sets it)."""
UNITS: Final = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "minute": 60, "min": 60, "hour": 3600, "day": 86400}
WORDS: Final = {"a second": 1, "ten": 10, "fourth": 4, "a quarter more": 1.25, "half as much": 0.5}
NUMBER: Final = re.compile(r"(-?\d[\d,]*(?:\.\d+)?)(?: x (\d+)| (KiB|MiB|GiB|min|(?:minute|hour|day)(?=s?\b)))?")
UNSAID: Final = {
    "FIRST_OWN_ID",  # the first id beyond the limit
    "SESSION_LIFETIME_S",  # ten years, for what ends with its session
}
BOUNDS: Final = ("maxLength", "maxItems", "maxProperties", "maximum")
UNREAD: Final = {
    *("client_id", "client_secret", "scope"),  # OAuth2's, not used
    *("cursor", "ticket", "Last-Event-ID", "last_event_id", "page_id"),  # the service's own, passed back
    *("latitude", "longitude", "clip"),  # limited by what they are
}
"""Fields without a limit that a caller could reach."""


def numbers(text: str) -> Iterator[float]:
    """Every number in the text, without and with its unit."""
    yield from (value for word, value in WORDS.items() if word in text)
    yield from (2.0 ** int(power) for power in re.findall(r"2\^(\d+)", text))
    for number, factor, unit in NUMBER.findall(text.replace("-2^31", str(-(2**31)))):
        value = float(number.replace(",", ""))
        yield value
        yield value * int(factor or 1) * UNITS.get(unit, 1)


def named(by: str) -> Iterator[tuple[str, Any]]:
    """(name, value) of each constant and setting in a cell. Fails if it does not exist."""
    for part in by.split(";"):
        file = re.search(r"[a-z_0-9/]+\.py", part)
        for name in codes(part):
            if file is None:
                yield name, Settings.model_fields[name.lower()].default
            else:
                module = file.group().removesuffix(".py").replace("/", ".")
                yield name, getattr(importlib.import_module(f"browser_sessions.{module}"), name)


@pytest.mark.parametrize(("what", "by"), LIMITS, ids=[what.partition(":")[0] for what, _ in LIMITS])
def test_what_sets_a_limit_exists_and_has_the_documented_value(what: str, by: str) -> None:
    assert [
        file for file in re.findall(r"[a-z_0-9/]+\.py", by) if not (ROOT / "browser_sessions" / file).exists()
    ] == []
    said = set(numbers(what))
    for name, value in named(by):
        number = value.total_seconds() if isinstance(value, timedelta) else value
        allowed = {number, -number} if isinstance(number, int | float) else set()
        if isinstance(number, dict):  # by what it applies to: a row has one of them
            allowed = set(number.values())
        assert not allowed or name in UNSAID or allowed & said, (name, number)


def bounds(document: dict[str, Any]) -> set[tuple[str, float]]:
    """(field, its largest value, length or count) of every parameter and body of the API."""
    found: set[tuple[str, float]] = set()

    def walk(name: str, schema: dict[str, Any], seen: frozenset[str] = frozenset()) -> None:
        if (reference := schema.get("$ref")) is not None:
            if reference not in seen:
                walk(name, document["components"]["schemas"][reference.rsplit("/", 1)[1]], seen | {reference})
            return
        found.update((name, float(schema[bound])) for bound in BOUNDS if bound in schema)
        same = [
            *schema.get("anyOf", ()),
            *(
                schema[key]
                for key in ("items", "additionalProperties", "propertyNames")
                if isinstance(schema.get(key), dict)
            ),
        ]
        for each in same:
            walk(name, each, seen)
        for field, each in schema.get("properties", {}).items():
            walk(field, each, seen)

    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                walk(parameter["name"], parameter["schema"])
            for content in operation.get("requestBody", {}).get("content", {}).values():
                walk("body", content["schema"])
    return found


def test_every_limit_of_a_requests_fields_is_documented() -> None:
    document = assemble(Path("unused"), SystemClock(), ApiOptions(), 1).app.openapi()
    said: dict[str, set[float]] = {}
    for what, _ in LIMITS:
        for name in codes(what):
            said.setdefault(name, set()).update(numbers(what))
    inside = {"localStorage", "name", "path", "value", "partitionKey", "origin"}  # of a storage state
    missing = {
        (name, most)
        for name, most in bounds(document)
        if name not in UNREAD
        and most not in said.get(name, set()) | (said["storage_state"] if name in inside else set())
    }
    assert missing == set()
