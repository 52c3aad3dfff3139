"""Clients that stall: one never resumes, one stops reading, one vanishes. Other clients must not be affected."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from browser_sessions.cdp import Browser, pauses
from browser_sessions.cdp.websocket import BACKPRESSURE_BYTES, QUEUE_BYTES, PauseReason
from browser_sessions.gateway import gateway as gateway_module
from browser_sessions.gateway.shared_session import SharedSession
from tests.harness.clients.raw_cdp import Raw, raw
from tests.harness.service import Running
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

NEVER_S = 3600.0


async def open_and_close_a_page(client: Raw) -> None:
    """With the client's auto-attach on."""
    target_id = (await client.call("Target.createTarget", {"url": "about:blank"}))["targetId"]
    attached = await client.event(
        "Target.attachedToTarget", lambda m: bool(m["params"]["targetInfo"]["targetId"] == target_id)
    )
    await client.call("Runtime.runIfWaitingForDebugger", {}, attached["params"]["sessionId"])
    await client.call("Target.closeTarget", {"targetId": target_id})


def command(client: Raw, method: str, params: dict[str, Any], session_id: str | None = None) -> str:
    """A command whose response is not awaited."""
    return client.begin(method, params, session_id)[1]


@asynccontextmanager
async def never_resumes(url: str) -> AsyncIterator[None]:
    """Auto-attaches with waitForDebuggerOnStart, creates pages and resumes none of them."""
    async with raw(url) as client:
        await client.auto_attach(wait=True)
        for _ in range(5):
            await client.socket.send(command(client, "Target.createTarget", {"url": "about:blank"}))
        await client.event("Target.attachedToTarget", lambda m: bool(m["params"]["waitingForDebugger"]))
        yield


@asynccontextmanager
async def stops_reading(url: str) -> AsyncIterator[None]:
    """Requests far more data than is buffered, and reads none of it."""
    async with raw(url, close_timeout=0.1) as client:
        _, at_page = await client.page()
        client.socket.transport.pause_reading()
        params = {"expression": "'x'.repeat(4 * 2**20)"}
        for _ in range(6):
            await client.socket.send(command(client, "Runtime.evaluate", params, at_page))
        async with raw(url) as other:  # wait until its page and the browser have done that work
            assert await other.value("1 + 1", (await other.page())[1]) == 2
        yield
        client.socket.transport.abort()


@asynccontextmanager
async def vanishes(url: str) -> AsyncIterator[None]:
    """Repeatedly connects, attaches, creates a page and resets the connection."""
    gone = asyncio.Event()

    async def come_and_go() -> None:
        while True:
            async with raw(url) as client:
                await client.auto_attach(wait=True)
                await client.socket.send(command(client, "Target.createTarget", {"url": "about:blank"}))
                await client.event("Target.attachedToTarget")
                reset(client)
            gone.set()

    task = asyncio.create_task(come_and_go())
    try:
        await gone.wait()
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def reset(client: Raw) -> None:
    """Ends the connection with a RST, as after a power failure of the client."""
    own: socket.socket = client.socket.transport.get_extra_info("socket")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.transport.abort()


STALLERS = (never_resumes, stops_reading, vanishes)


