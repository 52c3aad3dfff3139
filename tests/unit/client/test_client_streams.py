"""Event streams, downloads, waiting, and what the SDK tells its users about itself."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest

from browser_sessions import Client, SessionEvent, StatusName, SyncClient
from browser_sessions.api.models.account_models import KeyCreated, TokenResponse
from browser_sessions.api.models.live_models import DevToolsResponse, LiveTicket
from browser_sessions.api.models.session_models import BrowserSessionCreated
from browser_sessions.client import (
    InvalidArgument,
    NotFound,
    NotReachable,
    PdfOptions,
    ScreenshotOptions,
    Session,
    SessionOptions,
    SyncSession,
    Unauthorized,
    WaitTimeout,
    WrongState,
)
from browser_sessions.client._async import event_stream, session_handle
from browser_sessions.client.errors import TYPE_PREFIX
from browser_sessions.client.http_options import HttpOptions
from browser_sessions.client.retries import Retries
from browser_sessions.domain.session import FINAL, SessionStatus
from tests.harness.fakes.scripted_service import CREATED, ID, SESSION, ScriptedService, ok

URL = "http://service"
ENDED = SESSION | {"status": "expired"}


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    pause_after = Retries.pause_after
    monkeypatch.setattr(Retries, "pause_after", lambda *args: None if pause_after(*args) is None else 0.0)
    monkeypatch.setattr(event_stream, "RECONNECT_S", 0.0)
    monkeypatch.setattr("browser_sessions.client._async.session_handle.POLL_S", 0.0)


def client_of(service: ScriptedService, **options: Any) -> Client:
    return Client(URL, "the-key", transport=service, **options)


def sent(*events: tuple[str, str]) -> httpx.Response:
    """A stream of (id, type)."""
    text = "retry: 2000\n\n: here\n\n"
    for number, kind in events:
        data = {"id": number, "type": kind, "at": "2026-01-31T12:00:00Z", "session_id": ID, "owner": "prn", "data": {}}
        text += f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
    return httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream"})


async def test_a_stream_continues_where_it_was_lost_and_ends_with_its_session() -> None:
    service = ScriptedService(
        sent(("a-1", "session.active")), httpx.ReadError("lost"), sent(("a-2", "page.opened"), ("a-3", "session.ended"))
    )
    async with client_of(service) as client:
        events = [event async for event in client.session_events(ID, since="start")]
    assert [(event.id, event.type) for event in events] == [
        ("a-1", "session.active"),
        ("a-2", "page.opened"),
        ("a-3", "session.ended"),
    ]
    assert isinstance(events[0], SessionEvent)
    assert service.lines == [f"GET /v1/browser/sessions/{ID}/events?since=start"] * 3
    assert [request.headers.get("Last-Event-ID") for request in service.requests] == [None, "a-1", "a-1"]


async def test_a_stream_ends_when_the_service_has_nothing_more() -> None:
    async with client_of(ScriptedService(httpx.Response(204))) as client:
        assert [event async for event in client.session_events(ID, last_event_id="a-3")] == []


@pytest.mark.parametrize(("status", "kind"), [(401, Unauthorized), (404, NotFound)])
async def test_a_stream_that_is_refused_is_an_error(status: int, kind: type[Exception]) -> None:
    service = ScriptedService(sent(("a-1", "page.opened")), ok({"type": TYPE_PREFIX, "detail": "no"}, status))
    async with client_of(service) as client:
        stream = client.events()
        assert (await anext(stream)).id == "a-1"
        with pytest.raises(kind):
            await anext(stream)


async def test_a_stream_gives_up_when_the_service_stays_away() -> None:
    async with client_of(ScriptedService(httpx.ConnectError("refused")), attempts=1) as client:
        with pytest.raises(NotReachable):
            await anext(client.events())


async def test_filters_and_options_are_in_the_query() -> None:
    service = ScriptedService(httpx.Response(204), httpx.Response(200), httpx.Response(200))
    async with client_of(service) as client:
        events = client.events(types=["page", "console"], session_ids=ID, metadata={"job": "1"})
        with pytest.raises(StopAsyncIteration):
            await anext(events)
        await client.screenshot(ID, "P", format="webp", clip=(0, 1.5, 20, 30), omit_background=True, quality=None)
        await client.pdf(ID, "P", format="A4", margin_top="2cm", landscape=False, scale=0.5)
        with pytest.raises(InvalidArgument):
            await client.screenshot(ID, "P", clip=(1, 2))
    assert [request.url.query.decode() for request in service.requests] == [
        f"type=page&type=console&session_id={ID}&metadata.job=1",
        "format=webp&clip=0%2C1.5%2C20%2C30&omit_background=true",
        "format=A4&margin_top=2cm&landscape=false&scale=0.5",
    ]


# -- downloads ---------------------------------------------------------------------------------------------------------


class Lost(httpx.AsyncByteStream, httpx.SyncByteStream):
    async def __aiter__(self) -> Any:
        yield b"half"
        raise httpx.ReadError("lost")

    def __iter__(self) -> Any:
        yield b"half"
        raise httpx.ReadError("lost")


async def test_a_download_is_a_file_once_it_is_complete(tmp_path: Path) -> None:
    whole = b"x" * 200_000
    async with client_of(ScriptedService(*[httpx.Response(200, content=whole)] * 2)) as client:
        assert b"".join([piece async for piece in client.iter_download(ID, "d")]) == whole
        assert await client.save_download(ID, "d", tmp_path / "a.bin") == tmp_path / "a.bin"
    with SyncClient(URL, "k", transport=ScriptedService(httpx.Response(200, content=whole))) as sync:
        sync.save_download(ID, "d", str(tmp_path / "b.bin"))
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes() == whole
    assert len(list(tmp_path.iterdir())) == 2


async def test_half_a_download_leaves_no_file(tmp_path: Path) -> None:
    lost = lambda _: httpx.Response(200, stream=Lost())  # noqa: E731
    async with client_of(ScriptedService(lost)) as client:
        with pytest.raises(NotReachable):
            await client.save_download(ID, "d", tmp_path / "a")
    with SyncClient(URL, "k", transport=ScriptedService(lost)) as sync, pytest.raises(NotReachable):
        sync.save_download(ID, "d", tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


# -- waiting and attaching ---------------------------------------------------------------------------------------------


async def test_waiting_for_a_status() -> None:
    closing, closed = SESSION | {"status": "closing"}, SESSION | {"status": "closed"}
    service = ScriptedService(*map(ok, (SESSION, closing, closed, SESSION, ENDED, ENDED, SESSION)))
    async with client_of(service) as client:
        session = Session(client, BrowserSessionCreated.model_validate(CREATED))
        assert (await session.wait_for("closed")).status == "closed"
        assert (await session.wait_for()).status == "expired"
        with pytest.raises(WrongState, match="is expired and will not be closed"):
            await session.wait_for("closed")
        with pytest.raises(WaitTimeout):
            await session.wait_for("closed", timeout=0)
        with pytest.raises(InvalidArgument):
            await session.wait_for("ended")  # type: ignore[arg-type]


def test_the_statuses_are_those_of_sessions() -> None:
    assert get_args(StatusName) == tuple(SessionStatus)
    assert set(session_handle.FINAL) == FINAL


# -- options of the connection -----------------------------------------------------------------------------------------


async def test_options_are_httpxs() -> None:
    service = ScriptedService(*[ok(SESSION)] * 2, ok(CREATED, 201))
    async with Client(URL, token="a-token", headers={"X-Team": "qa"}, timeout=3.0, transport=service) as client:
        await client.get(ID)
        request = service.requests[0]
        assert (request.headers["Authorization"], request.headers["X-Team"]) == ("Bearer a-token", "qa")
        assert "X-API-Key" not in request.headers
        assert request.extensions["timeout"] == {"connect": 3.0, "read": 3.0, "write": 3.0, "pool": 3.0}
        assert client.has_key
    limits = httpx.Timeout(7.0, read=None)
    async with client_of(service, timeout=limits) as client:
        await client.get(ID)
        await client.create(wait_seconds=100)
    assert [request.extensions["timeout"]["read"] for request in service.requests[1:]] == [None, None]
    assert set(HttpOptions.__annotations__) == {"timeout", "verify", "proxy", "headers"}


# -- what users see of it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        BrowserSessionCreated.model_validate(CREATED),
        LiveTicket(live_url="ws://x/live?ticket=secret&a=b"),
        DevToolsResponse(url="/v1/browser/sessions/x/devtools/secret/i.html"),
        TokenResponse(access_token="secret", token_type="bearer", expires_in=1, scope="client"),
        KeyCreated.model_validate(
            {"key": "secret", "key_id": "k", "name": "n", "role": "client", "principal_id": "p"}
            | {"created_at": "2026-01-31T12:00:00Z", "revoked_at": None}
            | {"egress": {"allow": None, "deny": []}}
        ),
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_secrets_are_not_in_reprs(answer: Any) -> None:
    assert "secret" in answer.model_dump_json()
    assert "secret" not in repr(answer) + str(answer)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        *[(method, SessionOptions) for method in (Client.create, Client.session, SyncClient.create)],
        *[(method, ScreenshotOptions) for method in (Client.screenshot, Session.screenshot, SyncClient.screenshot)],
        *[(method, PdfOptions) for method in (Client.pdf, Session.pdf, SyncSession.pdf)],
    ],
)
def test_help_names_every_option(method: Any, options: type) -> None:
    shown = inspect.getdoc(method) or ""
    assert [name for name in options.__annotations__ if name not in shown] == []


@pytest.mark.parametrize(("asynchronous", "synchronous"), [(Client, SyncClient), (Session, SyncSession)])
def test_the_sync_client_has_the_same_methods(asynchronous: type, synchronous: type) -> None:
    def methods(kind: type) -> dict[str, list[str]]:
        members = inspect.getmembers(kind, inspect.isfunction)
        public = {name: member for name, member in members if not name.startswith("_")}
        return {name.replace("aclose", "close"): [*inspect.signature(each).parameters] for name, each in public.items()}

    assert methods(synchronous) == methods(asynchronous)
    assert not any(inspect.iscoroutinefunction(member) for _, member in inspect.getmembers(synchronous))
