"""Downloads of pages: kept for the session's owner, invisible to others, and limited."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Playwright

from browser_sessions import Client
from browser_sessions.chromium.downloads import session_downloads
from browser_sessions.domain.download_ledger import MAX_FILES, Ledger
from browser_sessions.domain.limits import MAX_PAGES
from tests.harness.clients.downloads import ended_downloads, listed_downloads
from tests.harness.clients.raw_cdp import Raw, raw
from tests.harness.service import ADMIN_KEY, Running
from tests.harness.sites.client_site import REPORT, ClientSite, client_site
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

QUOTA: Final = 2**20
CLICK: Final = "document.querySelector('#report').click()"
LOAD_IN_FRAME: Final = "document.body.append(Object.assign(document.createElement('iframe'), {src: '%s'}))"


@pytest.fixture(scope="module")
def site() -> Iterator[ClientSite]:
    with client_site() as served:
        yield served


async def test_a_navigation_to_a_file_returns_the_download(service: Running, site: ClientSite) -> None:
    session_id = (await service.create(start_url=site.url))["session_id"]
    pages = f"/v1/browser/sessions/{session_id}/pages"
    body = {"url": f"{site.url}/report.txt"}
    response = await service.http.post(f"{pages}/{await service.first_page(session_id)}/navigate", json=body)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert (answer["url"], answer["http_status"]) == (f"{site.url}/", None), "the page stays where it was"
    (found,) = await ended_downloads(service, session_id)
    assert answer["download_id"] == found["download_id"]

    opened = await service.http.post(pages, json=body)
    assert (opened.status_code, opened.json()["url"]) == (201, "about:blank")
    await ended_downloads(service, session_id, count=2)

    started = await service.create(start_url=f"{site.url}/report.txt")
    (found,) = await ended_downloads(service, started["session_id"])
    assert found["filename"] == "report.txt"


async def test_a_download_is_listed_and_served_as_the_site_sent_it(service: Running, site: ClientSite) -> None:
    session_id = (await service.create(start_url=site.url))["session_id"]
    page_id = await service.first_page(session_id)
    assert await listed_downloads(service, session_id) == []
    await service.evaluate(session_id, CLICK)
    (found,) = await ended_downloads(service, session_id)
    facts = {key: found[key] for key in ("page_id", "filename", "url", "state", "received_bytes", "total_bytes")}
    assert facts == {
        "page_id": page_id,
        "filename": "report.txt",
        "url": f"{site.url}/report.txt",
        "state": "completed",
        "received_bytes": len(REPORT),
        "total_bytes": len(REPORT),
    }
    url = f"/v1/browser/sessions/{session_id}/downloads/{found['download_id']}"
    response = await service.http.get(url)
    assert (response.status_code, response.content) == (200, REPORT)
    assert response.headers["content-disposition"] == 'attachment; filename="report.txt"'
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["x-content-type-options"] == "nosniff"
    events = [event for event in service.inside.pool.journal.of(session_id) if event.kind.startswith("download")]
    assert [(event.kind, event.data.get("state")) for event in events] == [
        ("download.started", None),
        ("download.finished", "completed"),
    ]
    async with service.caller(await service.key()) as outsider:
        assert (await outsider.get(url)).status_code == 404
    assert (await service.http.get(url + "x")).status_code == 404
    async with Client(service.url, ADMIN_KEY) as client:
        (mine,) = await client.downloads(session_id)
        assert await client.download(session_id, mine.download_id) == REPORT
    await service.http.delete(f"/v1/browser/sessions/{session_id}")
    assert (await service.http.get(url)).status_code == 409


async def test_files_are_counted_by_direction_and_outcome(
    service: Running, site: ClientSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_downloads, "Ledger", lambda _: Ledger(QUOTA))

    def counts() -> list[float]:
        value = service.inside.metrics.registry.get_sample_value
        kinds = [("upload", "accepted"), ("download", "accepted"), ("download", "refused")]
        files = [
            value("browser_sessions_files_total", {"direction": direction, "outcome": outcome})
            for direction, outcome in kinds
        ]
        sizes = [value("browser_sessions_file_bytes_total", {"direction": each}) for each in ("upload", "download")]
        return [each or 0 for each in files + sizes]

    before = counts()
    session_id = (await service.create(start_url=site.url))["session_id"]
    uploaded = await service.http.post(f"/v1/browser/sessions/{session_id}/uploads?name=a", content=b"12345")
    assert uploaded.status_code == 201
    await service.evaluate(session_id, CLICK)
    await ended_downloads(service, session_id)
    await service.evaluate(session_id, f"void (location.href = '{site.url}/endless')")
    await ended_downloads(service, session_id, count=2)
    assert [now - then for now, then in zip(counts(), before, strict=True)] == [1, 1, 1, 5, len(REPORT)]


async def test_downloads_of_a_playwright_client_are_reported_to_it_and_kept(
    service: Running, site: ClientSite, playwright: Playwright
) -> None:
    created = await service.create()
    async with await playwright.chromium.connect_over_cdp(created["connect_url"]) as browser:
        page = browser.contexts[0].pages[0]
        await page.goto(site.url)
        async with page.expect_download() as expected:
            await page.click("#report")
        assert await (await expected.value).failure() is None
        nested = await browser.new_context()
        inside = await nested.new_page()
        await inside.goto(site.url)
        async with inside.expect_download() as expected:
            await inside.click("#report")
        assert await (await expected.value).failure() is None
        await browser.close()
    found = await ended_downloads(service, created["session_id"], count=2)
    assert [each["state"] for each in found] == ["completed"] * 2
    await service.evaluate(created["session_id"], CLICK)  # downloads still work after the client has disconnected
    assert (await ended_downloads(service, created["session_id"], count=3))[-1]["state"] == "completed"


async def test_another_session_in_the_same_browser_gets_no_events_of_a_download(
    service: Running, site: ClientSite
) -> None:
    """Chromium itself reports every download to every client that enabled download events."""
    mine = await service.create(start_url=site.url)
    other_session = await service.create(start_url=site.url)
    async with raw(mine["connect_url"]) as client, raw(other_session["connect_url"]) as other:
        for each in (client, other):
            await enable_downloads(each)
        _, page = await client.page()
        _, other_page = await other.page()
        for count, (where, script) in enumerate(
            {
                "page": CLICK,
                "frame": LOAD_IN_FRAME % "/report.txt",
                "frame of another site": LOAD_IN_FRAME % f"{site.other}/report.txt",
                "window": "void window.open('/report.txt')",
            }.items(),
            1,
        ):
            client.events.clear()
            await client.value(script, page)
            await client.event("Browser.downloadProgress", lambda m: bool(m["params"]["state"] == "completed"))
            await other.value("1 + 1", other_page)  # earlier events have arrived
            events = [message for message in client.events if message["method"].startswith("Browser.download")]
            assert events[0]["params"]["suggestedFilename"] == "report.txt", where
            assert all("filePath" not in message["params"] for message in events), where
            assert [each for each in other.events if each["method"].startswith("Browser.download")] == [], where
            states = [each["state"] for each in await ended_downloads(service, mine["session_id"], count)]
            assert states == ["completed"] * count, where
    assert await listed_downloads(service, other_session["session_id"]) == []


async def test_deleting_a_download_frees_its_file_or_cancels_it(service: Running, site: ClientSite) -> None:
    session_id = (await service.create(start_url=site.url))["session_id"]
    url = f"/v1/browser/sessions/{session_id}/downloads/"
    folder = service.inside.work_dir / "sessions" / session_id / "downloads"
    await service.evaluate(session_id, CLICK)
    (found,) = await ended_downloads(service, session_id)
    async with service.caller(await service.key()) as outsider:
        assert (await outsider.delete(url + found["download_id"])).status_code == 404
    assert (await service.http.delete(url + found["download_id"])).status_code == 204
    assert (await service.http.delete(url + found["download_id"])).status_code == 404
    assert (await listed_downloads(service, session_id), list(folder.iterdir())) == ([], [])

    await service.evaluate(session_id, f"void (location.href = '{site.url}/trickle')")
    (under_way,) = await until(lambda: listed_downloads(service, session_id), what="a download is in progress")
    assert under_way["state"] == "in_progress"
    async with Client(service.url, ADMIN_KEY) as client:
        await client.delete_download(session_id, under_way["download_id"])
    assert await listed_downloads(service, session_id) == []
    await until(lambda: list(folder.iterdir()) == [], what="the file is removed from disk")
    last = service.inside.pool.journal.of(session_id)[-1]
    assert (last.kind, last.data["state"]) == ("download.finished", "canceled")


async def test_a_page_gets_at_most_so_many_files_and_few_events_for_refused_ones(
    service: Running, site: ClientSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_FILES == 100
    files = 10  # a test reaches it sooner
    monkeypatch.setattr(session_downloads, "Ledger", partial(Ledger, limit_files=files))
    session_id = (await service.create(start_url=site.url))["session_id"]
    many = "(async () => { for (let i = 0; i < 20; i++) { %s; await new Promise(done => setTimeout(done, 20)) } })()"

    def started() -> int:
        return sum(event.kind == "download.started" for event in service.inside.pool.journal.of(session_id))

    async def more() -> bool:  # a click cancels the download of the one before if that has not begun
        await service.evaluate(session_id, many % CLICK)
        return started() >= files + 10

    await until(more, what="the first ten refused downloads are reported")
    await service.evaluate(session_id, many % CLICK)
    found = await ended_downloads(service, session_id, count=files)
    assert {each["state"] for each in found} == {"completed"}
    folder = service.inside.work_dir / "sessions" / session_id / "downloads"
    await until(lambda: len(list(folder.iterdir())) == files, what="the others' files are gone")
    assert started() == files + 10


async def test_a_client_can_deny_downloads_while_it_is_connected(service: Running, site: ClientSite) -> None:
    created = await service.create(start_url=site.url)
    session_id = created["session_id"]
    async with raw(created["connect_url"]) as client:
        await client.call("Browser.setDownloadBehavior", {"behavior": "deny"})
        await service.evaluate(session_id, CLICK)
        assert [each["state"] for each in await ended_downloads(service, session_id)] == ["canceled"]

    async def one_came() -> bool:
        await service.evaluate(session_id, CLICK)
        return "completed" in [each["state"] for each in await listed_downloads(service, session_id)]

    await until(one_came, every=0.1, what="downloads are allowed again")


async def enable_downloads(client: Raw) -> None:
    params = {"behavior": "allowAndName", "downloadPath": "/anywhere", "eventsEnabled": True}
    await client.call("Browser.setDownloadBehavior", params)


PLANTED: Final[dict[str, Callable[[Path, Path], object]]] = {
    "symbolic link": lambda path, secret: path.symlink_to(secret),
    "pipe": lambda path, _secret: os.mkfifo(path),
    "hard link": lambda path, secret: path.hardlink_to(secret),
}


async def test_a_file_that_is_not_the_browsers_is_not_sent(service: Running, site: ClientSite) -> None:
    """A Chromium in an attacker's hands may write anything into the folder of downloads."""
    session_id = (await service.create(start_url=site.url))["session_id"]
    await service.evaluate(session_id, CLICK)
    (found,) = await ended_downloads(service, session_id)
    url = f"/v1/browser/sessions/{session_id}/downloads/{found['download_id']}"
    part = await service.http.get(url, headers={"Range": "bytes=5-7"})
    assert (part.status_code, part.content) == (206, REPORT[5:8])

    folder = service.inside.work_dir / "sessions" / session_id
    file, secret = folder / "downloads" / found["download_id"], folder / "secret"
    secret.write_text("the service's")
    for planted, plant in PLANTED.items():
        if planted == "hard link" and os.geteuid() != 0:
            continue  # the browser has the service's user
        file.unlink()
        plant(file, secret)
        response = await service.http.get(url, timeout=10)
        assert (response.status_code, "download-not-found" in response.text) == (404, True), (planted, response.text)


