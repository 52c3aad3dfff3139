"""The host's clock is set by an hour while sessions are active: they expire on time, and `expires_at` is correct.

The machine's clock is not changed: Debian's libfaketime shifts the wall clock of one server process and its driver, by
an offset in a file. The monotonic clock is not affected, as when a host's clock is set.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import pytest

from tests.harness.service import Running, ServerProcess
from tests.harness.waiting import until

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not LIBRARIES, reason="libfaketime shifts the clock: apt-get install libfaketime"),
]
HOUR = 3600.0
LATE_S = 60.0
"""Far less than the clock is set by, and more than a busy machine needs; scripts/faults.py checks the second."""
IDLE_S = 10.0
LIFETIME_S = 12.0
SLEEP = "import select, time\ntime.sleep = lambda seconds: select.select([], [], [], seconds) and None\n"
"""Replaces Python's sleep until a monotonic time, which fails with EINVAL under libfaketime."""
LONG_S = HOUR / 2
"""Shorter than the jump: expired according to the wall clock."""


class Host:
    """The server's view of the wall clock."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.offset = 0.0
        self.set(0.0)

    def set(self, offset: float) -> None:
        self.offset = offset
        draft = self._file.with_suffix(".new")
        draft.write_text(f"{offset:+.0f}\n")
        draft.replace(self._file)  # atomic

    def now(self) -> float:
        return time.time() + self.offset

    @property
    def environment(self) -> list[str]:
        shim = self._file.parent / "shim"
        shim.mkdir(exist_ok=True)
        (shim / "sitecustomize.py").write_text(SLEEP)
        path = os.pathsep.join([str(shim), *filter(None, [os.environ.get("PYTHONPATH")])])
        return [
            f"PYTHONPATH={path}",
            f"LD_PRELOAD={LIBRARIES[0]}",
            f"FAKETIME_TIMESTAMP_FILE={self._file}",
            "FAKETIME_CACHE_DURATION=1",  # seconds
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            "DONT_FAKE_MONOTONIC=1",
        ]


@asynccontextmanager
async def shifted(folder: Path) -> AsyncIterator[tuple[Running, Host]]:
    (folder / "data").mkdir()
    host = Host(folder / "clock")
    server = ServerProcess(folder / "data")
    try:
        service = await server.start(["env", *host.environment])
        try:
            yield service, host
        finally:
            await service.http.aclose()
    finally:
        await server.stop()


async def expiry_error(service: Running, seconds: float, **limits: float | None) -> tuple[float, float]:
    """(early, late) in seconds: how far a session's expiry missed its limit, on the monotonic clock."""
    requested_at = time.monotonic()
    session_id = (await service.create(**limits))["session_id"]
    seen = created_at = time.monotonic()
    while (await service.get(session_id))["status"] == "active":
        seen = time.monotonic()
        await asyncio.sleep(0.25)  # each request costs much under libfaketime
    early = requested_at + seconds - time.monotonic()

    async def expired() -> bool:
        return bool((await service.get(session_id))["status"] == "expired")

    await until(expired, what="the session is expired", every=0.25)
    return early, seen - (created_at + seconds)


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def test_sessions_expire_on_time_when_the_hosts_clock_is_set(tmp_path: Path) -> None:
    async with shifted(tmp_path) as (service, host):
        user = {"username": "ann", "password": "correct horse battery", "role": "client"}
        assert (await service.http.post("/v1/auth/users", json=user)).status_code == 201
        for jump in (HOUR, -HOUR):
            await expire_across(service, host, jump, user)
    assert (tmp_path / "server.log").read_text().count("clock.jumped") >= 4


async def expire_across(service: Running, host: Host, jump: float, user: dict[str, str]) -> None:
    """Sets the clock by `jump` and back while sessions are active."""
    token = (await service.http.post("/v1/auth/token", data=user)).json()["access_token"]
    requested_at, began = host.now(), time.monotonic()
    long = await service.create(idle_timeout_seconds=LONG_S, max_lifetime_seconds=LONG_S)
    assert requested_at <= moment(long["expires_at"]) - LONG_S <= host.now()
    short = asyncio.gather(
        *(expiry_error(service, IDLE_S, idle_timeout_seconds=IDLE_S) for _ in range(3)),
        *(
            expiry_error(service, LIFETIME_S, idle_timeout_seconds=None, max_lifetime_seconds=LIFETIME_S)
            for _ in range(3)
        ),
    )
    await asyncio.sleep(1.0)  # before they expire
    host.set(jump)
    for early, late in await short:
        assert early <= 0.0, f"{early:.2f} s early"
        assert late <= LATE_S, f"{late:.2f} s late"

    async def right() -> bool:
        shown = moment((await service.get(long["session_id"]))["expires_at"])
        return abs(shown - (host.now() + LONG_S - (time.monotonic() - began))) < 1

    await until(right, what="expires_at is correct by the new clock", every=0.1)
    assert (await service.get(long["session_id"]))["status"] == "active"

    # Set back: tokens issued meanwhile, perhaps in the future, stay valid.
    meanwhile = (await service.http.post("/v1/auth/token", data=user)).json()["access_token"]
    host.set(0.0)
    await until(right, what="expires_at is correct again", every=0.1)
    for each in (token, meanwhile) if jump > 0 else (token,):
        bearer = {"Authorization": f"Bearer {each}"}
        async with service.caller(None) as caller:
            assert (await caller.get("/v1/browser/sessions", headers=bearer)).status_code == 200
    assert await service.evaluate(long["session_id"], "6 * 7") == 42
