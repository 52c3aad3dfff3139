"""Secrets go through every route, errors, a crash and the console's sign-in: no log, file, metric, trace or process has
them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote, urlsplit

import httpx
import psutil
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from browser_sessions.auth.console_cookie import COOKIE
from tests.harness.certificates import Authority
from tests.harness.clients.raw_cdp import raw
from tests.harness.service import ADMIN_KEY, Running, ServerProcess, client
from tests.harness.sites.client_site import ClientSite, client_site
from tests.harness.span_collector import Receiver, receiving
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

SESSIONS: Final = "/v1/browser/sessions"
KEPT_SECRET: Final = {
    name: f"canary-{name}-0123456789"
    for name in ("password", "wrong-password", "proxy", "header", "http-credentials", "url", "passphrase")
}
"""Secrets that no response may contain either."""
OTHERS: Final = {
    "cookie-of-a-site": "canary-cookie-0123456789",
    "storage": "canary-storage-0123456789",
    "upload": "canary-upload-0123456789",
}
"""Secrets that some responses contain, such as the storage state."""


@dataclass
class Leaks:
    """Where secrets have been looked for, and found."""

    secrets: dict[str, str]
    found: set[tuple[str, str]] = field(default_factory=set)
    searched: int = 0

    def search(self, where: str, content: bytes | str, names: Mapping[str, str] | None = None) -> None:
        data = content.encode() if isinstance(content, str) else content
        self.searched += 1
        for name, secret in (self.secrets if names is None else names).items():
            if any(each.encode() in data for each in (secret, quote(secret, safe=""))):
                self.found.add((name, where))


@pytest_asyncio.fixture(loop_scope="session")
async def collector() -> AsyncIterator[tuple[Receiver, str]]:
    async with receiving() as found:
        yield found


@pytest.fixture
def site() -> Iterator[ClientSite]:
    with client_site() as site:
        yield site


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_no_secret_leaves_the_service(
    tmp_path: Path, site: ClientSite, collector: tuple[Receiver, str], log_format: Literal["json", "console"]
) -> None:
    receiver, endpoint = collector
    server = ServerProcess(tmp_path / "data", log_format=log_format, log_level="debug")
    (tmp_path / "data").mkdir()
    traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    service = await server.start(["env", *(f"{name}={value}" for name, value in traced.items())])
    leaks = Leaks(KEPT_SECRET | OTHERS | {"admin key": ADMIN_KEY})
    try:
        session_id = await use_everything(service, site, leaks, Authority(tmp_path))
        search_processes(server, leaks)
        await crash_the_browser(server, service, session_id)
        leaks.search("metrics", (await service.http.get("/metrics")).text)
        search_processes(server, leaks)
    finally:
        await service.http.aclose()
        await server.stop()
    log = (tmp_path / "server.log").read_text()
    leaks.search("log", log)
    leaks.search("traces", b"".join(receiver.bodies))
    for path in (tmp_path / "data").rglob("*"):
        if path.is_file():
            leaks.search(str(path.relative_to(tmp_path)), path.read_bytes())
    assert receiver.spans
    assert "auth.refused" in log
    assert "session.ended" in log
    assert leaks.searched > 100
    assert leaks.found == set()


def search_processes(server: ServerProcess, leaks: Leaks) -> None:
    for process in server.tree():
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            for file in ("cmdline", "environ"):
                leaks.search(f"{file} of {process.name()}", Path(f"/proc/{process.pid}/{file}").read_bytes())


async def test_a_password_in_an_address_is_in_no_response_and_no_event(service: Running, site: ClientSite) -> None:
    secret = KEPT_SECRET["url"]
    first, missing = (f"{site.url.replace('//', f'//ann:{secret}@')}{path}" for path in ("/first", "/report.txt"))
    created = await service.create(start_url=first)
    path = f"{SESSIONS}/{created['session_id']}"
    shown = [
        await service.http.post(f"{path}/pages", json={"url": url})
        for url in (first, missing, "http://a:b@no.invalid/")
    ]
    shown += [
        await service.http.get(f"{path}/{each}") for each in ("details", "pages", "downloads", "history", "cdp/json")
    ]
    shown.append(await service.http.get("/v1/browser/overview"))
    assert [each.text for each in shown if secret in each.text or "a:b@" in each.text] == []
    masked = {str(each.request.url.path).rpartition("/")[2] for each in shown if "//ann:***@127.0.0.1" in each.text}
    assert masked >= {"pages", "details", "downloads", "history", "json"}


async def use_everything(service: Running, site: ClientSite, leaks: Leaks, authority: Authority) -> str:
    """Puts every secret wherever it can be sent. Returns a session that is active."""
    key = await service.key(name="canary")
    leaks.secrets["client key"] = key.split("_", 2)[2]
    await sign_in(service, leaks)
    with_password = f"{site.url.replace('//', '//ann:' + KEPT_SECRET['url'] + '@')}/"
    options: dict[str, Any] = {
        "extra_http_headers": {"X-Canary": KEPT_SECRET["header"]},
        "http_credentials": {"username": "ann", "password": KEPT_SECRET["http-credentials"]},
        "storage_state": {
            "cookies": [{"name": "a", "value": OTHERS["cookie-of-a-site"], "domain": "127.0.0.1"}],
            "origins": [{"origin": site.url, "localStorage": [{"name": "a", "value": OTHERS["storage"]}]}],
        },
    }
    pair = authority.sign("ann")
    locked = authority.encrypted(pair, KEPT_SECRET["passphrase"])
    for name, file in (("key", pair.key), ("encrypted key", locked.key)):
        leaks.secrets[f"certificate's {name}"] = file.read_text().splitlines()[1]
    certificate = locked.for_origin("https://127.0.0.1", passphrase=KEPT_SECRET["passphrase"])
    options["client_certificates"] = [certificate]
    unlocked = certificate | {"passphrase": KEPT_SECRET["wrong-password"]}
    proxy = {"server": "http://127.0.0.1:9", "username": "ann", "password": KEPT_SECRET["proxy"]}
    async with service.caller(key) as caller:
        session_id: str = (await caller.post(SESSIONS, json=options)).json()["session_id"]
        behind_proxy = (await caller.post(SESSIONS, json=options | {"proxy": proxy})).json()["session_id"]
        for body in (
            options | {"proxy": proxy, "start_url": with_password},
            options | {"start_url": with_password},
            options | {"client_certificates": [unlocked]},
            options | {"client_certificates": [certificate | {"cert": certificate["key"]}]},
            {"proxy": {"server": f"http://ann:{KEPT_SECRET['proxy']}@proxy.example:1"}},
            {"unknown": KEPT_SECRET["password"], KEPT_SECRET["header"]: 1} | options,
        ):
            refused = await caller.post(SESSIONS, json=body)
            if refused.status_code != 422:  # names the caller's unknown field
                leaks.search(f"response to {sorted(body)}", refused.text, KEPT_SECRET | {"admin key": ADMIN_KEY})
        await caller.post(
            f"{SESSIONS}/{session_id}/uploads", params={"name": "a.txt"}, content=OTHERS["upload"].encode()
        )
        pages = f"{SESSIONS}/{session_id}/pages"
        page_id = (await caller.get(pages)).json()["pages"][0]["page_id"]
        for address in (with_password, f"{with_password}report.txt", with_password.replace("127.0.0.1", "no.invalid")):
            for path in (pages, f"{pages}/{page_id}/navigate"):
                response = await caller.post(path, json={"url": address})
                leaks.search(f"response of {path}", response.text, KEPT_SECRET)
        await sockets(service, caller, key, (session_id, behind_proxy), leaks)
        await every_operation(service, caller, key, session_id, page_id, leaks)
    return session_id


async def sign_in(service: Running, leaks: Leaks) -> None:
    user = {"username": "ann", "password": KEPT_SECRET["password"]}
    await service.http.post("/v1/auth/users", json=user | {"role": "client"})
    await service.http.post("/v1/auth/users", json=user)
    leaks.secrets["token"] = (await service.http.post("/v1/auth/token", data=user)).json()["access_token"]
    async with service.caller(None) as console:
        for body in (user, {"api_key": ADMIN_KEY}):
            signed_in = await console.post("/v1/auth/session", json=body)
            leaks.secrets[f"cookie for {sorted(body)}"] = signed_in.cookies[COOKIE]
            await console.get("/v1/browser/overview")
        wrong = {"username": "ann", "password": KEPT_SECRET["wrong-password"]}
        invalid: list[dict[str, Any]] = [{"api_key": KEPT_SECRET["password"]}, {"username": [KEPT_SECRET["password"]]}]
        for each in (wrong, *invalid):
            await console.post("/v1/auth/session", json=each)
        await console.post("/v1/auth/token", data=wrong)
        await console.post("/v1/auth/token", json=wrong)
        await console.post("/v1/auth/token", content=f"{wrong}", headers={"Content-Type": "application/json"})
    leaks.secrets["token's signature"] = leaks.secrets["token"].rpartition(".")[2]


async def sockets(
    service: Running, caller: httpx.AsyncClient, key: str, sessions: tuple[str, str], leaks: Leaks
) -> None:
    root = service.url.replace("http", "ws", 1)
    urls = [f"{root}/v1/browser/connect?api_key={key}", f"{root}/?token={key}", f"{root}{SESSIONS}/ses_none/cdp"]
    for session_id in sessions:
        details = (await caller.get(f"{SESSIONS}/{session_id}/details")).json()
        for name in ("connect_url", "live_url"):
            leaks.secrets[f"{name} of {session_id}"] = details[name].partition("ticket=")[2]
            urls += [
                details[name],
                details[name].replace("ticket=", "ticket=x"),
                details[name].replace("ses_", "ses_0"),
            ]
        async with raw(details["connect_url"]) as cdp:
            _, at_page = await cdp.page()
            await cdp.ask("Page.navigate", {"url": f"http://ann:{KEPT_SECRET['url']}@no.invalid/"}, at_page)
    version = (await caller.get("/json/version", params={"token": key})).json()
    leaks.secrets["launch ticket"] = urlsplit(version["webSocketDebuggerUrl"]).path.rpartition("/")[2]
    for url in (*urls, version["webSocketDebuggerUrl"]):
        with contextlib.suppress(WebSocketException, OSError, TimeoutError):
            async with connect(url, proxy=None, max_size=None, close_timeout=2) as socket:
                await socket.send(f'{{"id": 1, "method": "{KEPT_SECRET["header"]}"}}')
                async with asyncio.timeout(2):
                    await socket.recv()


async def every_operation(
    service: Running, caller: httpx.AsyncClient, key: str, session_id: str, page_id: str, leaks: Leaks
) -> None:
    """Every operation of the OpenAPI document with each kind of credential, in headers and in the query."""
    document = (await service.http.get("/openapi.json")).json()
    cookie = next(value for name, value in leaks.secrets.items() if name.startswith("cookie for"))
    credentials: list[dict[str, Any]] = [
        {"headers": {"X-API-Key": key}, "params": {"api_key": key, "token": leaks.secrets["token"], "ticket": "x"}},
        {"headers": {"Authorization": f"Bearer {leaks.secrets['token']}"}},
        {"headers": {"Authorization": f"Basic {KEPT_SECRET['password']}", "Cookie": f"{COOKIE}={cookie}"}},
    ]
    async with client(service.url, None) as anybody:
        for path, operations in document["paths"].items():
            for method in operations:
                if "events" in path and method == "get":
                    continue  # does not end
                real = {"session_id": session_id, "page_id": page_id} if method == "get" else {}
                filled = path
                for name in ("session_id", "page_id", "download_id", "key_id", "username"):
                    filled = filled.replace(f"{{{name}}}", real.get(name, "ses_none"))
                for sent in credentials:
                    body = None if method in ("get", "delete") else {"url": KEPT_SECRET["url"], "expression": "1"}
                    response = await anybody.request(method, filled, json=body, **sent)
                    leaks.search(f"{method} {path}", response.text, {"admin key": ADMIN_KEY} | KEPT_SECRET)
        broken = {"X-API-Key": key, "Content-Type": "application/json"}
        await anybody.post(SESSIONS, content=f'{{"proxy": {{"password": "{KEPT_SECRET["proxy"]}"', headers=broken)
    assert (await caller.get(f"{SESSIONS}/{session_id}")).json()["status"] == "active"


async def crash_the_browser(server: ServerProcess, service: Running, session_id: str) -> None:
    for process in server.tree():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "--remote-debugging-pipe" in process.cmdline() and "--type=renderer" not in process.cmdline():
                os.kill(process.pid, signal.SIGKILL)

    async def crashed() -> bool:
        return bool((await service.get(session_id))["status"] == "crashed")

    await until(crashed, within=20, what="the session has crashed")
