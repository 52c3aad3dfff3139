"""Isolation between tenants, tested from outside: ports, secrets and processes of a service with several browsers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
import pytest_asyncio

from tests.harness.bare_chromium import bare_chromium
from tests.harness.clients.raw_cdp import raw
from tests.harness.service import ADMIN_KEY, Running, ServerProcess, client, serving
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

PROXY_PASSWORD: Final = "proxy-password-5531"
NOBODY: Final = 65534
RESPONSE_S: Final = 30.0
"""Limit for an internal socket to respond to an unauthorized connection or close it."""


@dataclass
class Deployment:
    service: Running
    owners: tuple[httpx.AsyncClient, httpx.AsyncClient]
    """Two principals with the client role."""
    sessions: dict[str, dict[str, Any]]
    """`one` and `two` are the first owner's, in one browser; `other` is the second's; `alone` has its own browser."""
    secrets: list[str]

    @property
    def server(self) -> ServerProcess:
        assert self.service.process is not None
        return self.service.process

    def listening(self) -> set[tuple[str, int]]:
        """(process name, port) of every TCP socket on which a process of the service listens, the HTTP port aside."""
        http_port = urlsplit(self.service.url).port
        names = {process.pid: _name(process) for process in self.server.tree()}
        return {
            (names[each.pid or 0], each.laddr.port)
            for each in psutil.net_connections("tcp")
            if each.status == psutil.CONN_LISTEN and each.pid in names and each.laddr and each.laddr.port != http_port
        }

    def ports(self) -> set[int]:
        return {port for _, port in self.listening()}


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return process.name()
    return "gone"


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def deployment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    data = tmp_path_factory.mktemp("walls") / "data"
    async with serving(data) as service, AsyncExitStack() as stack:
        keys = [await service.key(name=name) for name in ("anna", "bert")]
        anna, bert = [await stack.enter_async_context(service.caller(key)) for key in keys]
        sessions = {}
        proxy = {"server": "http://127.0.0.1:9", "username": "u", "password": PROXY_PASSWORD, "bypass": "127.0.0.1"}
        for name, owner, options in (
            ("one", anna, {}),
            ("two", anna, {}),
            ("other", bert, {}),
            ("alone", bert, {"isolation": "browser"}),
            ("proxied", bert, {"proxy": proxy}),
        ):
            response = await owner.post("/v1/browser/sessions", json=options)
            assert response.status_code == 201, response.text
            sessions[name] = response.json()

        async def spare() -> bool:
            pool = (await service.http.get("/v1/browser/pool")).json()
            return sum(not each["sessions"] for each in pool["browsers"]) >= 1

        await until(spare, what="a spare browser")
        stored = [path.read_text().strip() for path in (data / "secrets").iterdir()]
        secrets = [ADMIN_KEY, PROXY_PASSWORD, *keys, *(each for each in stored if len(each) > 15)]
        async with raw(sessions["one"]["connect_url"]), raw(sessions["other"]["connect_url"]):
            yield Deployment(service, (anna, bert), sessions, secrets)


# -- ports -----------------------------------------------------------------------------------------------------------


async def test_no_process_of_chromium_or_of_the_driver_listens_on_a_port(deployment: Deployment) -> None:
    assert {name for name, _ in deployment.listening() if "python" not in name} == set()


FETCHED: Final = """Promise.all([
  fetch('/json/version').then(a => a.text()).catch(String),
  fetch('/json/list').then(a => a.text()).catch(String),
  fetch('/json/new?about:blank', {method: 'PUT'}).then(a => a.text()).catch(String),
  fetch('http://HOST:PORT/json/version').then(a => a.text()).catch(String),
]).then(found => found.filter(text => text.includes('webSocketDebuggerUrl') || text.includes('Protocol-Version')))"""
"""What a page can fetch from its own origin and from the port."""
CONNECTED: Final = """Promise.all(PATHS.map(path => new Promise(done => {
  const socket = new WebSocket(`ws://HOST:PORT${path}`)
  socket.onopen = () => done(path)
  socket.onerror = socket.onclose = () => done(null)
  setTimeout(done, 3000, null)
}))).then(opened => opened.filter(Boolean))"""
"""The paths at which a page can open a WebSocket."""
HOSTS: Final = ("127.0.0.1", "localhost", "127.0.0.2", "[::1]", "0.0.0.0")  # noqa: S104 - an address to connect to


def filled_in(script: str, host: str, port: int, paths: list[str]) -> str:
    return script.replace("HOST", host).replace("PORT", str(port)).replace("PATHS", json.dumps(paths))


def guesses(text: str) -> list[str]:
    """WebSocket paths to try: common ones, and those in a response of the port."""
    with contextlib.suppress(ValueError):
        found = json.loads(text)
        entries = found if isinstance(found, list) else [found]
        return ["/", "/devtools/browser", *(urlsplit(each["webSocketDebuggerUrl"]).path for each in entries)]
    return ["/", "/devtools/browser", "/devtools/browser/x", "/json/version"]


class Tenant:
    """One session, driven by its owner over HTTP."""

    def __init__(self, owner: httpx.AsyncClient, session_id: str) -> None:
        self._owner, self._path = owner, f"/v1/browser/sessions/{session_id}/pages"
        self._page = ""

    async def start(self) -> None:
        self._page = f"{self._path}/{(await self._owner.get(self._path)).json()['pages'][0]['page_id']}"

    async def goto(self, url: str) -> str:
        """The page's text, empty if the navigation failed."""
        response = await self._owner.post(f"{self._page}/navigate", json={"url": url, "timeout_seconds": 5})
        if response.status_code != 200:
            return ""
        return str(await self.evaluate("document.body.innerText"))

    async def evaluate(self, expression: str) -> Any:
        response = await self._owner.post(f"{self._page}/evaluate", json={"expression": expression})
        return response.json()["result"] if response.status_code == 200 else []


