"""What the SDK raises, and what it leaves behind, when things go wrong."""

from __future__ import annotations

import asyncio
import io
import logging
import pickle
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import certifi
import httpx
import pytest

from browser_sessions import client as sdk
from browser_sessions.client import (
    ApiError,
    Client,
    ClientClosed,
    ClientError,
    Conflict,
    InvalidArgument,
    NotReachable,
    NotTrusted,
    SyncClient,
    UnexpectedResponse,
)
from browser_sessions.client.discovery import Target
from browser_sessions.client.errors import BY_TYPE
from browser_sessions.client.http_options import client_arguments
from browser_sessions.client.retries import Retries
from tests.harness.fakes.scripted_service import BUSY, CREATED, ID, SESSION, ScriptedService, ok

URL = "http://service"


def client_of(service: ScriptedService, **options: Any) -> Client:
    return Client(URL, "the-key", transport=service, **options)


def errors() -> list[ClientError]:
    kinds = [kind for kind in vars(sdk).values() if isinstance(kind, type) and issubclass(kind, ApiError)]
    errors: list[ClientError] = [kind(409, "Do this.", type="t", title="T", session_id=ID) for kind in kinds]
    return [
        *errors,
        NotReachable(URL, "gone"),
        NotTrusted(URL, "expired"),
        ClientClosed(),
        InvalidArgument("x"),
        sdk.WaitTimeout("x"),
    ]


@pytest.mark.parametrize("error", errors(), ids=lambda error: type(error).__name__)
def test_an_error_travels_between_processes(error: ClientError) -> None:
    error.add_note("a note")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - of our own bytes
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize(("slug", "kind"), BY_TYPE.items())
def test_each_kind_of_conflict_has_a_class(slug: str, kind: type[ApiError]) -> None:
    body = {"type": f"urn:browser-sessions:problem:{slug}", "title": "T", "status": 409, "detail": "No."}
    with SyncClient(URL, "k", transport=ScriptedService(ok(body, 409))) as client, pytest.raises(Conflict) as caught:
        client.end(ID)
    assert type(caught.value) is kind


UNSENDABLE = (
    {"metadata": {"a": object()}},
    {"geolocation": {"latitude": float("nan"), "longitude": 0}},
    {"user_agent": "\ud800"},
    {"idempotency_key": "ключ"},
    {"idempotency_key": "a\nb"},
)


@pytest.mark.parametrize("options", UNSENDABLE, ids=lambda options: next(iter(options)))
async def test_a_value_that_cannot_be_sent_is_an_error_of_its_own(options: Any) -> None:
    service = ScriptedService()
    async with client_of(service) as client:
        with pytest.raises(InvalidArgument):
            await client.create(**options)
    assert service.requests == []


@pytest.mark.parametrize("path", ["http://other/a", "//other/a", "/\\other/a", "\\\\other\\a", "v1/a", "", None])
async def test_the_key_is_sent_to_no_other_host(path: Any) -> None:
    service = ScriptedService(*[ok({})] * 2)
    async with client_of(service) as client:
        with pytest.raises(InvalidArgument):
            await client.call("GET", path)
    with SyncClient(URL, "k", transport=service) as sync, pytest.raises(InvalidArgument):
        sync.call("GET", path)
    assert service.requests == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"url": "ftp://x"},
        {"url": "http://[::1"},
        {"api_key": "ключ"},
        {"token": "ключ"},
        {"token": "t", "api_key": "k"},
        {"headers": {"X-A": "ключ"}},
        {"proxy": "nonsense"},
        {"timeout": 0},
        {"data_dir": 1},
        {"data_dir": b"/x"},
        {"data_dir": ""},
    ],
    ids=str,
)
def test_an_invalid_argument_of_a_client_is_an_error_of_its_own(arguments: Any) -> None:
    for kind in (Client, SyncClient):
        with pytest.raises(InvalidArgument):
            kind(**{"url": URL, **arguments})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", "5"),
        ("timeout", True),
        ("attempts", "5"),
        ("url", 5),
        ("api_key", 5),
        ("api_key", "ключ"),
        ("token", b"secret"),
        ("headers", 5),
        ("verify", 5),
    ],
)
def test_an_argument_of_a_wrong_type_is_named(name: str, value: Any) -> None:
    for kind in (Client, SyncClient):
        with pytest.raises(InvalidArgument, match=f"^{name} must be ") as refused:
            kind(**{"url": URL, name: value})
        assert "secret" not in str(refused.value)


