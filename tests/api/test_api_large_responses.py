"""Large responses: the size of one, and what a caller leaves unread of all of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from browser_sessions.api import large_responses
from browser_sessions.api.large_responses import MIB, PIECE_BYTES, UNSENT_BYTES
from browser_sessions.domain.principal import Role
from tests.harness.fakes.fake_node import Node, node
from tests.harness.waiting import until

SESSIONS = "/v1/browser/sessions"
SIZE = 20 * MIB
"""Of the value of each `evaluate`: three may wait for one principal, and none may be the fourth."""


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Node]:
    async with node(tmp_path) as running:
        yield running


@dataclass
class Reader:
    """A caller whose connection takes nothing more after the first piece of a response until `reads` is set."""

    reads: asyncio.Event = field(default_factory=asyncio.Event)
    status: int = 0
    body: bytearray = field(default_factory=bytearray)
    parts: int = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        if self.parts:
            await self.reads.wait()
        self.parts += 1
        self.body += message["body"]
        assert len(message["body"]) <= PIECE_BYTES


@dataclass
class Caller:
    """One caller with one session, whose scripts return `SIZE` bytes."""

    service: Node
    headers: dict[str, str]
    session_id: str

    @classmethod
    async def of(cls, service: Node, role: Role = Role.CLIENT) -> Caller:
        headers = await service.key(role)
        made = (await service.client.post(SESSIONS, headers=headers)).json()
        service.context(made["session_id"]).evaluated = "x" * SIZE
        return cls(service, headers, made["session_id"])

    @property
    def path(self) -> str:
        return f"{SESSIONS}/{self.session_id}/pages/page-1/evaluate"

    async def evaluate(self) -> Any:
        return await self.service.client.post(self.path, headers=self.headers, json={"expression": "1"})

    def evaluating(self, reader: Reader) -> asyncio.Task[None]:
        """The same for a caller that does not read."""
        headers = {**self.headers, "host": "127.0.0.1", "content-type": "application/json"}
        scope = {
            "type": "http",
            "method": "POST",
            "path": self.path,
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
        }

        async def receive() -> Message:
            return {"type": "http.request", "body": b'{"expression": "1"}', "more_body": False}

        return asyncio.create_task(self.service.app(scope, receive, reader.send))


async def test_unread_responses_of_one_principal_are_limited_and_count_until_they_are_read(service: Node) -> None:
    mine, other, operator = await Caller.of(service), await Caller.of(service), await Caller.of(service, Role.OPERATOR)
    readers = [Reader(), Reader()]
    waiting = [mine.evaluating(each) for each in readers]
    await until(lambda: all(each.parts for each in readers), what="both wait")
    refused = await mine.evaluate()
    problem = refused.json()
    assert (problem["status"], problem["type"]) == (429, "urn:browser-sessions:problem:quota-exceeded")
    assert "32 MiB of the responses to your earlier requests wait to be read" in problem["detail"]
    assert int(refused.headers["retry-after"]) >= 1
    for path in ("content", "screenshot", "pdf"):
        response = await service.client.get(mine.path.replace("evaluate", path), headers=mine.headers)
        assert response.status_code == 429, path
    state = await service.client.get(f"{SESSIONS}/{mine.session_id}/storage-state", headers=mine.headers)
    assert state.status_code == 429
    status = await service.client.get(f"{SESSIONS}/{mine.session_id}", headers=mine.headers)
    assert status.status_code == 200, "small responses are not refused"
    for caller in (other, operator):
        assert (await caller.evaluate()).status_code == 200
    readers[0].reads.set()
    await waiting[0]
    assert (readers[0].status, json.loads(readers[0].body)) == (200, {"result": "x" * SIZE})
    assert (await mine.evaluate()).status_code == 200
    waiting[1].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    services = service.app.state.services
    assert not services.unsent._held, "nothing is left"


async def test_a_burst_of_large_responses_is_dropped_beyond_the_limit(service: Node) -> None:
    """All have started before the first response is there."""
    mine = await Caller.of(service)
    readers = [Reader() for _ in range(8)]
    waiting = [mine.evaluating(each) for each in readers]
    await until(lambda: all(each.parts for each in readers), what="each has a response")
    statuses = [each.status for each in readers]
    assert statuses.count(200) == UNSENT_BYTES // SIZE
    assert statuses.count(429) == len(readers) - UNSENT_BYTES // SIZE
    refused = next(each for each in readers if each.status == 429)
    detail = json.loads(refused.body)["detail"]
    assert detail.startswith(f"The request was carried out, but its response of {SIZE + 13} bytes was dropped")
    for each in readers:
        each.reads.set()
    await asyncio.gather(*waiting)
    assert {len(each.body) for each in readers if each.status == 200} == {SIZE + 13}
    assert (await mine.evaluate()).status_code == 200


@pytest.mark.parametrize("limit", [1, 10_000])
@pytest.mark.parametrize("path", ["evaluate", "content", "screenshot", "pdf", "storage-state"])
async def test_a_result_has_a_largest_size(
    service: Node, path: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_responses, "MAX_RESULT_BYTES", limit)
    mine = await Caller.of(service)
    service.context(mine.session_id).evaluated = "x"
    if path == "evaluate":
        response = await mine.evaluate()
    else:
        url = f"{SESSIONS}/{mine.session_id}/" + ("" if path == "storage-state" else "pages/page-1/") + path
        response = await service.client.get(url, headers=mine.headers)
    assert response.status_code == (200 if limit > 1 else 409), response.text
    if limit == 1:
        assert "bytes; a response may have 1." in response.json()["detail"]
