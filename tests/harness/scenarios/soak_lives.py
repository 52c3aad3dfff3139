"""Lifecycles of sessions, successful and failing: each coroutine runs one from create to end and checks its
guarantees."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import secrets
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import httpx
import psutil
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.harness.scenarios.leftovers import pool_of
from tests.harness.service import Running
from tests.harness.waiting import until

FINAL: Final = ("closed", "expired", "crashed", "lost")
BUSY: Final = "setTimeout(() => { while (true) {} }, 0); 1"
"""A script that hangs the page right after it has returned."""
MAX_S: Final = 30.0
"""Timeout of each wait, longer than any guaranteed limit."""


class Broken(Exception):
    """A guarantee was violated."""


class Lives:
    """All kinds of lives on one service, with measured durations."""

    def __init__(self, service: Running, victims: int) -> None:
        self.service = service
        self.took: defaultdict[str, list[float]] = defaultdict(list)
        """Seconds by step."""
        self._victims: asyncio.Queue[Running] = asyncio.Queue()
        self._principals: dict[int, str] = {}
        self._count = victims

    async def open(self) -> None:
        """Creates principals for the lives whose browsers die, so that no other session shares those browsers."""
        for number in range(self._count):
            made = (await self.service.http.post("/v1/auth/keys", json={"name": f"victim-{number}"})).json()
            victim = Running(self.service.url, self.service.caller(made["key"]))
            self._principals[id(victim)] = made["principal_id"]
            self._victims.put_nowait(victim)

    async def close(self) -> None:
        while not self._victims.empty():
            await self._victims.get_nowait().http.aclose()

    # -- good ------------------------------------------------------------------------------------------------------

    async def drives(self) -> None:
        """Creates, drives over HTTP, ends."""
        created = await self._create(self.service)
        session_id = created["session_id"]
        result = await self.service.evaluate(session_id, "document.body.innerHTML = '<p>hello</p>'.repeat(200); 6 * 7")
        _must(result == 42, f"the page returned {result}")
        await self._delete(self.service, session_id)

    async def connects(self) -> None:
        """Drives over CDP; then the session ends first or the client disconnects first."""
        created = await self._create(self.service)
        details = await self.service.details(created["session_id"])
        async with connect(details["connect_url"], proxy=None, max_size=None) as socket:
            await _cdp(socket, 1, "Browser.getVersion")
            await _cdp(socket, 2, "Target.createTarget", {"url": "about:blank"})
            if random.random() < 0.5:
                await self._delete(self.service, created["session_id"])
                code = await asyncio.wait_for(_close_code(socket), MAX_S)
                _must(code == 1000, f"closed with {code}")
        await self._delete(self.service, created["session_id"])

    async def one_line(self) -> None:
        """Creates its session by connecting, and drops the connection."""
        url = self.service.url.replace("http://", "ws://") + "/v1/browser/connect?idle_timeout_seconds=60"
        headers = {"X-API-Key": self.service.http.headers["X-API-Key"]}
        try:
            socket = await connect(url, additional_headers=headers, proxy=None, max_size=None)
        except Exception as error:
            if "503" in str(error):
                return  # full, as expected
            raise
        session_id = socket.response.headers["browser-session-id"] if socket.response else ""
        await _cdp(socket, 1, "Browser.getVersion")
        socket.transport.abort()
        await self._until_final(self.service, session_id)

    async def watches(self) -> None:
        """Follows the events to the end of the session."""
        created = await self._create(self.service)
        path = f"/v1/browser/sessions/{created['session_id']}/events"
        async with self.service.http.stream("GET", path) as stream:
            await self._delete(self.service, created["session_id"])
            lines = [line async for line in stream.aiter_lines()]
        kinds = [line.partition(":")[2].strip() for line in lines if line.startswith("event:")]
        _must("session.ended" in kinds, f"the stream ended after {kinds}")

    async def expires(self) -> None:
        """An unused session expires at its deadline, never before."""
        created = await self._create(self.service, idle_timeout_seconds=1.0)
        due = datetime.fromisoformat(created["expires_at"]).timestamp()
        await self._until_final(self.service, created["session_id"], status="expired", every=0.1)
        ended = datetime.fromisoformat((await self.service.details(created["session_id"]))["ended_at"]).timestamp()
        _must(ended >= due, f"ended {due - ended:.3f} s early")
        self.took["expired after due"].append(ended - due)

    async def cancels(self) -> None:
        """The caller disconnects while the session is queued or starting, or just as it is ready. The server cannot
        distinguish the latter from a caller that got the response, so that session stays until its idle timeout; it is
        ended here."""
        mark = secrets.token_hex(8)
        patience = httpx.Timeout(MAX_S, read=random.uniform(0.001, 0.08))
        with contextlib.suppress(httpx.TimeoutException):
            response = await self.service.http.post(
                "/v1/browser/sessions", json={"wait_seconds": 5, "metadata": {"mark": mark}}, timeout=patience
            )
            if response.status_code == 201:
                await self._delete(self.service, response.json()["session_id"])

        async def gone() -> bool:
            found = await self.service.http.get("/v1/browser/sessions", params={"metadata.mark": mark})
            living = [each for each in found.json()["sessions"] if each["status"] not in FINAL]
            for each in living:
                if each["status"] == "active":
                    await self._delete(self.service, each["session_id"])
            return not living

        await until(gone, within=MAX_S, what="a caller who disconnected leaves no session", every=0.1)

    # -- bad -------------------------------------------------------------------------------------------------------

    async def browser_killed(self) -> None:
        async with self._victim() as victim:
            session_id, pid = await self._dedicated(victim)
            os.kill(pid, signal.SIGKILL)
            took = await self._until_final(victim, session_id, status="crashed")
            self.took["browser killed, reported"].append(took)

    async def renderer_killed(self) -> None:
        async with self._victim() as victim:
            session_id, pid = await self._dedicated(victim)
            browser = psutil.Process(pid)
            for process in browser.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if "--type=renderer" in process.cmdline():
                        process.kill()
            began = time.perf_counter()

            async def crash_reported() -> bool:
                pages = (await victim.http.get(f"/v1/browser/sessions/{session_id}/pages")).json()["pages"]
                return any(page["crashed"] for page in pages)

            await until(crash_reported, within=MAX_S, what="the page is reported as crashed")
            self.took["renderer killed, reported"].append(time.perf_counter() - began)
            await self._delete(victim, session_id)

    async def page_hangs(self) -> None:
        session_id = (await self._create(self.service))["session_id"]
        await self.service.evaluate(session_id, BUSY)
        self.took["hung page, deleted"].append(await self._delete(self.service, session_id))

    async def browser_hangs(self) -> None:
        """SIGSTOP; half of them are deleted at once, the probe finds the others."""
        async with self._victim() as victim:
            session_id, pid = await self._dedicated(victim)
            os.kill(pid, signal.SIGSTOP)
            if random.random() < 0.5:
                self.took["hung browser, deleted"].append(await self._delete(victim, session_id))
            else:
                took = await self._until_final(victim, session_id, status="crashed")
                self.took["hung browser, reported"].append(took)
            await until(lambda: not psutil.pid_exists(pid), within=MAX_S, what="the hung browser is gone")

    # -- parts -----------------------------------------------------------------------------------------------------

    async def _create(self, who: Running, **options: Any) -> dict[str, Any]:
        began = time.perf_counter()
        created = await who.create(wait_seconds=20, **options)
        self.took["created"].append(time.perf_counter() - began)
        return created

    async def _delete(self, who: Running, session_id: str) -> float:
        began = time.perf_counter()
        response = await who.http.delete(f"/v1/browser/sessions/{session_id}")
        took = time.perf_counter() - began
        _must(response.status_code == 200, f"DELETE returned {response.status_code}: {response.text}")
        _must(response.json()["status"] in FINAL, response.text)
        return took

    async def _until_final(self, who: Running, session_id: str, status: str = "", every: float = 0.005) -> float:
        began = time.perf_counter()

        async def final() -> str | None:
            found = (await who.get(session_id))["status"]
            return found if found in FINAL else None

        found = await until(final, within=MAX_S, what=f"{session_id} is final", every=every)
        _must(not status or found == status, f"{found} instead of {status}")
        return time.perf_counter() - began

    @asynccontextmanager
    async def _victim(self) -> AsyncIterator[Running]:
        victim = await self._victims.get()
        try:
            yield victim
        finally:
            for each in (await victim.http.get("/v1/browser/sessions", params={"status": "active"})).json()["sessions"]:
                await victim.http.delete(f"/v1/browser/sessions/{each['session_id']}")  # left by a life that failed
            self._victims.put_nowait(victim)

    async def _dedicated(self, victim: Running) -> tuple[str, int]:
        """A session with a dedicated browser, and that browser's pid."""
        before = {each["browser_id"] for each in (await self._browsers(victim))}
        session_id = (await self._create(victim, isolation="browser"))["session_id"]
        (pid,) = [each["pid"] for each in await self._browsers(victim) if each["browser_id"] not in before]
        return session_id, int(pid)

    async def _browsers(self, victim: Running) -> list[dict[str, Any]]:
        mine = self._principals[id(victim)]
        return [each for each in (await pool_of(self.service))["browsers"] if each["principal_id"] == mine]

    def mix(self) -> list[tuple[Callable[[], Awaitable[None]], int]]:
        """(life, weight): slow ones are rare so that the others run often."""
        return [
            (self.drives, 8),
            (self.connects, 6),
            (self.one_line, 3),
            (self.watches, 3),
            (self.expires, 3),
            (self.cancels, 6),
            (self.browser_killed, 3),
            (self.renderer_killed, 3),
            (self.page_hangs, 3),
            (self.browser_hangs, 1),
        ]


async def _cdp(socket: Any, number: int, method: str, params: dict[str, Any] | None = None) -> Any:
    await socket.send(json.dumps({"id": number, "method": method, "params": params or {}}))
    async with asyncio.timeout(MAX_S):
        while (response := json.loads(await socket.recv())).get("id") != number:
            pass
    return response


async def _close_code(socket: Any) -> int | None:
    try:
        while True:
            await socket.recv()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


def _must(kept: bool, message: str) -> None:
    if not kept:
        raise Broken(message)
