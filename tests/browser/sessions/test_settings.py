"""Settings that a service seldom has, of one service that has them all, because each would need its own browser."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.harness.certificates import Authority
from tests.harness.clients.downloads import ended_downloads
from tests.harness.clients.sse import stream
from tests.harness.service import Running
from tests.harness.shared import SharedService
from tests.harness.sites.client_site import ClientSite, client_site
from tests.harness.sites.plain_site import Site
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

URL = "/v1/browser/sessions"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_unusual(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SharedService]:
    def folder() -> Path:
        found = tmp_path_factory.mktemp("unusual")
        (found / "data").mkdir()
        (found / "data" / "devtools").write_text("no folder")
        return found

    shared = SharedService(
        folder,
        egress=False,
        max_lifetime_seconds="none",
        max_sessions=3,
        max_sessions_per_principal=1,
        max_download_bytes=2**20,
    )
    yield shared
    await shared.close()


@pytest_asyncio.fixture(loop_scope="session")
async def unusual(shared_unusual: SharedService, request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    """A service without egress proxy, lifetime limit and DevTools' files, with one session for each principal and a
    small quota of downloads."""
    async with shared_unusual.lent(request.node) as service:
        yield service


@pytest.fixture
def client_pages() -> Iterator[ClientSite]:
    with client_site() as served:
        yield served


async def test_without_the_egress_proxy_sessions_connect_directly(unusual: Running, site: Site) -> None:
    response = await unusual.http.post(URL, json={"max_traffic_bytes": 1})
    assert response.status_code == 422
    assert "egress proxy of this server is off" in json.dumps(response.json())
    created = await unusual.create(start_url=site.url)
    assert [path for path, _ in site.requests][:1] == ["/"]
    assert (await unusual.details(created["session_id"]))["traffic"] is None


async def test_without_the_egress_proxy_client_certificates_are_refused(unusual: Running, tmp_path: Path) -> None:
    ann = Authority(tmp_path).sign("ann").for_origin("https://shop.example")
    response = await unusual.http.post(URL, json={"client_certificates": [ann]})
    assert response.status_code == 422
    assert "egress proxy of this server is off" in response.text


async def test_a_session_without_limits_has_no_expiry(unusual: Running) -> None:
    created = await unusual.create(idle_timeout_seconds=None, max_lifetime_seconds=None)
    assert created["expires_at"] is None


async def test_an_exhausted_quota_is_a_429(unusual: Running) -> None:
    await unusual.create()
    assert (await unusual.http.post(URL, json={})).status_code == 429
    async with unusual.caller(await unusual.key()) as other:
        assert (await other.post(URL, json={})).status_code == 201


async def test_without_a_cache_the_service_starts_and_devtools_is_a_503_with_the_reason(unusual: Running) -> None:
    session_id = (await unusual.create())["session_id"]
    base = f"{URL}/{session_id}"
    page = {"page_id": await unusual.first_page(session_id)}
    for response in (
        await unusual.http.post(f"{base}/devtools", json=page),
        await unusual.http.get(f"{base}/cdp/json/protocol"),
    ):
        assert response.status_code == 503
        problem = response.json()
        assert problem["type"] == "urn:browser-sessions:problem:devtools-unavailable"
        assert "Getting its files from Chromium" in problem["detail"]
        assert str(unusual.inside.settings.data_dir) not in problem["detail"]


async def test_a_download_that_exceeds_the_quota_is_not_kept(unusual: Running, client_pages: ClientSite) -> None:
    session_id = (await unusual.create(start_url=client_pages.url))["session_id"]
    await unusual.evaluate(session_id, f"void (location.href = '{client_pages.url}/endless')")
    (found,) = await ended_downloads(unusual, session_id)
    assert (found["state"], found["received_bytes"]) == ("over_quota", 0)
    url = f"/v1/browser/sessions/{session_id}/downloads/{found['download_id']}"
    refused = await unusual.http.get(url)
    assert (refused.status_code, "over_quota" in refused.json()["detail"]) == (409, True)
    folder = unusual.inside.work_dir / "sessions" / session_id / "downloads"
    await until(lambda: list(folder.iterdir()) == [], what="the file is removed from disk")
    await unusual.evaluate(session_id, "document.querySelector('#report').click()")
    both = await ended_downloads(unusual, session_id, count=2)
    assert [each["state"] for each in both] == ["over_quota", "completed"]


async def test_streams_end_with_the_service_and_do_not_delay_its_stop(shared_unusual: SharedService) -> None:
    service = await shared_unusual.take()
    session_id = (await service.create())["session_id"]
    async with stream(service.http, "/v1/browser/events") as everything:
        loop = asyncio.get_running_loop()
        began = loop.time()
        stopping = asyncio.create_task(service.inside.stop())
        seen: list[Any] = await everything.to_end()
        await stopping
    assert any(event["type"] == "session.ended" and event["session_id"] == session_id for event in seen)
    assert loop.time() - began < 30
    await shared_unusual.close()
