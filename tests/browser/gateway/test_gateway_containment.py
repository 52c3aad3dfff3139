"""A command or a bug ends at most the connection of one client, never the browser that its session shares."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from browser_sessions.cdp.messages import MAX_DEPTH
from browser_sessions.gateway import relay
from browser_sessions.gateway.scope.client_scope import MAX_LEVELS
from tests.harness.clients.raw_cdp import Raw, raw
from tests.harness.service import Running
from tests.harness.waiting import PATIENCE_S

pytestmark = pytest.mark.browser


class Pair:
    """Clients of two sessions of one browser."""

    def __init__(self, attacker: Raw, at_page: str, other: Raw, others_page: str) -> None:
        self.attacker = attacker
        self.at_page = at_page
        self._other = other
        self._others_page = others_page

    async def the_other_answers(self) -> bool:
        return bool(await self._other.value("6 * 7", self._others_page) == 42)


@asynccontextmanager
async def pair(service: Running) -> AsyncIterator[Pair]:
    made = [await service.create() for _ in range(2)]
    assert 2 in [slot.taken for slot, _ in service.inside.pool.fleet.running], "they must share a browser"
    async with raw(made[0]["connect_url"]) as attacker, raw(made[1]["connect_url"]) as other:
        _, at_page = await attacker.page()
        _, others_page = await other.page()
        yield Pair(attacker, at_page, other, others_page)


def nested(levels: int, *, objects: bool) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value} if objects else [value]
    return value


@pytest.mark.parametrize("objects", [False, True])
async def test_a_command_is_nested_as_deeply_as_chromium_reads_or_refused(service: Running, objects: bool) -> None:
    """The message, `params`, `arguments` and the argument are four levels."""
    count = "function(x) { let n = 0; for (; typeof x === 'object'; n++) x = Object.values(x)[0]; return n }"
    async with pair(service) as clients:
        this = await clients.attacker.call("Runtime.evaluate", {"expression": "globalThis"}, clients.at_page)

        async def depth(levels: int) -> dict[str, Any]:
            arguments = [{"value": nested(levels, objects=objects)}]
            params = {
                "functionDeclaration": count,
                "objectId": this["result"]["objectId"],
                "arguments": arguments,
                "returnByValue": True,
            }
            return await clients.attacker.ask("Runtime.callFunctionOn", params, clients.at_page)

        deepest = MAX_DEPTH - 4
        assert (await depth(deepest))["result"]["result"]["value"] == deepest
        for levels in (deepest + 1, 400, 900):
            refused = await depth(levels)
            assert refused["error"] == {"code": -32700, "message": "JSON: nested more than 300 levels deep"}
            assert refused["sessionId"] == clients.at_page
        assert await clients.the_other_answers()
        assert await clients.attacker.value("6 * 7", clients.at_page) == 42


async def test_browser_sessions_cannot_be_nested_without_end(service: Running) -> None:
    async with pair(service) as clients:
        first = lowest = None
        for _ in range(MAX_LEVELS):
            attached = await clients.attacker.call("Target.attachToBrowserTarget", {}, lowest)
            lowest = attached["sessionId"]
            first = first or lowest
        refused = await clients.attacker.ask("Target.attachToBrowserTarget", {}, lowest)
        assert refused["error"]["message"].startswith("Browser sessions can be nested 8 levels deep")
        await clients.attacker.call("Target.detachFromTarget", {"sessionId": first})
        gone = await clients.attacker.ask("Target.getTargets", {}, lowest)
        assert gone["error"]["message"] == "Session with given id not found."
        assert await clients.the_other_answers()


async def test_an_error_of_chromium_without_an_id_ends_nothing(service: Running) -> None:
    async with pair(service) as clients:
        for _, process in service.inside.pool.fleet.running:
            process.cdp.root.connection.send(b'{"id":1,"method":"Browser.getVersion","params":{"x":%b}}' % (b"[" * 400))
            await process.cdp.root.call("Browser.getVersion", timeout=PATIENCE_S)
        assert await clients.the_other_answers()


@pytest.mark.parametrize("where", ["decide", "failed_navigation"])
async def test_a_bug_at_the_message_of_a_client_ends_that_client_alone(
    service: Running, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """`decide` handles its commands, `failed_navigation` Chromium's responses to them."""

    def bug(*_: object) -> None:
        raise RecursionError("injected")

    async with pair(service) as clients:
        with monkeypatch.context() as patch:
            patch.setattr(relay, where, bug)
            call_id, frame = clients.attacker.begin("Page.enable", {}, clients.at_page)
            response = clients.attacker.response(call_id)
            await clients.attacker.socket.send(frame)
            async with asyncio.timeout(PATIENCE_S):
                await clients.attacker.closed.wait()
        assert response.cancelled()
        assert (clients.attacker.close_code, clients.attacker.close_reason) == (
            1011,
            "the service failed to handle a message",
        )
        assert await clients.the_other_answers()
