"""Sessions with real browsers: many at once, their expiry, and correct reports of every failure."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from browser_sessions.chromium.launch.folders import work_folder
from browser_sessions.chromium.launch.user import browser_user
from tests.harness.scenarios.expiry import expiries
from tests.harness.service import Running, ServerProcess, serving
from tests.harness.sites.plain_site import Site
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

SESSIONS = 60
MEMORY_PER_SESSION = 35 * 2**20
EXPIRING = 60
"""Of both kinds, in several browsers, of which seven or more end in the same second."""


def chromium_pss(root: psutil.Process) -> int:
    return sum(p.memory_full_info().pss for p in root.children(recursive=True) if "chrom" in p.name())


@pytest.mark.slow
async def test_sixty_sessions_each_have_their_own_viewport_and_user_agent(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", max_sessions=80) as service:
        sizes = [(640 + n, 480 + 2 * n) for n in range(SESSIONS)]
        created = await asyncio.gather(
            *(
                service.create(viewport_width=w, viewport_height=h, user_agent=f"agent-{n}")
                for n, (w, h) in enumerate(sizes)
            )
        )
        small = "document.body.innerHTML='<h1>hello</h1>'.repeat(50); [innerWidth, innerHeight, navigator.userAgent]"
        seen = await asyncio.gather(*(service.evaluate(each["session_id"], small) for each in created))
        assert seen == [[w, h, f"agent-{n}"] for n, (w, h) in enumerate(sizes)]
        assert all(each["status"] == "active" for each in created)
        pool = (await service.http.get("/v1/browser/pool")).json()
        assert pool["taken"] == SESSIONS
        used = [browser for browser in pool["browsers"] if browser["sessions"]]
        assert len(used) <= 3
        assert service.process is not None
        pss = await asyncio.to_thread(chromium_pss, psutil.Process(service.process.pid))
        assert pss / SESSIONS <= MEMORY_PER_SESSION, f"{pss / SESSIONS / 2**20:.1f} MB a session"


@pytest.mark.slow
async def test_no_session_of_many_ends_early_or_stays(tmp_path: Path) -> None:
    """How late they end is measured by scripts/faults.py."""
    async with serving(tmp_path / "data", max_sessions=EXPIRING, max_sessions_per_browser=EXPIRING // 3) as service:
        seen = await expiries(service, EXPIRING, first_s=8.0)
    assert seen.early == 0.0, f"{seen.early:.2f} s early"
    assert len(seen.late) == EXPIRING
    assert min(seen.late) >= 0.0
    assert seen.wrong == []


async def _ended(service: Running, session_id: str) -> dict[str, str] | None:
    found = await service.get(session_id)
    return found if found["status"] not in ("active", "closing") else None


async def test_keepalive_and_page_actions_are_activity_and_status_reads_are_not(service: Running) -> None:
    session_id = (await service.create(idle_timeout_seconds=60))["session_id"]
    first = await service.get(session_id)
    again = await service.get(session_id)
    assert again == first
    await service.http.get(f"/v1/browser/sessions/{session_id}/details")
    await service.http.get(f"/v1/browser/sessions/{session_id}/health")
    assert await service.get(session_id) == first
    kept = (await service.http.post(f"/v1/browser/sessions/{session_id}/keepalive")).json()
    assert kept["last_activity"] > first["last_activity"]
    assert kept["expires_at"] > first["expires_at"]
    await service.evaluate(session_id, "1")
    assert (await service.get(session_id))["last_activity"] > kept["last_activity"]


async def test_a_killed_browser_is_reported_and_the_next_create_works(service: Running) -> None:
    session_id = (await service.create())["session_id"]
    pool = (await service.http.get("/v1/browser/pool")).json()
    (pid,) = [browser["pid"] for browser in pool["browsers"] if browser["sessions"]]
    before = service.inside.pool.journal.newest
    os.kill(pid, signal.SIGKILL)
    ended = await until(lambda: _ended(service, session_id), what="the crash is reported")
    assert ended["status"] == "crashed"
    assert (await service.details(session_id))["end_reason"] == "browser_died"
    events, _ = service.inside.pool.journal.since(before)
    (died,) = [event.data for event in events if event.kind == "browser.died"]
    assert (died["pid"], died["exit"]) == (pid, "was killed by SIGKILL")
    again = await service.create()
    assert await service.evaluate(again["session_id"], "1+1") == 2


async def test_a_crashed_renderer_is_reported_and_the_session_stays_active(service: Running) -> None:
    session_id = (await service.create())["session_id"]
    base = f"/v1/browser/sessions/{session_id}/pages"
    crashing = await service.first_page(session_id)
    browsers = (await service.http.get("/v1/browser/pool")).json()["browsers"]
    (browser,) = [psutil.Process(b["pid"]) for b in browsers if b["sessions"]]
    killed = 0
    for process in browser.children(recursive=True):  # the renderers of the session's page and of the spare page
        with contextlib.suppress(psutil.Error):  # that of an earlier session, which is just exiting
            if "--type=renderer" in process.cmdline():
                process.kill()
                killed += 1
    assert killed

    async def crashed() -> bool:
        pages = (await service.http.get(base)).json()["pages"]
        return any(page["page_id"] == crashing and page["crashed"] for page in pages)

    await until(crashed, what="the page is reported as crashed")
    assert (await service.get(session_id))["status"] == "active"
    health = (await service.http.get(f"/v1/browser/sessions/{session_id}/health")).json()
    assert not health["healthy"]
    assert health["problem"] == "1 of 1 pages crashed: close them or open another"
    fresh = (await service.http.post(base, json={})).json()
    assert await service.evaluate(session_id, "40+2", fresh["page_id"]) == 42


async def test_a_killed_driver_is_reported_and_replaced_and_leaves_no_folder(service: Running) -> None:
    session_id = (await service.create())["session_id"]
    driver = service.inside.launcher._driver
    assert driver is not None
    os.kill(driver.pid, signal.SIGKILL)
    ended = await until(lambda: _ended(service, session_id), what="the crash is reported")
    assert ended["status"] == "crashed"
    again = await service.create()
    assert await service.evaluate(again["session_id"], "1+1") == 2
    await service.http.delete(f"/v1/browser/sessions/{again['session_id']}")

    work, fleet = service.inside.work_dir, service.inside.pool.fleet

    def only_running() -> bool:
        folders = len(list(work.glob("run-*/brw_*")))
        return folders == len(fleet.running) and len(list(work.glob("run-*/driver-*"))) == 1

    await until(only_running, what="only the folders of running browsers and of one driver")


@pytest.mark.slow
async def test_sessions_of_a_killed_server_are_recorded_as_lost(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    server = ServerProcess(data)
    service = await server.start()
    tree = server.tree()
    try:
        created = [(await service.create(metadata={"n": str(n)}))["session_id"] for n in range(4)]
        await service.http.delete(f"/v1/browser/sessions/{created[0]}")
        await server.kill()
        await service.http.aclose()
        await until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in tree[1:]))
        service = await server.start()
        statuses = [(await service.get(session_id))["status"] for session_id in created]
        assert statuses == ["closed", "lost", "lost", "lost"]
        assert (await service.details(created[1]))["metadata"] == {"n": "1"}
        again = await service.create()
        assert again["status"] == "active"
        assert await server.stop() == 0
        work = work_folder(data / "work", browser_user())
        assert not work.exists() or not [each for each in work.rglob("*") if each.name != "sessions"]
    finally:
        await service.http.aclose()
        await server.kill()


async def test_a_start_page_that_never_responds_is_one_that_failed_not_a_crash(
    service: Running, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    starter = service.inside.pool.starter
    monkeypatch.setattr(starter, "limits", replace(starter.limits, create_timeout_seconds=3.0))
    response = await service.http.post("/v1/browser/sessions", json={"start_url": f"{site.url}/hang"})
    assert (response.status_code, response.json()["type"].rpartition(":")[2]) == (409, "page-failed"), response.text
    assert response.json()["detail"] == "Start page failed: the address did not respond within 3 s."
    ended = await service.details(response.json()["session_id"])
    assert (ended["status"], ended["end_reason"]) == ("closed", "start_page_failed")