async def reached(tenant: Tenant, port: int, hosts: tuple[str, ...] = HOSTS) -> list[str]:
    """What a page could read or open at a port, through these loopback names."""
    found = []
    goto, evaluate = tenant.goto, tenant.evaluate
    for host in hosts:
        texts = {path: await goto(f"http://{host}:{port}{path}") for path in ("/json/list", "/json/version")}
        for path, text in texts.items():
            if "Debugger" in text or "Protocol-Version" in text:
                found.append(f"{host}:{port}{path} was read")
        found += [f"{host}:{port} gave {text[:60]}" for text in await evaluate(filled_in(FETCHED, host, port, []))]
        opened = await evaluate(filled_in(CONNECTED, host, port, guesses(texts["/json/version"])))
        found += [f"{host}:{port}{path} opened a WebSocket" for path in opened]
    return found


@pytest.mark.parametrize(
    ("name", "every_host"),
    [*(pytest.param(name, True, marks=pytest.mark.slow) for name in ("one", "other")), ("other", False)],
)
async def test_a_page_cannot_reach_a_browser_through_any_port_of_the_service(
    deployment: Deployment, name: str, every_host: bool
) -> None:
    """The page navigates to each port through each loopback name, or one of them, and tries fetches and WebSockets.
    `one` shares its browser with another session of its owner; `other` has another owner."""
    owner = deployment.owners[0 if name == "one" else 1]
    tenant = Tenant(owner, deployment.sessions[name]["session_id"])
    await tenant.start()
    before = {each: await _pages(deployment, each) for each in deployment.sessions}
    ports = sorted(deployment.ports())
    assert ports
    for n, port in enumerate(ports):
        hosts = HOSTS if every_host else (HOSTS[n % len(HOSTS)],)
        assert await reached(tenant, port, hosts) == []
    assert {each: await _pages(deployment, each) for each in deployment.sessions if each != name} == {
        each: pages for each, pages in before.items() if each != name
    }


async def _pages(deployment: Deployment, name: str) -> list[tuple[str, str]]:
    path = f"/v1/browser/sessions/{deployment.sessions[name]['session_id']}/pages"
    return [(each["page_id"], each["url"]) for each in (await deployment.service.http.get(path)).json()["pages"]]


async def test_the_same_page_can_reach_a_browser_with_a_debugging_port(deployment: Deployment, tmp_path: Path) -> None:
    """Proves that the test above would notice one."""
    tenant = Tenant(deployment.owners[1], deployment.sessions["other"]["session_id"])
    await tenant.start()
    async with bare_chromium(tmp_path / "profile") as address:
        port = urlsplit(address).port
        assert port is not None
        found = await reached(tenant, port, HOSTS[:1])
    assert any("was read" in text for text in found)
    assert any("opened a WebSocket" in text for text in found)
    assert any("gave" in text for text in found)


PATHS: Final = (
    "/",
    "/json/version",
    "/json/list",
    "/json/protocol",
    "/devtools/browser",
    "/devtools/browser/x",
    "/devtools/page/x",
    "/" + "A" * 43,
    "/" + "0" * 64,
    "//x/../json/version",
)
ORIGINS: Final = (None, "null", "http://127.0.0.1", "http://example.com", "devtools://devtools")
UPGRADE: Final = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


def requests(port: int) -> list[bytes]:
    """Unauthorized requests: with and without an upgrade, an origin, a foreign host, and no HTTP at all."""
    texts = [
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{f'Origin: {origin}{end}' if origin else ''}{upgrade}\r\n"
        for end in ["\r\n"]
        for path in PATHS
        for origin in ORIGINS
        for upgrade in (UPGRADE, "")
    ]
    texts += [
        f"PUT /json/new?about:blank HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: example.com\r\n{UPGRADE}\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        '{"id":1,"method":"Browser.getVersion"}\0',
    ]
    return [each.encode() for each in texts]


