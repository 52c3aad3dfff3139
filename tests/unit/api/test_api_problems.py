"""Errors map to HTTP statuses in one table, and error bodies do not echo input."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest

from browser_sessions.api.errors import TABLE, invalid_response, kind_of, response_for, retry_after
from browser_sessions.domain import errors
from browser_sessions.domain.limits import TEXT_CHARACTERS
from browser_sessions.domain.text import clipped

EVERY_ERROR = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, errors.BrowserSessionsError) and cls.__module__ == errors.__name__
]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Unauthenticated("who?"), 401),
        (errors.Forbidden("no"), 403),
        (errors.SessionNotFound("ses_1"), 404),
        (errors.PageNotFound("ses_1", "page"), 404),
        (errors.KeyNotFound("no such key"), 404),
        (errors.WrongState("ended"), 409),
        (errors.Conflict("taken"), 409),
        (errors.TooManyPages("ses_1"), 409),
        (errors.IdempotencyMismatch("reused"), 409),
        (errors.BrowserGone("died"), 409),
        (errors.PageFailed("thrown"), 409),
        (errors.InvalidField(("body", "device"), "must be a device"), 422),
        (errors.QuotaExceeded("enough"), 429),
        (errors.PoolFull("full"), 503),
        (errors.Draining("going"), 503),
        (errors.NoBrowser("none"), 503),
        (errors.StoreUnavailable("disk full"), 503),
        (errors.BrowserTimeout("hangs"), 504),
        (errors.IllegalTransition("a bug"), 500),
        (errors.SettingsError("a bug here"), 500),
        (ValueError("a bug"), 500),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_each_error_maps_to_its_status(error: Exception, status: int) -> None:
    response = response_for(error)
    assert response.status_code == status
    if status != 422:
        assert response.media_type == "application/problem+json"
        assert json.loads(bytes(response.body))["status"] == status


def test_an_error_without_an_entry_uses_its_nearest_ancestors() -> None:
    class Special(errors.PoolFull):
        """Not in the table."""

    assert kind_of(Special("full")) is TABLE[errors.PoolFull]


def test_every_error_of_the_tree_has_an_ancestor_in_the_table() -> None:
    assert EVERY_ERROR
    assert all(any(parent in TABLE for parent in cls.__mro__) for cls in EVERY_ERROR)


@pytest.mark.parametrize(
    "error", [errors.IllegalTransition("the secret of the row"), RuntimeError("the secret of the row")]
)
def test_an_internal_error_reveals_no_details(error: Exception) -> None:
    assert b"secret" not in bytes(response_for(error).body)


@pytest.mark.parametrize("error", [errors.PoolFull("f", retry_after=7.2), errors.QuotaExceeded("q", retry_after=7.2)])
def test_a_refusal_has_a_jittered_retry_after(error: Exception) -> None:
    delays = {int(response_for(error).headers["retry-after"]) for _ in range(200)}
    assert min(delays) >= 8
    assert max(delays) <= 11
    assert len(delays) > 1, "the delays must be spread"


@pytest.mark.parametrize(("seconds", "least"), [(0.0, 1), (0.01, 1), (1.0, 1), (5.0, 5)])
def test_retry_after_is_an_integer_of_at_least_one_and_rounded_up(seconds: float, least: int) -> None:
    assert all(int(retry_after(seconds)) >= max(least, seconds) for _ in range(100))


def test_a_401_has_a_www_authenticate_header() -> None:
    assert response_for(errors.Unauthenticated("who?")).headers["www-authenticate"].startswith("Bearer")


def test_a_problem_about_a_session_has_its_id() -> None:
    assert json.loads(bytes(response_for(errors.SessionNotFound("ses_1")).body))["session_id"] == "ses_1"
    assert "session_id" not in json.loads(bytes(response_for(errors.Forbidden("no")).body))


def test_a_validation_error_does_not_echo_input() -> None:
    found: list[dict[str, Any]] = [
        {"loc": ("body", "password"), "msg": "Value error, must be longer", "type": "value_error", "input": "hunter2"},
    ]
    assert json.loads(bytes(invalid_response(found).body)) == {
        "detail": [{"loc": ["body", "password"], "msg": "must be longer", "type": "value_error"}]
    }


def test_a_validation_error_is_bounded_in_size() -> None:
    found = [{"loc": ("body", "x" * 100_000, 7), "msg": "no", "type": "extra_forbidden"} for _ in range(1_000)]
    body = bytes(invalid_response(found).body)
    assert len(body) < 50 * (TEXT_CHARACTERS + 200)
    assert json.loads(body)["detail"][0]["loc"][2] == 7


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "ok", "x" * 10_000])
def test_clipped_text_is_short_valid_unicode(text: str) -> None:
    assert len(clipped(text).encode("utf-8")) <= 4 * TEXT_CHARACTERS
