"""Names whose addresses change between two look-ups: none leads a page to a listener that is not allowed. And names in
WebRTC: Chromium looks up none.

The service and its browsers ask a name server of the test's, through the system's resolver.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Final
from urllib.parse import quote, urlsplit

import psutil
import pytest
import pytest_asyncio
from cachetools import TTLCache

from browser_sessions.egress import resolver
from tests.harness.egress_rules import allowing
from tests.harness.scenarios.egress_attacks import TCP, in_all_ways
from tests.harness.service import Running
from tests.harness.sites.listeners import Listeners
from tests.harness.sites.name_server import NameServer, asking, name_server
from tests.harness.sites.plain_site import Site, plain_site
from tests.harness.waiting import until

pytestmark = pytest.mark.browser
as_root = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="mounting needs root")

ALLOWED: Final = "127.0.0.9"
LOOPBACK: Final = "127.0.0.1"
FLOOD: Final = 256
"""As many names as a session remembers: after so many others, it has forgotten one."""
SOCKET: Final = "(url => new Promise(done => { new WebSocket(url).onclose = () => done(true) }))"
MULTICAST_DNS: Final = ("224.0.0.251", 5353)
ICE: Final = """(async (port, tag) => {
  const [a, b, c] = [0, 0, {iceServers: [{urls: [`turn:turn-${tag}.example:${port}?transport=tcp`,
    `turn:turn-udp-${tag}.example:${port}`, `stun:stun-${tag}.example:${port}`], username: 'u', credential: 'p'}]}]
    .map(options => new RTCPeerConnection(options || {}));
  a.createDataChannel('x');
  await a.setLocalDescription(await a.createOffer());
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription(await b.createAnswer());
  await a.setRemoteDescription(b.localDescription);
  for (const end of [`udp 1 udp-${tag}.example ${port} typ host`, `udp 1 lan-${tag}.local ${port} typ host`,
    `tcp 1 tcp-${tag}.example ${port} typ host tcptype passive`])
    await a.addIceCandidate({candidate: `candidate:1 1 ${end}`, sdpMid: '0'});
  c.createDataChannel('x');
  await c.setLocalDescription(await c.createOffer());
  return true
})"""
"""JavaScript by which a page has WebRTC use names: of candidates, and of STUN and TURN servers."""
_numbers: Final = count()


@dataclass
class Rebinding:
    service: Running
    names: NameServer

    def name(self, *answers: tuple[str, ...]) -> str:
        """A new name, with its addresses at each look-up."""
        name = f"n{next(_numbers)}.example"
        self.names.answers[name] = list(answers)
        return name

    async def navigate(self, session_id: str, url: str) -> int | None:
        """The response's status."""
        path = f"/v1/browser/sessions/{session_id}/pages/{await self.service.first_page(session_id)}/navigate"
        response = await self.service.http.post(path, json={"url": url})
        if response.status_code == 409 and "The egress rules of this session deny" in response.json()["detail"]:
            return 403
        assert response.status_code == 200, response.text
        status: int | None = response.json()["http_status"]
        return status

    async def forget(self, session_id: str, port: int) -> None:
        """The page makes the session look up so many other names that it forgets those before."""
        flood = f"Promise.all(Array.from({{length: {FLOOD}}}, (_, i) => fetch(`http://f${{i}}.example:{port}/flood`,"
        await self.service.evaluate(
            session_id, f"{flood} {{mode: 'no-cors'}}).then(() => 1))).then(ended => ended.length)"
        )

    async def refusals(self, session_id: str) -> list[dict[str, Any]]:
        history = (await self.service.http.get(f"/v1/browser/sessions/{session_id}/history")).json()
        return [each["data"] for each in history["events"] if each["type"] == "egress.refused"]