@pytest.mark.slow
async def test_pages_of_another_session_do_not_wait_for_a_stalled_client(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither limit of a pause is ever reached here, so what waited for the stalled client would wait for good."""
    monkeypatch.setattr(pauses, "HOLD_S", NEVER_S)
    monkeypatch.setattr(pauses, "OWNER_HOLD_S", NEVER_S)
    mine, other = await service.create(), await service.create()
    assert browser_of(service, mine["session_id"]) is browser_of(service, other["session_id"])
    async with raw(mine["connect_url"]) as client:
        await client.auto_attach()
        for staller in STALLERS:
            async with staller(other["connect_url"]):
                for _ in range(5):
                    await open_and_close_a_page(client)


def browser_of(service: Running, session_id: str) -> Browser:
    return service.inside.pool.registry.live(session_id).opened.process.cdp


def shared_sessions(service: Running) -> list[SharedSession]:
    return [shared for shared in service.inside.gateway._shared.values() if shared.clients]


async def test_no_page_stays_paused_after_its_client_vanishes(service: Running) -> None:
    made = await service.create()
    async with raw(made["connect_url"]) as client:
        await client.auto_attach(wait=True)
        await client.socket.send(command(client, "Target.createTarget", {"url": "data:text/html,<title>held"}))
        await client.event("Target.attachedToTarget", lambda m: bool(m["params"]["waitingForDebugger"]))
        browser = browser_of(service, made["session_id"])
        assert len(browser.pauses) == 1
        reset(client)
    await until(lambda: not browser.pauses and not shared_sessions(service), what="the page is resumed", within=10)
    assert "0 paused" in repr(browser)
    live = service.inside.pool.registry.live(made["session_id"])
    assert live.clients == 0
    # the paused page now runs and belongs to the session
    pages = (await service.http.get(f"/v1/browser/sessions/{made['session_id']}/pages")).json()["pages"]
    assert len(pages) == 2
    for page in pages:
        assert await service.evaluate(made["session_id"], "1 + 1", page["page_id"]) == 2


async def test_a_page_that_its_client_never_resumes_is_resumed_after_the_limit(service: Running) -> None:
    made = await service.create()
    async with raw(made["connect_url"]) as client:
        await client.auto_attach(wait=True)
        await client.socket.send(command(client, "Target.createTarget", {"url": "data:text/html,<title>late"}))
        await client.event("Target.attachedToTarget", lambda m: bool(m["params"]["waitingForDebugger"]))
        browser = browser_of(service, made["session_id"])
        await until(lambda: not browser.pauses, within=15, what="the pause limit has passed")
        async with raw(made["connect_url"]) as other:

            async def opened() -> bool:
                targets = (await other.call("Target.getTargets"))["targetInfos"]
                return any(info["url"].endswith("late") for info in targets)

            await until(opened, what="the page has loaded")


async def test_a_client_that_does_not_read_is_closed_with_1013_and_its_session_stays_active(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_module, "STALL_TIMEOUT_S", 1.0)
    made = await service.create()
    async with raw(made["connect_url"]) as reader, raw(made["connect_url"], close_timeout=0.1) as client:
        _, at_page = await client.page()
        relay = next(r for r in service.inside.gateway._relays if r.scope._sessions)
        client.socket.transport.pause_reading()
        await client.socket.send(command(client, "Runtime.enable", {}, at_page))
        flood_params = {"expression": "for (i = 0; i < 60; i++) console.log('x'.repeat(500_000))"}
        await client.socket.send(command(client, "Runtime.evaluate", flood_params, at_page))
        side = relay.socket
        await until(lambda: side.paused or relay.gone, what="the client is behind")
        assert side.waiting < QUEUE_BYTES + 2**20  # bounded although the browser keeps sending
        await until(lambda: relay.gone, what="the client is dropped")
        client.socket.transport.resume_reading()  # it reads again and gets the close frame
        async with asyncio.timeout(10):
            await client.closed.wait()
        assert client.close_code == 1013
        assert (await reader.call("Target.getTargets"))["targetInfos"]
    assert (await service.details(made["session_id"]))["status"] == "active"
    await until(lambda: not shared_sessions(service))


async def test_commands_of_a_client_that_does_not_read_responses_are_not_read(service: Running) -> None:
    """Backpressure for the gateway's own responses: commands wait in the client's socket."""
    made = await service.create()
    async with raw(made["connect_url"], close_timeout=0.1, write_limit=2**26) as client:
        await client.call("Target.getTargets")
        client.socket.transport.pause_reading()
        (relay,) = service.inside.gateway._relays
        frame = json.dumps({"id": 1, "method": "N" * 200_000})  # the refusal echoes the method
        side = relay.socket

        async def flood() -> None:
            while True:
                await client.socket.send(frame)

        flooding = asyncio.create_task(flood())
        try:
            await until(lambda: side._paused == {PauseReason.CLIENT_FULL}, what="reading is paused")
            before = relay._traffic.commands
            assert side.waiting < BACKPRESSURE_BYTES + 2**20
            await service.get(made["session_id"])
            assert relay._traffic.commands == before
        finally:
            flooding.cancel()
            client.socket.transport.abort()
    assert (await service.details(made["session_id"]))["status"] == "active"
