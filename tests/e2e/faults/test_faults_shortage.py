"""A full disk, too few descriptors, a tiny /dev/shm: no crash, a reason in the response, automatic recovery.

Mounting needs root; without it these tests are skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.harness.service import Running, ServerProcess
from tests.harness.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.slow]
as_root = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="mounting needs root")
DISK_MB = 192


@contextlib.contextmanager
def disk(folder: Path) -> Iterator[None]:
    """A separate file system at `folder`, small enough to be filled."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@asynccontextmanager
async def started_by(server: ServerProcess, *wrapper: str) -> AsyncIterator[Running]:
    """The server, started through `wrapper` commands that `exec` it."""
    service = await server.start(wrapper)
    try:
        yield service
    finally:
        await service.http.aclose()
        await server.stop()


async def refused(service: Running, word: str) -> bool:
    response = await service.http.post("/v1/browser/sessions", json={})
    if response.status_code == 201:
        await service.http.delete(f"/v1/browser/sessions/{response.json()['session_id']}")
        return False
    assert response.status_code == 503, response.text
    assert "Retry-After" in response.headers
    return word in response.json()["detail"]


async def warned(service: Running, word: str) -> bool:
    return any(word in each for each in (await service.http.get("/readyz")).json()["warnings"])


async def taken(service: Running) -> str | None:
    response = await service.http.post("/v1/browser/sessions", json={})
    session_id: str | None = response.json().get("session_id") if response.status_code == 201 else None
    return session_id


@as_root
async def test_a_full_disk_refuses_creates_with_the_reason_and_ends_no_session(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with disk(tmp_path / "data"):
        async with started_by(ServerProcess(tmp_path / "data")) as service:
            session_id = (await service.create())["session_id"]
            filler = tmp_path / "data" / "filler"
            with filler.open("wb") as file, contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * 2**20)
                    file.flush()
            await until(lambda: refused(service, "disk"), what="creates are refused for the disk", every=0.1)
            assert await service.evaluate(session_id, "6 * 7") == 42, "existing sessions keep working"
            await until(lambda: warned(service, "disk"), what="readyz warns of the disk", every=0.1)
            ended = await service.http.delete(f"/v1/browser/sessions/{session_id}")
            assert ended.json()["status"] == "closed", "the end is reported even if it cannot be stored"
            filler.unlink()
            again = await until(lambda: taken(service), what="creates succeed again", every=0.1)
            assert await service.evaluate(again, "1 + 1") == 2
            assert (await service.get(session_id))["status"] == "closed"


async def test_too_few_descriptors_refuse_creates_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    server = ServerProcess(tmp_path / "data", max_connections=1_000)
    async with started_by(server, "prlimit", "--nofile=128:128") as service:
        session_id = (await service.create())["session_id"]
        reader, writers = None, []
        port = int(service.url.rpartition(":")[2])
        while psutil.Process(server.pid).num_fds() < 128 - 16:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writers.append(writer)
            await asyncio.sleep(0)
        assert reader is not None
        await until(lambda: refused(service, "descriptors"), what="creates are refused", every=0.1)
        assert await service.evaluate(session_id, "6 * 7") == 42, "existing sessions keep working"
        for _ in range(40):  # beyond the limit: connections that the server cannot even accept
            with contextlib.suppress(OSError):
                writers.append((await asyncio.open_connection("127.0.0.1", port))[1])
        assert (await service.get(session_id))["status"] == "active"
        for writer in writers:
            writer.close()
        again = await until(lambda: taken(service), what="creates succeed again", every=0.1)
        assert await service.evaluate(again, "1 + 1") == 2


@as_root
async def test_four_megabytes_of_shared_memory_are_enough(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    tiny = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=4m tmpfs /dev/shm && exec "$@"', "sh")
    async with started_by(ServerProcess(tmp_path / "data"), *tiny) as service:
        session_id = (await service.create(viewport_width=2560, viewport_height=1440))["session_id"]
        page_id = await service.first_page(session_id)
        large = "document.body.innerHTML = '<canvas width=2560 height=1440></canvas>'.repeat(4); 1"
        assert await service.evaluate(session_id, large) == 1
        screenshot = await _picture(service.http, session_id, page_id)
        assert screenshot.startswith(b"\x89PNG")
        assert (await service.get(session_id))["status"] == "active"


async def _picture(http: httpx.AsyncClient, session_id: str, page_id: str) -> bytes:
    response = await http.get(f"/v1/browser/sessions/{session_id}/pages/{page_id}/screenshot")
    assert response.status_code == 200, response.text
    return response.content
