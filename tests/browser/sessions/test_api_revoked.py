"""When a key is revoked or a user removed, open connections end at once and tickets become invalid."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from browser_sessions.auth.credential_leases import Leases
from tests.harness.clients.raw_cdp import raw
from tests.harness.clients.sse import stream
from tests.harness.service import Running
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

SESSIONS = "/v1/browser/sessions"
PASSWORD = "correct horse battery"
Credential = tuple[dict[str, str], Callable[[], Awaitable[httpx.Response]]]


async def a_key(service: Running) -> Credential:
    made = (await service.http.post("/v1/auth/keys", json={"name": "short-lived", "role": "client"})).json()
    return {"X-API-Key": made["key"]}, lambda: service.http.delete(f"/v1/auth/keys/{made['key_id']}")


async def a_user(service: Running) -> Credential:
    made = await service.http.post("/v1/auth/users", json={"username": "ann", "password": PASSWORD})
    assert made.status_code == 201, made.text
    token = (await service.http.post("/v1/auth/token", data={"username": "ann", "password": PASSWORD})).json()
    return (
        {"Authorization": f"Bearer {token['access_token']}"},
        lambda: service.http.delete("/v1/auth/users/ann"),
    )


@pytest.mark.parametrize("make", [a_key, a_user])
async def test_connections_and_tickets_of_a_revoked_credential_end(
    service: Running, make: Callable[[Running], Awaitable[Credential]]
) -> None:
    headers, stop = await make(service)
    async with httpx.AsyncClient(base_url=service.url, headers=headers, timeout=60.0, trust_env=False) as caller:
        session = (await caller.post(SESSIONS, json={})).json()
        path = f"{SESSIONS}/{session['session_id']}"
        async with (
            raw(session["connect_url"]) as by_ticket,
            raw(f"{service.url.replace('http', 'ws')}{path}/cdp", additional_headers=headers) as by_header,
            connect(session["live_url"]) as view,
            stream(caller, f"{path}/events") as events,
        ):
            for client in (by_ticket, by_header):
                assert "product" in await client.call("Browser.getVersion")

            assert (await stop()).status_code == 200

            async with asyncio.timeout(10):
                for client in (by_ticket, by_header):
                    await client.closed.wait()
                    assert (client.close_code, client.close_reason) == (1008, "the credential was revoked")
                await view.wait_closed()
            assert view.close_code == 1008

            await service.http.post(f"{path}/pages")  # causes an event
            received = await events.to_end()
            assert "page.opened" not in [event["type"] for event in received]

    for address in (session["connect_url"], session["live_url"]):
        with pytest.raises(InvalidStatus) as refused:
            await connect(address)
        assert refused.value.response.status_code == 401
        assert refused.value.response.headers["X-Request-ID"], "the request must be identifiable in the log"
    assert (await service.get(session["session_id"]))["status"] == "active"
    await until(lambda: len(service.inside.keyring._leases) == 0, what="every lease is released")


async def test_connections_of_another_key_of_the_same_principal_stay_open(service: Running) -> None:
    one = (await service.http.post("/v1/auth/keys", json={"name": "one"})).json()
    two = (await service.http.post("/v1/auth/keys", json={"name": "two", "principal_id": one["principal_id"]})).json()
    async with service.caller(one["key"]) as first, service.caller(two["key"]) as second:
        session_id = (await first.post(SESSIONS, json={})).json()["session_id"]
        connect_url = (await second.get(f"{SESSIONS}/{session_id}/details")).json()["connect_url"]
        async with raw(connect_url) as client:
            assert (await service.http.delete(f"/v1/auth/keys/{one['key_id']}")).status_code == 200
            assert "product" in await client.call("Browser.getVersion")


async def test_an_upgrade_at_an_unknown_path_is_a_404(service: Running) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(service.url.replace("http", "ws") + "/v1/browser/nothing")
    assert refused.value.response.status_code == 404
    assert refused.value.response.headers["Content-Type"] == "application/problem+json"


async def test_revoking_a_credential_notifies_the_holders_of_its_leases() -> None:
    leases = Leases()
    with leases.hold("key:1") as first, leases.hold("key:1") as second, leases.hold("key:2") as other:
        assert len(leases) == 3
        leases.revoke("key:1")
        assert (first.is_set(), second.is_set(), other.is_set()) == (True, True, False)
        with leases.hold("key:1") as later:
            assert not later.is_set()
    assert len(leases) == 0
