"""The console's sign-in: the cookie, what it allows, and protection from other sites' pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import pytest_asyncio

from browser_sessions.api.caller_credentials import by_ticket
from browser_sessions.auth.console_cookie import COOKIE, COOKIE_LIFETIME_S
from browser_sessions.auth.throttle import ATTEMPTS_PER_ADDRESS
from browser_sessions.domain.principal import Role
from tests.harness.fakes.fake_node import ADMIN_KEY, BASE_URL, Node, node

SESSIONS = "/v1/browser/sessions"
SIGN_IN = "/v1/auth/session"
PASSWORD = "correct horse battery"
OURS = {"Sec-Fetch-Site": "same-origin"}


@pytest_asyncio.fixture
async def service(tmp_path: Path) -> AsyncIterator[Node]:
    async with node(tmp_path) as service:
        yield service


async def sign_in(service: Node, **body: str) -> httpx.Response:
    return await service.client.post(SIGN_IN, json=body)


def cookie_in(response: httpx.Response) -> Any:
    jar: SimpleCookie = SimpleCookie(response.headers["set-cookie"])
    return jar[COOKIE]


async def signed_in(service: Node, **body: str) -> dict[str, str]:
    """Headers with the cookie of a sign-in."""
    response = await sign_in(service, **(body or {"api_key": ADMIN_KEY}))
    assert response.status_code == 200, response.text
    service.client.cookies.clear()
    return {"Cookie": f"{COOKIE}={cookie_in(response).value}"}


async def test_signing_in_with_a_key_sets_an_http_only_same_site_cookie(service: Node) -> None:
    response = await sign_in(service, api_key=ADMIN_KEY)
    assert response.json() == {"principal_id": "admin", "name": "admin", "role": "admin"}
    cookie = cookie_in(response)
    assert cookie["httponly"]
    assert cookie["samesite"] == "Strict"
    assert cookie["path"] == "/"
    assert not cookie["secure"]
    assert int(cookie["max-age"]) == COOKIE_LIFETIME_S
    assert ADMIN_KEY not in response.headers["set-cookie"]
    assert ADMIN_KEY not in str(jwt.decode(cookie.value, options={"verify_signature": False}))


async def test_over_https_the_cookie_is_secure(service: Node) -> None:
    transport = httpx.ASGITransport(app=service.app)
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL.replace("http:", "https:")) as client:
        response = await client.post(SIGN_IN, json={"api_key": ADMIN_KEY})
    assert cookie_in(response)["secure"]


async def test_a_user_signs_in_with_a_password(service: Node) -> None:
    await service.keyring.create_user("ann", PASSWORD, Role.OPERATOR)
    headers = await signed_in(service, username="ann", password=PASSWORD)
    me = (await service.client.get(SIGN_IN, headers=headers)).json()
    assert (me["name"], me["role"]) == ("ann", "operator")
    assert (await service.client.get("/v1/browser/pool", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"api_key": "bs_wrong_key"}, 401),
        ({"username": "ann", "password": "not the right one"}, 401),
        ({"username": "nobody", "password": PASSWORD}, 401),
        ({"username": "ann"}, 422),
        ({}, 422),
        ({"api_key": ADMIN_KEY, "username": "ann", "password": PASSWORD}, 422),
        ({"key": ADMIN_KEY}, 422),
    ],
)
async def test_invalid_sign_ins_are_refused_without_a_cookie(service: Node, body: dict[str, str], status: int) -> None:
    await service.keyring.create_user("ann", PASSWORD, Role.OPERATOR)
    response = await sign_in(service, **body)
    assert response.status_code == status
    assert "set-cookie" not in response.headers
    assert PASSWORD not in response.text
    assert ADMIN_KEY not in response.text


async def test_keys_are_outside_the_limit_of_passwords(service: Node) -> None:
    await service.keyring.create_user("ann", PASSWORD, Role.OPERATOR)
    for _ in range(ATTEMPTS_PER_ADDRESS + 1):
        assert (await sign_in(service, api_key="bs_wrong_key")).status_code == 401
    for number in range(ATTEMPTS_PER_ADDRESS):
        assert (await sign_in(service, username=f"name {number}", password="wrong")).status_code == 401
    refused = await sign_in(service, username="ann", password=PASSWORD)
    assert (refused.status_code, int(refused.headers["retry-after"]) > 0) == (429, True)
    form = {"username": "ann", "password": PASSWORD}
    assert (await service.client.post("/v1/auth/token", data=form)).status_code == 429
    assert (await sign_in(service, api_key=ADMIN_KEY)).status_code == 200


async def test_the_cookie_is_accepted_on_all_routes(service: Node) -> None:
    headers = await signed_in(service)
    created = await service.client.post(SESSIONS, headers=headers | OURS, json={})
    assert created.status_code == 201, created.text
    path = f"{SESSIONS}/{created.json()['session_id']}"
    for call in (path, f"{path}/details", f"{path}/pages", SESSIONS):
        assert (await service.client.get(call, headers=headers)).status_code == 200, call
    assert (await service.client.delete(path, headers=headers | OURS)).status_code == 200


async def test_a_key_or_token_takes_precedence_over_the_cookie(service: Node) -> None:
    headers = await signed_in(service)
    client = await service.key(Role.CLIENT)
    assert (await service.client.get(SIGN_IN, headers=headers | client)).json()["role"] == "client"
    for wrong in ({"X-API-Key": "wrong"}, {"Authorization": "Bearer wrong"}):
        assert (await service.client.get(SIGN_IN, headers=headers | wrong)).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 201),
        ({"Origin": BASE_URL}, 201),
        ({"Origin": BASE_URL.upper().replace("HTTP", "http")}, 201),
        ({}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": BASE_URL + ".evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Content-Type": "text/plain"}, 415),
        ({"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
async def test_only_same_origin_requests_can_change_anything_with_the_cookie(
    service: Node, headers: dict[str, str], status: int
) -> None:
    cookie = await signed_in(service)
    headers = {"Content-Type": "application/json", **headers}
    response = await service.client.post(SESSIONS, headers=cookie | headers, content=b"{}")
    assert response.status_code == status, response.text
    assert len(service.pool.registry.sessions) == (status == 201)


async def test_a_file_can_be_uploaded_with_the_cookie_but_by_no_form(service: Node) -> None:
    headers = await signed_in(service) | OURS
    made = (await service.client.post(SESSIONS, headers=headers, json={})).json()
    path = f"{SESSIONS}/{made['session_id']}/uploads?name=a.txt"
    for kind, status in (
        ("multipart/form-data; boundary=b", 403),
        ("text/plain", 403),
        ("application/octet-stream", 201),
    ):
        response = await service.client.post(path, headers=headers | {"Content-Type": kind}, content=b"hello")
        assert response.status_code == status, response.text


async def test_requests_with_a_credential_header_need_no_origin_check(service: Node) -> None:
    headers = {"X-API-Key": ADMIN_KEY, "Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert (await service.client.post(SESSIONS, headers=headers, json={})).status_code == 201


async def test_signing_in_from_another_site_is_refused(service: Node) -> None:
    response = await service.client.post(
        SIGN_IN, headers={"Origin": "http://evil.example"}, json={"api_key": ADMIN_KEY}
    )
    assert response.status_code == 403
    assert "set-cookie" not in response.headers


async def test_signing_out_deletes_the_cookie(service: Node) -> None:
    headers = await signed_in(service)
    assert (await service.client.delete(SIGN_IN, headers=headers)).status_code == 403
    response = await service.client.delete(SIGN_IN, headers=headers | OURS)
    assert response.status_code == 204
    cookie = cookie_in(response)
    assert cookie.value == ""
    assert int(cookie["max-age"]) == 0
    assert (await service.client.delete(SIGN_IN)).status_code == 204


async def test_signing_out_ends_the_sign_in_for_good_and_no_other(tmp_path: Path) -> None:
    async with node(tmp_path) as service:
        ended, other = await signed_in(service), await signed_in(service)
        assert (await service.client.get(SIGN_IN, headers=ended)).status_code == 200
        session_id = (await service.client.post(SESSIONS, headers=ended | OURS, json={})).json()["session_id"]
        details = (await service.client.get(f"{SESSIONS}/{session_id}/details", headers=ended)).json()
        ticket = details["connect_url"].partition("ticket=")[2]
        principal = service.app.state.services.console.cookies.principal_of(ended["Cookie"].partition("=")[2])
        with service.keyring.lease(principal) as stopped:
            assert (await service.client.delete(SIGN_IN, headers=ended | OURS)).status_code == 204
            assert stopped.is_set()
        assert (await service.client.get(SIGN_IN, headers=ended)).status_code == 401
        assert (await service.client.get(SIGN_IN, headers=other)).status_code == 200
        assert by_ticket(service.app.state.services, {}, ticket, session_id, "cdp").credential == "key:admin"
    async with node(tmp_path) as service:
        assert (await service.client.get(SIGN_IN, headers=ended)).status_code == 401
        assert (await service.client.get(SIGN_IN, headers=other)).status_code == 200


async def test_cookies_of_a_revoked_key_and_a_removed_user_are_invalid_at_once(service: Node) -> None:
    key, text = await service.keyring.create_key("a", Role.OPERATOR, None)
    by_key = await signed_in(service, api_key=text)
    await service.keyring.create_user("ann", PASSWORD, Role.OPERATOR)
    by_user = await signed_in(service, username="ann", password=PASSWORD)
    for headers in (by_key, by_user):
        assert (await service.client.get(SIGN_IN, headers=headers)).status_code == 200
    await service.keyring.revoke_key(key.key_id)
    await service.keyring.remove_user("ann")
    await service.keyring.create_user("ann", PASSWORD + "2", Role.OPERATOR)
    for headers in (by_key, by_user):
        assert (await service.client.get(SIGN_IN, headers=headers)).status_code == 401


async def test_cookies_and_tokens_are_not_interchangeable(service: Node) -> None:
    await service.keyring.create_user("ann", PASSWORD, Role.ADMIN)
    grant = await service.keyring.sign_in("ann", PASSWORD, "", "127.0.0.1")
    forged = jwt.encode({"sub": "key:admin", "aud": "browser-sessions/console"}, "k" * 32, algorithm="HS256")
    for value in (grant.token, forged, "", "x.y.z"):
        response = await service.client.get(SIGN_IN, headers={"Cookie": f"{COOKIE}={value}"})
        assert response.status_code == 401, value
    cookie = (await signed_in(service))["Cookie"].partition("=")[2]
    response = await service.client.get(SIGN_IN, headers={"Authorization": f"Bearer {cookie}"})
    assert response.status_code == 401


async def test_a_cookie_expires(service: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = await signed_in(service)
    assert (await service.client.get(SIGN_IN, headers=headers)).status_code == 200
    import time

    later = time.time() + COOKIE_LIFETIME_S + 1
    monkeypatch.setattr("browser_sessions.auth.console_cookie.time.time", lambda: later)
    assert (await service.client.get(SIGN_IN, headers=headers)).status_code == 401


PAGES = ("/", "/sign-in", "/sessions/ses_0123")


@pytest.mark.parametrize("path", PAGES)
async def test_the_console_is_served_with_a_strict_content_security_policy(service: Node, path: str) -> None:
    response = await service.client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().partition(" ")[::2] for part in response.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in str(policy)
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"


async def test_files_are_revalidated_and_compressed(service: Node) -> None:
    response = await service.client.get("/assets/app.js", headers={"Accept-Encoding": "gzip"})
    assert response.headers["content-type"] == "text/javascript; charset=utf-8"
    assert response.headers["content-encoding"] == "gzip"
    assert response.headers["cache-control"] == "no-cache"
    plain = await service.client.get("/assets/app.js", headers={"Accept-Encoding": "identity"})
    assert plain.content == response.content
    again = await service.client.get("/assets/app.js", headers={"If-None-Match": response.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""


@pytest.mark.parametrize(
    "path",
    [
        "/assets/",
        "/assets/none.js",
        "/assets/../../app.py",
        "/assets/%2e%2e/%2e%2e/app.py",
        "/assets/..%2f..%2fapp.py",
        "/assets/.hidden.js",
        "/assets/vendor",
        "/assets//app.js",
        "/assets/app.js%00",
    ],
)
async def test_only_the_consoles_files_are_served(service: Node, path: str) -> None:
    response = await service.client.get(path)
    assert response.status_code == 404
    assert "import" not in response.text
