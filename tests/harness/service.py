"""The real service for tests: in this process on a free loopback port, or in a process that can be killed."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import fcntl
import json
import os
import shutil
import signal
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import uvicorn

from browser_sessions.app import Service, build
from browser_sessions.server import listen, uvicorn_config
from browser_sessions.settings import load
from tests.harness.quick_hasher import QUICK_HASHER
from tests.harness.waiting import until

ADMIN_KEY = "test-admin-key-0123456789"
LOCAL_PAGES = "127.0.0.0/8,::1"
"""What sessions may reach unless a test sets `egress_allow`: the tests' sites are on loopback."""
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""There is no TLS in tests, and loading certificate authorities takes longer than many of them."""


@dataclass
class Running:
    """A running service. `node` is its service object, None when it runs in another process."""

    url: str
    http: httpx.AsyncClient
    node: Service | None = None
    process: ServerProcess | None = None

    @property
    def inside(self) -> Service:
        assert self.node is not None
        return self.node

    @property
    def own_process(self) -> ServerProcess:
        assert self.process is not None
        return self.process

    async def create(self, **options: Any) -> dict[str, Any]:
        response = await self.http.post("/v1/browser/sessions", json=options)
        assert response.status_code == 201, response.text
        created: dict[str, Any] = response.json()
        return created

    async def get(self, session_id: str) -> dict[str, Any]:
        response = await self.http.get(f"/v1/browser/sessions/{session_id}")
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    async def details(self, session_id: str) -> dict[str, Any]:
        response = await self.http.get(f"/v1/browser/sessions/{session_id}/details")
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    async def first_page(self, session_id: str) -> str:
        response = await self.http.get(f"/v1/browser/sessions/{session_id}/pages")
        assert response.status_code == 200, response.text
        page_id: str = response.json()["pages"][0]["page_id"]
        return page_id

    async def evaluate(self, session_id: str, expression: str, page_id: str | None = None) -> Any:
        page_id = page_id or await self.first_page(session_id)
        response = await self.http.post(
            f"/v1/browser/sessions/{session_id}/pages/{page_id}/evaluate", json={"expression": expression}
        )
        assert response.status_code == 200, response.text
        return response.json()["result"]

    async def key(self, role: str = "client", name: str = "test") -> str:
        response = await self.http.post("/v1/auth/keys", json={"name": name, "role": role})
        assert response.status_code == 201, response.text
        key: str = response.json()["key"]
        return key

    def caller(self, key: str | None) -> httpx.AsyncClient:
        """A client with another key, or without one; close it after use."""
        return client(self.url, key)


def client(url: str, key: str | None) -> httpx.AsyncClient:
    headers = {"X-API-Key": key} if key else {}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=60.0, trust_env=False, verify=NO_AUTHORITIES)


@asynccontextmanager
async def running(data_dir: Path, **settings: Any) -> AsyncIterator[Running]:
    """The service in this process; `settings` are those of `browser_sessions.settings`. It prepares no contexts for the
    options of earlier creates, which would cost each test's session the time of another."""
    await devtools.copy_to(data_dir)
    settings = {"egress_allow": LOCAL_PAGES, "spare_contexts": 0} | settings
    chosen = load(data_dir=data_dir, port=0, admin_api_key=ADMIN_KEY, drain_seconds=0, **settings)
    listener = listen(chosen.host, chosen.port)
    node = Service(chosen)
    node.own_ports.add(listener.getsockname()[1])
    node.keyring._hasher = QUICK_HASHER
    await node.start()
    server = _Server(uvicorn_config(build(chosen, node), chosen, node.shares))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        async with client(url, ADMIN_KEY) as http:
            await until(lambda: server.started or serving.done(), what="the server listens")
            devtools.keep(data_dir)
            yield Running(url, http, node)
    finally:
        server.should_exit = True
        await node.stop()
        await serving
        listener.close()


