"""Clients that overload what all share, the browser's pipe and the event loop: other clients must not suffer.

The figures are those of `scripts/faults.py pressure`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any, Final

import psutil
import pytest
import pytest_asyncio

from browser_sessions.gateway import gateway
from tests.harness.clients.raw_cdp import Raw, raw
from tests.harness.clients.ws_frames import masked
from tests.harness.scenarios.pressure import (
    FLOODS,
    MIB,
    close_code_after,
    floods,
    many_values,
    most_memory,
    one_string,
    pulling,
    request_much,
    result_of,
)
from tests.harness.service import Running, serving
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

HELD_BYTES: Final = 160 * MIB
"""Memory limit for four clients that do not read; each has far more data pending."""
CLOSED_S: Final = 2 * gateway.STALL_TIMEOUT_S
"""Limit until a client that does not read is closed."""
SHARING: Final = 8
EACH_BYTES: Final = 30 * MIB
"""Data for each of these clients: less than the limit per client, in total three times the limit per principal."""
LARGE_BYTES: Final = 10 * MIB
"""More than the kernel's buffers hold."""
LARGEST: Final = 68 * MIB
"""The largest legitimate command: Playwright's 50 MB upload limit is 67 MB in base64."""
TOO_LARGE: Final = (97 * MIB, 105 * MIB, 300 * MIB)


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """In a process of its own, whose memory is measured."""
    async with serving(tmp_path_factory.mktemp("pressure") / "data") as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def make(server: Running) -> AsyncIterator[Callable[[], Any]]:
    made: list[str] = []

    async def one() -> dict[str, Any]:
        created = await server.create()
        made.append(created["session_id"])
        return created

    yield one
    for session_id in made:
        await server.http.delete(f"/v1/browser/sessions/{session_id}")


@pytest.mark.slow
async def test_clients_that_do_not_read_are_closed_and_use_little_memory(
    server: Running, make: Callable[[], Any]
) -> None:
    assert server.process is not None
    other_session = await make()
    victims = {kind: await make() for kind in (*FLOODS, "responses")}
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(raw(other_session["connect_url"]))
        _, at_page = await client.page()
        silent = {}
        seen = await stack.enter_async_context(most_memory(psutil.Process(server.process.pid)))
        for kind, created in victims.items():
            silent[kind] = await stack.enter_async_context(raw(created["connect_url"], close_timeout=0.1))
            await (request_much(silent[kind]) if kind == "responses" else floods(silent[kind], kind))

        waiting = [
            asyncio.create_task(close_code(server, victims[kind]["session_id"], silent[kind])) for kind in victims
        ]
        await answered(client, at_page, times=4)
        codes = dict(zip(victims, await asyncio.gather(*waiting), strict=True))
        # A partly sent response can be completed only if the client reads again in time.
        assert codes.pop("responses") in (1013, 1006)
        assert codes == dict.fromkeys(FLOODS, 1013)
        assert seen[1] - seen[0] < HELD_BYTES, f"{(seen[1] - seen[0]) / MIB:.0f} MiB"
        assert await client.value("6 * 7", at_page) == 42
    statuses = {(await server.get(each["session_id"]))["status"] for each in victims.values()}
    assert statuses == {"active"}


@pytest.mark.slow
async def test_clients_of_one_principal_share_a_memory_limit(server: Running, make: Callable[[], Any]) -> None:
    """Each stays below its own limit but all together exceed the principal's, so those furthest behind are closed."""
    created = await make()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(raw(created["connect_url"]))
        _, at_page = await client.page()
        silent = [
            await stack.enter_async_context(raw(created["connect_url"], close_timeout=0.1)) for _ in range(SHARING)
        ]
        for each in silent:
            _, its_page = await each.page()
            await each.call("Runtime.enable", {}, its_page)
            each.socket.transport.pause_reading()
        logs = f"for (let i = 0; i < {EACH_BYTES // MIB}; i++) console.log('x'.repeat({MIB}))"
        await client.value(f"setTimeout(() => {{ {logs} }})", at_page)

        async def some_closed() -> bool:
            return int((await server.details(created["session_id"]))["connections"]) < SHARING + 1

        await until(some_closed, what="the furthest behind is closed")
        assert (await server.details(created["session_id"]))["connections"] > 1
        assert await client.value("6 * 7", at_page) == 42
        for each in silent:
            each.socket.transport.resume_reading()
        await until(lambda: any(each.closed.is_set() for each in silent), what="the furthest behind knows why")
        codes = {(each.close_code, each.close_reason) for each in silent if each.closed.is_set()}
        assert codes == {(1013, "this principal's clients have too many unread messages")}


