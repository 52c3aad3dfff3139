"""What a session reaches: with default settings no listener of this machine, in no way; with one address allowed, that
one and no other."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from browser_sessions.chromium.process import ChromiumProcess
from browser_sessions.domain.errors import EgressUnavailable
from browser_sessions.egress.egress import EgressPort
from tests.harness.clients.raw_cdp import raw
from tests.harness.egress_rules import allowing
from tests.harness.scenarios.egress_attacks import OPENING, TCP, in_all_ways
from tests.harness.service import ADMIN_KEY, Running
from tests.harness.sites.listeners import ADDRESSES, Listeners
from tests.harness.sites.plain_site import Site
from tests.harness.waiting import until

pytestmark = pytest.mark.browser


def hosts(traps: Listeners) -> list[str]:
    return [f"[{each}]:{traps.port}" if ":" in each else f"{each}:{traps.port}" for each in ADDRESSES] + [
        f"localhost:{traps.port}"
    ]


async def test_with_default_settings_no_way_reaches_a_listener(closed: Running, traps: Listeners) -> None:
    target = f"http://127.0.0.1:{traps.port}/"
    started = await closed.http.post("/v1/browser/sessions", json={"start_url": target})
    assert started.status_code == 409
    words = f"The egress rules of this session deny 127.0.0.1:{traps.port}. Rule: 127.0.0.0/8 (loopback). To allow it,"
    assert started.json()["detail"].startswith(f"Start page failed: {words}")
    assert len(await refusals(closed, started.json()["session_id"])) == 1
    created = await closed.create()
    session_id = created["session_id"]
    first, *others = hosts(traps)
    await in_all_ways(closed, session_id, first)
    for host in others:
        await in_all_ways(closed, session_id, host, without=OPENING)
    own = urlsplit(closed.url).netloc
    navigated = await closed.http.post(
        f"/v1/browser/sessions/{session_id}/pages/{await closed.first_page(session_id)}/navigate", json={"url": target}
    )
    assert navigated.status_code == 409
    assert navigated.json()["detail"].startswith(words)
    page = await closed.evaluate(session_id, "document.documentElement.innerText")
    assert "127.0.0.0/8" in page
    assert "EGRESS_ALLOW" in page
    async with raw(created["connect_url"]) as client:
        refused = await client.ask("Target.createBrowserContext", {"proxyServer": f"127.0.0.1:{traps.port}"})
        assert "error" in refused
        context = (await client.call("Target.createBrowserContext", {"proxyBypassList": ""}))["browserContextId"]
        for url in (target, f"http://{own}/healthz"):
            page_id = (await client.call("Target.createTarget", {"url": url, "browserContextId": context}))["targetId"]
            nested = await client.attach(page_id)
            await client.value("fetch(location.href).catch(() => {})", nested)
    assert traps.hits == []
    traffic = (await closed.details(session_id))["traffic"]
    assert traffic["connections"] == 0
    assert traffic["refused"] >= len(TCP)
    events = await refusals(closed, session_id)
    assert events[0] == {
        "host": "127.0.0.1",
        "port": traps.port,
        "address": "127.0.0.1",
        "rule": "127.0.0.0/8 (loopback)",
        "setting": "BROWSER_SESSIONS_EGRESS_ALLOW",
    }


async def refusals(service: Running, session_id: str) -> list[dict[str, Any]]:
    history = (await service.http.get(f"/v1/browser/sessions/{session_id}/history")).json()
    return [each["data"] for each in history["events"] if each["type"] == "egress.refused"]


async def test_with_one_address_allowed_that_one_is_reached_and_no_other(
    closed: Running, traps: Listeners, site: Site
) -> None:
    allowed = site.url.removeprefix("http://")
    with allowing(closed, allowed):
        created = await closed.create(start_url=site.url)
    session_id = created["session_id"]
    await in_all_ways(closed, session_id, allowed)
    expected = {f"/{quote(name)}" for name in TCP}
    await until(lambda: expected <= {path for path, _ in site.requests}, what="each has arrived")
    for host in hosts(traps):
        await in_all_ways(closed, session_id, host, without=OPENING)
    async with raw(created["connect_url"]) as client:
        context = (await client.call("Target.createBrowserContext"))["browserContextId"]
        await client.call("Target.createTarget", {"url": f"{site.url}/nested", "browserContextId": context})
        await until(lambda: any(path == "/nested" for path, _ in site.requests), what="the client's context loads")
    assert traps.hits == []
    traffic = (await closed.details(session_id))["traffic"]
    assert traffic["hosts"][0]["host"] == "127.0.0.1"
    assert traffic["bytes_down"] > 0


async def test_localhost_and_the_names_below_it_are_this_machine(closed: Running, site: Site) -> None:
    """Though of its addresses only one is allowed."""
    port = site.url.rpartition(":")[2]
    with allowing(closed, "127.0.0.0/8"):
        session_id = (await closed.create())["session_id"]
    path = f"/v1/browser/sessions/{session_id}/pages/{await closed.first_page(session_id)}/navigate"
    for host in ("localhost", "shop.localhost"):
        navigated = await closed.http.post(path, json={"url": f"http://{host}:{port}/"})
        assert navigated.json()["http_status"] == 200, navigated.text
    neighbour = closed.inside.pool.context((await closed.create())["session_id"])
    assert neighbour.proxy is not None
    for own in (f"{closed.url}/healthz", neighbour.proxy.server):
        navigated = await closed.http.post(path, json={"url": own})
        assert navigated.status_code == 409, navigated.text
    assert {each["rule"] for each in await refusals(closed, session_id)} == {"the service's own ports"}


async def test_a_redirect_to_a_denied_address_is_refused(closed: Running, traps: Listeners, site: Site) -> None:
    site.redirects["/away"] = f"http://127.0.0.1:{traps.port}/"
    with allowing(closed, site.url.removeprefix("http://")):
        failed = (await closed.http.post("/v1/browser/sessions", json={"start_url": f"{site.url}/away"})).json()
    assert f"127.0.0.1:{traps.port}" in failed["detail"]
    (refused,) = await refusals(closed, failed["session_id"])
    assert refused["port"] == traps.port
    assert traps.hits == []


@pytest.mark.slow
async def test_every_way_to_open_a_page_says_why_there_is_no_connection(closed: Running, site: Site) -> None:
    """As `http:` does, so does `https:`, of which Chromium says only that the tunnel failed."""
    hop = site.url.removeprefix("http://")
    site.redirects["/secure"] = "https://10.9.8.7/"
    site.pages["/no"] = "<title>No</title>"
    site.headers["/no"] = f'Proxy-Status: browser-sessions; error=x; details="x"; id={"0" * 32}'
    with allowing(closed, hop, "127.0.0.1:4"):
        session_id = (await closed.create())["session_id"]
        through = (await closed.create(proxy={"server": f"http://{hop}"}))["session_id"]
    pages = f"/v1/browser/sessions/{session_id}/pages"
    navigate = f"{pages}/{await closed.first_page(session_id)}/navigate"
    for url, words in (
        (
            "https://10.9.8.7/",
            "The egress rules of this session deny 10.9.8.7:443. Rule: 10.0.0.0/8 (private",
        ),
        ("https://[fd00::1]:444/", "The egress rules of this session deny [fd00::1]:444. Rule: fc00::/7"),
        (f"{site.url}/secure", "The egress rules of this session deny 10.9.8.7:443."),
        ("https://127.0.0.1:4/", "No connection to 127.0.0.1:4: Connection refused."),
        ("http://127.0.0.1:4/", "No connection to 127.0.0.1:4: Connection refused."),
        ("https://nowhere.invalid/", "The name nowhere.invalid could not be resolved"),
        ("http://nowhere.invalid/", "The name nowhere.invalid could not be resolved"),
    ):
        for path in (navigate, pages):
            failed = await closed.http.post(path, json={"url": url})
            assert failed.status_code == 409, (url, failed.text)
            assert failed.json()["detail"].startswith(words), failed.text
    listed = (await closed.http.get(pages)).json()["pages"]
    assert len(listed) == 1, "pages that failed are closed"
    history = (await closed.http.get(f"/v1/browser/sessions/{session_id}/history")).json()
    failures = [each["data"] for each in history["events"] if each["type"] == "egress.failed"]
    assert {"host": "127.0.0.1", "port": 4, "reason": "No connection to 127.0.0.1:4: Connection refused."} in failures
    forged = await closed.http.post(navigate, json={"url": f"{site.url}/no"})
    assert forged.status_code == 200, "a site's own header is no failure"
    page_id = await closed.first_page(through)
    refused = await closed.http.post(
        f"/v1/browser/sessions/{through}/pages/{page_id}/navigate", json={"url": "https://192.31.196.1/"}
    )
    assert refused.json()["detail"].startswith("The session's proxy refused a tunnel to 192.31.196.1:443"), refused.text
    started = await closed.http.post("/v1/browser/sessions", json={"start_url": "https://10.9.8.7/"})
    assert started.status_code == 409
    assert " Rule: 10.0.0.0/8 (private" in started.json()["detail"]


async def test_a_page_beyond_the_traffic_limit_says_so(closed: Running, site: Site) -> None:
    with allowing(closed, site.url.removeprefix("http://")):
        session_id = (await closed.create(max_traffic_bytes=10))["session_id"]
    navigate = f"/v1/browser/sessions/{session_id}/pages/{await closed.first_page(session_id)}/navigate"
    await closed.http.post(navigate, json={"url": site.url})
    for url in (site.url, site.url.replace("http:", "https:")):
        failed = await closed.http.post(navigate, json={"url": url})
        assert failed.status_code == 409, failed.text
        assert failed.json()["detail"] == "The session has used all of its max_traffic_bytes."


async def test_a_key_and_a_session_narrow_what_the_server_allows(closed: Running, site: Site) -> None:
    allowed = site.url.removeprefix("http://")
    narrow = (
        await closed.http.post("/v1/auth/keys", json={"name": "narrow", "egress": {"allow": ["a.example"]}})
    ).json()
    assert narrow["egress"] == {"allow": ["a.example"], "deny": []}
    for options, key in (
        ({"egress": {"deny": [allowed]}}, None),
        ({"egress": {"allow": []}}, None),
        ({}, narrow["key"]),
    ):
        with allowing(closed, allowed):
            async with closed.caller(key or ADMIN_KEY) as http:
                failed = (await http.post("/v1/browser/sessions", json={"start_url": site.url, **options})).json()
        (refused,) = await refusals(closed, failed["session_id"])
        assert refused["setting"] in failed["detail"]
        assert refused["setting"].endswith("the key" if key else "the session")
    assert site.requests == []
    async with closed.caller(narrow["key"]) as http:
        created = (await http.post("/v1/browser/sessions", json={})).json()
    assert (await closed.details(created["session_id"]))["key_egress"] == {"allow": ["a.example"], "deny": []}


async def test_a_session_beyond_its_traffic_is_cut_off(closed: Running, site: Site) -> None:
    site.pages["/large"] = "x" * 200_000
    with allowing(closed, site.url.removeprefix("http://")):
        session_id = (await closed.create(start_url=site.url, max_traffic_bytes=100_000))["session_id"]
    await closed.evaluate(session_id, "fetch('/large').then(r => r.text()).catch(() => {}).then(() => 1)")
    await closed.evaluate(session_id, "fetch('/after').catch(() => {}).then(() => 1)")
    assert "/after" not in {path for path, _ in site.requests}
    history = (await closed.http.get(f"/v1/browser/sessions/{session_id}/history")).json()
    (limit,) = [each["data"] for each in history["events"] if each["type"] == "egress.traffic_limit"]
    assert limit == {"max_traffic_bytes": 100_000}
    ended = await closed.http.delete(f"/v1/browser/sessions/{session_id}")
    assert ended.status_code == 200
    traffic = (await closed.details(session_id))["traffic"]
    assert 0 < traffic["bytes_down"] + traffic["bytes_up"] <= 100_000
    metrics = (await closed.http.get("/metrics")).text
    assert 'browser_sessions_egress_bytes_total{direction="down"}' in metrics


async def test_a_ready_context_has_its_proxy_before_a_session_takes_it(closed: Running) -> None:
    first = (await closed.create())["session_id"]
    process = closed.inside.pool.registry.lives[first].opened.process
    assert isinstance(process, ChromiumProcess)
    ready = process._link.ready
    await until(lambda: len(ready) == len(process.unused_contexts) == 1, what="a context is ready")
    prepared = set(process.unused_contexts)
    taken = closed.inside.pool.context((await closed.create())["session_id"])
    assert taken.context_id in prepared
    assert taken.traffic is not None
    await until(lambda: len(ready) == len(process.unused_contexts) == 1, what="another is ready")
    port = ready.reserve()
    assert port is not None
    ready.give_up(port)
    await until(lambda: len(ready) == 0 and not process.unused_contexts, what="the context is gone")
    await port.close()


async def test_a_create_without_a_port_fails_and_leaves_nothing(
    closed: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> EgressPort:
        raise EgressUnavailable("No descriptor is free.")

    egress = closed.inside.egress
    assert egress is not None
    for _, process in closed.inside.pool.fleet.running:
        process.keep_ready(False)
    monkeypatch.setattr(egress, "open", refuse)
    response = await closed.http.post("/v1/browser/sessions", json={})
    assert response.status_code == 503
    assert response.json()["type"].endswith("egress-unavailable")
    assert not closed.inside.pool.registry.sessions
    assert closed.inside.pool.admission.taken == 0


async def test_no_port_is_left_of_failed_creates_and_a_browser_that_dies(closed: Running) -> None:
    egress, fleet = closed.inside.egress, closed.inside.pool.fleet
    assert egress is not None
    await closed.create()
    failing = [closed.http.post("/v1/browser/sessions", json={"timezone_id": "Nowhere/Land"}) for _ in range(4)]
    under_way = asyncio.gather(*failing)
    await asyncio.sleep(0)
    for _, process in fleet.running:
        os.kill(process.pid, signal.SIGKILL)
    assert all(response.status_code >= 400 for response in await under_way)

    def ready() -> int:
        processes = [process for _, process in fleet.running if isinstance(process, ChromiumProcess)]
        return sum(len(process._link.ready) for process in processes)

    # those of ready contexts, and the browsers' own
    await until(lambda: len(egress._ports) == ready() + 1, what="the ports are closed")