async def test_a_timeout_that_is_no_number_is_an_error_of_its_own() -> None:
    service = ScriptedService(ok(CREATED, 201), ok(SESSION))
    timeout: Any = "5"
    async with client_of(service) as client, client.session() as session:
        for call in (session.wait_for(timeout=timeout), client.call("GET", "/healthz", timeout=timeout)):
            with pytest.raises(InvalidArgument, match="timeout"):
                await call


async def test_a_call_on_a_closed_client_says_so() -> None:
    client = client_of(ScriptedService())
    await client.aclose()
    for call in (client.get(ID), client.create(), anext(client.events()), anext(client.iter_download(ID, "d"))):
        with pytest.raises(ClientClosed):
            await call
    sync = SyncClient(URL, "k", transport=ScriptedService())
    sync.close()
    with pytest.raises(ClientClosed):
        sync.get(ID)


async def test_the_programs_own_error_stands_when_the_client_was_closed_in_the_block() -> None:
    client = client_of(ScriptedService(ok(CREATED, 201)))

    async def work() -> None:
        async with client.session():
            await client.aclose()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        await work()
    (note,) = caught.value.__notes__
    assert note.startswith(f"Session {ID} could not be ended: The client is closed.")


async def test_a_service_that_is_gone_at_the_end_of_a_block_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retries, "pause_after", lambda *_: None)
    async with client_of(ScriptedService(ok(CREATED, 201), httpx.ConnectError("refused"))) as client:
        with pytest.raises(NotReachable):
            async with client.session():
                pass


async def test_a_filter_of_a_wrong_type_is_an_error_of_its_own() -> None:
    wrong: Any = 5
    async with client_of(ScriptedService()) as client:
        for call in (
            client.list(status=wrong),
            client.list(metadata=wrong),
            anext(client.iter_sessions(metadata=wrong)),
        ):
            with pytest.raises(InvalidArgument):
                await call


def test_a_client_of_an_event_loop_that_is_closed_connects_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retries, "pause_after", lambda *_: 0.0)
    client = client_of(ScriptedService(RuntimeError("Event loop is closed"), ok(SESSION)))

    async def work() -> None:
        async with client:
            await client.get(ID)

    asyncio.run(work())


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"session_id": 3}', b"\xff"], ids=str)
async def test_a_response_of_another_form_is_an_error_of_its_own(body: bytes) -> None:
    async with client_of(ScriptedService(httpx.Response(200, content=body))) as client:
        with pytest.raises(UnexpectedResponse):
            await client.get(ID)