async def response_line(port: int, request: bytes) -> bytes:
    """The first line of the response, empty if the connection was closed without one."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return b""
    try:
        writer.write(request)
        async with asyncio.timeout(RESPONSE_S):
            return (await reader.readline()).strip()
    except ConnectionError:
        return b""
    except TimeoutError:
        return b"open without a response"
    finally:
        writer.close()


async def test_internal_sockets_refuse_connections_without_their_secret(deployment: Deployment) -> None:
    wrong = {}
    for port in deployment.ports():
        for request in requests(port):
            line = await response_line(port, request)
            if line != b"" and line.split(b" ")[1:2] not in ([b"400"], [b"403"], [b"404"]):
                wrong[port, request] = line
    assert wrong == {}


async def test_internal_sockets_listen_on_loopback_only(deployment: Deployment) -> None:
    """Connections through another address of the machine are refused."""
    addresses = [
        each.address
        for name, found in psutil.net_if_addrs().items()
        for each in found
        if each.family == socket.AF_INET and name != "lo"
    ]
    if not addresses:
        pytest.skip("this machine has no address but loopback's")
    for port in deployment.ports():
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await asyncio.open_connection(addresses[0], port)


# -- processes -------------------------------------------------------------------------------------------------------


def _proc(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""  # the process has just ended


async def test_no_child_has_a_secret_in_its_environment_or_its_arguments(deployment: Deployment) -> None:
    _, *children = deployment.server.tree()
    read = {
        process.pid: (_name(process), _proc(process.pid, "environ"), _proc(process.pid, "cmdline"))
        for process in children
    }
    assert sum("chrom" in name or "headless" in name for name, _, _ in read.values()) >= 4
    found = {
        (name, where, secret)
        for name, environ, arguments in read.values()
        for where, text in (("environ", environ), ("cmdline", arguments))
        for secret in (*deployment.secrets, "BROWSER_SESSIONS_ADMIN_API_KEY")
        if secret.encode() in text
    }
    assert found == set()


def renderers(server: ServerProcess) -> list[dict[str, str]]:
    """/proc/*/status of each renderer."""
    pids = [each.pid for each in server.tree() if b"--type=renderer" in _proc(each.pid, "cmdline")]
    texts = [text for pid in pids if (text := _proc(pid, "status").decode())]
    return [dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line) for text in texts]


def reached_data_folders(server: ServerProcess) -> tuple[set[bool], set[bool]]:
    """Whether the data folder exists in the file system as renderers and as the service see it: the sandbox leaves
    renderers an empty root."""
    roots = {each.pid: f"/proc/{each.pid}/root{server.data_dir}" for each in server.tree()}
    theirs = {os.access(root, os.F_OK) for pid, root in roots.items() if b"--type=renderer" in _proc(pid, "cmdline")}
    return theirs, {os.access(roots[server.pid], os.F_OK)}


def boxed(statuses: list[dict[str, str]]) -> list[tuple[str, set[str]]]:
    return [(each["Seccomp"], set(each["Uid"].split()) & {"0"}) for each in statuses]


async def test_renderers_are_sandboxed_and_not_root(deployment: Deployment) -> None:
    """With the service run by the test's user: root in a container, an unprivileged user elsewhere."""
    found = renderers(deployment.server)
    assert len(found) >= len(deployment.sessions)
    assert boxed(found) == [("2", set())] * len(found)
    assert {each["NoNewPrivs"] for each in found} == {"1"}
    assert reached_data_folders(deployment.server) == ({False}, {True})


@asynccontextmanager
async def as_nobody() -> AsyncIterator[Running]:
    """The service as uid 65534, with read access to all files only, because Python may be in root's home."""
    folder = Path(tempfile.mkdtemp(prefix="walls-"))
    data = folder / "data"
    data.mkdir()
    for each in (folder, data):
        os.chown(each, NOBODY, NOBODY)
    server = ServerProcess(data, require_sandbox=True)
    capabilities = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search")
    user = (
        f"--reuid={NOBODY}",
        f"--regid={NOBODY}",
        "--clear-groups",
        *capabilities,
        "--bounding-set=-all,+dac_read_search",
    )
    try:
        service = await server.start(("setpriv", *user, "env", f"HOME={folder}"))
        service.process = server
        async with client(service.url, ADMIN_KEY) as http:
            await service.http.aclose()
            yield Running(service.url, http, process=server)
    finally:
        await server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can become another user")
async def test_renderers_of_a_service_run_by_an_unprivileged_user_are_sandboxed() -> None:
    async with as_nobody() as service:
        assert service.process is not None
        assert psutil.Process(service.process.pid).uids().real == NOBODY
        await service.create()
        found = renderers(service.process)
        assert found != []
        assert boxed(found) == [("2", set())] * len(found)
        assert reached_data_folders(service.process) == ({False}, {True})