async def test_one_large_message_at_a_time_waits_for_a_principals_clients(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second one closes its client with the reason, until the first is read; other principals have their own."""
    monkeypatch.setattr(gateway, "MAX_UNREAD_BYTES", MIB)
    large = f"'x'.repeat({LARGE_BYTES})"
    created = await service.create()
    async with service.caller(await service.key()) as other:
        elsewhere = (await other.post("/v1/browser/sessions")).json()
        async with (
            raw(created["connect_url"]) as first,
            raw(created["connect_url"]) as second,
            raw(created["connect_url"]) as third,
            raw(elsewhere["connect_url"]) as foreign,
        ):
            pages = {client: (await client.page())[1] for client in (first, second, third, foreign)}
            first.socket.transport.pause_reading()
            asked = asyncio.create_task(first.value(large, pages[first]))
            sides = {relay.socket for relay in service.inside.gateway._relays}
            await until(lambda: max(side.waiting for side in sides) > MIB, what="the first one waits")
            closed = asyncio.create_task(second.value(large, pages[second]))
            await second.closed.wait()
            assert (second.close_code, second.close_reason) == (
                1013,
                "this principal's clients have too many unread messages for another large one",
            )
            closed.cancel()
            assert len(await third.value("'x'.repeat(900000)", pages[third])) == 900_000, "smaller ones go on"
            assert len(await foreign.value(large, pages[foreign])) == LARGE_BYTES
            first.socket.transport.resume_reading()
            assert len(await asked) == LARGE_BYTES, "a client that reads gets its message"
            assert len(await third.value(large, pages[third])) == LARGE_BYTES
        await other.delete(f"/v1/browser/sessions/{elsewhere['session_id']}")


@pytest.mark.slow
async def test_half_messages_of_one_principal_use_little_memory_and_leave_none(
    server: Running, make: Callable[[], Any]
) -> None:
    """Eight clients each send 60 MB of a message that they do not complete."""
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    created = await make()
    half = masked(1, b"x" * LARGEST)[:60_000_000]
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(raw(created["connect_url"]))
        _, at_page = await other.page()
        seen = await stack.enter_async_context(most_memory(process))
        async with AsyncExitStack() as halves:
            for _ in range(SHARING):
                client = await halves.enter_async_context(raw(created["connect_url"], close_timeout=0.1))
                halves.callback(client.socket.transport.abort)
                client.socket.transport.write(half)
            await until(lambda: seen[1] - seen[0] > 60 * MIB, what="one of them goes on")
            await answered(other, at_page, times=100)
            assert seen[1] - seen[0] < HELD_BYTES, f"{(seen[1] - seen[0]) / MIB:.0f} MiB"
        await until(lambda: process.memory_info().rss - seen[0] < 30 * MIB, what="the memory is back")
        assert await result_of(created["connect_url"], LARGEST) > LARGEST - 1000


async def test_large_messages_of_one_principal_are_read_one_after_the_other(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "MAX_PRINCIPAL_BYTES", 2 * MIB)
    created = await service.create()
    message = masked(1, one_string(4 * MIB))
    async with raw(created["connect_url"]) as first, raw(created["connect_url"]) as second:
        answers = [client.response(7001) for client in (first, second)]
        for client, share in ((first, 4), (second, 3)):
            client.socket.transport.write(message[: share * MIB])
        sides = {relay.socket for relay in service.inside.gateway._relays}
        await until(lambda: [side.paused for side in sides].count(True) == 1, what="the shorter one is paused")
        for client, share in ((second, 3), (first, 4)):
            client.socket.transport.write(message[share * MIB :])
        assert [(await each)["id"] for each in answers] == [7001, 7001]


async def answered(client: Raw, at_page: str, *, times: int) -> None:
    """How fast is measured by the script; here they only have to come while the others are connected."""
    for _ in range(times):
        assert await client.value("6 * 7", at_page) == 42


async def close_code(server: Running, session_id: str, client: Raw) -> int | None:
    """Waits until the service has dropped the client, then reads again and returns the close code."""

    async def dropped() -> bool:
        return bool((await server.details(session_id))["connections"] == 0)

    await until(dropped, within=CLOSED_S, what="the client is dropped", every=0.05)
    client.socket.transport.resume_reading()
    await client.closed.wait()
    return client.close_code


@pytest.mark.slow
async def test_a_client_that_reads_large_responses_does_not_block_others(service: Running) -> None:
    pulling_session, other_session = await service.create(), await service.create()
    async with raw(other_session["connect_url"]) as client, pulling(pulling_session["connect_url"]):
        _, at_page = await client.page()
        await answered(client, at_page, times=4)


@pytest.mark.parametrize("size", [1 * MIB, pytest.param(LARGEST, marks=pytest.mark.slow)])
async def test_a_large_command_is_answered(service: Running, size: int) -> None:
    assert await result_of((await service.create())["connect_url"], size) > size - 1000


def too_large() -> Iterator[Any]:
    """Each kind with each size, "many values" with the smallest only; all but the smallest frame are slow."""
    for made_of in ("one frame", "fragments", "many values"):
        for size in TOO_LARGE[:1] if made_of == "many values" else TOO_LARGE:
            marks = [] if (size, made_of) == (TOO_LARGE[0], "one frame") else [pytest.mark.slow]
            yield pytest.param(size, made_of, marks=marks, id=f"{made_of}-{size // MIB}MiB")


@pytest.mark.parametrize(("size", "made_of"), list(too_large()))
async def test_a_command_that_is_too_large_closes_only_its_sender(service: Running, size: int, made_of: str) -> None:
    """The sender is closed with 1009; the browser, another session and the session's other client keep working."""
    sender, other_session = await service.create(), await service.create()
    message = many_values(size) if made_of == "many values" else one_string(size)
    async with raw(sender["connect_url"]) as same_session, raw(other_session["connect_url"]) as other:
        pages = {each: (await each.page())[1] for each in (same_session, other)}
        code = await close_code_after(sender["connect_url"], message, fragments=made_of == "fragments")
        for client, at_page in pages.items():
            assert await client.value("6 * 7", at_page) == 42
        assert code == 1009
    pool = (await service.http.get("/v1/browser/pool")).json()
    assert [each["sessions"] for each in pool["browsers"] if each["sessions"]] == [2]
    assert await service.evaluate(sender["session_id"], "1 + 1") == 2
    assert (await service.http.get("/readyz")).status_code == 200
