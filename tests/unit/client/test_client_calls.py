"""The SDK against a scripted service: retries, idempotency, and ending sessions."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

import browser_sessions
from browser_sessions import client as sdk
from browser_sessions.api.models.create_body import CreateBrowserSession
from browser_sessions.client import (
    ApiError,
    Client,
    InvalidArgument,
    NotReachable,
    SessionOptions,
    Unavailable,
)
from browser_sessions.client.retries import MAX_PAUSE_S, RETRY_FOR_S, Retries
from tests.harness.fakes.scripted_service import BUSY, CREATED, ID, SESSION, Response, ScriptedService, ok

PAGES = {"pages": [{"page_id": "P1", "url": "", "title": "", "created_at": "2026-01-31T12:00:00Z", "crashed": False}]}


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the client's attempts, without pauses between them."""
    monkeypatch.setattr(Retries, "pause_after", lambda *args: None if pause_after(*args) is None else 0.0)


pause_after = Retries.pause_after


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., tuple[Client, ScriptedService]]]:
    clients: list[Client] = []

    def make(*responses: Response, attempts: int = 5) -> tuple[Client, ScriptedService]:
        service = ScriptedService(*responses)
        clients.append(Client("http://service", "the-key", attempts=attempts, transport=service))
        return clients[-1], service

    yield make
    for client in clients:
        await client.aclose()


Connect = Callable[..., tuple[Client, ScriptedService]]


async def test_a_create_is_retried_with_one_idempotency_key(connect: Connect) -> None:
    client, service = connect(httpx.ConnectError("refused"), httpx.ReadError("lost"), BUSY, ok(CREATED, 201))
    created = await client.create(viewport_width=800, metadata={"a": "b"})
    assert created.session_id == ID
    assert len({request.headers["Idempotency-Key"] for request in service.requests}) == 1
    assert [json.loads(request.content) for request in service.requests] == [
        {"viewport_width": 800, "metadata": {"a": "b"}}
    ] * 4
    assert {request.headers["X-API-Key"] for request in service.requests} == {"the-key"}


async def test_creates_have_different_idempotency_keys_unless_one_is_given(connect: Connect) -> None:
    client, service = connect(*[ok(CREATED, 201)] * 3)
    await client.create()
    await client.create()
    await client.create(idempotency_key="mine")
    keys = [request.headers["Idempotency-Key"] for request in service.requests]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"


async def test_retries_are_bounded(connect: Connect) -> None:
    client, service = connect(*[BUSY] * 9, attempts=3)
    with pytest.raises(Unavailable) as caught:
        await client.create()
    assert caught.value.retry_after == 1.0
    assert len(service.requests) == 3


@pytest.mark.parametrize(
    ("error", "least", "most"),
    [
        (Unavailable(503, "full", retry_after=5.0), 5.0, 5.0),
        (Unavailable(503, "full"), 0.2, 1.2),
        (NotReachable("http://x", "gone"), 0.2, 1.2),
    ],
)
def test_a_pause_is_the_services_or_short(error: Unavailable | NotReachable, least: float, most: float) -> None:
    pause = pause_after(Retries(2, clock=lambda: 0.0), error)
    assert pause is not None
    assert least <= pause <= most


def test_retries_end_with_their_number_and_with_their_time() -> None:
    lost, full = NotReachable("http://x", "gone"), Unavailable(503, "full", retry_after=RETRY_FOR_S)
    assert pause_after(Retries(1), lost) is None
    assert pause_after(Retries(None), full) is None
    now = 0.0
    retries = Retries(None, clock=lambda: now)
    while (pause := pause_after(retries, lost)) is not None:
        assert pause <= MAX_PAUSE_S
        now += pause
    assert RETRY_FOR_S - MAX_PAUSE_S <= now <= RETRY_FOR_S


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 500, 504])
async def test_permanent_errors_are_not_retried(connect: Connect, status: int) -> None:
    client, service = connect(ok({"detail": "no"}, status))
    with pytest.raises(ApiError):
        await client.create()
    assert len(service.requests) == 1


async def test_an_action_that_may_have_been_performed_is_not_retried(connect: Connect) -> None:
    client, service = connect(httpx.ReadError("lost"))
    with pytest.raises(NotReachable):
        await client.evaluate(ID, "P1", "counter++")
    assert len(service.requests) == 1


async def test_reads_and_ends_are_retried(connect: Connect) -> None:
    client, service = connect(httpx.ReadError("lost"), ok(SESSION), httpx.ReadError("lost"), ok(SESSION))
    await client.get(ID)
    await client.end(ID)
    assert service.lines == [f"GET /v1/browser/sessions/{ID}"] * 2 + [f"DELETE /v1/browser/sessions/{ID}"] * 2


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (httpx.ConnectTimeout("slow"), "slow"),
        (httpx.ReadTimeout(""), "no response in time"),
        (httpx.RemoteProtocolError("garbage"), "garbage"),
    ],
)
async def test_a_lost_connection_error_has_url_and_reason(connect: Connect, error: Exception, reason: str) -> None:
    client, _ = connect(error, attempts=1)
    with pytest.raises(NotReachable) as caught:
        await client.get(ID)
    assert caught.value.detail == f"No service responds at http://service ({reason})."


async def test_a_refused_connection_has_the_systems_message() -> None:
    async with Client("http://127.0.0.1:1", "k", attempts=1) as client:
        with pytest.raises(NotReachable, match="Connection refused"):
            await client.get(ID)


async def test_a_response_that_is_not_json_is_an_error(connect: Connect) -> None:
    client, _ = connect(httpx.Response(200, text="<html>It works!</html>"))
    with pytest.raises(ApiError, match="not with JSON"):
        await client.get(ID)


