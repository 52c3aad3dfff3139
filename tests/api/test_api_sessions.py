"""Sessions over HTTP, as a client sees them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from browser_sessions.api.dependencies import ApiOptions
from browser_sessions.auth.tickets import verify
from browser_sessions.domain.errors import NoBrowser, PageFailed
from browser_sessions.domain.session import EndReason
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
    answer = await service.client.post(SESSIONS, json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_a_created_session_is_told_with_its_place_and_its_addresses(service: Node) -> None:
    mine = await service.key()
    answer = await service.client.post(SESSIONS, json={"viewport_width": 800}, headers=mine)
    told = answer.json()
    path = f"{SESSIONS}/{told['session_id']}"
    assert answer.headers["location"] == path
    assert (told["status"], told["viewport_width"], told["viewport_height"]) == ("active", 800, 720)
    assert told["connect_url"].startswith(f"ws://127.0.0.1{path}/cdp?ticket=")
    assert told["live_url"].startswith(f"ws://127.0.0.1{path}/live?ticket=")


async def test_the_tickets_cover_this_session_for_this_caller(service: Node) -> None:
    mine = await service.key()
    told = await create(service, mine)
    principal = service.keyring.principal_of(mine["X-API-Key"], None)
    ticket = told["connect_url"].split("ticket=")[1]
    now = service.pool.clock.wall()
    assert verify(service.secrets.ticket_secret, ticket, told["session_id"], "cdp", now).principal == principal


async def test_the_public_url_is_where_callers_are_sent(tmp_path: Path) -> None:
    options = ApiOptions(public_url="https://browsers.example.com")
    async with node(tmp_path, options=options) as service:
        told = await create(service, await service.key())
        assert told["connect_url"].startswith(f"wss://browsers.example.com{SESSIONS}/ses_")


async def test_everything_asked_for_reaches_the_browser(service: Node) -> None:
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
        proxy={"server": "http://proxy.example:3128", "password": "canary"},
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


async def test_details_say_everything_and_mask_secrets(service: Node) -> None:
    mine = await service.key()
    told = await create(
        service,
        mine,
        device="iPhone 15",
        extra_http_headers={"Authorization": "canary"},
        proxy={"server": "http://proxy.example:3128", "username": "u", "password": "canary"},
        storage_state={"cookies": [{"name": "a", "value": "canary", "domain": "a.example"}]},
        start_url="https://ann:canary@a.example/",
        metadata={"job": "7"},
    )
    answer = await service.client.get(f"{SESSIONS}/{told['session_id']}/details", headers=mine)
    details = answer.json()
    assert "canary" not in answer.text
    assert (details["end_reason"], details["ended_at"], details["isolation"]) == (None, None, "context")
    assert (details["connections"], details["pages"], details["metadata"]) == (0, 1, {"job": "7"})
    assert (details["idle_timeout_seconds"], details["max_lifetime_seconds"]) == (300, 3600)
    assert details["options"]["device"] == "iPhone 15"
    assert details["options"]["is_mobile"] is True
    assert details["options"]["start_url"] == "https://ann:***@a.example/"
    assert details["connect_url"].startswith("ws://")


async def test_details_of_an_ended_session_say_why_and_offer_no_address(service: Node) -> None:
    mine = await service.key()
    told = await create(service, mine)
    await service.pool.end(told["session_id"], EndReason.IDLE)
    details = (await service.client.get(f"{SESSIONS}/{told['session_id']}/details", headers=mine)).json()
    assert (details["status"], details["end_reason"]) == ("expired", "idle_timeout")
    assert details["ended_at"] is not None
    assert (details["connect_url"], details["live_url"], details["pages"]) == (None, None, 0)


async def test_a_failing_start_page_is_told_and_leaves_nothing(service: Node) -> None:
    service.launcher.open_error = PageFailed("net::ERR_NAME_NOT_RESOLVED at https://a.invalid/")
    answer = await service.client.post(SESSIONS, json={"start_url": "https://a.invalid"}, headers=await service.key())
    assert answer.status_code == 409
    assert "ERR_NAME_NOT_RESOLVED" in answer.json()["detail"]
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
    answer = await service.client.post(SESSIONS, json={"viewport_width": 801}, headers=headers)
    assert answer.status_code == 409
    assert answer.json()["type"].endswith(":idempotency-mismatch")


async def test_keys_of_two_principals_are_two_keys(service: Node) -> None:
    told = [
        (await service.client.post(SESSIONS, headers=await service.key() | {"Idempotency-Key": "one"})).json()
        for _ in range(2)
    ]
    assert told[0]["session_id"] != told[1]["session_id"]


async def test_many_at_once_with_one_key_make_one_session(service: Node) -> None:
    headers = await service.key() | {"Idempotency-Key": "one"}
    answers = await asyncio.gather(*(service.client.post(SESSIONS, headers=headers) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["session_id"] for answer in answers}) == 1
    assert len(service.launcher.opened) == 1


# -- list --------------------------------------------------------------------------------------------------------------


async def test_a_list_is_ones_own_newest_first_in_pages_without_gap_or_repeat(service: Node) -> None:
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


async def test_a_list_can_be_narrowed(service: Node) -> None:
    mine = await service.key()
    red, blue, gone = [
        (await create(service, mine, metadata={"color": color, "a.b": "c"}))["session_id"]
        for color in ("red", "blue", "red")
    ]
    await service.client.delete(f"{SESSIONS}/{gone}", headers=mine)

    async def listed(query: str) -> list[str]:
        answer = await service.client.get(f"{SESSIONS}?{query}", headers=mine)
        assert answer.status_code == 200, answer.text
        return [session["session_id"] for session in answer.json()["sessions"]]

    assert await listed("status=active") == [blue, red]
    assert await listed("status=closed") == [gone]
    assert await listed("status=closed&status=active") == [gone, blue, red]
    assert await listed("metadata.color=red") == [gone, red]
    assert await listed("metadata.color=red&status=active") == [red]
    assert await listed("metadata.a.b=c&limit=1") == [gone]
    assert await listed("metadata.color=green") == []


# -- activity and time -------------------------------------------------------------------------------------------------


async def test_reading_is_no_activity_and_keepalive_is(timed: Node, clock: ManualClock) -> None:
    mine = await timed.key()
    told = await create(timed, mine, idle_timeout_seconds=100)
    path = f"{SESSIONS}/{told['session_id']}"
    clock.advance(50)
    for read in ("", "/details", "/health", "/pages"):
        await timed.client.get(path + read, headers=mine)
    await timed.client.get(SESSIONS, headers=mine)
    after = (await timed.client.get(path, headers=mine)).json()
    assert (after["last_activity"], after["expires_at"]) == (told["last_activity"], told["expires_at"])
    kept = (await timed.client.post(path + "/keepalive", headers=mine)).json()
    assert (moment(kept["last_activity"]) - moment(told["last_activity"])).total_seconds() == 50
    assert (moment(kept["expires_at"]) - moment(kept["last_activity"])).total_seconds() == 100


async def test_extend_seconds_moves_the_hard_limit(timed: Node) -> None:
    mine = await timed.key()
    told = await create(timed, mine, idle_timeout_seconds=None, max_lifetime_seconds=60)
    path = f"{SESSIONS}/{told['session_id']}/keepalive"
    kept = (await timed.client.post(path, json={"extend_seconds": 30}, headers=mine)).json()
    assert (moment(kept["expires_at"]) - moment(told["expires_at"])).total_seconds() == 30
    details = (await timed.client.get(f"{SESSIONS}/{told['session_id']}/details", headers=mine)).json()
    assert details["max_lifetime_seconds"] == 90, "what limits it now, not what was asked once"


async def test_extend_seconds_beyond_the_servers_maximum_is_refused_by_name(tmp_path: Path) -> None:
    async with node(tmp_path, options=ApiOptions(max_lifetime_seconds=90.0)) as service:
        mine = await service.key()
        told = await create(service, mine, max_lifetime_seconds=60)
        path = f"{SESSIONS}/{told['session_id']}/keepalive"
        answer = await service.client.post(path, json={"extend_seconds": 31}, headers=mine)
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["loc"] == ["body", "extend_seconds"]
        assert (await service.client.post(path, json={"extend_seconds": 30}, headers=mine)).status_code == 200


async def test_expires_at_is_null_only_when_nothing_limits(timed: Node) -> None:
    told = await create(timed, await timed.key(), idle_timeout_seconds=None, max_lifetime_seconds=None)
    assert told["expires_at"] is None


# -- the end -----------------------------------------------------------------------------------------------------------


async def test_delete_answers_the_final_eight_and_again_the_same(service: Node) -> None:
    mine = await service.key()
    path = f"{SESSIONS}/{(await create(service, mine))['session_id']}"
    first = await service.client.delete(path, headers=mine)
    again = await service.client.delete(path, headers=mine)
    assert (first.status_code, first.json()["status"]) == (200, "closed")
    assert list(first.json())[-1] == "expires_at"
    assert (again.status_code, again.json()) == (200, first.json())


@pytest.mark.parametrize("path", ["/keepalive", "/pages", "/pages/page-1/navigate", "/pages/page-1/evaluate"])
async def test_an_ended_session_cannot_be_used_and_says_so(service: Node, path: str) -> None:
    mine = await service.key()
    told = await create(service, mine)
    await service.client.delete(f"{SESSIONS}/{told['session_id']}", headers=mine)
    bodies = {
        "/pages/page-1/navigate": {"url": "https://a.example"},
        "/pages/page-1/evaluate": {"expression": "1"},
    }
    url = f"{SESSIONS}/{told['session_id']}{path}"
    answer = await service.client.post(url, json=bodies.get(path), headers=mine)
    assert answer.status_code == 409
    assert "closed" in answer.json()["detail"]
    assert answer.json()["session_id"] == told["session_id"]


async def test_an_ended_session_that_memory_forgot_is_told_from_the_store(service: Node) -> None:
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


# -- no room -----------------------------------------------------------------------------------------------------------


async def test_a_full_pool_is_a_503_that_says_when_to_come_back(tmp_path: Path) -> None:
    async with node(tmp_path, max_sessions=1) as service:
        mine = await service.key()
        await create(service, mine)
        answer = await service.client.post(SESSIONS, headers=mine)
        assert answer.status_code == 503
        assert answer.json()["type"].endswith(":pool-full")
        assert int(answer.headers["retry-after"]) >= 1
        assert 'browser_sessions_refused_total{reason="pool-full"} 1.0' in (await service.client.get("/metrics")).text


async def test_who_waits_gets_the_place_that_comes_free(tmp_path: Path) -> None:
    async with node(tmp_path, max_sessions=1) as service:
        mine = await service.key()
        first = await create(service, mine)
        waiting = asyncio.create_task(service.client.post(SESSIONS, json={"wait_seconds": 60}, headers=mine))
        await until(lambda: service.pool.admission.waiting)
        await service.client.delete(f"{SESSIONS}/{first['session_id']}", headers=mine)
        assert (await waiting).status_code == 201


async def test_a_draining_node_takes_nothing_new(service: Node) -> None:
    service.pool.drain()
    answer = await service.client.post(SESSIONS, headers=await service.key())
    assert answer.status_code == 503
    assert answer.json()["type"].endswith(":draining")
    assert "retry-after" in answer.headers


async def test_no_browser_is_a_503(service: Node) -> None:
    service.launcher.launch_error = NoBrowser("No browser starts: no executable.")
    answer = await service.client.post(SESSIONS, headers=await service.key())
    assert answer.status_code == 503
    assert answer.json()["type"].endswith(":no-browser")


@pytest.mark.parametrize("room", [True, False], ids=["while it starts", "while it waits"])
async def test_a_caller_who_leaves_leaves_nothing(tmp_path: Path, room: bool) -> None:
    async with node(tmp_path, max_sessions=2 if room else 1) as service:
        mine = await service.key()
        await create(service, mine)
        service.launcher.gate.clear()
        leave = asyncio.Event()
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            if not sent:
                sent.append("body")
                return {"type": "http.request", "body": b'{"wait_seconds": 60}', "more_body": False}
            await leave.wait()
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
        leave.set()
        await asyncio.wait_for(call, 10)
        assert len(service.pool.registry.sessions) == 1
        assert service.pool.admission.taken == 1
        assert service.pool.admission.waiting == 0
        service.launcher.gate.set()