async def test_an_untrusted_certificate_is_named_as_the_reason() -> None:
    wrong = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    refused = httpx.ConnectError("failed")
    refused.__cause__ = wrong
    service = ScriptedService(refused)
    async with client_of(service) as client:
        with pytest.raises(NotTrusted, match=f"The certificate of {URL} is not trusted: .*certificate verify failed"):
            await client.get(ID)
    assert len(service.requests) == 1, "it is final"


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "https://sessions.example.com"])
def test_authorities_are_those_of_ssl_cert_file(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, end, _ = Path(certifi.where()).read_text().partition("-----END CERTIFICATE-----")
    (tmp_path / "authority.pem").write_text(one + end)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    assert len(client_arguments(Target(url, None), None, {})["verify"].get_ca_certs()) == 1
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(InvalidArgument, match="SSL_CERT_FILE or SSL_CERT_DIR cannot be used: No such file"):
        SyncClient(url, "k")


def test_no_authorities_are_loaded_without_tls() -> None:
    assert client_arguments(Target(URL, None), None, {})["verify"].get_ca_certs() == []


def test_retries_print_nothing_and_are_in_the_log_of_who_wants_it(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Retries, "pause_after", lambda *_: 0.0)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as in a program that has not configured logging

    def retry() -> None:
        with SyncClient(URL, "k", transport=ScriptedService(BUSY, ok(SESSION))) as client:
            client.get(ID)

    retry()
    assert capfd.readouterr() == ("", "")

    log, written = logging.getLogger("browser_sessions"), io.StringIO()
    monkeypatch.setattr(log, "handlers", [*log.handlers, logging.StreamHandler(written)])
    log.setLevel(logging.INFO)
    retry()
    log.setLevel(logging.NOTSET)
    assert written.getvalue() == f"GET /v1/browser/sessions/{ID}: The pool is full. Trying again in 0.0 s.\n"


# -- cancellation ------------------------------------------------------------------------------------------------------


class SlowEnd(ScriptedService):
    """Takes two turns of the loop and a moment for each request, as a real service."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        for _ in range(3):
            await asyncio.sleep(0.01)
        return await super().handle_async_request(request)


@pytest.fixture
async def slow() -> AsyncIterator[tuple[Client, SlowEnd]]:
    service = SlowEnd(ok(CREATED, 201), ok(SESSION))
    async with client_of(service) as client:
        yield client, service


async def test_a_session_is_ended_when_its_task_is_cancelled_twice(slow: tuple[Client, SlowEnd]) -> None:
    client, service = slow
    inside = asyncio.Event()

    async def work() -> None:
        async with client.session():
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert service.lines[-1] == f"DELETE /v1/browser/sessions/{ID}"


async def test_a_session_is_ended_when_it_is_cancelled_after_its_block(slow: tuple[Client, SlowEnd]) -> None:
    client, service = slow
    left = asyncio.Event()

    async def work() -> None:
        async with client.session():
            left.set()

    task = asyncio.create_task(work())
    await left.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert service.lines[-1] == f"DELETE /v1/browser/sessions/{ID}"


async def test_a_session_is_ended_within_a_cancelled_scope_of_anyio(slow: tuple[Client, SlowEnd]) -> None:
    client, service = slow
    with anyio.CancelScope() as scope:
        async with client.session():
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert service.lines[-1] == f"DELETE /v1/browser/sessions/{ID}"


async def test_a_session_whose_create_was_cancelled_is_ended(slow: tuple[Client, SlowEnd]) -> None:
    client, service = slow
    with anyio.move_on_after(0.01) as scope:
        async with client.session():
            raise AssertionError("it was cancelled before")
    assert scope.cancelled_caught
    assert service.lines[-1] == f"DELETE /v1/browser/sessions/{ID}"


async def test_a_create_that_takes_long_is_given_up_when_it_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("browser_sessions.client.concurrency.BEGIN_S", 0.05)
    left = asyncio.Event()

    async def queued(_: httpx.Request) -> httpx.Response:
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        raise AssertionError

    async with Client(URL, "k", transport=httpx.MockTransport(queued)) as client:
        with anyio.move_on_after(0.01):
            async with client.session(wait_seconds=600):
                pass
    assert left.is_set()


async def test_a_session_is_ended_within_a_timeout(slow: tuple[Client, SlowEnd]) -> None:
    client, service = slow
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), client.session():
            await asyncio.Event().wait()
    assert service.lines[-1] == f"DELETE /v1/browser/sessions/{ID}"


async def test_the_end_after_a_cancellation_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("browser_sessions.client._async.client.END_S", 0.05)

    async def hang(request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE":
            await asyncio.Event().wait()
        return ok(CREATED, 201)

    async with Client(URL, "k", transport=httpx.MockTransport(hang)) as client:
        with pytest.raises(ZeroDivisionError) as caught:
            async with client.session():
                raise ZeroDivisionError
        assert caught.value.__notes__ == [f"Session {ID} was not ended within 0.05 s. Its timeouts will end it."]
        with pytest.raises(NotReachable, match="was not ended within"):
            async with client.session():
                pass
