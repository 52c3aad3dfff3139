"""Sessions for screenshots: a real service with Chromium sessions of several owners that show local pages.

One is queued, one is controlled by an operator, one does not respond, one is closed, one expired, one crashed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import httpx
from websockets.asyncio.client import connect

from tests.harness.service import Running, serving
from tests.harness.waiting import until

PAGES: Final = Path(__file__).with_name("demo_pages")
SESSIONS: Final = "/v1/browser/sessions"
ADDRESSES: Final = {
    "shop": "nordlys.localhost:{port}/kettles",
    "dashboard": "app.fleetline.localhost:{port}/today",
    "docs": "docs.harbor.localhost:{port}/retries",
    "inbox": "mail.postkasten.localhost:{port}/",
    "search": "finn.localhost:{port}/?q=ferry+to+bergen",
    "form": "lerche.localhost:{port}/book",
    "phone": "m.trams.localhost:{port}/12",
    "build": "kiln.localhost:{port}/builds/4127",
    "map": "routes.localhost:{port}/harbour",
    "article": "thequay.localhost:{port}/lamplighter",
}
"""By page. Chromium resolves every name below `localhost` to loopback."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One session: owner, page, and number of clients that stay connected."""

    owner: str
    page: str
    clients: int = 1
    idle_seconds: float = 300.0
    metadata: tuple[tuple[str, str], ...] = ()


CLOSED: Final = Plan("anna", "search", 0, metadata=(("team", "search"),))
CRASHED: Final = Plan("bo", "form", 1, metadata=(("team", "checkout"), ("run", "4127")))
EXPIRED: Final = Plan("crawler", "article", 0, 5.0)
ENDED: Final = (CLOSED, CRASHED, EXPIRED)
CONTROLLED: Final = Plan("anna", "map", 1, 900.0, (("team", "search"),))
LIVE: Final = Plan("ci-runner", "shop", 1, 290.0, (("team", "checkout"), ("run", "4127")))
UNRESPONSIVE: Final = Plan("bo", "form", 1, 500.0)
ALIVE: Final = (
    Plan("crawler", "article", 1, 240.0),
    Plan("crawler", "search", 0, 150.0),
    Plan("crawler", "docs", 1, 200.0),
    Plan("anna", "inbox", 1, 900.0),
    UNRESPONSIVE,
    Plan("ci-runner", "build", 2, 3000.0, (("team", "checkout"),)),
    Plan("ci-runner", "phone", 1, 600.0, (("device", "phone"),)),
    Plan("anna", "dashboard", 1, 1800.0),
    CONTROLLED,
    LIVE,
)
"""In order of creation; as many as there are slots."""
WAITING: Final = Plan("ci-runner", "form")
WAIT_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """An operator's key, the session with a timeline and logs, and the one that crashed."""

    url: str
    key: str
    live: str
    crashed: str


@asynccontextmanager
async def fleet(folder: Path) -> AsyncIterator[Fleet]:
    """For a `with` block. The service is a separate process, with its data in `folder`."""
    async with AsyncExitStack() as stack:
        port = stack.enter_context(demo_pages())
        service = await stack.enter_async_context(serving(folder / "data", max_sessions=len(ALIVE)))
        owners = {
            name: await stack.enter_async_context(patient(service, await service.key(name=name)))
            for name in sorted({plan.owner for plan in ENDED + ALIVE})
        }
        operator_key = await service.key("operator", "olga")
        olga = await stack.enter_async_context(service.caller(operator_key))
        made: dict[Plan, str] = {}

        async def make(plan: Plan) -> None:
            created = await create(owners[plan.owner], plan, port)
            made[plan] = created["session_id"]
            for _ in range(plan.clients):
                await stack.enter_async_context(connect(created["connect_url"], proxy=None))
            await has_picture(olga, made[plan])

        for plan in ENDED:
            await make(plan)
        await fill_logs(service, made[CRASHED])
        await olga.delete(f"{SESSIONS}/{made[CLOSED]}")
        await kill_browser(service, made[CRASHED])
        await until(lambda: is_status(service, made[EXPIRED], "expired"), what="the idle one expires", every=0.2)
        for plan in ALIVE:
            await make(plan)
        await fill_logs(service, made[LIVE])
        await control(olga, made[LIVE], "take")
        await control(olga, made[LIVE], "release")
        await control(olga, made[CONTROLLED], "take")
        await service.evaluate(made[UNRESPONSIVE], "setTimeout(() => confirm('Discard this booking?'))")
        await until(lambda: is_unresponsive(service, made[UNRESPONSIVE]), what="one does not respond", every=0.2)
        waiting = asyncio.create_task(create(owners[WAITING.owner], WAITING, port, wait_seconds=WAIT_SECONDS))
        try:
            yield Fleet(service.url, operator_key, made[LIVE], made[CRASHED])
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)


def patient(service: Running, key: str) -> httpx.AsyncClient:
    """A client whose timeout is longer than the wait of a queued create."""
    caller = service.caller(key)
    caller.timeout = httpx.Timeout(WAIT_SECONDS + 60)
    return caller


async def create(owner: httpx.AsyncClient, plan: Plan, port: int, **more: Any) -> dict[str, Any]:
    wanted: dict[str, Any] = {
        "start_url": "http://" + ADDRESSES[plan.page].format(port=port),
        "idle_timeout_seconds": plan.idle_seconds,
        "metadata": dict(plan.metadata),
    }
    if plan.page == "phone":
        wanted |= {"viewport_width": 390, "viewport_height": 844}
    response = await owner.post(SESSIONS, json=wanted | more)
    response.raise_for_status()
    created: dict[str, Any] = response.json()
    return created


async def has_picture(http: httpx.AsyncClient, session_id: str) -> None:
    async def has_thumbnail() -> bool:
        return (await http.get(f"{SESSIONS}/{session_id}/thumbnail?width=640")).status_code == 200

    await until(has_thumbnail, what="a picture of the page", every=0.2)


async def control(http: httpx.AsyncClient, session_id: str, action: str) -> None:
    (await http.post(f"{SESSIONS}/{session_id}/control", json={"action": action})).raise_for_status()


async def fill_logs(service: Running, session_id: str) -> None:
    """Console lines, a request that fails, and an uncaught error."""
    script = """console.info("cart: restored 2 items"); console.warn("copper@2x.webp is larger than its box");
        console.error("TypeError: Cannot read properties of null (reading 'price')");
        fetch("/api/stock?item=7");
        setTimeout(() => { throw new Error("basket: no price for item 7") })"""
    await service.evaluate(session_id, script)


async def kill_browser(service: Running, session_id: str) -> None:
    """Kills this session's browser, which has no other session: its owner has just this one."""
    row = next(row for row in await rows(service) if row["session_id"] == session_id)
    pool = (await service.http.get("/v1/browser/overview")).json()["pool"]
    pid = next(browser["pid"] for browser in pool["browsers"] if browser["principal_id"] == row["owner"])
    os.kill(pid, signal.SIGKILL)
    await until(lambda: is_status(service, session_id, "crashed"), what="crashed", every=0.1)


async def rows(service: Running) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await service.http.get("/v1/browser/overview")).json()["sessions"]
    return found


async def is_status(service: Running, session_id: str, status: str) -> bool:
    return bool((await service.get(session_id))["status"] == status)


async def is_unresponsive(service: Running, session_id: str) -> bool:
    return any(row["session_id"] == session_id and not row["responsive"] for row in await rows(service))


class _Site(BaseHTTPRequestHandler):
    """All sites, by host."""

    def do_GET(self) -> None:
        host = self.headers.get("Host", "").partition(":")[0]
        name = next((page for page, at in ADDRESSES.items() if at.startswith(host + ":")), None)
        found = name is not None and not self.path.startswith(("/api", "/favicon"))
        body = (PAGES / f"{name}.html").read_bytes() if found else b"no such thing"
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def demo_pages() -> Iterator[int]:
    """The sites' port on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
