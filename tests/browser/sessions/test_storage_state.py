"""Storage state of one session moved to another, with a real browser and a real site."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from browser_sessions import Client
from tests.harness.service import ADMIN_KEY, Running
from tests.harness.sites.client_site import ClientSite, client_site

pytestmark = pytest.mark.browser

SESSIONS = "/v1/browser/sessions"
LOG_IN = """(async () => {
  document.cookie = 'who=ann'
  await cookieStore.set({name: 'apart', value: '1', partitioned: true})
  localStorage.setItem('half', '\\ud800')
})()"""


def in_order(state: dict[str, Any]) -> dict[str, Any]:
    return {"cookies": state["cookies"], "origins": sorted(state["origins"], key=lambda each: str(each["origin"]))}


@pytest.fixture
def site() -> Iterator[ClientSite]:
    with client_site() as site:
        yield site


async def test_a_login_is_carried_over_to_another_session(service: Running, site: ClientSite) -> None:
    first = await service.create()
    page = f"{SESSIONS}/{first['session_id']}/pages/{await service.first_page(first['session_id'])}"
    for url in (site.url, site.other):  # the second is open, the first must be opened to be read
        assert (await service.http.post(f"{page}/navigate", json={"url": url})).status_code == 200
        await service.evaluate(first["session_id"], LOG_IN)

    path = f"{SESSIONS}/{first['session_id']}/storage-state"
    taken = await service.http.get(path)
    assert taken.status_code == 200, taken.text
    assert taken.headers["cache-control"] == "no-store"
    state = taken.json()
    assert {cookie["domain"] for cookie in state["cookies"]} == {"127.0.0.1", "localhost"}
    assert {origin["origin"] for origin in state["origins"]} == {site.url, site.other}
    pages = (await service.http.get(f"{SESSIONS}/{first['session_id']}/pages")).json()["pages"]
    assert len(pages) == 1, "pages opened for reading must be closed"

    for origin in state["origins"]:
        origin["localStorage"] = [{"name": "kept", "value": "yes"}]  # the lone surrogate is not restored
    second = await service.create(storage_state=state, start_url=site.url)
    seen = await service.evaluate(second["session_id"], "[document.cookie, localStorage.kept]")
    assert seen == ["who=ann; apart=1", "yes"]
    again = await service.http.get(f"{SESSIONS}/{second['session_id']}/storage-state")
    assert in_order(again.json()) == in_order(state)
    assert "ann" not in str((await service.details(second["session_id"]))["options"])


async def test_storage_state_of_a_hung_a_foreign_or_an_ended_session_is_an_error(
    service: Running, site: ClientSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("browser_sessions.api.routes.storage_state.TIMEOUT_S", 0.3)
    session_id = (await service.create(start_url=site.url))["session_id"]
    page_id = await service.first_page(session_id)
    path = f"{SESSIONS}/{session_id}/storage-state"
    async with service.caller(await service.key()) as outsider:
        assert (await outsider.get(path)).status_code == 404
    hung = {"expression": "setTimeout(() => { while (true); })"}
    await service.http.post(f"{SESSIONS}/{session_id}/pages/{page_id}/evaluate", json=hung)
    assert (await service.http.get(path)).status_code == 504
    await service.http.delete(f"{SESSIONS}/{session_id}")
    assert (await service.http.get(path)).status_code == 409


@pytest.mark.slow
async def test_storage_state_with_the_python_client(service: Running, site: ClientSite) -> None:
    async with Client(service.url, ADMIN_KEY) as client, client.session(start_url=site.url) as first:
        await first.evaluate("document.cookie = 'who=ann'")
        state = await first.storage_state()
        async with client.session(start_url=site.url, storage_state=state) as second:
            assert await second.evaluate("document.cookie") == "who=ann"