class Devtools:
    """DevTools' files of the first service of a run, for the data folders of the others: reading them from Chromium
    takes two seconds of the processor. Test processes of one run share a folder: the others wait for the first."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._first: int | None = None
        """An open file with the lock of the process that reads them."""

    async def copy_to(self, data_dir: Path) -> None:
        if self.folder is not None and not (data_dir / "devtools").exists():
            await self._wait_for_the_first(self.folder)
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copytree(self.folder, data_dir / "devtools", ignore=shutil.ignore_patterns("*.new", "lock"))

    async def _wait_for_the_first(self, folder: Path) -> None:
        """Returns once there are files, or when this process is the one that reads them."""
        if self._first is None:
            self._first = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
        with contextlib.suppress(AssertionError):  # the first service failed: this one reads them itself
            await until(lambda: list(folder.glob("*.zip")) or self._locked())

    def _locked(self) -> bool:
        assert self._first is not None
        try:
            fcntl.lockf(self._first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def keep(self, data_dir: Path) -> None:
        if self.folder is None:
            self.folder = Path(tempfile.mkdtemp(prefix="devtools-"))
            atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        for archive in (data_dir / "devtools").glob("*.zip"):
            if not (self.folder / archive.name).exists():
                draft = self.folder / f"{os.getpid()}.new"
                shutil.copy(archive, draft)
                draft.replace(self.folder / archive.name)
        if self._first is not None:
            os.close(self._first)
            self._first = None


devtools = Devtools()


class _Server(uvicorn.Server):
    """Leaves signals to the test runner."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(data_dir: Path, **settings: Any) -> AsyncIterator[Running]:
    """The service in its own process, as a user starts it: for load that an event loop in debug mode cannot handle."""
    data_dir.mkdir(parents=True, exist_ok=True)
    server = ServerProcess(data_dir, **settings)
    try:
        service = await server.start()
        service.process = server
        try:
            yield service
        finally:
            await service.http.aclose()
    finally:
        await server.stop()


_KILLED_WITH_ITS_PARENT = ("setpriv", "--pdeathsig", "KILL")
"""The server has its own session, so that neither Ctrl-C nor the end of a killed test run would reach it."""


class ServerProcess:
    """`browser-sessions serve` as a user starts it."""

    def __init__(self, data_dir: Path, **settings: Any) -> None:
        self.data_dir = data_dir
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("BROWSER_SESSIONS_")},
            "BROWSER_SESSIONS_DATA_DIR": str(data_dir),
            "BROWSER_SESSIONS_PORT": "0",
            "BROWSER_SESSIONS_ADMIN_API_KEY": ADMIN_KEY,
            "BROWSER_SESSIONS_LOG_FORMAT": "json",
            "BROWSER_SESSIONS_DRAIN_SECONDS": "0",
            "BROWSER_SESSIONS_EGRESS_ALLOW": LOCAL_PAGES,
            **{f"BROWSER_SESSIONS_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.process: asyncio.subprocess.Process | None = None
        self.url = ""
        self.ready_after = 0.0

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def start(self, wrapper: Sequence[str] = ()) -> Running:
        """Returns once `/readyz` responds 200; `ready_after` is how long that took in seconds. `wrapper`: a command
        that executes the server, to set limits and mounts."""
        address = self.data_dir / "service.json"
        address.unlink(missing_ok=True)
        await devtools.copy_to(self.data_dir)
        began = asyncio.get_running_loop().time()
        with (self.data_dir.parent / "server.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *_KILLED_WITH_ITS_PARENT,
                *wrapper,
                sys.executable,
                "-m",
                "browser_sessions",
                "serve",
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        try:
            return await self._up(address, began)
        except BaseException:
            await self.kill()
            raise

    async def _up(self, address: Path, began: float) -> Running:
        await until(lambda: address.exists() or self._ended(), what="the server has written its address")
        if self._ended():
            raise AssertionError((self.data_dir.parent / "server.log").read_text()[-3000:])
        self.url = json.loads(address.read_text())["url"]
        http = client(self.url, ADMIN_KEY)
        await until(lambda: _ready(http), what="the server is ready")
        self.ready_after = asyncio.get_running_loop().time() - began
        devtools.keep(self.data_dir)
        return Running(self.url, http)

    def tree(self) -> list[psutil.Process]:
        """The server and all its descendants."""
        try:
            me = psutil.Process(self.pid)
            return [me, *me.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    async def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        if not self._ended():
            os.kill(self.pid, signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        if self.process is None:
            return 0
        if not self._ended():
            os.kill(self.pid, signal.SIGTERM)
        return await self.process.wait()

    def _ended(self) -> bool:
        return self.process is None or self.process.returncode is not None


async def _ready(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/readyz")).status_code == 200
    except httpx.TransportError:
        return False