@pytest.mark.parametrize("wrong", ["", "..", "../../auth/keys?x=1", "a/b", "a%2Fb", "ses_0\n", "é", "x" * 65, None, 3])
async def test_an_id_cannot_change_the_path(connect: Connect, wrong: Any) -> None:
    client, service = connect()
    for call in (
        client.get(wrong),
        client.end(wrong),
        client.close_page(ID, wrong),
        client.evaluate(wrong, "P1", "1"),
        client.delete_download(ID, wrong),
        client.revoke_key(wrong),
        client.remove_user(wrong),
    ):
        with pytest.raises(InvalidArgument):
            await call
    assert service.lines == []


async def test_an_empty_id_is_not_the_default_one(connect: Connect) -> None:
    client, service = connect(ok(CREATED, 201), ok(SESSION))
    async with client.session() as session:
        lines = list(service.lines)
        with pytest.raises(InvalidArgument):
            session.use_page("")
        for call in (
            session.close_page(""),
            client.create(idempotency_key=""),
            client.list(cursor=""),
            anext(client.events(last_event_id="")),
            anext(session.events(last_event_id="")),
        ):
            with pytest.raises(InvalidArgument):
                await call
        assert service.lines == lines


async def test_a_user_name_is_one_segment_of_the_path(connect: Connect) -> None:
    user = {"username": "a@b.c", "role": "client", "principal_id": "usr_1", "created_at": "2026-01-31T12:00:00Z"}
    client, service = connect(ok(user))
    await client.remove_user("a@b.c")
    assert service.lines == ["DELETE /v1/auth/users/a%40b.c"]


async def test_iterating_sessions_reads_all_pages(connect: Connect) -> None:
    client, service = connect(
        ok({"sessions": [SESSION, SESSION], "next_cursor": "c 1"}), ok({"sessions": [SESSION], "next_cursor": None})
    )
    found = [session async for session in client.iter_sessions(status=["active", "queued"], metadata={"k": "v w"})]
    assert len(found) == 3
    query = "limit=500&status=active&status=queued"
    assert service.lines == [
        f"GET /v1/browser/sessions?{query}&metadata.k=v+w",
        f"GET /v1/browser/sessions?{query}&cursor=c+1&metadata.k=v+w",
    ]


async def test_a_session_is_ended_after_the_block(connect: Connect) -> None:
    client, service = connect(ok(CREATED, 201), ok(PAGES), ok({"result": 3}), ok({"result": 4}), ok(SESSION))
    async with client.session(start_url="https://example.com") as session:
        assert (session.id, session.connect_url) == (ID, CREATED["connect_url"])
        assert await session.evaluate("1+2") == 3
        assert await session.evaluate("2+2") == 4
    base = f"/v1/browser/sessions/{ID}"
    assert service.lines == [
        "POST /v1/browser/sessions",
        f"GET {base}/pages",
        f"POST {base}/pages/P1/evaluate",
        f"POST {base}/pages/P1/evaluate",
        f"DELETE {base}",
    ]


async def test_a_page_is_opened_for_a_session_without_one(connect: Connect) -> None:
    client, service = connect(
        ok(CREATED, 201), ok({"pages": []}), ok(PAGES["pages"][0], 201), ok({"result": 1}), ok(SESSION)
    )
    async with client.session() as session:
        assert await session.evaluate("1") == 1
    assert service.lines[2] == f"POST /v1/browser/sessions/{ID}/pages"


async def test_a_session_is_ended_when_the_block_raises_and_the_error_is_kept(connect: Connect) -> None:
    client, service = connect(ok(CREATED, 201), *[ok({"detail": "broken"}, 500)])
    with pytest.raises(ZeroDivisionError) as caught:
        async with client.session():
            raise ZeroDivisionError
    assert service.lines[-1] == f"DELETE /v1/browser/sessions/{ID}"
    assert caught.value.__notes__ == [f"Session {ID} could not be ended: broken"]


async def test_a_session_is_ended_when_its_task_is_cancelled(connect: Connect) -> None:
    client, service = connect(ok(CREATED, 201), ok(SESSION))
    inside = asyncio.Event()

    async def work() -> None:
        async with client.session():
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert service.lines[-1] == f"DELETE /v1/browser/sessions/{ID}"


async def test_ending_a_session_that_is_gone_is_not_an_error(connect: Connect) -> None:
    client, _ = connect(ok(CREATED, 201), ok({"type": "urn:browser-sessions:problem:session-not-found"}, 404))
    async with client.session():
        pass


async def test_request_timeouts_exceed_the_services_own(connect: Connect) -> None:
    client, service = connect(ok(CREATED, 201), ok({"page_id": "P", "url": "", "title": "", "http_status": 200}))
    await client.create(wait_seconds=100)
    await client.navigate(ID, "P", "https://example.com", timeout_seconds=200)
    waits = [request.extensions["timeout"]["read"] for request in service.requests]
    assert waits[0] > 100 + 30
    assert waits[1] > 200


def test_the_options_are_those_of_the_api() -> None:
    assert set(SessionOptions.__annotations__) == set(CreateBrowserSession.model_fields)


def test_public_names() -> None:
    assert set(browser_sessions.__all__) == {*sdk.__all__, "__version__"}
    for name in browser_sessions.__all__:
        assert getattr(browser_sessions, name)
    with pytest.raises(AttributeError, match="nothing_such"):
        browser_sessions.nothing_such  # noqa: B018 - the access itself is tested


def test_the_package_loads_the_sdk_when_it_is_first_named() -> None:
    script = "import sys, browser_sessions; sys.exit('httpx' in sys.modules or 'pydantic' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
