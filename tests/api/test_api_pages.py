"""Pages over HTTP."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from browser_sessions.domain.errors import BrowserGone, BrowserTimeout
from tests.harness.fakes.fake_browser import ManualClock
from tests.harness.fakes.fake_node import DrivableContext, Node, node

SESSIONS = "/v1/browser/sessions"


class Driven:
    """One session of one caller, with the path of its pages."""

    def __init__(self, service: Node, headers: dict[str, str], session_id: str) -> None:
        self.service = service
        self.headers = headers
        self.session_id = session_id
        self.path = f"{SESSIONS}/{session_id}/pages"

    @property
    def context(self) -> DrivableContext:
        return self.service.context(self.session_id)

    async def call(self, method: str, path: str = "", **sent: Any) -> Any:
        return await self.service.client.request(method, self.path + path, headers=self.headers, **sent)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def driven(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Driven]:
    async with node(tmp_path, clock=clock) as service:
        mine = await service.key()
        made = (await service.client.post(SESSIONS, headers=mine)).json()
        yield Driven(service, mine, made["session_id"])


async def test_pages_are_opened_listed_and_closed(driven: Driven) -> None:
    opened = await driven.call("POST", json={"url": "https://a.example/"})
    assert opened.status_code == 201
    assert opened.json()["url"] == "https://a.example/"
    listed = (await driven.call("GET")).json()["pages"]
    assert [page["page_id"] for page in listed] == ["page-1", opened.json()["page_id"]]
    assert list(listed[0]) == ["page_id", "url", "title", "created_at", "crashed"]
    closed = await driven.call("DELETE", "/page-1")
    assert (closed.status_code, closed.content) == (204, b"")
    assert len((await driven.call("GET")).json()["pages"]) == 1
    assert (await driven.call("DELETE", "/page-1")).status_code == 404


async def test_a_page_needs_no_body(driven: Driven) -> None:
    assert (await driven.call("POST")).json()["url"] == "about:blank"


async def test_navigating_returns_the_final_page(driven: Driven) -> None:
    response = await driven.call("POST", "/page-1/navigate", json={"url": "https://a.example/"})
    assert response.json() == {
        "page_id": "page-1",
        "url": "https://a.example/",
        "title": "A title",
        "http_status": 200,
        "download_id": None,
    }


@pytest.mark.parametrize(
    ("path", "media_type", "begins"),
    [
        ("/page-1/screenshot", "image/png", b"\x89PNG"),
        ("/page-1/screenshot?format=jpeg&quality=60&full_page=true", "image/jpeg", b"\xff\xd8"),
        ("/page-1/pdf", "application/pdf", b"%PDF"),
    ],
)
async def test_page_output_is_served_as_an_inert_attachment(
    driven: Driven, path: str, media_type: str, begins: bytes
) -> None:
    response = await driven.call("GET", path)
    assert response.status_code == 200
    assert response.headers["content-type"] == media_type
    assert response.content.startswith(begins)
    assert response.headers["content-disposition"].startswith("attachment")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in response.headers["content-security-policy"]


@pytest.mark.parametrize("name", ["fullPage", "clip", ""])
async def test_an_unknown_screenshot_parameter_is_refused(driven: Driven, name: str) -> None:
    response = await driven.call("GET", f"/page-1/screenshot?{name}=true")
    assert response.status_code == 422
    (error,) = response.json()["detail"]
    assert error["loc"] == ["query", name]
    assert "full_page" in error["msg"]


async def test_content_is_returned_as_json(driven: Driven) -> None:
    response = await driven.call("GET", "/page-1/content")
    assert response.headers["content-type"] == "application/json"
    assert response.json()["content"].startswith("<html>")
    assert response.json()["url"] == "about:blank"


async def test_invalid_unicode_in_titles_does_not_break_the_response(driven: Driven) -> None:
    driven.context.title = "half \ud83d of it"
    await driven.call("POST", "/page-1/navigate", json={"url": "https://a.example/"})
    listed = await driven.call("GET")
    assert listed.status_code == 200
    assert listed.json()["pages"][0]["title"].startswith("half ")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1),
        (None, None),
        ("text", "text"),
        ({"a": [1, {"b": True}]}, {"a": [1, {"b": True}]}),
        (math.nan, None),
        ([math.inf, -math.inf, 1.5], [None, None, 1.5]),
        ("\ud83d", "\ud83d"),
        ({"\udfff": 1}, {"\udfff": 1}),
        (2**80, 2**80),
    ],
    ids=repr,
)
async def test_an_expressions_value_is_returned_as_json(driven: Driven, value: Any, expected: Any) -> None:
    driven.context.evaluated = value
    response = await driven.call("POST", "/page-1/evaluate", json={"expression": "x"})
    assert response.status_code == 200
    assert response.json() == {"result": expected}


def _endless() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize("value", [object(), _endless(), {1: {2}}], ids=["an object", "a circle", "a set"])
async def test_a_value_that_is_not_json_is_an_error(driven: Driven, value: Any) -> None:
    driven.context.evaluated = value
    response = await driven.call("POST", "/page-1/evaluate", json={"expression": "x"})
    assert response.status_code == 409
    assert response.json()["type"].endswith(":script-failed")
    assert "JSON" in response.json()["detail"]


async def test_an_exception_in_the_page_is_a_409(driven: Driven) -> None:
    response = await driven.call("POST", "/page-1/evaluate", json={"expression": "throw"})
    assert response.status_code == 409
    assert response.json()["type"].endswith(":page-failed")


@pytest.mark.parametrize(
    ("error", "status", "slug"),
    [(BrowserTimeout("The page hangs."), 504, "browser-timeout"), (BrowserGone("It died."), 409, "browser-gone")],
    ids=["hangs", "died"],
)
async def test_a_page_that_hangs_is_a_504_and_one_that_died_a_409(
    driven: Driven, error: Exception, status: int, slug: str
) -> None:
    driven.context.action_error = error
    for method, path, body in [
        ("POST", "", None),
        ("DELETE", "/page-1", None),
        ("POST", "/page-1/navigate", {"url": "https://a.example"}),
        ("POST", "/page-1/evaluate", {"expression": "1"}),
        ("GET", "/page-1/screenshot", None),
        ("GET", "/page-1/content", None),
        ("GET", "/page-1/pdf", None),
    ]:
        response = await driven.call(method, path, json=body)
        assert response.status_code == status, (method, path)
        assert response.json()["type"].endswith(f":{slug}")
        assert response.json()["session_id"] == driven.session_id


async def test_an_action_is_activity_at_its_begin_and_end(
    driven: Driven, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = f"{SESSIONS}/{driven.session_id}"

    async def last_activity() -> datetime:
        response = await driven.service.client.get(status, headers=driven.headers)
        return datetime.fromisoformat(response.json()["last_activity"])

    seen: list[datetime] = []

    async def slow(*_: Any, **__: Any) -> str:
        seen.append(await last_activity())
        clock.advance(7)
        return "<html></html>"

    monkeypatch.setattr(driven.context, "content", slow)
    before = await last_activity()
    clock.advance(10)
    await driven.call("GET", "/page-1/content")
    assert (seen[0] - before).total_seconds() == 10
    assert (await last_activity() - before).total_seconds() == 17


async def test_an_action_pending_when_its_session_ends_gets_a_response(
    driven: Driven, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ends(*_: Any, **__: Any) -> str:
        await driven.service.client.delete(f"{SESSIONS}/{driven.session_id}", headers=driven.headers)
        raise BrowserGone("The session ended.")

    monkeypatch.setattr(driven.context, "content", ends)
    assert (await driven.call("GET", "/page-1/content")).status_code == 409
