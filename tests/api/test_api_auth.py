"""Authentication and authorization over HTTP."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from browser_sessions.auth.access_tokens import TOKEN_LIFETIME_S
from browser_sessions.auth.keyring import KeyRing
from browser_sessions.auth.secrets_file import load_or_create
from browser_sessions.auth.throttle import ATTEMPTS_PER_NAME_AND_ADDRESS
from browser_sessions.domain.clock import SystemClock
from browser_sessions.domain.errors import StoreUnavailable
from browser_sessions.domain.principal import Role
from browser_sessions.store import EmbeddedStore
from tests.harness.fakes.fake_node import ADMIN_KEY, Node, node

SESSIONS = "/v1/browser/sessions"
PASSWORD = "correct horse battery"


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Node]:
    async with node(tmp_path) as running:
        yield running


async def sign_in(service: Node, username: str = "ann", password: str = PASSWORD, **more: str) -> Any:
    return await service.client.post("/v1/auth/token", data={"username": username, "password": password, **more})


async def bearer(service: Node, role: Role = Role.CLIENT, username: str = "ann") -> dict[str, str]:
    await service.keyring.create_user(username, PASSWORD, role)
    response = await sign_in(service, username)
    assert response.status_code == 200, response.text
    return {"Authorization": f"Bearer {response.json()['access_token']}"}


def forged(service: Node, secret: bytes | None = None, algorithm: str = "HS256", **changed: Any) -> dict[str, str]:
    user = service.keyring.all_users()[0]
    now = int(time.time())
    claims = {
        "iss": "browser-sessions",
        "aud": "browser-sessions/api",
        "sub": user.principal_id,
        "iat": now,
        "exp": now + 60,
        "scope": "client",
    }
    key = None if algorithm == "none" else secret or service.secrets.token_secret
    return {"Authorization": f"Bearer {jwt.encode(claims | changed, key, algorithm=algorithm)}"}


async def revoked(service: Node) -> dict[str, str]:
    headers = await service.key()
    await service.keyring.revoke_key(headers["X-API-Key"].split("_")[1])
    return headers


async def with_user(service: Node, make: Callable[[Node], dict[str, str]]) -> dict[str, str]:
    await service.keyring.create_user("ann", PASSWORD, Role.CLIENT)
    return make(service)


async def removed(service: Node) -> dict[str, str]:
    headers = await bearer(service)
    await service.keyring.remove_user("ann")
    return headers


async def tampered(service: Node) -> dict[str, str]:
    head, body, signature = (await bearer(service))["Authorization"].split(".")
    return {"Authorization": f"{head}.{body}.{'A' * len(signature)}"}


async def other_secret(service: Node) -> dict[str, str]:
    headers = await service.key()
    return {"X-API-Key": headers["X-API-Key"][:-4] + "AAAA"}


async def a_ticket(service: Node) -> dict[str, str]:
    made = (await service.client.post(SESSIONS, headers=await service.key())).json()
    return {"Authorization": "Bearer " + made["connect_url"].split("ticket=")[1]}


async def key_decides(service: Node) -> dict[str, str]:
    return await bearer(service) | {"X-API-Key": "wrong"}


def fixed(**headers: str) -> Callable[[Node], Awaitable[dict[str, str]]]:
    async def make(_service: Node) -> dict[str, str]:
        return {name.replace("_", "-"): value for name, value in headers.items()}

    return make


REFUSED: dict[str, Callable[[Node], Awaitable[dict[str, str]]]] = {
    "none": fixed(),
    "empty key": fixed(X_API_Key=""),
    "wrong key": fixed(X_API_Key="bs_0123456789abcdef_wrong"),
    "no key's shape": fixed(X_API_Key="wrong"),
    "half the admin key": fixed(X_API_Key=ADMIN_KEY[:-1]),
    "a key with another secret": other_secret,
    "revoked key": revoked,
    "basic": fixed(Authorization="Basic YW5uOnBhc3N3b3Jk"),
    "bearer without token": fixed(Authorization="Bearer "),
    "bearer nonsense": fixed(Authorization="Bearer nonsense"),
    "an API key as bearer": fixed(Authorization=f"Bearer {ADMIN_KEY}"),
    "expired token": lambda s: with_user(s, lambda n: forged(n, exp=int(time.time()) - 1)),
    "tampered token": tampered,
    "token of another secret": lambda s: with_user(s, lambda n: forged(n, secret=b"x" * 32)),
    "token of another algorithm": lambda s: with_user(s, lambda n: forged(n, algorithm="HS384", secret=b"t" * 48)),
    "token without signature": lambda s: with_user(s, lambda n: forged(n, algorithm="none")),
    "token for another audience": lambda s: with_user(s, lambda n: forged(n, aud="somebody")),
    "token of a removed user": removed,
    "a ticket as token": a_ticket,
    "good token, wrong key": key_decides,
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED.keys())
async def test_an_invalid_credential_is_a_401_on_every_call(
    service: Node, make: Callable[[Node], Awaitable[dict[str, str]]]
) -> None:
    headers = await make(service)
    for method, path in [
        ("GET", f"{SESSIONS}/ses_1"),  # the status route parses headers itself
        ("GET", SESSIONS),
        ("POST", SESSIONS),
        ("DELETE", f"{SESSIONS}/ses_1"),
        ("GET", "/v1/auth/keys"),
        ("GET", "/v1/browser/pool"),
    ]:
        response = await service.client.request(method, path, headers=headers)
        assert response.status_code == 401, (method, path, response.text)
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["type"].endswith(":unauthenticated")


async def test_the_status_route_and_others_accept_keys_and_tokens(service: Node) -> None:
    for headers in (await service.key(), await bearer(service), {"X-API-Key": ADMIN_KEY}):
        made = await service.client.post(SESSIONS, headers=headers)
        assert made.status_code == 201
        assert (await service.client.get(made.headers["location"], headers=headers)).status_code == 200


async def test_the_key_takes_precedence_over_a_token(service: Node) -> None:
    both = await bearer(service, Role.ADMIN) | await service.key(Role.CLIENT)
    assert (await service.client.get("/v1/browser/pool", headers=both)).status_code == 403


ROLES = [
    # method, path, body, client, operator, admin
    ("GET", "/v1/browser/pool", None, 403, 200, 200),
    ("GET", "/v1/auth/keys", None, 403, 403, 200),
    ("POST", "/v1/auth/keys", {"name": "a"}, 403, 403, 201),
    ("DELETE", "/v1/auth/keys/none", None, 403, 403, 404),
    ("GET", "/v1/auth/users", None, 403, 403, 200),
    ("POST", "/v1/auth/users", {"username": "bob", "password": PASSWORD}, 403, 403, 201),
    ("DELETE", "/v1/auth/users/none", None, 403, 403, 404),
    ("POST", SESSIONS, None, 201, 201, 201),
    ("GET", SESSIONS, None, 200, 200, 200),
]


@pytest.mark.parametrize("row", ROLES, ids=lambda row: f"{row[0]} {row[1]}")
async def test_roles_have_the_permissions_of_the_table(service: Node, row: Any) -> None:
    method, path, body, *expected = row
    for role, status in zip((Role.CLIENT, Role.OPERATOR, Role.ADMIN), expected, strict=True):
        response = await service.client.request(method, path, json=body, headers=await service.key(role))
        assert response.status_code == status, (role, response.text)


async def test_a_foreign_session_gets_the_same_404_as_an_unknown_one(service: Node) -> None:
    theirs, mine = await service.key(), await service.key()
    made = (await service.client.post(SESSIONS, headers=theirs)).json()["session_id"]
    ended = (await service.client.post(SESSIONS, headers=theirs)).json()["session_id"]
    await service.client.delete(f"{SESSIONS}/{ended}", headers=theirs)
    never = "ses_" + "f" * 32
    for method, path in [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/details"),
        ("GET", "/health"),
        ("POST", "/keepalive"),
        ("GET", "/pages"),
        ("POST", "/pages"),
        ("GET", "/pages/page-1/content"),
    ]:
        responses = []
        for session_id in (made, ended, never):
            response = await service.client.request(method, f"{SESSIONS}/{session_id}{path}", headers=mine)
            headers = {name: value for name, value in response.headers.items() if name != "x-request-id"}
            responses.append((response.status_code, headers, response.text.replace(session_id, "ID")))
        assert responses[0][0] == 404
        assert responses[0] == responses[1] == responses[2], (method, path)
    assert (await service.client.get(f"{SESSIONS}/{made}", headers=theirs)).json()["status"] == "active"


async def test_a_foreign_session_causes_a_store_lookup_like_an_unknown_one(
    service: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, mine = await service.key(), await service.key()
    made = (await service.client.post(SESSIONS, headers=theirs)).json()["session_id"]
    lookups: list[str] = []
    stored = service.store.get

    async def get(session_id: str) -> Any:
        lookups.append(session_id)
        return await stored(session_id)

    monkeypatch.setattr(service.store, "get", get)
    for session_id in (made, "ses_" + "f" * 32):
        lookups.clear()
        assert (await service.client.get(f"{SESSIONS}/{session_id}", headers=mine)).status_code == 404
        assert len(lookups) == 1
    lookups.clear()
    assert (await service.client.get(f"{SESSIONS}/{made}", headers=theirs)).status_code == 200
    assert not lookups, "reads by the owner must not use the store"


async def test_an_operator_can_read_and_end_sessions_of_others(service: Node) -> None:
    theirs, operator = await service.key(), await service.key(Role.OPERATOR)
    made = (await service.client.post(SESSIONS, headers=theirs)).json()["session_id"]
    assert (await service.client.get(f"{SESSIONS}/{made}", headers=operator)).status_code == 200
    listed = (await service.client.get(SESSIONS, headers=operator)).json()["sessions"]
    assert [session["session_id"] for session in listed] == [made]
    assert (await service.client.delete(f"{SESSIONS}/{made}", headers=operator)).json()["status"] == "closed"
    details = (await service.client.get(f"{SESSIONS}/{made}/details", headers=theirs)).json()
    assert details["end_reason"] == "ended_by_operator"


async def test_two_keys_of_one_principal_share_its_sessions(service: Node) -> None:
    admin = {"X-API-Key": ADMIN_KEY}
    first = (await service.client.post("/v1/auth/keys", json={"name": "one"}, headers=admin)).json()
    body = {"name": "two", "principal_id": first["principal_id"]}
    second = (await service.client.post("/v1/auth/keys", json=body, headers=admin)).json()
    made = (await service.client.post(SESSIONS, headers={"X-API-Key": first["key"]})).json()["session_id"]
    assert (await service.client.get(f"{SESSIONS}/{made}", headers={"X-API-Key": second["key"]})).status_code == 200


# -- keys --------------------------------------------------------------------------------------------------------------


async def test_a_key_is_shown_once_stored_hashed_and_revoked_at_once(service: Node) -> None:
    admin = {"X-API-Key": ADMIN_KEY}
    made = (await service.client.post("/v1/auth/keys", json={"name": "ci"}, headers=admin)).json()
    secret = made["key"].split("_", 2)[2]
    assert made["key"].startswith(f"bs_{made['key_id']}_")
    assert len(secret) >= 43, "256 bits"
    listed = await service.client.get("/v1/auth/keys", headers=admin)
    assert secret not in listed.text
    assert [key["name"] for key in listed.json()["keys"]] == ["ci", "built-in admin key"]
    assert secret not in repr(await service.store.keys())
    mine = {"X-API-Key": made["key"]}
    assert (await service.client.get(SESSIONS, headers=mine)).status_code == 200
    gone = await service.client.delete(f"/v1/auth/keys/{made['key_id']}", headers=admin)
    assert gone.json()["revoked_at"] is not None
    assert (await service.client.get(SESSIONS, headers=mine)).status_code == 401
    again = await service.client.delete(f"/v1/auth/keys/{made['key_id']}", headers=admin)
    assert again.json() == gone.json()


async def test_the_built_in_admin_key_cannot_be_revoked(service: Node) -> None:
    admin = {"X-API-Key": ADMIN_KEY}
    assert (await service.client.delete("/v1/auth/keys/admin", headers=admin)).status_code == 409
    assert (await service.client.get("/v1/auth/keys", headers=admin)).status_code == 200


async def test_keys_and_users_survive_a_restart_and_so_does_a_revocation(service: Node) -> None:
    kept, gone, user = await service.key(), await revoked(service), await bearer(service)
    other = KeyRing(service.store, SystemClock(), service.secrets)
    await other.load()
    assert other.principal_of(kept["X-API-Key"], None) == service.keyring.principal_of(kept["X-API-Key"], None)
    assert other.principal_of(None, user["Authorization"]).name == "ann"
    with pytest.raises(Exception, match="invalid or revoked"):
        other.principal_of(gone["X-API-Key"], None)


async def test_a_key_that_could_not_be_stored_does_not_exist(service: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(_key: object) -> None:
        raise StoreUnavailable("The disk is full.")

    monkeypatch.setattr(service.store, "put_key", full)
    admin = {"X-API-Key": ADMIN_KEY}
    response = await service.client.post("/v1/auth/keys", json={"name": "ci"}, headers=admin)
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
    assert len((await service.client.get("/v1/auth/keys", headers=admin)).json()["keys"]) == 1


# -- users and tokens --------------------------------------------------------------------------------------------------


async def test_signing_in_gives_a_token_for_an_hour(service: Node) -> None:
    await service.keyring.create_user("ann", PASSWORD, Role.OPERATOR)
    response = await sign_in(service, grant_type="password")
    assert response.status_code == 200
    token = response.json()
    assert {name: token[name] for name in ("token_type", "expires_in", "scope")} == {
        "token_type": "bearer",
        "expires_in": TOKEN_LIFETIME_S,
        "scope": "operator",
    }
    assert response.headers["cache-control"] == "no-store"
    headers = {"Authorization": f"bearer {token['access_token']}"}
    assert (await service.client.get("/v1/browser/pool", headers=headers)).status_code == 200


async def test_a_token_can_only_be_requested_for_a_lesser_role(service: Node) -> None:
    await service.keyring.create_user("ann", PASSWORD, Role.OPERATOR)
    lesser = (await sign_in(service, scope="client")).json()
    assert lesser["scope"] == "client"
    headers = {"Authorization": f"Bearer {lesser['access_token']}"}
    assert (await service.client.get("/v1/browser/pool", headers=headers)).status_code == 403
    for scope in ("admin", "root", "client admin"):
        response = await sign_in(service, scope=scope)
        assert response.status_code == 422
        assert response.json()["detail"][0]["loc"] == ["body", "scope"]


async def test_passwords_are_hashed_with_argon2id_at_full_cost(tmp_path: Path) -> None:
    hashed = await KeyRing(EmbeddedStore(tmp_path / "a.db"), SystemClock(), load_or_create(tmp_path))._hash(PASSWORD)
    assert hashed.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


async def test_a_wrong_password_and_an_unknown_user_have_the_same_response_and_hashing_cost(
    service: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.keyring.create_user("ann", PASSWORD, Role.CLIENT)
    hashed: list[str] = []
    verify = service.keyring._hasher.verify

    def counted(password: str, password_hash: str) -> bool:
        hashed.append(password_hash.rsplit("$", 2)[0])
        return verify(password, password_hash)

    monkeypatch.setattr(service.keyring._hasher, "verify", counted)
    wrong, unknown = await sign_in(service, password="wrong"), await sign_in(service, "nobody", "wrong")
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() == unknown.json()
    assert len(hashed) == 2
    assert hashed[0] == hashed[1], "algorithm and parameters must be the same"


async def test_too_many_wrong_passwords_from_one_address_are_a_429_there_alone(service: Node) -> None:
    await service.keyring.create_user("ann", PASSWORD, Role.CLIENT)
    responses = [await sign_in(service, password="wrong") for _ in range(ATTEMPTS_PER_NAME_AND_ADDRESS + 1)]
    assert [response.status_code for response in responses] == [401] * ATTEMPTS_PER_NAME_AND_ADDRESS + [429]
    assert int(responses[-1].headers["retry-after"]) >= 1
    assert (await sign_in(service)).status_code == 429, "even with the right password"
    assert (await sign_in(service, "bob")).status_code == 401, "other users must not be blocked"
    elsewhere = httpx.ASGITransport(app=service.app, client=("192.0.2.1", 5))
    async with httpx.AsyncClient(transport=elsewhere, base_url=str(service.client.base_url)) as client:
        form = {"username": "ann", "password": PASSWORD}
        assert (await client.post("/v1/auth/token", data=form)).status_code == 200


async def test_passwords_are_hashed_and_checked_off_the_loop(service: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    for name in ("hash", "verify"):
        work = getattr(service.keyring._hasher, name)

        def noted(*given: str, work: Callable[..., Any] = work) -> Any:
            threads.append(threading.current_thread())
            return work(*given)

        monkeypatch.setattr(service.keyring._hasher, name, noted)
    await service.keyring.create_user("ann", PASSWORD, Role.CLIENT)
    assert (await sign_in(service)).status_code == 200
    assert len(threads) == 3, "the password, the dummy hash and the verification"
    assert threading.main_thread() not in threads


async def test_removing_a_user_revokes_their_keys(service: Node) -> None:
    token = await bearer(service)
    user = service.keyring.all_users()[0]
    key = await service.key(principal_id=user.principal_id)
    assert (await service.client.get(SESSIONS, headers=key)).status_code == 200
    admin = {"X-API-Key": ADMIN_KEY}
    assert (await service.client.delete("/v1/auth/users/ann", headers=admin)).status_code == 200
    for headers in (token, key):
        assert (await service.client.get(SESSIONS, headers=headers)).status_code == 401
    await service.keyring.create_user("ann", PASSWORD, Role.CLIENT)
    assert (await service.client.get(SESSIONS, headers=token)).status_code == 401, (
        "the new user is a different principal"
    )


async def test_concurrent_creates_of_a_user_name_succeed_once(service: Node) -> None:
    admin = {"X-API-Key": ADMIN_KEY}
    body = {"username": "ann", "password": PASSWORD}
    responses = await asyncio.gather(
        *(service.client.post("/v1/auth/users", json=body, headers=admin) for _ in range(3))
    )
    assert sorted(response.status_code for response in responses) == [201, 409, 409]
    assert {response.json()["type"].rpartition(":")[2] for response in responses if response.is_error} == {"name-taken"}


async def test_a_user_name_is_a_segment_of_a_path(service: Node) -> None:
    admin = {"X-API-Key": ADMIN_KEY}
    for name, status in ((".", 422), ("..", 422), ("a.b@c", 201)):
        body = {"username": name, "password": PASSWORD}
        assert (await service.client.post("/v1/auth/users", json=body, headers=admin)).status_code == status
