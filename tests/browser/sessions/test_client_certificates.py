"""`client_certificates` of a create: one origin sees one certificate, in every way that a session reaches it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Error, Playwright

from tests.harness.certificates import Authority
from tests.harness.clients.raw_cdp import raw
from tests.harness.service import Running
from tests.harness.sites.certificate_site import CertificateSite, certificate_site
from tests.harness.sites.plain_site import Site

pytestmark = pytest.mark.browser

SESSIONS = "/v1/browser/sessions"
BODY = "document.body.innerText"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest_asyncio.fixture(loop_scope="session")
async def bank(authority: Authority) -> AsyncIterator[CertificateSite]:
    async with certificate_site(authority) as site:
        yield site


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> None:
    """The system trusts the tests' authority; Chromium has a list of its own, and does not."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.own.cert))


async def navigate(service: Running, session_id: str, url: str) -> dict[str, Any]:
    page = await service.first_page(session_id)
    response = await service.http.post(f"{SESSIONS}/{session_id}/pages/{page}/navigate", json={"url": url})
    found: dict[str, Any] = response.json()
    return found


async def test_a_page_a_redirect_a_fetch_a_websocket_and_a_popup_show_the_certificate(
    service: Running, site: Site, bank: CertificateSite, authority: Authority
) -> None:
    ann = authority.sign("ann").for_origin(bank.url)
    bank.redirects["/moved"] = "/here"
    site.redirects["/in"] = f"{bank.url}/from-elsewhere"
    created = await service.create(client_certificates=[ann], start_url=f"{bank.url}/start")
    session_id = created["session_id"]
    assert await service.evaluate(session_id, BODY) == "ann"
    await navigate(service, session_id, f"{bank.url}/moved")
    assert await service.evaluate(session_id, "[location.pathname, document.title]") == ["/here", "ann"]
    await navigate(service, session_id, f"{site.url}/in")
    assert await service.evaluate(session_id, "[location.pathname, document.title]") == ["/from-elsewhere", "ann"]
    assert "ann" in await service.evaluate(session_id, "fetch('/fetched').then(r => r.text())")
    socket = (
        f"new Promise(done => {{ new WebSocket('{bank.url.replace('http', 'ws')}').onmessage = e => done(e.data) }})"
    )
    assert await service.evaluate(session_id, socket) == "ann"
    popup = "new Promise(done => { const w = open('/popup'); w.onload = () => done(w.document.title) })"
    assert await service.evaluate(session_id, popup) == "ann"
    assert {name for _, name in bank.shown} == {"ann"}
    details = await service.details(session_id)
    assert details["options"]["client_certificates"] == [{"origin": bank.url}]
    assert details["traffic"]["connections"] >= len(bank.shown)


async def test_another_origin_and_another_session_show_none_and_each_its_own(
    service: Running, bank: CertificateSite, authority: Authority
) -> None:
    async with certificate_site(authority) as other:
        ann = (await service.create(client_certificates=[authority.sign("ann").for_origin(bank.url)]))["session_id"]
        bob = (
            await service.create(
                client_certificates=[authority.sign("bob").for_origin(bank.url)], ignore_https_errors=True
            )
        )["session_id"]
        none = (await service.create(ignore_https_errors=True))["session_id"]
        for session_id, name in ((ann, "ann"), (bob, "bob"), (none, "nobody")):
            await navigate(service, session_id, bank.url)
            assert await service.evaluate(session_id, BODY) == name
        for session_id in (bob, none):
            await navigate(service, session_id, other.url)
            assert await service.evaluate(session_id, BODY) == "nobody"
        failed = await navigate(service, ann, other.url)
    assert "ERR_CERT_AUTHORITY_INVALID" in str(failed)  # as ever: Chromium does not trust the tests' authority
    assert {name for _, name in other.shown} == {"nobody"}


async def test_an_origin_that_is_not_trusted_sees_nothing_unless_errors_are_ignored(
    service: Running, bank: CertificateSite, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    ann = authority.sign("ann").for_origin(bank.url)
    strict = (await service.create(client_certificates=[ann]))["session_id"]
    failed = await navigate(service, strict, bank.url)
    assert "ERR_CERT_AUTHORITY_INVALID" in str(failed)
    assert bank.shown == []
    lenient = (await service.create(client_certificates=[ann], ignore_https_errors=True))["session_id"]
    await navigate(service, lenient, bank.url)
    assert await service.evaluate(lenient, BODY) == "ann"


async def test_clients_over_cdp_show_it_in_their_own_contexts_too(
    service: Running, bank: CertificateSite, authority: Authority, playwright: Playwright
) -> None:
    created = await service.create(client_certificates=[authority.sign("ann").for_origin(bank.url)])
    async with await playwright.chromium.connect_over_cdp(created["connect_url"]) as browser:
        for page in (browser.contexts[0].pages[0], await browser.new_page()):
            await page.goto(bank.url)
            assert await page.title() == "ann"
    async with raw(created["connect_url"]) as client:
        _, at_page = await client.page()
        for method, params in (("Network.getCertificate", {"origin": bank.url}), ("Security.enable", {})):
            refused = await client.ask(method, params, at_page)
            assert "isolation: browser" in refused["error"]["message"]


async def test_a_context_with_its_own_certificates_is_refused_with_what_to_do(
    service: Running, authority: Authority, playwright: Playwright
) -> None:
    created = await service.create()
    ann = authority.sign("ann")
    async with await playwright.chromium.connect_over_cdp(created["connect_url"]) as browser:
        with pytest.raises(Error, match=r"client_certificates instead of a context's clientCertificates"):
            await browser.new_context(
                client_certificates=[{"origin": "https://shop.example", "certPath": ann.cert, "keyPath": ann.key}]
            )


async def test_the_same_key_and_certificates_get_the_same_session(
    service: Running, bank: CertificateSite, authority: Authority
) -> None:
    ann, bob = (authority.sign(name).for_origin(bank.url) for name in ("ann", "bob"))
    headers = {"Idempotency-Key": os.urandom(8).hex()}
    first, again, other = [
        await service.http.post(SESSIONS, json={"client_certificates": [each]}, headers=headers)
        for each in (ann, ann, bob)
    ]
    assert first.status_code == 201, first.text
    assert again.json()["session_id"] == first.json()["session_id"]
    assert other.status_code == 409
