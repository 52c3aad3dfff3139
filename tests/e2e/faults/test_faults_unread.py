"""What callers ask for and do not read: the service's memory stays bounded, and returns."""

from __future__ import annotations

import contextlib
import json
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil
import pytest

from browser_sessions.api.large_responses import MIB, UNSENT_BYTES
from tests.harness.clients.raw_cdp import raw
from tests.harness.scenarios.pressure import most_memory
from tests.harness.service import serving
from tests.harness.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

CALLERS: Final = 10
"""Each asks for 24 MiB, 8 Mi characters of three bytes: without a limit, 240 MiB would wait besides what is in work."""
WORK_BYTES: Final = 160 * MIB
"""For the values in work besides those that wait: as text, as JSON, and as Playwright sent it."""
KEPT_BYTES: Final = 40 * MIB
"""What the allocator may keep afterwards."""
LARGE: Final = 100 * MIB
"""Of each message over CDP."""
TOO_MANY: Final = "this principal's clients have too many unread messages for another large one"


async def test_unread_responses_use_little_memory_and_leave_none(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as service:
        assert service.process is not None
        process = psutil.Process(service.process.pid)
        key = await service.key()
        address = (urlsplit(service.url).hostname, urlsplit(service.url).port)
        async with service.caller(key) as caller:
            session_id = (await caller.post("/v1/browser/sessions")).json()["session_id"]
            pages = f"/v1/browser/sessions/{session_id}/pages"
            page_id = (await caller.get(pages)).json()["pages"][0]["page_id"]
            body = json.dumps({"expression": "'\\u4e2d'.repeat(8388000)", "timeout_seconds": 200}).encode()
            head = (
                f"POST {pages}/{page_id}/evaluate HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {key}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            before = process.memory_info().rss
            async with most_memory(process) as seen:
                with contextlib.ExitStack() as sockets:
                    unread = []
                    for _ in range(CALLERS):
                        each = sockets.enter_context(socket.socket())
                        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                        each.connect(address)
                        each.sendall(head.encode() + body)
                        each.setblocking(False)
                        unread.append(each)

                    def answered() -> bool:
                        return None not in map(_peek, unread)

                    await until(answered, within=150, what="each has a response", every=0.2)
                    assert {_peek(each) for each in unread} == {b"200", b"429"}
                assert seen[1] - before < UNSENT_BYTES + WORK_BYTES, f"{(seen[1] - before) / MIB:.0f} MiB"
            await until(lambda: process.memory_info().rss - before < KEPT_BYTES, what="it is returned")
            answer = await caller.post(f"{pages}/{page_id}/evaluate", json={"expression": "6 * 7"})
            assert answer.json() == {"result": 42}


async def test_unread_messages_over_cdp_use_little_memory_and_leave_none(tmp_path: Path) -> None:
    """One large message waits for a principal; its client gets it when it reads. The next clients are closed."""
    async with serving(tmp_path / "data") as service, AsyncExitStack() as stack:
        assert service.process is not None
        process = psutil.Process(service.process.pid)
        sessions = [(await service.create(isolation="browser")) for _ in range(3)]
        clients = [await stack.enter_async_context(raw(each["connect_url"], close_timeout=0.1)) for each in sessions]
        pages = [(await each.page())[1] for each in clients]
        before = process.memory_info().rss
        expression = {"expression": f"'x'.repeat({LARGE})", "returnByValue": True}
        responses = []
        for client, at_page in zip(clients, pages, strict=True):
            call_id, frame = client.begin("Runtime.evaluate", expression, at_page)
            responses.append(client.response(call_id))
            await client.socket.send(frame)
            client.socket.transport.pause_reading()

        async def one_is_left() -> bool:
            counts = [(await service.details(each["session_id"]))["connections"] for each in sessions]
            return counts.count(0) == len(sessions) - 1

        await until(one_is_left, what="the others are closed", every=0.1)
        held = "no more than one message is held"
        await until(lambda: process.memory_info().rss - before < LARGE + KEPT_BYTES, what=held)
        for client in clients:
            client.socket.transport.resume_reading()
        await until(lambda: [each.close_reason for each in clients].count(TOO_MANY) == 2, what="the others know why")
        (reads,) = [answer for each, answer in zip(clients, responses, strict=True) if each.close_code is None]
        assert len((await reads)["result"]["result"]["value"]) == LARGE
        await until(lambda: process.memory_info().rss - before < KEPT_BYTES, what="the memory is returned")


def _peek(connection: socket.socket) -> bytes | None:
    """The status of the response that waits in the socket."""
    try:
        return connection.recv(15, socket.MSG_PEEK)[9:12] or None
    except BlockingIOError:
        return None