FOR_FILES: Final = {
    "a window with an opener": "void window.open('/report.txt')",
    "one without": "void window.open('/report.txt', '_blank', 'noopener')",
    "a link": "report.target = '_blank', report.click()",
}


@pytest.mark.parametrize("windows", [2, pytest.param(MAX_PAGES + 2, marks=pytest.mark.slow)])
async def test_a_window_opened_for_a_download_closes(service: Running, site: ClientSite, windows: int) -> None:
    """As in a headed browser. Open windows would soon reach the session's page limit."""
    session_id = (await service.create(start_url=site.url))["session_id"]
    scripts = [script for script in FOR_FILES.values() for _ in range(windows)]
    for count, script in enumerate(scripts, 1):
        await service.evaluate(session_id, script)
        await ended_downloads(service, session_id, count)

    async def only_the_first() -> bool:
        pages = (await service.http.get(f"/v1/browser/sessions/{session_id}/pages")).json()["pages"]
        return [page["url"] for page in pages] == [f"{site.url}/"]

    await until(only_the_first, what="the windows are closed")


async def test_a_client_gets_the_download_of_a_window_that_closes(
    service: Running, site: ClientSite, tmp_path: Path, playwright: Playwright
) -> None:
    made = await service.create()
    async with await playwright.chromium.connect_over_cdp(made["connect_url"]) as browser:
        page = browser.contexts[0].pages[0]
        await page.goto(site.url)
        for number, script in enumerate(FOR_FILES.values(), 1):
            async with browser.contexts[0].expect_event("page") as opening, page.expect_event("download") as expected:
                await page.evaluate(script)
            window, download = await opening.value, await expected.value
            assert download.suggested_filename == "report.txt"
            assert [each["state"] for each in await ended_downloads(service, made["session_id"], number)] == [
                "completed"
            ] * number
            await until(window.is_closed, what="the window is closed")
        await browser.close()
