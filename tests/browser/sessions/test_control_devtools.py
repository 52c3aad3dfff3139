"""Chromium's own DevTools through the service: it works in its sandbox, and reaches one session only."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import unquote

import pytest
from playwright.async_api import Browser, Page
from websockets.asyncio.client import connect
from websockets.typing import Origin

from tests.harness.service import Running
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

SESSIONS = "/v1/browser/sessions"


async def opened(service: Running, session_id: str) -> str:
    page_id = await service.first_page(session_id)
    answer = await service.http.post(f"{SESSIONS}/{session_id}/devtools", json={"page_id": page_id})
    assert answer.status_code == 200, answer.text
    url: str = answer.json()["url"]
    assert url.startswith(f"{SESSIONS}/{session_id}/devtools/")
    return url


async def show(service: Running, session_id: str, html: str) -> None:
    path = f"{SESSIONS}/{session_id}/pages/{await service.first_page(session_id)}/navigate"
    answer = await service.http.post(path, json={"url": "data:text/html," + html})
    assert answer.status_code == 200, answer.text


async def titled(page: Page, words: str) -> bool:
    return words in await page.title()


async def test_it_opens_on_the_page_and_has_no_origin(service: Running, operator: Browser) -> None:
    session_id = (await service.create())["session_id"]
    await show(service, session_id, "<title>Inspect me</title>")
    page = await operator.new_page()
    failed: list[str] = []
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    await page.goto(service.url + await opened(service, session_id))
    await until(lambda: titled(page, "Inspect me"), what="it shows the page's name")
    assert await page.evaluate("self.origin") == "null"
    with pytest.raises(Exception, match="sandbox"):
        await page.evaluate("document.cookie")
    assert failed == []
    assert (
        await page.evaluate(f"fetch('{service.url}/v1/auth/session').then(() => 'read', () => 'refused')") == "refused"
    )
    assert service.inside.pool.registry.connections(session_id) == 1


PANELS = (
    "elements",
    "console",
    "sources",
    "network",
    "timeline",
    "resources",
    "heap-profiler",
    "security",
    "lighthouse",
)
"""As the front end names them: `timeline` is Performance, `resources` is Application."""
OPEN_PANEL = """async (name) => {
  const { ViewManager } = await import(new URL("./ui/legacy/legacy.js", location.href).href);
  await ViewManager.ViewManager.instance().showView(name);
  return ViewManager.ViewManager.instance().isViewVisible(name);
}"""


async def test_all_its_panels_open_and_miss_no_file(service: Running, operator: Browser) -> None:
    session_id = (await service.create())["session_id"]
    await show(service, session_id, "<title>Inspect me</title>")
    page = await operator.new_page()
    asked: dict[str, int] = {}
    page.on("response", lambda answer: asked.update({answer.url.partition("?")[0]: answer.status}))
    wrong: list[str] = []
    page.on("requestfailed", lambda request: wrong.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    await page.goto(service.url + await opened(service, session_id))
    await until(lambda: titled(page, "Inspect me"), what="it shows the page's name")
    for panel in PANELS:
        assert await page.evaluate(OPEN_PANEL, panel), panel
    await page.wait_for_load_state("networkidle")
    files = {url: status for url, status in asked.items() if "/devtools/" in url}
    assert len(files) > 150
    assert {url for url, status in files.items() if status != 200} == set()
    assert wrong == []


async def test_its_socket_lists_and_reaches_that_session_only(service: Running) -> None:
    session_id = (await service.create())["session_id"]
    other = (await service.create())["session_id"]
    other_page = await service.first_page(other)
    url = await opened(service, session_id)
    socket = "ws://" + unquote(url.partition("?ws=")[2])
    async with connect(socket, proxy=None, origin=Origin("null")) as client:

        async def ask(number: int, method: str, **params: Any) -> dict[str, Any]:
            await client.send(json.dumps({"id": number, "method": method, "params": params}))
            while True:
                answer: dict[str, Any] = json.loads(await asyncio.wait_for(client.recv(), 10))
                if answer.get("id") == number:
                    return answer

        listed = (await ask(1, "Target.getTargets"))["result"]["targetInfos"]
        own = {page.page_id for page in service.inside.pool.context(session_id).pages()}
        assert {info["targetId"] for info in listed} == own
        assert "error" in await ask(2, "Target.attachToTarget", targetId=other_page, flatten=True)
        assert "error" in await ask(3, "Page.navigate", url="file:///etc/passwd")
        assert (await ask(4, "Runtime.evaluate", expression="1 + 1"))["result"]["result"]["value"] == 2


async def test_who_may_not_drive_a_session_gets_no_devtools(service: Running) -> None:
    session_id = (await service.create())["session_id"]
    page_id = await service.first_page(session_id)
    async with service.caller(await service.key("client")) as client:
        answer = await client.post(f"{SESSIONS}/{session_id}/devtools", json={"page_id": page_id})
        assert answer.status_code == 404
    answer = await service.http.post(f"{SESSIONS}/{session_id}/devtools", json={"page_id": "no such page"})
    assert answer.status_code == 404
    other = (await service.create())["session_id"]
    answer = await service.http.post(
        f"{SESSIONS}/{session_id}/devtools", json={"page_id": await service.first_page(other)}
    )
    assert answer.status_code == 404


async def test_files_need_the_ticket_and_are_files_only(service: Running) -> None:
    session_id = (await service.create())["session_id"]
    other = (await service.create())["session_id"]
    url = await opened(service, session_id)
    base = url.partition("inspector.html")[0]
    async with service.caller(None) as nobody:
        page = await nobody.get(url)
        assert page.status_code == 200
        policy = page.headers["content-security-policy"]
        assert policy.startswith("sandbox allow-scripts")
        assert "allow-same-origin" not in policy
        assert page.headers["access-control-allow-origin"] == "*"
        script = await nobody.get(base + "entrypoints/inspector/inspector.js")
        assert script.status_code == 200
        assert script.headers["content-security-policy"] == policy
        for path in ("json/version", "browser/x", "%2e%2e/json/list", "..%2fjson%2fversion.json", "nothing.js"):
            assert (await nobody.get(base + path)).status_code == 404, path
        ticket = base.rstrip("/").rpartition("/")[2]
        for session, used in ((session_id, "made.up.ticket"), (other, ticket)):
            answer = await nobody.get(f"{SESSIONS}/{session}/devtools/{used}/inspector.html")
            assert answer.status_code == 401
        answer = await nobody.get(f"{SESSIONS}/{session_id}", headers={"Authorization": f"Bearer {ticket}"})
        assert answer.status_code == 401
        live = f"{service.url.replace('http', 'ws')}{SESSIONS}/{session_id}/cdp?ticket={ticket}"
        with pytest.raises(Exception, match="401"):
            await connect(live, proxy=None)
    await service.http.delete(f"{SESSIONS}/{session_id}")
    async with service.caller(None) as nobody:
        assert (await nobody.get(url)).status_code == 409


async def test_the_wheel_holds_clients_up_and_not_its_holders_devtools(service: Running) -> None:
    created = await service.create()
    session_id = created["session_id"]
    socket = "ws://" + unquote((await opened(service, session_id)).partition("?ws=")[2])
    call = json.dumps({"id": 1, "method": "Runtime.evaluate", "params": {"expression": "1"}})
    async with connect(created["connect_url"], proxy=None) as client, connect(socket, proxy=None) as tools:
        await service.http.post(f"{SESSIONS}/{session_id}/control", json={"action": "take"})
        await tools.send(call)
        assert json.loads(await asyncio.wait_for(tools.recv(), 10))["id"] == 1
        await client.send(json.dumps({"id": 1, "method": "Browser.getVersion"}))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.recv(), 0.5)
        await service.http.post(f"{SESSIONS}/{session_id}/control", json={"action": "release"})
        assert json.loads(await asyncio.wait_for(client.recv(), 10))["id"] == 1