def _own_addresses() -> list[str]:
    """The machine's IPv4 addresses that are not on loopback: multicast DNS uses their interfaces."""
    found = [
        each.address
        for addresses in psutil.net_if_addrs().values()
        for each in addresses
        if each.family == socket.AF_INET
    ]
    return [each for each in found if not each.startswith("127.")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def rebinding(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rebinding]:
    address = f"127.53.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
    async with name_server(address, default=ALLOWED) as names:
        folder = tmp_path_factory.mktemp("rebinding")
        async with asking(names, folder, egress_allow=ALLOWED, log_level="warning") as service:
            yield Rebinding(service, names)


@pytest_asyncio.fixture(loop_scope="session")
async def allowed(traps: Listeners) -> AsyncIterator[Site]:
    """A site on the address that is allowed, on the listeners' port: only the address tells them apart."""
    async with plain_site(ALLOWED, traps.port) as site:
        yield site


@as_root
async def test_a_name_that_changes_after_the_check_leads_where_it_was_checked(
    rebinding: Rebinding, traps: Listeners, allowed: Site
) -> None:
    name = rebinding.name((ALLOWED,), (LOOPBACK,))
    session_id = (await rebinding.service.create(start_url=f"http://{name}:{traps.port}/"))["session_id"]
    await in_all_ways(rebinding.service, session_id, f"{name}:{traps.port}")
    paths = {f"/{quote(way)}" for way in TCP}
    await until(lambda: paths <= {path for path, _ in allowed.requests}, what="all have arrived")
    assert traps.hits == []
    assert rebinding.names.asked[name] == 1  # by the browser neither


@as_root
@pytest.mark.slow
async def test_a_name_that_has_changed_is_refused_in_all_ways(
    rebinding: Rebinding, traps: Listeners, allowed: Site
) -> None:
    service, name = rebinding.service, rebinding.name((ALLOWED,), (LOOPBACK,))
    url = f"http://{name}:{traps.port}/"
    session_id = (await service.create(start_url=url))["session_id"]
    await rebinding.forget(session_id, traps.port)
    before = len(allowed.requests)
    await in_all_ways(service, session_id, f"{name}:{traps.port}")
    assert await rebinding.navigate(session_id, url) == 403
    opened = await service.http.post(f"/v1/browser/sessions/{session_id}/pages", json={"url": f"{url}tab"})
    assert opened.status_code == 409, opened.text

    async def refused_all() -> bool:
        refused: int = (await service.details(session_id))["traffic"]["refused"]
        return refused >= len(TCP) + 2

    await until(refused_all, what="all have been refused")
    assert traps.hits == []
    assert len(allowed.requests) == before
    assert rebinding.names.asked[name] == 2
    refused = [each for each in await rebinding.refusals(session_id) if each["host"] == name]
    assert {each["address"] for each in refused} == {LOOPBACK}


@as_root
@pytest.mark.slow
async def test_a_redirect_to_a_name_that_has_changed_is_refused(
    rebinding: Rebinding, traps: Listeners, allowed: Site
) -> None:
    service, port = rebinding.service, traps.port
    first, changed = rebinding.name((ALLOWED,)), rebinding.name((ALLOWED,), (LOOPBACK,))
    for path, status in (("/302", 302), ("/307", 307)):
        allowed.redirects[path] = f"http://{changed}:{port}/?{status}"
    session_id = (await service.create(start_url=f"http://{first}:{port}/302"))["session_id"]
    assert "/?302" in {path for path, _ in allowed.requests}
    await rebinding.forget(session_id, port)
    for path in allowed.redirects:
        url = f"http://{first}:{port}{path}"
        await service.evaluate(
            session_id,
            f"(async url => {{ const frame = document.createElement('iframe'); frame.src = url;"
            f" const loaded = new Promise(done => frame.onload = done); document.body.append(frame); await loaded;"
            f" await fetch(url, {{mode: 'no-cors', method: 'POST', body: 'x'}}).catch(() => 0) }})('{url}')"
            ".then(() => 1)",
        )
        assert await rebinding.navigate(session_id, url) == 403
    assert traps.hits == []


@as_root
@pytest.mark.slow
async def test_a_name_with_a_denied_address_beside_another_is_refused(
    rebinding: Rebinding, traps: Listeners, allowed: Site
) -> None:
    session_id = (await rebinding.service.create())["session_id"]
    for addresses in (
        ("93.184.215.14", LOOPBACK),
        (LOOPBACK, "93.184.215.14"),
        (ALLOWED, LOOPBACK),
        (ALLOWED, "::1"),
        (ALLOWED, "::ffff:127.0.0.1"),
        (ALLOWED, "64:ff9b::7f00:1"),
        ("2606:2800:21f::1", "127.0.0.2"),
    ):
        name = rebinding.name(addresses)
        assert await rebinding.navigate(session_id, f"http://{name}:{traps.port}/") == 403, addresses
        await in_all_ways(rebinding.service, session_id, f"{name}:{traps.port}")
        assert traps.hits == [], addresses
        assert allowed.requests == [], addresses


@as_root
async def test_a_name_that_leads_to_the_services_own_port_is_refused(rebinding: Rebinding) -> None:
    own = urlsplit(rebinding.service.url).port
    session_id = (await rebinding.service.create())["session_id"]
    for answer in ((ALLOWED,), (LOOPBACK,), ("::1",)):
        name = rebinding.name(answer)
        assert await rebinding.navigate(session_id, f"http://{name}:{own}/healthz") == 403
    assert {each["rule"] for each in await rebinding.refusals(session_id)} == {"the service's own ports"}


@as_root
async def test_webrtc_looks_up_no_names_and_reaches_turn_servers_through_the_proxy(
    rebinding: Rebinding, traps: Listeners, allowed: Site
) -> None:
    page, tag = rebinding.name((ALLOWED,)), f"w{next(_numbers)}"
    session_id = (await rebinding.service.create(start_url=f"http://{page}:{traps.port}/"))["session_id"]
    turn = f"turn-{tag}.example"

    async def turn_reached() -> bool:
        traffic = (await rebinding.service.details(session_id))["traffic"]
        return turn in {each["host"] for each in traffic["hosts"] if each["bytes_up"]}

    rebinding.names.asked.clear()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as multicast:
        multicast.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Chromium's
        multicast.bind(MULTICAST_DNS)
        for address in _own_addresses():
            group = socket.inet_aton(MULTICAST_DNS[0]) + socket.inet_aton(address)
            multicast.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        multicast.setblocking(False)
        assert await rebinding.service.evaluate(session_id, f"{ICE}({traps.port}, '{tag}')")
        await until(turn_reached, what="the proxy has reached the TURN server")
        heard = []
        with contextlib.suppress(BlockingIOError):
            while True:
                heard.append(multicast.recv(2**16))
    assert rebinding.names.asked == {turn: 1}  # by the proxy
    assert not [each for each in heard if tag.encode() in each]


@pytest.mark.slow
async def test_after_its_time_in_the_cache_a_name_is_checked_again_and_a_kept_connection_leads_where_it_did(
    service: Running, traps: Listeners, allowed: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clock is moved, and so it is in the test's process, where a function stands for the system's resolver."""
    egress = service.inside.egress
    assert egress is not None
    now, asked, answers = 0.0, list[str](), iter((ALLOWED, LOOPBACK))

    def lookup(name: str, _: int) -> list[str]:
        asked.append(name)
        return [next(answers) if name == "kept.example" else LOOPBACK]

    monkeypatch.setattr(egress, "lookup", lookup)
    monkeypatch.setattr(resolver, "TTLCache", partial(TTLCache, timer=lambda: now))
    allowed.keep_alive = True
    url = f"http://kept.example:{traps.port}"
    with allowing(service, ALLOWED):
        session_id = (await service.create(start_url=f"{url}/"))["session_id"]
    assert await service.evaluate(session_id, "fetch('/before').then(response => response.status)") == 404
    now, connections = resolver.CACHED_S - 1, allowed.connections
    assert await service.evaluate(session_id, f"{SOCKET}('ws://kept.example:{traps.port}/')")
    assert allowed.connections == connections + 1
    assert asked == ["kept.example"]

    now, connections = resolver.CACHED_S, allowed.connections
    assert await service.evaluate(session_id, "fetch('/kept').then(response => response.status)") == 404
    assert allowed.connections == connections  # the kept one, to the address that was checked
    assert await service.evaluate(session_id, f"fetch('http://other.example:{traps.port}/').catch(() => 'refused')")
    assert asked == ["kept.example", "other.example"]
    assert await service.evaluate(session_id, f"{SOCKET}('ws://kept.example:{traps.port}/')")
    assert asked == ["kept.example", "other.example", "kept.example"]
    allowed.release()
    opened = await service.http.post(f"/v1/browser/sessions/{session_id}/pages", json={"url": f"{url}/tab"})
    assert "127.0.0.0/8" in opened.json()["detail"]
    assert traps.hits == []
