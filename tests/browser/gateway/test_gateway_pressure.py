"""Clients that press on what all share: one pipe a browser, one loop. They pay for it themselves; nobody else does.

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

from tests.harness.clients.raw_cdp import Raw, raw
from tests.harness.scenarios.pressure import (
    FLOODS,
    MIB,
    answered,
    asks_much,
    close_code_after,
    floods,
    many_values,
    most_memory,
    one_string,
    pulling,
    round_trips,
)
from tests.harness.service import Running, serving
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

HELD_BYTES: Final = 160 * MIB
"""What four clients that read nothing may cost the service in all: each has asked for, or is told, far more."""
CLOSED_S: Final = 45.0
"""Until who reads nothing is closed."""
SHARING: Final = 8
EACH_BYTES: Final = 30 * MIB
"""For each of those that share: less than one may have waiting, three times as much as all may."""
SOON_S: Final = 20.0
"""Until one of them is closed: before it would be for reading nothing (30 s)."""
ANSWER_S: Final = 0.5
"""A neighbour's median round trip meanwhile: functional, not a figure."""
LARGEST: Final = 68 * MIB
"""Of what clients honestly send: Playwright's 50 MB of uploads in base64 make 67 MB."""
TOO_LARGE: Final = (97 * MIB, 105 * MIB, 300 * MIB)


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
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
async def test_who_reads_nothing_while_its_page_floods_is_closed_and_costs_little(
    server: Running, make: Callable[[], Any]
) -> None:
    assert server.process is not None
    neighbour = await make()
    victims = {kind: await make() for kind in (*FLOODS, "answers")}
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(raw(neighbour["connect_url"]))
        _, at_page = await client.page()
        silent = {}
        seen = await stack.enter_async_context(most_memory(psutil.Process(server.process.pid)))
        for kind, created in victims.items():
            silent[kind] = await stack.enter_async_context(raw(created["connect_url"], close_timeout=0.1))
            await (asks_much(silent[kind]) if kind == "answers" else floods(silent[kind], kind))

        waiting = [
            asyncio.create_task(close_code(server, victims[kind]["session_id"], silent[kind])) for kind in victims
        ]
        trips = await round_trips(client, at_page, seconds=2.0)
        codes = dict(zip(victims, await asyncio.gather(*waiting), strict=True))
        # An answer of which a part was on its way can only be finished for who reads again in time.
        assert codes.pop("answers") in (1013, 1006)
        assert codes == dict.fromkeys(FLOODS, 1013)
        assert seen[1] - seen[0] < HELD_BYTES, f"{(seen[1] - seen[0]) / MIB:.0f} MiB"
        assert len(trips) >= 4
        assert await client.value("6 * 7", at_page) == 42
    statuses = {(await server.get(each["session_id"]))["status"] for each in victims.values()}
    assert statuses == {"active"}


async def test_clients_of_one_principal_that_read_nothing_share_a_bound(
    server: Running, make: Callable[[], Any]
) -> None:
    """Each stays below its own bound; all of them together do not, and the furthest behind are closed for that."""
    created = await make()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(raw(created["connect_url"]))
        _, at_page = await client.page()
        for _ in range(SHARING):
            silent = await stack.enter_async_context(raw(created["connect_url"], close_timeout=0.1))
            _, its_page = await silent.page()
            await silent.call("Runtime.enable", {}, its_page)
            silent.socket.transport.pause_reading()
        logs = f"for (let i = 0; i < {EACH_BYTES // MIB}; i++) console.log('x'.repeat({MIB}))"
        await client.value(logs, at_page)

        async def some_closed() -> bool:
            return int((await server.details(created["session_id"]))["connections"]) < SHARING + 1

        await until(some_closed, within=SOON_S, what="the furthest behind is closed")
        assert (await server.details(created["session_id"]))["connections"] > 1
        assert await client.value("6 * 7", at_page) == 42


async def close_code(server: Running, session_id: str, client: Raw) -> int | None:
    """Once the service has given it up, it reads again: the reason waits for it."""

    async def given_up() -> bool:
        return bool((await server.details(session_id))["connections"] == 0)

    await until(given_up, within=CLOSED_S, what="it is closed", every=0.05)
    client.socket.transport.resume_reading()
    async with asyncio.timeout(20):
        await client.closed.wait()
    return client.close_code


async def test_a_neighbour_of_who_pulls_large_answers_goes_on(server: Running, make: Callable[[], Any]) -> None:
    puller, neighbour = await make(), await make()
    async with raw(neighbour["connect_url"]) as client, pulling(puller["connect_url"]):
        _, at_page = await client.page()
        trips = await round_trips(client, at_page, seconds=2.0)
    assert len(trips) >= 4


@pytest.mark.parametrize("size", [1 * MIB, LARGEST])
async def test_a_large_command_is_answered(make: Callable[[], Any], size: int) -> None:
    async with asyncio.timeout(60):
        assert await answered((await make())["connect_url"], size) > size - 1000


def too_large() -> Iterator[Any]:
    """Of many values the smallest alone, the one that others could let pass; in a quick run the smallest of each."""
    for made_of in ("one frame", "fragments", "many values"):
        for size in TOO_LARGE[:1] if made_of == "many values" else TOO_LARGE:
            marks = [] if size == TOO_LARGE[0] else [pytest.mark.slow]
            yield pytest.param(size, made_of, marks=marks, id=f"{made_of}-{size // MIB}MiB")


@pytest.mark.parametrize(("size", "made_of"), list(too_large()))
async def test_a_command_that_is_too_large_ends_its_sender_alone(
    server: Running, make: Callable[[], Any], size: int, made_of: str
) -> None:
    """With 1009; the browser, its other session and the sender's other client go on."""
    sender, neighbour = await make(), await make()
    message = many_values(size) if made_of == "many values" else one_string(size)
    async with raw(sender["connect_url"]) as mate, raw(neighbour["connect_url"]) as witness:
        pages = {each: (await each.page())[1] for each in (mate, witness)}
        async with asyncio.timeout(60):
            code = await close_code_after(sender["connect_url"], message, fragments=made_of == "fragments")
        for client, at_page in pages.items():
            assert await client.value("6 * 7", at_page) == 42
        assert code == 1009
    pool = (await server.http.get("/v1/browser/pool")).json()
    assert [each["sessions"] for each in pool["browsers"] if each["sessions"]] == [2]
    assert await server.evaluate(sender["session_id"], "1 + 1") == 2
    assert (await server.http.get("/readyz")).status_code == 200
