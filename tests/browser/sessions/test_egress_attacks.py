"""Ways to reach a listener of this machine: by default none does, and each would if the address was allowed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.harness.clients.raw_cdp import raw
from tests.harness.egress_rules import allowing
from tests.harness.scenarios.egress_attacks import NO_REQUEST, SCRIPTS, SPELLINGS, prepare, tried
from tests.harness.service import Running
from tests.harness.sites.listeners import Listeners
from tests.harness.sites.plain_site import Site, plain_site
from tests.harness.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

TRIED_S = 1.5
"""How long a way has that may send no request, and so may not be counted as refused."""


@pytest_asyncio.fixture(loop_scope="session")
async def other() -> AsyncIterator[Site]:
    async with plain_site() as site:
        yield site


class Attacker:
    """A session that may reach `site`, from whose page it tries `SCRIPTS` on `target`."""

    def __init__(self, service: Running, session_id: str, site: Site, target: str) -> None:
        self._service = service
        self._pages = f"/v1/browser/sessions/{session_id}/pages"
        self.session_id = session_id
        self._site = site
        self._target = target
        prepare(site, target)

    async def refused(self) -> int:
        traffic = (await self._service.details(self.session_id))["traffic"]
        count: int = traffic["refused"]
        return count

    async def script(self, name: str) -> None:
        pages = (await self._service.http.get(self._pages)).json()["pages"]
        for page in pages[1:]:
            await self._service.http.delete(f"{self._pages}/{page['page_id']}")
        page = f"{self._pages}/{pages[0]['page_id']}"
        assert (await self._service.http.post(f"{page}/navigate", json={"url": self._site.url})).status_code == 200
        await self._service.http.post(f"{page}/evaluate", json={"expression": tried(name, self._target)})


async def test_no_script_of_a_page_reaches_a_listener(closed: Running, traps: Listeners, site: Site) -> None:
    with allowing(closed, site.url.removeprefix("http://")):
        session_id = (await closed.create())["session_id"]
    attacker = Attacker(closed, session_id, site, f"http://127.0.0.1:{traps.port}")
    for name in SCRIPTS:
        before = await attacker.refused()

        async def seen(before: int = before) -> bool:
            return await attacker.refused() > before

        await attacker.script(name)
        try:
            await until(seen, within=TRIED_S if name in NO_REQUEST else 20, what=f"{name} is refused")
        except AssertionError:
            assert name in NO_REQUEST, name
        assert traps.hits == [], name


async def test_each_script_reaches_an_address_that_is_allowed(
    closed: Running, traps: Listeners, site: Site, other: Site
) -> None:
    """Proves that the test above would notice."""
    with allowing(closed, site.url.removeprefix("http://"), other.url.removeprefix("http://")):
        session_id = (await closed.create())["session_id"]
    attacker = Attacker(closed, session_id, site, other.url)
    for name in SCRIPTS.keys() - NO_REQUEST:
        other.requests.clear()
        await attacker.script(name)
        await until(lambda: other.requests, within=20, what=f"{name} sends a request")
    assert traps.hits == []


async def test_no_spelling_of_an_address_reaches_a_listener(closed: Running, traps: Listeners) -> None:
    session_id = (await closed.create())["session_id"]
    pages = f"/v1/browser/sessions/{session_id}/pages"
    page = f"{pages}/{await closed.first_page(session_id)}"
    ways = (
        "fetch(T, {mode: 'no-cors'})",
        "new Promise(done => { const i = new Image(); i.onload = i.onerror = done; i.src = T })",
        "new Promise(done => { new WebSocket(T.replace('http', 'ws')).onclose = done })",
    )
    for spelling in SPELLINGS:
        url = spelling.format(port=traps.port)
        await closed.http.post(f"{page}/navigate", json={"url": "data:text/html,x"})
        tries = ", ".join(f"(async () => {way})()" for way in ways)
        expression = f"(T => Promise.allSettled([{tries}]).then(() => true))({json.dumps(url)})"
        assert await closed.evaluate(session_id, expression) is True
        await closed.http.post(f"{page}/navigate", json={"url": url, "timeout_seconds": 5})
        await closed.http.post(f"{page}/evaluate", json={"expression": "0"})  # once it has loaded
        assert traps.hits == [], spelling


async def test_no_option_of_a_create_reaches_a_listener(closed: Running, traps: Listeners) -> None:
    trap = f"127.0.0.1:{traps.port}"
    options: list[dict[str, Any]] = [
        {"start_url": f"http://{trap}/"},
        {"start_url": f"http://{trap}/", "isolation": "browser"},
        {"start_url": f"http://{trap}/", "proxy": {"server": "http://127.0.0.1:1"}},
        {"start_url": f"http://{trap}/", "proxy": {"server": "http://a.example:1", "bypass": "127.0.0.1"}},
        {"start_url": f"http://{trap}/", "egress": {"allow": ["127.0.0.0/8"]}},
        *(
            {"proxy": {"server": f"{scheme}://{trap}"}, "start_url": "http://a.example/"}
            for scheme in ("http", "https", "socks5")
        ),
        {
            "start_url": f"http://{trap}/",
            "storage_state": {
                "cookies": [],
                "origins": [{"origin": f"http://{trap}", "localStorage": [{"name": "a", "value": "b"}]}],
            },
        },
    ]
    for each in options:
        await closed.http.post("/v1/browser/sessions", json=each)
        assert traps.hits == [], each
    key = await closed.http.post("/v1/auth/keys", json={"name": "x", "egress": {"allow": ["127.0.0.0/8"]}})
    async with closed.caller(key.json()["key"]) as caller:
        await caller.post("/v1/browser/sessions", json={"start_url": f"http://{trap}/"})
    created = await closed.create()
    pages = f"/v1/browser/sessions/{created['session_id']}/pages"
    await closed.http.post(pages, json={"url": f"http://{trap}/"})
    assert traps.hits == []


async def test_no_command_of_a_client_reaches_a_listener(closed: Running, traps: Listeners, site: Site) -> None:
    target = f"http://127.0.0.1:{traps.port}/"
    with allowing(closed, site.url.removeprefix("http://")):
        created = await closed.create()
    async with raw(created["connect_url"]) as client:
        page_id, page = await client.page()
        frame = {"frameId": page_id, "url": target, "options": {"disableCache": True, "includeCredentials": False}}
        await client.ask("Network.loadNetworkResource", frame, page)
        await client.ask("Page.navigate", {"url": target}, page)
        await client.ask("Target.createTarget", {"url": target})
        for option in ("127.0.0.1", "*", "<local>", ""):
            context = await client.ask("Target.createBrowserContext", {"proxyBypassList": option})
            if "result" in context:
                await client.ask("Target.createTarget", {"url": target, **context["result"]})
        await client.ask("Network.setExtraHTTPHeaders", {"headers": {"Host": f"127.0.0.1:{traps.port}"}}, page)
        await client.ask("Network.setBypassServiceWorker", {"bypass": True}, page)
        await client.call("Fetch.enable", {}, page)
        await client.ask("Network.setExtraHTTPHeaders", {"headers": {}}, page)
        began = client.begin("Page.navigate", {"url": site.url}, page)
        await client.socket.send(began[1])
        paused = (await client.event("Fetch.requestPaused"))["params"]["requestId"]
        await client.ask("Fetch.continueRequest", {"requestId": paused, "url": target}, page)
        await client.response(began[0])
    assert traps.hits == []
