"""Chromium's DevTools through the service: it works in its sandbox and reaches one session only."""

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
    response = await service.http.post(f"{SESSIONS}/{session_id}/devtools", json={"page_id": page_id})
    assert response.status_code == 200, response.text
    url: str = response.json()["url"]
    assert url.startswith(f"{SESSIONS}/{session_id}/devtools/")
    return url


async def show(service: Running, session_id: str, html: str) -> None:
    path = f"{SESSIONS}/{session_id}/pages/{await service.first_page(session_id)}/navigate"
    response = await service.http.post(path, json={"url": "data:text/html," + html})
    assert response.status_code == 200, response.text


async def titled(page: Page, text: str) -> bool:
    return text in await page.title()


async def test_devtools_opens_on_the_page_and_has_no_origin(service: Running, operator: Browser) -> None:
    session_id = (await service.create())["session_id"]
    await show(service, session_id, "<title>Inspect me</title>")
    page = await operator.new_page()
    failed: list[str] = []
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    await page.goto(service.url + await opened(service, session_id))
    await until(lambda: titled(page, "Inspect me"), what="it shows the page's title")
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
"""Names used by the front end: `timeline` is Performance, `resources` is Application."""
OPEN_PANEL = """async (name) => {
  const { ViewManager } = await import(new URL("./ui/legacy/legacy.js", location.href).href);
  await ViewManager.ViewManager.instance().showView(name);
  return ViewManager.ViewManager.instance().isViewVisible(name);
}"""


@pytest.mark.slow
async def test_all_panels_open_without_a_missing_file(service: Running, operator: Browser) -> None:
    session_id = (await service.create())["session_id"]
    await show(service, session_id, "<title>Inspect me</title>")
    page = await operator.new_page()
    statuses: dict[str, int] = {}
    page.on("response", lambda response: statuses.update({response.url.partition("?")[0]: response.status}))
    wrong: list[str] = []
    page.on("requestfailed", lambda request: wrong.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    await page.goto(service.url + await opened(service, session_id))
    await until(lambda: titled(page, "Inspect me"), what="it shows the page's title")
    for panel in PANELS:
        assert await page.evaluate(OPEN_PANEL, panel), panel
    await page.wait_for_load_state("networkidle")
    files = {url: status for url, status in statuses.items() if "/devtools/" in url}
    assert len(files) > 150
    assert {url for url, status in files.items() if status != 200} == set()
    assert wrong == []


async def test_the_devtools_socket_lists_and_reaches_its_session_only(service: Running) -> None:
    session_id = (await service.create())["session_id"]
    other = (await service.create())["session_id"]
    other_page = await service.first_page(other)
    url = await opened(service, session_id)
    socket = "ws://" + unquote(url.partition("?ws=")[2])
    async with connect(socket, proxy=None, origin=Origin("null")) as client:

        async def call(number: int, method: str, **params: Any) -> dict[str, Any]:
            await client.send(json.dumps({"id": number, "method": method, "params": params}))
            while True:
                response: dict[str, Any] = json.loads(await asyncio.wait_for(client.recv(), 10))
                if response.get("id") == number:
                    return response

        listed = (await call(1, "Target.getTargets"))["result"]["targetInfos"]
        own = {page.page_id for page in service.inside.pool.context(session_id).pages()}
        assert {info["targetId"] for info in listed} == own
        assert "error" in await call(2, "Target.attachToTarget", targetId=other_page, flatten=True)
        assert "error" in await call(3, "Page.navigate", url="file:///etc/passwd")
        assert (await call(4, "Runtime.evaluate", expression="1 + 1"))["result"]["result"]["value"] == 2


async def test_devtools_of_unknown_or_foreign_pages_is_a_404(service: Running) -> None:
    session_id = (await service.create())["session_id"]
    page_id = await service.first_page(session_id)
    async with service.caller(await service.key("client")) as client:
        response = await client.post(f"{SESSIONS}/{session_id}/devtools", json={"page_id": page_id})
        assert response.status_code == 404
    response = await service.http.post(f"{SESSIONS}/{session_id}/devtools", json={"page_id": "no such page"})
    assert response.status_code == 404
    other = (await service.create())["session_id"]
    response = await service.http.post(
        f"{SESSIONS}/{session_id}/devtools", json={"page_id": await service.first_page(other)}
    )
    assert response.status_code == 404


async def test_devtools_files_need_a_ticket_that_opens_nothing_else(service: Running) -> None:
    session_id = (await service.create())["session_id"]
    other = (await service.create())["session_id"]
    url = await opened(service, session_id)
    base = url.partition("inspector.html")[0]
    async with service.caller(None) as anonymous:
        page = await anonymous.get(url)
        assert page.status_code == 200
        policy = page.headers["content-security-policy"]
        assert policy.startswith("sandbox allow-scripts")
        assert "allow-same-origin" not in policy
        assert page.headers["access-control-allow-origin"] == "*"
        script = await anonymous.get(base + "entrypoints/inspector/inspector.js")
        assert script.status_code == 200
        assert script.headers["content-security-policy"] == policy
        for path in ("json/version", "browser/x", "%2e%2e/json/list", "..%2fjson%2fversion.json", "nothing.js"):
            assert (await anonymous.get(base + path)).status_code == 404, path
        ticket = base.rstrip("/").rpartition("/")[2]
        for session, used in ((session_id, "made.up.ticket"), (other, ticket)):
            response = await anonymous.get(f"{SESSIONS}/{session}/devtools/{used}/inspector.html")
            assert response.status_code == 401
        response = await anonymous.get(f"{SESSIONS}/{session_id}", headers={"Authorization": f"Bearer {ticket}"})
        assert response.status_code == 401
        live = f"{service.url.replace('http', 'ws')}{SESSIONS}/{session_id}/cdp?ticket={ticket}"
        with pytest.raises(Exception, match="401"):
            await connect(live, proxy=None)
    await service.http.delete(f"{SESSIONS}/{session_id}")
    async with service.caller(None) as anonymous:
        assert (await anonymous.get(url)).status_code == 409


async def test_the_control_lock_holds_up_clients_but_not_devtools(service: Running) -> None:
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
