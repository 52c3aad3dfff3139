"""Sessions over HTTP, as a client sees them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from browser_sessions.api.dependencies import ApiOptions
from browser_sessions.api.routes.live import WITHOUT_VIEW_S
from browser_sessions.auth.tickets import verify
from browser_sessions.domain.errors import NoBrowser, PageFailed
from browser_sessions.domain.principal import Role
from browser_sessions.domain.session import EndReason
from browser_sessions.pool.reaper import Reaper
from tests.harness.fakes.fake_browser import ManualClock
from tests.harness.fakes.fake_node import BASE_URL, Node, node
from tests.harness.waiting import until

SESSIONS = "/v1/browser/sessions"


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Node]:
    async with node(tmp_path) as running:
        yield running


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def timed(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Node]:
    async with node(tmp_path, clock=clock, options=ApiOptions(max_lifetime_seconds=None)) as running:
        yield running


async def create(service: Node, headers: dict[str, str], **body: Any) -> dict[str, Any]:
    response = await service.client.post(SESSIONS, json=body, headers=headers)
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_a_create_returns_the_session_with_its_location_and_urls(service: Node) -> None:
    mine = await service.key()
    response = await service.client.post(SESSIONS, json={"viewport_width": 800}, headers=mine)
    created = response.json()
    path = f"{SESSIONS}/{created['session_id']}"
    assert response.headers["location"] == path
    assert (created["status"], created["viewport_width"], created["viewport_height"]) == ("active", 800, 720)
    assert created["connect_url"].startswith(f"ws://127.0.0.1{path}/cdp?ticket=")
    assert created["live_url"].startswith(f"ws://127.0.0.1{path}/live?ticket=")


async def test_the_tickets_are_for_this_session_and_caller(service: Node) -> None:
    mine = await service.key()
    created = await create(service, mine)
    principal = service.keyring.principal_of(mine["X-API-Key"], None)
    ticket = created["connect_url"].split("ticket=")[1]
    now = service.pool.clock.wall()
    assert verify(service.secrets.ticket_secret, ticket, created["session_id"], "cdp", now).principal == principal


async def test_session_urls_use_the_public_url(tmp_path: Path) -> None:
    options = ApiOptions(public_url="https://browsers.example.com")
    async with node(tmp_path, options=options) as service:
        created = await create(service, await service.key())
        assert created["connect_url"].startswith(f"wss://browsers.example.com{SESSIONS}/ses_")


async def test_every_requested_option_reaches_the_browser(service: Node) -> None:
    await create(
        service,
        await service.key(),
        viewport_width=801,
        viewport_height=602,
        user_agent="Agent/1",
        locale="de-DE",
        timezone_id="Europe/Berlin",
        geolocation={"latitude": 1.5, "longitude": 2},
        permissions=["geolocation"],
        color_scheme="dark",
        extra_http_headers={"X-A": "b"},
        ignore_https_errors=True,
        java_script_enabled=False,
        proxy={"server": "http://proxy.example:3128", "username": "u", "password": "canary"},
        storage_state={"cookies": [{"name": "a", "value": "canary", "domain": "a.example"}]},
        start_url="https://a.example/",
        metadata={"job": "7"},
    )
    spec = service.launcher.opened[-1].spec
    assert (spec.viewport_width, spec.viewport_height, spec.user_agent) == (801, 602, "Agent/1")
    assert (spec.locale, spec.timezone_id, spec.color_scheme) == ("de-DE", "Europe/Berlin", "dark")
    assert spec.geolocation is not None
    assert spec.geolocation.latitude == 1.5
    assert spec.extra_http_headers == (("X-A", "b"),)
    assert (spec.ignore_https_errors, spec.java_script_enabled) == (True, False)
    assert spec.proxy is not None
    assert spec.proxy.password == "canary"
    assert spec.storage_state is not None
    assert spec.storage_state["cookies"][0]["value"] == "canary"
    assert (spec.start_url, spec.metadata) == ("https://a.example/", (("job", "7"),))


async def test_details_have_all_options_with_masked_secrets(service: Node) -> None:
    mine = await service.key()
    created = await create(
        service,
        mine,
        device="iPhone 15",
        extra_http_headers={"Authorization": "canary"},
        proxy={"server": "http://proxy.example:3128", "username": "u", "password": "canary"},
        storage_state={"cookies": [{"name": "a", "value": "canary", "domain": "a.example"}]},
        start_url="https://ann:canary@a.example/",
        metadata={"job": "7"},
    )
    response = await service.client.get(f"{SESSIONS}/{created['session_id']}/details", headers=mine)
    details = response.json()
    assert "canary" not in response.text
    assert (details["end_reason"], details["ended_at"], details["isolation"]) == (None, None, "context")
    assert (details["connections"], details["pages"], details["metadata"]) == (0, 1, {"job": "7"})
    assert (details["idle_timeout_seconds"], details["max_lifetime_seconds"]) == (300, 3600)
    assert details["options"]["device"] == "iPhone 15"
    assert details["options"]["is_mobile"] is True
    assert details["options"]["start_url"] == "https://ann:***@a.example/"
    assert details["connect_url"].startswith("ws://")


async def test_details_of_an_ended_session_have_the_reason_and_no_urls(service: Node) -> None:
    mine = await service.key()
    created = await create(service, mine)
    await service.pool.end(created["session_id"], EndReason.IDLE)
    details = (await service.client.get(f"{SESSIONS}/{created['session_id']}/details", headers=mine)).json()
    assert (details["status"], details["end_reason"]) == ("expired", "idle_timeout")
    assert details["ended_at"] is not None
    assert (details["connect_url"], details["live_url"], details["pages"]) == (None, None, 0)


async def test_a_failed_start_page_is_an_error_and_leaves_no_session(service: Node) -> None:
    service.launcher.open_error = PageFailed("net::ERR_NAME_NOT_RESOLVED at https://a.invalid/")
    response = await service.client.post(SESSIONS, json={"start_url": "https://a.invalid"}, headers=await service.key())
    assert response.status_code == 409
    assert "ERR_NAME_NOT_RESOLVED" in response.json()["detail"]
    assert not service.pool.registry.sessions


# -- idempotency -------------------------------------------------------------------------------------------------------


async def test_the_same_key_and_body_give_the_same_session(service: Node) -> None:
    headers = await service.key() | {"Idempotency-Key": "create 1"}
    first = await service.client.post(SESSIONS, json={"viewport_width": 800, "metadata": {}}, headers=headers)
    again = await service.client.post(SESSIONS, json={"metadata": {}, "viewport_width": 800}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["session_id"] == again.json()["session_id"]
    assert first.headers["location"] == again.headers["location"]
    assert again.headers["idempotency-replayed"] == "true"
    assert len(service.pool.registry.sessions) == 1


async def test_the_same_key_with_another_body_is_a_409(service: Node) -> None:
    headers = await service.key() | {"Idempotency-Key": "create-1"}
    await service.client.post(SESSIONS, json={"viewport_width": 800}, headers=headers)
    response = await service.client.post(SESSIONS, json={"viewport_width": 801}, headers=headers)
    assert response.status_code == 409
    assert response.json()["type"].endswith(":idempotency-mismatch")


async def test_idempotency_keys_are_separate_per_principal(service: Node) -> None:
    created = [
        (await service.client.post(SESSIONS, headers=await service.key() | {"Idempotency-Key": "one"})).json()
        for _ in range(2)
    ]
    assert created[0]["session_id"] != created[1]["session_id"]


async def test_concurrent_creates_with_one_key_give_one_session(service: Node) -> None:
    headers = await service.key() | {"Idempotency-Key": "one"}
    responses = await asyncio.gather(*(service.client.post(SESSIONS, headers=headers) for _ in range(10)))
    assert {response.status_code for response in responses} == {201}
    assert len({response.json()["session_id"] for response in responses}) == 1
    assert len(service.launcher.opened) == 1


# -- list --------------------------------------------------------------------------------------------------------------


async def test_a_list_has_own_sessions_newest_first_in_consistent_pages(service: Node) -> None:
    mine, theirs = await service.key(), await service.key()
    made = [(await create(service, mine))["session_id"] for _ in range(7)]
    await create(service, theirs)
    for session_id in made[::2]:
        await service.client.delete(f"{SESSIONS}/{session_id}", headers=mine)
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(10):
        query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = (await service.client.get(SESSIONS, params=query, headers=mine)).json()
        seen += [session["session_id"] for session in page["sessions"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == made[::-1]


async def test_a_list_can_be_filtered(service: Node) -> None:
    mine = await service.key()
    red, blue, gone = [
        (await create(service, mine, metadata={"color": color, "a.b": "c"}))["session_id"]
        for color in ("red", "blue", "red")
    ]
    await service.client.delete(f"{SESSIONS}/{gone}", headers=mine)

    async def listed(query: str) -> list[str]:
        response = await service.client.get(f"{SESSIONS}?{query}", headers=mine)
        assert response.status_code == 200, response.text
        return [session["session_id"] for session in response.json()["sessions"]]

    assert await listed("status=active") == [blue, red]
    assert await listed("status=closed") == [gone]
    assert await listed("status=closed&status=active") == [gone, blue, red]
    assert await listed("metadata.color=red") == [gone, red]
    assert await listed("metadata.color=red&status=active") == [red]
    assert await listed("metadata.a.b=c&limit=1") == [gone]
    assert await listed("metadata.color=green") == []


# -- activity and time -------------------------------------------------------------------------------------------------


async def test_keepalive_is_activity_and_reads_are_not(timed: Node, clock: ManualClock) -> None:
    mine = await timed.key()
    created = await create(timed, mine, idle_timeout_seconds=100)
    path = f"{SESSIONS}/{created['session_id']}"
    clock.advance(50)
    for read in ("", "/details", "/health", "/pages"):
        await timed.client.get(path + read, headers=mine)
    await timed.client.get(SESSIONS, headers=mine)
    after = (await timed.client.get(path, headers=mine)).json()
    assert (after["last_activity"], after["expires_at"]) == (created["last_activity"], created["expires_at"])
    kept = (await timed.client.post(path + "/keepalive", headers=mine)).json()
    assert (moment(kept["last_activity"]) - moment(created["last_activity"])).total_seconds() == 50
    assert (moment(kept["expires_at"]) - moment(kept["last_activity"])).total_seconds() == 100


async def test_extend_seconds_moves_the_hard_deadline(timed: Node) -> None:
    mine = await timed.key()
    created = await create(timed, mine, idle_timeout_seconds=None, max_lifetime_seconds=60)
    path = f"{SESSIONS}/{created['session_id']}/keepalive"
    kept = (await timed.client.post(path, json={"extend_seconds": 30}, headers=mine)).json()
    assert (moment(kept["expires_at"]) - moment(created["expires_at"])).total_seconds() == 30
    details = (await timed.client.get(f"{SESSIONS}/{created['session_id']}/details", headers=mine)).json()
    assert details["max_lifetime_seconds"] == 90, "the current limit, not the requested one"


async def test_a_connect_url_is_good_as_long_as_the_session_lives(timed: Node, clock: ManualClock) -> None:
    mine = await timed.key()
    created = await create(timed, mine, idle_timeout_seconds=None, max_lifetime_seconds=60)
    path = f"{SESSIONS}/{created['session_id']}/keepalive"
    await timed.client.post(path, json={"extend_seconds": 100_000}, headers=mine)
    clock.advance(99_000)
    ticket = created["connect_url"].partition("ticket=")[2]
    verify(timed.secrets.ticket_secret, ticket, created["session_id"], "cdp", clock.wall())


async def test_control_over_http_does_not_outlive_its_holder(timed: Node, clock: ManualClock) -> None:
    created = await create(timed, await timed.key(), idle_timeout_seconds=None, max_lifetime_seconds=None)
    path = f"{SESSIONS}/{created['session_id']}/control"
    reaper = Reaper(timed.pool)

    async def take(headers: dict[str, str]) -> int:
        return (await timed.client.post(path, json={"action": "take"}, headers=headers)).status_code

    ann, bob = await timed.key(Role.OPERATOR), await timed.key(Role.OPERATOR)
    assert (await take(ann), await take(bob)) == (200, 409)
    clock.advance(WITHOUT_VIEW_S - 1)
    await reaper.turn()
    assert await take(bob) == 409
    clock.advance(1)
    await reaper.turn()
    assert await take(bob) == 200

    admin = {"X-API-Key": timed.secrets.admin_key}
    await timed.client.delete(f"/v1/auth/keys/{bob['X-API-Key'].split('_')[1]}", headers=admin)
    assert (await take(bob), await take(ann), await take(admin)) == (401, 200, 200)
    assert (await timed.client.post(path, json={"action": "release"}, headers=ann)).status_code == 409


async def test_extend_seconds_beyond_the_servers_maximum_is_refused_with_the_field(tmp_path: Path) -> None:
    async with node(tmp_path, options=ApiOptions(max_lifetime_seconds=90.0)) as service:
        mine = await service.key()
        created = await create(service, mine, max_lifetime_seconds=60)
        path = f"{SESSIONS}/{created['session_id']}/keepalive"
        response = await service.client.post(path, json={"extend_seconds": 31}, headers=mine)
        assert response.status_code == 422
        assert response.json()["detail"][0]["loc"] == ["body", "extend_seconds"]
        assert (await service.client.post(path, json={"extend_seconds": 30}, headers=mine)).status_code == 200


async def test_expires_at_is_null_only_without_limits(timed: Node) -> None:
    created = await create(timed, await timed.key(), idle_timeout_seconds=None, max_lifetime_seconds=None)
    assert created["expires_at"] is None


# -- the end -----------------------------------------------------------------------------------------------------------


async def test_delete_returns_the_final_session_repeatedly(service: Node) -> None:
    mine = await service.key()
    path = f"{SESSIONS}/{(await create(service, mine))['session_id']}"
    first = await service.client.delete(path, headers=mine)
    again = await service.client.delete(path, headers=mine)
    assert (first.status_code, first.json()["status"]) == (200, "closed")
    assert list(first.json())[-1] == "expires_at"
    assert (again.status_code, again.json()) == (200, first.json())


@pytest.mark.parametrize("path", ["/keepalive", "/pages", "/pages/page-1/navigate", "/pages/page-1/evaluate"])
async def test_actions_on_an_ended_session_are_a_409(service: Node, path: str) -> None:
    mine = await service.key()
    created = await create(service, mine)
    await service.client.delete(f"{SESSIONS}/{created['session_id']}", headers=mine)
    bodies = {
        "/pages/page-1/navigate": {"url": "https://a.example"},
        "/pages/page-1/evaluate": {"expression": "1"},
    }
    url = f"{SESSIONS}/{created['session_id']}{path}"
    response = await service.client.post(url, json=bodies.get(path), headers=mine)
    assert response.status_code == 409
    assert "closed" in response.json()["detail"]
    assert response.json()["session_id"] == created["session_id"]


async def test_an_ended_session_no_longer_in_memory_is_read_from_the_store(service: Node) -> None:
    mine = await service.key()
    path = f"{SESSIONS}/{(await create(service, mine))['session_id']}"
    ended = (await service.client.delete(path, headers=mine)).json()
    service.pool.registry.recent.clear()
    assert (await service.client.get(path, headers=mine)).json() == ended
    assert (await service.client.delete(path, headers=mine)).json() == ended
    assert (await service.client.post(path + "/keepalive", headers=mine)).status_code == 409
    assert (await service.client.post(path + "/pages", headers=mine)).status_code == 409
    assert (await service.client.get(path + "/pages", headers=mine)).json() == {"pages": []}


async def test_health_of_a_live_and_of_an_ended_session(service: Node) -> None:
    mine = await service.key()
    path = f"{SESSIONS}/{(await create(service, mine))['session_id']}"
    well = (await service.client.get(path + "/health", headers=mine)).json()
    assert (well["healthy"], well["status"], well["problem"]) == (True, "active", None)
    await service.client.delete(path, headers=mine)
    ended = (await service.client.get(path + "/health", headers=mine)).json()
    assert (ended["healthy"], ended["status"], ended["browser_alive"]) == (False, "closed", False)
    assert ended["problem"]


# -- a full pool -------------------------------------------------------------------------------------------------------


async def test_a_full_pool_is_a_503_with_retry_after(tmp_path: Path) -> None:
    async with node(tmp_path, max_sessions=1) as service:
        mine = await service.key()
        await create(service, mine)
        response = await service.client.post(SESSIONS, headers=mine)
        assert response.status_code == 503
        assert response.json()["type"].endswith(":pool-full")
        assert int(response.headers["retry-after"]) >= 1
        assert 'browser_sessions_refused_total{reason="pool-full"} 1.0' in (await service.client.get("/metrics")).text


async def test_a_queued_create_gets_the_next_free_slot(tmp_path: Path) -> None:
    async with node(tmp_path, max_sessions=1) as service:
        mine = await service.key()
        first = await create(service, mine)
        waiting = asyncio.create_task(service.client.post(SESSIONS, json={"wait_seconds": 60}, headers=mine))
        await until(lambda: service.pool.admission.waiting)
        await service.client.delete(f"{SESSIONS}/{first['session_id']}", headers=mine)
        assert (await waiting).status_code == 201


async def test_a_draining_node_refuses_creates(service: Node) -> None:
    service.pool.drain()
    response = await service.client.post(SESSIONS, headers=await service.key())
    assert response.status_code == 503
    assert response.json()["type"].endswith(":draining")
    assert "retry-after" in response.headers


async def test_no_browser_is_a_503(service: Node) -> None:
    service.launcher.launch_error = NoBrowser("No browser starts: no executable.")
    response = await service.client.post(SESSIONS, headers=await service.key())
    assert response.status_code == 503
    assert response.json()["type"].endswith(":no-browser")


@pytest.mark.parametrize("has_slot", [True, False], ids=["while starting", "while queued"])
async def test_a_caller_who_disconnects_during_a_create_leaves_nothing(tmp_path: Path, has_slot: bool) -> None:
    async with node(tmp_path, max_sessions=2 if has_slot else 1) as service:
        mine = await service.key()
        await create(service, mine)
        service.launcher.gate.clear()
        disconnected = asyncio.Event()
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            if not sent:
                sent.append("body")
                return {"type": "http.request", "body": b'{"wait_seconds": 60}', "more_body": False}
            await disconnected.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": SESSIONS,
            "raw_path": SESSIONS.encode(),
            "query_string": b"",
            "scheme": "http",
            "http_version": "1.1",
            "root_path": "",
            "client": ("127.0.0.1", 5),
            "server": ("127.0.0.1", 80),
            "headers": [
                (b"host", BASE_URL.removeprefix("http://").encode()),
                (b"content-type", b"application/json"),
                (b"x-api-key", mine["X-API-Key"].encode()),
            ],
        }
        call = asyncio.create_task(service.app(scope, receive, send))
        await until(lambda: len(service.pool.registry.sessions) == 2)
        disconnected.set()
        await asyncio.wait_for(call, 10)
        assert len(service.pool.registry.sessions) == 1
        assert service.pool.admission.taken == 1
        assert service.pool.admission.waiting == 0
        service.launcher.gate.set()
