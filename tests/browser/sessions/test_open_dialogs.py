"""Dialogs that are open while the page navigates: in Chromium (156) they block the page for ever."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import connect

from browser_sessions.cdp import CdpError
from tests.harness.clients.live_client import watching
from tests.harness.service import ADMIN_KEY, Running
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

SESSIONS = "/v1/browser/sessions"
KEY = {"X-API-Key": ADMIN_KEY}
OPENS = "setTimeout(() => {document.title = 'got ' + prompt('name?')}), 1"


@asynccontextmanager
async def slow_page() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """(URL, event on which it responds)."""
    respond = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await respond.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<title>slow</title>")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", respond
        respond.set()


def count(service: Running, session_id: str, kind: str) -> Callable[[], int]:
    return lambda: sum(event.kind == kind for event in service.inside.pool.journal.of(session_id))


async def control(service: Running, session_id: str, action: str) -> None:
    response = await service.http.post(f"{SESSIONS}/{session_id}/control", json={"action": action})
    assert response.status_code == 200, response.text


async def test_a_navigation_dismisses_the_dialog_and_the_page_goes_on(service: Running) -> None:
    """By HTTP, by a viewer's input, and by a client, whose disconnecting then ended the whole browser."""
    session_id = (await service.create(start_url="data:text/html,first"))["session_id"]
    page_id = await service.first_page(session_id)
    page = f"{SESSIONS}/{session_id}/pages/{page_id}"
    opened, closed = count(service, session_id, "dialog.opened"), count(service, session_id, "dialog.closed")
    live = f"{service.url.replace('http', 'ws')}{SESSIONS}/{session_id}"
    await control(service, session_id, "take")

    await service.evaluate(session_id, OPENS, page_id)
    await until(lambda: opened() == 1, what="the dialog is open")
    stuck = await service.http.post(f"{page}/evaluate", json={"expression": "1", "timeout_seconds": 0.5})
    assert stuck.status_code == 504
    assert "The page shows a dialog (prompt)" in stuck.json()["detail"]
    done = await service.http.post(f"{page}/navigate", json={"url": "data:text/html,<title>http</title>"})
    assert done.status_code == 200, done.text
    assert (await service.evaluate(session_id, "document.title", page_id), closed()) == ("http", 1)

    async with watching(f"{live}/live", KEY) as viewer:
        await viewer.frame()
        await service.evaluate(session_id, OPENS, page_id)
        await until(lambda: opened() == 2, what="the dialog is open")
        await viewer.send("navigate", url="data:text/html,<title>viewer</title>")
        await until(lambda: closed() == 2, what="the dialog is closed")
        await until(lambda: _title(service, session_id) == "viewer", what="the page of the viewer")

    async with connect(f"{live}/cdp", additional_headers=KEY) as client:
        await service.evaluate(session_id, OPENS, page_id)
        await until(lambda: opened() == 3, what="the dialog is open")
        attach = {"id": 1, "method": "Target.attachToTarget", "params": {"targetId": page_id, "flatten": True}}
        await client.send(json.dumps(attach))
        attached = await _response(client.recv, 1)
        for call_id, method, params in (
            (2, "Page.enable", {}),
            (3, "Page.navigate", {"url": "data:text/html,<title>client</title>"}),
        ):
            command = {"id": call_id, "method": method, "params": params, "sessionId": attached["sessionId"]}
            await client.send(json.dumps(command))
        await _response(client.recv, 3)
    await until(lambda: _title(service, session_id) == "client", what="the page of the client")
    assert await service.evaluate(session_id, "1", page_id) == 1
    assert closed() == 3


async def test_a_dialog_that_opens_during_a_navigation_does_not_wait_for_the_person_in_control(
    service: Running,
) -> None:
    async with slow_page() as (url, respond):
        session_id = (await service.create(start_url="data:text/html,first"))["session_id"]
        page_id = await service.first_page(session_id)
        opened, closed = count(service, session_id, "dialog.opened"), count(service, session_id, "dialog.closed")
        await control(service, session_id, "take")
        await service.evaluate(session_id, f"location = {url!r}; setTimeout(() => confirm('sure?'), 100); 1", page_id)
        await until(lambda: opened() == 1, what="the dialog is open")
        await until(lambda: closed() == 1, what="the dialog is dismissed")
        respond.set()
        await until(lambda: _title(service, session_id) == "slow", what="the new document")
        assert await service.evaluate(session_id, "1", page_id) == 1


@pytest.mark.parametrize(
    "leaves",
    [
        "disconnects",
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("detaches", "disables the page's domain")),
    ],
)
async def test_a_client_that_leaves_a_dialog_open_in_a_navigation_ends_no_browser(
    service: Running, leaves: str
) -> None:
    """The new document is committed: Chromium itself would abort. Only the page is closed."""
    other = (await service.create(start_url="data:text/html,other"))["session_id"]
    session_id = (await service.create(start_url="data:text/html,first"))["session_id"]
    page_id = await service.first_page(session_id)
    opened, closed = count(service, session_id, "dialog.opened"), count(service, session_id, "page.closed")
    page = service.inside.pool.registry.live(session_id).opened.process.cdp.attached_page(page_id)
    assert page is not None

    async def committed() -> bool:
        try:
            await page.call("Page.getNavigationHistory", timeout=10)
        except CdpError as error:
            return "Not attached to an active page" in error.message
        return False

    url = f"{service.url.replace('http', 'ws')}{SESSIONS}/{session_id}/cdp"
    async with slow_page() as (slow, respond), connect(url, additional_headers=KEY) as client:

        async def send(call_id: int, method: str, **rest: object) -> None:
            await client.send(json.dumps({"id": call_id, "method": method, **rest}))

        await send(1, "Target.attachToTarget", params={"targetId": page_id, "flatten": True})
        attached = await _response(client.recv, 1)
        await send(2, "Page.enable", sessionId=attached["sessionId"])
        await _response(client.recv, 2)
        await service.evaluate(session_id, f"location = {slow!r}; setTimeout(() => confirm('sure?'), 100); 1", page_id)
        await until(lambda: opened() == 1, what="the dialog is open")
        respond.set()
        await until(committed, what="the document is committed")
        if leaves == "disconnects":
            await client.close()
        elif leaves == "detaches":
            await send(3, "Target.detachFromTarget", params={"sessionId": attached["sessionId"]})
        else:
            await send(3, "Page.disable", sessionId=attached["sessionId"])
        await until(lambda: closed() == 1, what="the page is closed")
    response = await service.http.post(f"{SESSIONS}/{session_id}/pages", json={})
    assert response.status_code == 201, response.text
    assert await service.evaluate(session_id, "1", response.json()["page_id"]) == 1
    assert await service.evaluate(other, "document.body.textContent") == "other"


def _title(service: Running, session_id: str) -> str:
    return service.inside.pool.context(session_id).pages()[0].title


async def _response(receive: Callable[[], object], call_id: int) -> dict[str, str]:
    while True:
        message = json.loads(await receive())  # type: ignore[misc]
        if message.get("id") == call_id:
            result: dict[str, str] = message["result"]
            return result
