"""The raw CDP client against a server that says what a test wants: answers, events, silence, the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from browser_sessions.cdp import CdpClosed, CdpError, Connection

Handler = Callable[[ServerConnection, dict[str, Any]], Awaitable[None]]


@asynccontextmanager
async def connected(handler: Handler) -> AsyncIterator[Connection]:
    """A connection to a server that calls `handler` with every message."""

    async def talk(socket: ServerConnection) -> None:
        async for frame in socket:
            await handler(socket, json.loads(frame))

    async with serve(talk, "127.0.0.1", 0, max_size=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        connection = await Connection.open(f"ws://127.0.0.1:{port}/devtools/browser/x", timeout=5)
        try:
            yield connection
        finally:
            await connection.close()


async def echo(socket: ServerConnection, message: dict[str, Any]) -> None:
    await socket.send(json.dumps({"id": message["id"], "result": message}))


async def silence(_socket: ServerConnection, _message: dict[str, Any]) -> None:
    pass


async def test_a_call_is_one_json_object_and_its_result_comes_back() -> None:
    async with connected(echo) as connection:
        sent = await connection.call("A.b", {"c": [1, "é"]}, session_id="S", timeout=5)
        bare = await connection.call("A.b", timeout=5)

    assert sent == {"id": 1, "method": "A.b", "params": {"c": [1, "é"]}, "sessionId": "S"}
    assert bare == {"id": 2, "method": "A.b"}


async def test_answers_out_of_order_find_their_calls() -> None:
    waiting: list[dict[str, Any]] = []

    async def backwards(socket: ServerConnection, message: dict[str, Any]) -> None:
        waiting.append(message)
        if len(waiting) == 10:
            for each in reversed(waiting):
                await echo(socket, each)

    async with connected(backwards) as connection:
        results = await asyncio.gather(*(connection.call("A.b", {"n": n}, timeout=5) for n in range(10)))

    assert [result["params"]["n"] for result in results] == list(range(10))


async def test_an_error_answer_is_raised_with_its_code() -> None:
    async def refuse(socket: ServerConnection, message: dict[str, Any]) -> None:
        await socket.send(json.dumps({"id": message["id"], "error": {"code": -32601, "message": "'A.b' wasn't found"}}))

    async with connected(refuse) as connection:
        with pytest.raises(CdpError) as refused:
            await connection.call("A.b", timeout=5)

    assert (refused.value.code, refused.value.message) == (-32601, "'A.b' wasn't found")


async def test_silence_ends_at_the_deadline_and_a_late_answer_is_nobodys() -> None:
    late: list[tuple[ServerConnection, dict[str, Any]]] = []

    async def slow(socket: ServerConnection, message: dict[str, Any]) -> None:
        if message["method"] == "A.slow":
            late.append((socket, message))
        else:
            await echo(*late[0])
            await echo(socket, message)

    async with connected(slow) as connection:
        with pytest.raises(TimeoutError, match=r"A\.slow"):
            await connection.call("A.slow", timeout=0.05)
        assert (await connection.call("A.fast", timeout=5))["method"] == "A.fast"
        assert repr(connection) == "<Connection open, 0 calls pending>"


async def test_events_reach_their_listeners_in_order_until_they_are_taken_away() -> None:
    async def shout(socket: ServerConnection, message: dict[str, Any]) -> None:
        for number in range(3):
            await socket.send(json.dumps({"method": "A.happened", "params": {"n": number}, "sessionId": "S"}))
            await socket.send(json.dumps({"method": "A.other", "params": {}}))
        await echo(socket, message)

    heard: list[tuple[int, str | None]] = []
    async with connected(shout) as connection:
        off = connection.on("A.happened", lambda params, session: heard.append((params["n"], session)))
        await connection.call("A.b", timeout=5)
        off()
        off()
        await connection.call("A.b", timeout=5)

    assert heard == [(0, "S"), (1, "S"), (2, "S")]


async def test_a_listener_that_fails_hurts_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    async def shout(socket: ServerConnection, message: dict[str, Any]) -> None:
        await socket.send(json.dumps({"method": "A.happened", "params": {}}))
        await echo(socket, message)

    def fails(_params: dict[str, Any], _session: str | None) -> None:
        raise RuntimeError("a bug of the listener")

    heard: list[bool] = []
    async with connected(shout) as connection:
        connection.on("A.happened", fails)
        connection.on("A.happened", lambda _params, _session: heard.append(True))
        await connection.call("A.b", timeout=5)

    assert heard == [True]
    assert "a listener of A.happened failed" in caplog.text


async def test_pending_calls_fail_when_the_other_side_goes() -> None:
    async def leave(socket: ServerConnection, message: dict[str, Any]) -> None:
        if message["method"] == "A.leave":
            await socket.close(1011, "gone")

    async with connected(leave) as connection:
        waiting = [asyncio.create_task(connection.call("A.b", timeout=30)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(CdpClosed):
            await connection.call("A.leave", timeout=30)
        answers = await asyncio.gather(*waiting, return_exceptions=True)

        assert [type(answer) for answer in answers] == [CdpClosed] * 3
        assert "1011" in await connection.closed
        with pytest.raises(CdpClosed, match="1011"):
            await connection.call("A.b", timeout=5)


async def test_what_was_asked_on_a_session_that_goes_fails() -> None:
    async def detach(socket: ServerConnection, message: dict[str, Any]) -> None:
        if message["method"] == "A.detach":
            await socket.send(json.dumps({"method": "Target.detachedFromTarget", "params": {"sessionId": "S"}}))
            await echo(socket, message)

    async with connected(detach) as connection:
        gone = asyncio.create_task(connection.call("A.b", session_id="S", timeout=30))
        other = asyncio.create_task(connection.call("A.other", session_id="T", timeout=30))
        await asyncio.sleep(0)
        await connection.call("A.detach", timeout=5)

        with pytest.raises(CdpError, match="Session with given id not found"):
            await gone
        assert not other.done()
        await connection.close()
        with pytest.raises(CdpClosed):
            await other


async def test_closing_fails_what_is_pending_and_can_be_repeated() -> None:
    async with connected(silence) as connection:
        waiting = asyncio.create_task(connection.call("A.b", timeout=30))
        await asyncio.sleep(0)
        await connection.close()

        with pytest.raises(CdpClosed):
            await waiting
        await connection.close()
        assert connection.closed.done()


async def test_a_message_beyond_a_megabyte_comes_through() -> None:
    big = "x" * (3 * 2**20)
    async with connected(echo) as connection:
        assert (await connection.call("A.b", {"big": big}, timeout=20))["params"]["big"] == big


async def test_half_a_character_of_a_page_comes_through() -> None:
    async def half(socket: ServerConnection, message: dict[str, Any]) -> None:
        await socket.send(f'{{"id": {message["id"]}, "result": {{"text": "\\ud800"}}}}')

    async with connected(half) as connection:
        assert (await connection.call("A.b", timeout=5))["text"] == "\ud800"


async def test_a_cancelled_call_is_forgotten() -> None:
    async with connected(silence) as connection:
        waiting = asyncio.create_task(connection.call("A.b", timeout=30))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})

        assert waiting.cancelled()
        assert "0 calls pending" in repr(connection)


async def test_nobody_there_is_told() -> None:
    with pytest.raises(CdpClosed, match="could not connect"):
        await Connection.open("ws://127.0.0.1:1/", timeout=5)


async def test_a_server_that_does_not_shake_hands_ends_at_the_deadline() -> None:
    left = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        left.set()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    async with server:
        with pytest.raises(TimeoutError):
            await Connection.open(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", timeout=0.1)
        await asyncio.wait_for(left.wait(), 5)
