"""Kills and hangs of browsers, renderers and the driver: time until the status and the events report it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import defaultdict
from functools import partial
from typing import Any, Final

import psutil
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.harness.scenarios.leftovers import pool_of
from tests.harness.service import Running
from tests.harness.waiting import until

WAIT_S: Final = 30.0
FINAL: Final = ("closed", "expired", "crashed", "lost")

Took = dict[str, list[float]]


async def kill_browsers(service: Running, rounds: int) -> Took:
    """SIGKILL: seconds until the status, the events and a CDP client report it."""
    took: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        session_id, pid = await _dedicated(service)
        details = await service.details(session_id)
        async with connect(details["connect_url"], proxy=None) as socket:
            events = asyncio.create_task(_event_at(service, session_id, "session.ended"))
            began = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            closed = asyncio.create_task(_closed(socket))
            took["browser killed, in status"].append(await _status(service, session_id, began))
            code, at = await asyncio.wait_for(closed, WAIT_S)
            took["browser killed, client closed"].append(at - began)
            if code != 1011:
                raise AssertionError(f"the client was closed with {code}")
            took["browser killed, in events"].append(await asyncio.wait_for(events, WAIT_S) - began)
    return dict(took)


async def kill_renderers(service: Running, rounds: int) -> Took:
    took: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        session_id, pid = await _dedicated(service)
        events = asyncio.create_task(_event_at(service, session_id, "page.crashed"))
        began = time.perf_counter()
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "--type=renderer" in process.cmdline():
                    process.kill()

        async def crashed_reported(session_id: str = session_id) -> bool:
            pages = (await service.http.get(f"/v1/browser/sessions/{session_id}/pages")).json()["pages"]
            return any(page["crashed"] for page in pages)

        await until(crashed_reported, within=WAIT_S, what="the page is reported as crashed", every=0.002)
        took["renderer killed, in pages"].append(time.perf_counter() - began)
        took["renderer killed, in events"].append(await asyncio.wait_for(events, WAIT_S) - began)
        await service.http.delete(f"/v1/browser/sessions/{session_id}")
    return dict(took)


async def stop_browsers(service: Running, rounds: int) -> Took:
    """SIGSTOP: seconds until the status reports it and another browser takes over."""
    took: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        session_id, pid = await _dedicated(service)
        began = time.perf_counter()
        os.kill(pid, signal.SIGSTOP)
        took["browser stopped, in status"].append(await _status(service, session_id, began))
        again, _ = await _dedicated(service)
        took["browser stopped, replaced"].append(time.perf_counter() - began)
        await service.http.delete(f"/v1/browser/sessions/{again}")
    return dict(took)


async def stop_driver(service: Running, rounds: int) -> Took:
    took: defaultdict[str, list[float]] = defaultdict(list)
    assert service.process is not None
    for _ in range(rounds):
        session_id, _ = await _dedicated(service)
        children = psutil.Process(service.process.pid).children()
        (driver,) = [each for each in children if "run-driver" in _arguments(each)]
        began = time.perf_counter()
        driver.suspend()
        took["driver stopped, in status"].append(await _status(service, session_id, began))
        again = await _created(service)
        took["driver stopped, replaced"].append(time.perf_counter() - began)
        await service.http.delete(f"/v1/browser/sessions/{again}")
    return dict(took)


async def delete_hung(service: Running, rounds: int) -> Took:
    """DELETE while the page is in an endless loop, and while the browser is stopped."""
    took: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        session_id = (await service.create(wait_seconds=20))["session_id"]
        await service.evaluate(session_id, "setTimeout(() => { while (true) {} }, 0); 1")
        took["hung page, deleted"].append(await _delete(service, session_id))
        session_id, pid = await _dedicated(service)
        os.kill(pid, signal.SIGSTOP)
        took["hung browser, deleted"].append(await _delete(service, session_id))
        await until(partial(_gone, pid), within=WAIT_S, what="the hung browser is gone")
    return dict(took)


def _gone(pid: int) -> bool:
    return not psutil.pid_exists(pid)


async def _dedicated(service: Running) -> tuple[str, int]:
    """A session with a dedicated browser, and that browser's pid."""
    before = {each["browser_id"] for each in (await pool_of(service))["browsers"] if each["dedicated"]}
    session_id = (await service.create(isolation="browser", wait_seconds=20))["session_id"]
    browsers = (await pool_of(service))["browsers"]
    (pid,) = [each["pid"] for each in browsers if each["dedicated"] and each["browser_id"] not in before]
    return session_id, pid


async def _created(service: Running) -> str:
    """Creates a session as soon as possible."""

    async def one() -> str | None:
        response = await service.http.post("/v1/browser/sessions", json={"wait_seconds": 20})
        found: dict[str, Any] = response.json()
        return found["session_id"] if response.status_code == 201 else None

    made: str = await until(one, within=WAIT_S, what="a session can be created again", every=0.05)
    return made


async def _status(service: Running, session_id: str, began: float) -> float:
    async def final() -> bool:
        return (await service.get(session_id))["status"] in FINAL

    await until(final, within=WAIT_S, what="the status is final", every=0.002)
    found = (await service.get(session_id))["status"]
    if found != "crashed":
        raise AssertionError(f"{found} instead of crashed")
    return time.perf_counter() - began


async def _event_at(service: Running, session_id: str, kind: str) -> float:
    """The time at which the session's stream reports `kind`."""
    async with service.http.stream("GET", f"/v1/browser/sessions/{session_id}/events?since=start") as stream:
        async for line in stream.aiter_lines():
            if line.startswith("event:") and line.partition(":")[2].strip() == kind:
                return time.perf_counter()
    raise AssertionError(f"the stream ended without {kind}")


async def _closed(socket: Any) -> tuple[int | None, float]:
    try:
        while True:
            await socket.recv()
    except ConnectionClosed as closed:
        return (closed.rcvd.code if closed.rcvd else None), time.perf_counter()


async def _delete(service: Running, session_id: str) -> float:
    began = time.perf_counter()
    response = await service.http.delete(f"/v1/browser/sessions/{session_id}")
    took = time.perf_counter() - began
    if response.status_code != 200 or response.json()["status"] not in FINAL:
        raise AssertionError(response.text)
    return took


def _arguments(process: psutil.Process) -> list[str]:
    """Empty for a process that has ended, including a zombie."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []
