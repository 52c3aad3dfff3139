"""The overview, its events, thumbnails and the archive of ended sessions, on the real service."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from browser_sessions.events.session_archive import Archive
from browser_sessions.live import thumbnails
from tests.harness.clients.sse import stream
from tests.harness.pixels import PixelReader
from tests.harness.service import Running, running
from tests.harness.sites.plain_site import BLOCK, Site
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

SESSIONS = "/v1/browser/sessions"
OVERVIEW = "/v1/browser/overview"


async def overview(client: httpx.AsyncClient) -> dict[str, Any]:
    response = await client.get(OVERVIEW)
    assert response.status_code == 200, response.text
    shown: dict[str, Any] = response.json()
    return shown


async def row(client: httpx.AsyncClient, session_id: str) -> dict[str, Any]:
    rows = {row["session_id"]: row for row in (await overview(client))["sessions"]}
    found: dict[str, Any] = rows[session_id]
    return found


async def show(service: Running, session_id: str, html: str) -> None:
    page_id = await service.first_page(session_id)
    path = f"{SESSIONS}/{session_id}/pages/{page_id}/navigate"
    response = await service.http.post(path, json={"url": "data:text/html," + html})
    assert response.status_code == 200, response.text


async def pixel_reader(service: Running) -> PixelReader:
    watcher = (await service.create(metadata={"pixels": "yes"}))["session_id"]
    return PixelReader(lambda script: service.evaluate(watcher, script))


async def test_a_row_has_the_facts_of_a_session(service: Running) -> None:
    created = await service.create(viewport_width=800, viewport_height=600, metadata={"job": "7"}, isolation="browser")
    session_id = created["session_id"]
    await show(service, session_id, "<title>A shop</title>")

    async def titled() -> bool:
        return bool((await row(service.http, session_id))["title"] == "A shop")

    await until(titled, what="the title is known")
    shown = await row(service.http, session_id)
    assert shown["status"] == "active"
    assert shown["owner"] == "admin"
    assert shown["url"].startswith("data:text/html")
    assert (shown["viewport_width"], shown["viewport_height"]) == (800, 600)
    assert shown["metadata"] == {"job": "7"}
    assert shown["isolation"] == "browser"
    assert shown["page_count"] == 1
    assert (shown["connections"], shown["viewers"], shown["controlled_by"]) == (0, 0, None)
    assert shown["created_at"].startswith(created["created_at"][:19])
    assert shown["expires_at"]
    await service.http.delete(f"{SESSIONS}/{session_id}")
    shown = await row(service.http, session_id)
    assert shown["status"] == "closed"
    assert shown["end_reason"] == "deleted"
    assert shown["ended_at"]


async def test_a_session_that_ends_within_a_second_is_shown_with_its_page(service: Running) -> None:
    session_id = (await service.create())["session_id"]
    await show(service, session_id, "<title>Short</title>")
    journal = service.inside.pool.journal
    await until(
        lambda: any(e.kind == "page.navigated" and e.data["title"] == "Short" for e in journal.of(session_id)),
        what="its page is reported",
    )
    service.inside.console.overview._published.clear()  # as if no overview had been requested meanwhile
    await service.http.delete(f"{SESSIONS}/{session_id}")
    ended = await row(service.http, session_id)
    assert (ended["status"], ended["title"], ended["page_count"]) == ("closed", "Short", 1)
    assert ended["url"].startswith("data:text/html")
    assert session_id not in service.inside.console.overview._went


async def test_clients_see_their_own_sessions_and_not_the_pool(service: Running) -> None:
    earlier = {row["session_id"] for row in (await overview(service.http))["sessions"]}
    foreign = (await service.create())["session_id"]
    async with service.caller(await service.key("client")) as client:
        own = (await client.post(SESSIONS, json={})).json()["session_id"]
        shown = await overview(client)
        assert [row["session_id"] for row in shown["sessions"]] == [own]
        assert shown["pool"] is None
        assert shown["history"] is None
        assert shown["you"]["role"] == "client"
        for name in ("thumbnail", "frame", "history"):
            assert (await client.get(f"{SESSIONS}/{foreign}/{name}")).status_code == 404
        assert (await client.post(f"{SESSIONS}/{foreign}/live-ticket")).status_code == 404
    async with service.caller(await service.key("operator")) as operator:
        shown = await overview(operator)
        assert {row["session_id"] for row in shown["sessions"]} - earlier == {own, foreign}
        assert shown["pool"]["taken"] == 2
        assert shown["history"]["step_seconds"] == 10


async def test_events_from_the_overviews_position_on_miss_nothing(service: Running) -> None:
    session_id = (await service.create())["session_id"]
    position = (await overview(service.http))["position"]
    await show(service, session_id, "<title>One</title>")
    async with stream(service.http, "/v1/browser/events", last_event_id=position) as events:
        event = await events.until(lambda event: event["data"].get("title") == "One")
        assert event["type"] in ("session.updated", "page.navigated")
        await show(service, session_id, "<title>Two</title>")
        updated = await events.until(lambda e: e["type"] == "session.updated" and e["data"].get("title") == "Two")
        assert updated["session_id"] == session_id
        assert "viewport_width" not in updated["data"]
        await service.evaluate(session_id, "1")
        used = await events.until(lambda e: e["type"] == "session.updated" and "last_activity" in e["data"])
        assert used["data"]["expires_at"]


async def test_changes_are_published_at_most_once_a_second(service: Running) -> None:
    session_id = (await service.create())["session_id"]
    journal = service.inside.pool.journal
    async with stream(service.http, f"{SESSIONS}/{session_id}/events") as events:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() - began < 3:
            await service.evaluate(session_id, "1")
        seen = journal.since(0, session_id=session_id)[0]
        assert len([event for event in seen if event.kind == "session.updated"]) <= 1 + loop.time() - began
        await events.until("session.updated")


async def test_pool_changes_are_published_to_operators(service: Running) -> None:
    async with stream(service.http, "/v1/browser/events") as events:
        await service.create()
        event = await events.until(lambda event: event["type"] == "pool.updated" and event["data"]["taken"] == 1)
        assert event["data"]["capacity"] >= 4


async def test_a_thumbnail_shows_the_page_and_is_no_activity(service: Running) -> None:
    session_id = (await service.create(idle_timeout_seconds=600))["session_id"]
    await show(service, session_id, "<body style='margin:0;background:rgb(220,0,0)'>")
    pixels = await pixel_reader(service)
    before = (await service.get(session_id))["last_activity"]
    path = f"{SESSIONS}/{session_id}/thumbnail"
    response = await service.http.get(path, params={"width": 320})
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/jpeg"
    assert await pixels.matches(response.content, (220, 0, 0))
    again = await service.http.get(path, headers={"If-None-Match": response.headers["etag"]})
    assert again.status_code in (200, 304)
    assert (await service.get(session_id))["last_activity"] == before


async def test_many_thumbnail_requests_cause_at_most_one_capture_a_second(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = (await service.create())["session_id"]
    from browser_sessions.chromium.screencast.screencast import PageScreen

    taken = 0
    original = PageScreen.snapshot

    async def counted(self: PageScreen, max_width: int, *, timeout: float) -> Any:
        nonlocal taken
        taken += 1
        return await original(self, max_width, timeout=timeout)

    monkeypatch.setattr(PageScreen, "snapshot", counted)
    path = f"{SESSIONS}/{session_id}/thumbnail"
    start = time.monotonic()
    responses = await asyncio.gather(*(service.http.get(path) for _ in range(30)))
    assert {response.status_code for response in responses} == {200}
    assert taken <= 2 + (time.monotonic() - start) / thumbnails.MAX_AGE_S


async def test_the_thumbnail_of_a_hung_page_is_its_last_one_or_none(service: Running, site: Site) -> None:
    session_id = (await service.create(start_url=f"{site.url}/blocks"))["session_id"]
    await service.evaluate(session_id, BLOCK)
    await site.blocked()
    response = await asyncio.wait_for(service.http.get(f"{SESSIONS}/{session_id}/thumbnail"), 5)
    assert response.status_code in (200, 204)
    await service.http.delete(f"{SESSIONS}/{session_id}")


@pytest.mark.slow
async def test_history_and_last_frame_of_an_ended_session_survive_a_restart(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with running(data) as service:
        session_id = (await service.create())["session_id"]
        await show(service, session_id, "<title>Last</title><body style='margin:0;background:rgb(0,0,220)'>")
        await service.evaluate(session_id, "console.log('remember me')")
        blank = (await service.create())["session_id"]
        await service.http.delete(f"{SESSIONS}/{session_id}")
        picture = (await service.http.get(f"{SESSIONS}/{session_id}/frame")).content
        assert await PixelReader(lambda script: service.evaluate(blank, script)).matches(picture, (0, 0, 220))
        await service.http.delete(f"{SESSIONS}/{blank}")
        history = (await service.http.get(f"{SESSIONS}/{session_id}/history")).json()
        check_history(history)
        assert (await service.http.get(f"{SESSIONS}/{session_id}/thumbnail")).content == picture
        assert (await service.http.get(f"{SESSIONS}/{blank}/frame")).status_code == 204
    async with running(data) as service:
        again = (await service.http.get(f"{SESSIONS}/{session_id}/history")).json()
        assert again == history
        assert (await service.http.get(f"{SESSIONS}/{session_id}/frame")).content == picture
        assert (await service.http.get(f"{SESSIONS}/{session_id}/thumbnail")).content == picture
        async with stream(service.http, f"{SESSIONS}/{session_id}/events", since="start") as events:
            assert await events.to_end() == history["events"]
        assert (await service.http.get(f"{SESSIONS}/{blank}/history")).json()["has_frame"] is False
        for path in (data / "archive").iterdir():
            assert path.stat().st_mode & 0o077 == 0


def check_history(history: dict[str, Any]) -> None:
    kinds = [event["type"] for event in history["events"]]
    assert kinds[-1] == "session.ended"
    assert {"session.active", "page.opened", "page.navigated", "console"} <= set(kinds)
    assert "session.updated" not in kinds
    assert history["has_frame"] is True


async def test_an_unwatched_session_keeps_its_last_frame(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "LAST_CAPTURE_TIMEOUT_S", 10.0)  # on a busy machine a capture takes longer
    pixels = await pixel_reader(service)
    page = "data:text/html,<body style='margin:0;background:rgb(220,0,0)'>"
    deleted, idle, crashed = [
        (await service.create(start_url=page, **options))["session_id"]
        for options in ({}, {"idle_timeout_seconds": 0.5}, {"isolation": "browser"})
    ]
    await service.evaluate(deleted, "document.body.style.background = 'rgb(0,220,0)'")
    await service.http.delete(f"{SESSIONS}/{deleted}")
    live = service.inside.pool.registry.lives[crashed]
    await until(lambda: service.inside.console.thumbnails.newest(crashed), what="a thumbnail is captured")
    live.opened.process.kill()
    for session_id, status, colour in (
        (deleted, "closed", (0, 220, 0)),
        (idle, "expired", (220, 0, 0)),
        (crashed, "crashed", (220, 0, 0)),
    ):
        await until(lambda: row_status(service, session_id, status), what=status)  # noqa: B023 - called within this iteration
        history = (await service.http.get(f"{SESSIONS}/{session_id}/history")).json()
        assert history["has_frame"], status
        picture = await service.http.get(f"{SESSIONS}/{session_id}/frame")
        assert await pixels.matches(picture.content, colour), status


async def row_status(service: Running, session_id: str, status: str) -> bool:
    return bool((await row(service.http, session_id))["status"] == status)


async def test_a_row_states_whether_the_page_responds(service: Running, site: Site) -> None:
    session_id = (await service.create(start_url=f"{site.url}/blocks"))["session_id"]
    assert (await row(service.http, session_id))["responsive"] is True
    async with stream(service.http, "/v1/browser/events") as events:
        await service.evaluate(session_id, BLOCK)
        hung = await events.until(lambda e: e["type"] == "session.updated" and e["data"].get("responsive") is False)
        assert hung["session_id"] == session_id
        assert (await row(service.http, session_id))["responsive"] is False
        site.release()
        await events.until(lambda e: e["type"] == "session.updated" and e["data"].get("responsive") is True)


async def test_archives_are_purged_with_retention(service: Running) -> None:
    session_id = (await service.create())["session_id"]
    await service.http.get(f"{SESSIONS}/{session_id}/thumbnail")
    await service.http.delete(f"{SESSIONS}/{session_id}")
    archive: Archive = service.inside.console.archive
    await archive.close()
    folder = service.inside.settings.data_dir / "archive"
    await archive.purge(datetime.now(UTC) - timedelta(hours=1))
    assert {path.name for path in folder.iterdir()} >= {f"{session_id}.json.gz", f"{session_id}.jpg"}
    await archive.purge(datetime.now(UTC) + timedelta(hours=1))
    assert list(folder.iterdir()) == []


async def test_live_tickets_are_issued_for_active_sessions_only(service: Running) -> None:
    session_id = (await service.create())["session_id"]
    response = await service.http.post(f"{SESSIONS}/{session_id}/live-ticket")
    assert response.json()["live_url"].startswith(service.url.replace("http", "ws") + f"{SESSIONS}/{session_id}/live?")
    await service.http.delete(f"{SESSIONS}/{session_id}")
    assert (await service.http.post(f"{SESSIONS}/{session_id}/live-ticket")).status_code == 409


async def test_the_nodes_history_and_loop_lag_are_measured(service: Running) -> None:
    node = service.inside
    await node.console.overview.point()
    await until(lambda: node.console.lag._worst > 0, what="a sample was taken")
    await node.console.overview.point()
    points = (await overview(service.http))["history"]["points"]
    assert len(points) >= 2
    assert points[-1]["loop_lag_ms"] > 0
    assert points[-1]["browsers"] >= 1
    metrics = (await service.http.get("/metrics")).text
    assert "browser_sessions_loop_lag_seconds_count" in metrics
