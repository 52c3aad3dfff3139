"""A browser dies, a session ends or a client disconnects: clients get the reason, and nothing is left over."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from tests.harness.clients.raw_cdp import raw
from tests.harness.service import Running
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

SESSIONS = 2
CLIENTS = 3
"""Of each session, whose browser is killed: 6 in total."""


def kinds() -> Counter[str]:
    """The loop's tasks by coroutine name."""
    return Counter(str(getattr(task.get_coro(), "__qualname__", "")) for task in asyncio.all_tasks())


async def wait_for_rest(service: Running) -> None:
    """Waits for one browser in use and the spare one."""
    fleet = service.inside.pool.fleet

    def at_rest() -> bool:
        return len(fleet.running) == len(fleet.slots) == 2 and fleet.spares == 1

    await until(at_rest, what="a browser in use and a spare one")


async def test_killed_browsers_close_all_clients_with_1011_and_leave_no_task_and_no_used_slot(
    own_service: Running,
) -> None:
    """One has clients of several sessions, the spare one none."""
    service = own_service
    warm = await service.create()
    gateway, pool = service.inside.gateway, service.inside.pool
    await wait_for_rest(service)
    before = kinds()
    for _ in range(20):  # exclude a probe that is under way
        await asyncio.sleep(0.01)
        before &= kinds()
    async with AsyncExitStack() as stack:
        made = [await service.create() for _ in range(SESSIONS)]
        clients = [await stack.enter_async_context(raw(m["connect_url"])) for m in made for _ in range(CLIENTS)]
        for client in clients:
            await client.auto_attach()
        for client in clients[::CLIENTS]:
            await client.socket.send(client.begin("Target.createTarget", {"url": "data:text/html,x"})[1])
        # A create that needs a browser killed during its start is refused with Retry-After, which is not tested here.
        await wait_for_rest(service)
        for _, process in pool.fleet.running:
            os.kill(process.pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            await asyncio.gather(*(client.closed.wait() for client in clients))
        assert {client.close_code for client in clients} == {1011}
        assert all("browser" in client.close_reason for client in clients), {c.close_reason for c in clients}

        async def crashed() -> bool:
            return all([(await service.get(each["session_id"]))["status"] == "crashed" for each in (warm, *made)])

        # The kernel closes a dying browser's pipes before the process has exited, so clients may be closed first.
        await until(crashed, what="every session is crashed")

        async def free() -> bool:
            return bool((await service.http.get("/v1/browser/pool")).json()["taken"] == 0)

        await until(free, what="every slot is free")
        await until(lambda: not gateway._relays and not gateway._shared, what="the gateway has released everything")
        # the freed slots can be used again
        again = [await service.create() for _ in range(SESSIONS + 1)]
        async with raw(again[0]["connect_url"]) as client:
            _, at_page = await client.page()
            assert await client.value("6 * 7", at_page) == 42
        for each in again[1:]:  # one session in one browser again, as before
            await service.http.delete(f"/v1/browser/sessions/{each['session_id']}")
        await wait_for_rest(service)
        try:
            await until(lambda: not kinds() - before, what="tasks as before")
        except AssertionError:
            assert kinds() - before == Counter()


async def test_a_client_that_closes_the_browser_is_closed_itself(service: Running) -> None:
    """The session and its pages stay."""
    made = await service.create()
    async with raw(made["connect_url"]) as client:
        assert await client.call("Browser.close") == {}
        async with asyncio.timeout(30):
            await client.closed.wait()
        assert (client.close_code, client.close_reason) == (1000, "closed by Browser.close")
    assert (await service.get(made["session_id"]))["status"] == "active"
    async with raw(made["connect_url"]) as again:
        assert (await again.call("Target.getTargets"))["targetInfos"]


async def test_clients_aborted_at_any_moment_leave_nothing_behind(service: Running) -> None:
    """Aborted during the handshake, attach or create: no client is counted afterwards, and the session works."""
    made = await service.create()

    async def busy() -> None:
        async with raw(made["connect_url"], close_timeout=0.01) as client:
            try:
                await client.auto_attach()
                await client.call("Target.createTarget", {"url": "about:blank"})
            finally:
                client.socket.transport.abort()

    for step in range(15):
        task = asyncio.create_task(busy())
        await asyncio.wait([task], timeout=step * 0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def no_connections() -> bool:
        return bool((await service.details(made["session_id"]))["connections"] == 0)

    await until(no_connections, what="no client is counted", every=0.1)
    assert await service.evaluate(made["session_id"], "1 + 1") == 2


LARGE: Final = 20 * 2**20


async def test_a_large_message_is_completed_before_the_close_frame(service: Running) -> None:
    created = await service.create()
    url = created["connect_url"]
    reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
    client = ClientProtocol(parse_uri(url), max_size=None)

    def send() -> None:
        writer.write(b"".join(client.data_to_send()))

    def send_command(call_id: int, method: str, session_id: str | None = None, **params: Any) -> None:
        message = {"id": call_id, "method": method, "params": params, "sessionId": session_id}
        client.send_text(json.dumps({k: v for k, v in message.items() if v is not None}).encode())
        send()

    async def result_of(call_id: int) -> dict[str, Any]:
        while True:
            client.receive_data(await reader.read(65_536))
            for event in client.events_received():
                if isinstance(event, Frame) and (message := json.loads(bytes(event.data))).get("id") == call_id:
                    result: dict[str, Any] = message["result"]
                    return result

    client.send_request(client.connect())
    send()
    await until(lambda: _opened(client, reader), what="the connection is open")
    send_command(1, "Target.attachToTarget", targetId=await service.first_page(created["session_id"]), flatten=True)
    session_id = (await result_of(1))["sessionId"]
    expression = f"'x'.repeat({LARGE})"
    send_command(2, "Runtime.evaluate", session_id, expression=expression, returnByValue=True)
    client.receive_data(await reader.readexactly(2**20))
    assert client.events_received() == [], "the message must be incomplete"
    response = await service.http.delete(f"/v1/browser/sessions/{created['session_id']}")
    assert response.status_code == 200
    assert len((await result_of(2))["result"]["value"]) == LARGE
    while client.close_rcvd is None:
        client.receive_data(await reader.read(65_536))
    assert client.close_rcvd == Close(1000, "the session was ended")
    writer.close()


async def _opened(client: ClientProtocol, reader: asyncio.StreamReader) -> bool:
    client.receive_data(await reader.read(65_536))
    return bool(client.events_received()) and client.state is OPEN
