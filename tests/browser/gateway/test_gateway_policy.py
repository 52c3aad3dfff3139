"""The command policy as real clients of the real service see it: cookies, permissions, traces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from playwright.async_api import Browser, BrowserContext, Page, Playwright
from playwright.async_api import Error as PlaywrightError

from tests.harness.clients.raw_cdp import Raw, raw
from tests.harness.service import Running
from tests.harness.sites.client_site import ClientSite, client_site

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site() -> Iterator[ClientSite]:
    with client_site() as site:
        yield site


# -- cookies ---------------------------------------------------------------------------------------------------------


def names(response: dict[str, Any]) -> list[str]:
    return sorted(cookie["name"] for cookie in response["cookies"])


async def page_in(client: Raw, url: str, context_id: str | None = None) -> str:
    """A CDP session on a new page of a context."""
    params = {"url": url} | ({} if context_id is None else {"browserContextId": context_id})
    session_id = await client.attach((await client.call("Target.createTarget", params))["targetId"])
    await client.call("Page.enable", {}, session_id)
    await client.call("Page.navigate", {"url": url}, session_id)
    await client.event("Page.loadEventFired", lambda m: m["sessionId"] == session_id)
    return session_id


async def test_cookie_methods_on_a_pages_session_apply_to_its_context(service: Running, site: ClientSite) -> None:
    other_session, made = await service.create(), await service.create()
    url = f"{site.url}/cookies"
    async with raw(other_session["connect_url"]) as other, raw(made["connect_url"]) as client:
        _, at_other = await other.page()
        await other.call("Storage.setCookies", {"cookies": [{"name": "other", "value": "1", "url": url}]}, at_other)
        nested = (await client.call("Target.createBrowserContext"))["browserContextId"]
        own, inside = await page_in(client, url), await page_in(client, url, nested)
        await client.call("Storage.setCookies", {"cookies": [{"name": "own", "value": "1", "url": url}]}, own)
        await client.call("Storage.setCookies", {"cookies": [{"name": "nested", "value": "1", "url": url}]}, inside)
        assert await client.value("document.cookie", own) == "own=1"
        assert await client.value("document.cookie", inside) == "nested=1"
        assert names(await client.call("Storage.getCookies", {}, own)) == ["own"]
        assert names(await client.call("Storage.getCookies", {}, inside)) == ["nested"]
        assert names(await client.call("Storage.getCookies")) == ["own"]
        assert names(await client.call("Network.getCookies", {}, own)) == ["own"]
        refused = (await client.ask("Storage.getCookies", {"browserContextId": nested}, own))["error"]
        assert refused == {"code": -32602, "message": "browserContextId is only allowed for Browser target"}
        await client.call("Storage.clearCookies", {}, inside)
        assert names(await client.call("Storage.getCookies", {}, inside)) == []
        assert names(await client.call("Storage.getCookies", {}, own)) == ["own"]
        assert names(await other.call("Storage.getCookies", {}, at_other)) == ["other"], (
            "another session's cookies must stay"
        )


# -- permissions -----------------------------------------------------------------------------------------------------


async def connected(playwright: Any, url: str) -> tuple[Browser, BrowserContext, Page]:
    browser = await playwright.chromium.connect_over_cdp(url)
    return browser, browser.contexts[0], browser.contexts[0].pages[0]


STATE: Final = "async name => (await navigator.permissions.query({name})).state"


@pytest.mark.parametrize("isolation", ["context", "browser"])
async def test_clipboard_reading_is_granted_only_in_a_dedicated_browser(
    service: Running, site: ClientSite, isolation: str, playwright: Playwright
) -> None:
    made = await service.create(isolation=isolation)
    browser, context, page = await connected(playwright, made["connect_url"])
    await page.goto(site.url)
    await context.grant_permissions(["geolocation", "clipboard-write"])
    assert await page.evaluate(STATE, "geolocation") == "granted"
    if isolation == "browser":
        await context.grant_permissions(["clipboard-read", "clipboard-write"])
        assert await page.evaluate(STATE, "clipboard-read") == "granted"
        assert await page.evaluate(
            "async () => {await navigator.clipboard.writeText('x'); return navigator.clipboard.readText()}"
        ) == ("x")
    else:
        with pytest.raises(PlaywrightError, match="create the session with isolation: browser"):
            await context.grant_permissions(["clipboard-read"])
        assert await page.evaluate(STATE, "clipboard-read") != "granted"
    await browser.close()


async def test_clipboard_write_fields_do_not_allow_reading_another_sessions_clipboard(
    service: Running, site: ClientSite
) -> None:
    other_session, made = await service.create(), await service.create()
    async with raw(other_session["connect_url"]) as other, raw(made["connect_url"]) as client:
        at_other, at_page = await page_in(other, site.url), await page_in(client, site.url)
        granted = {"permission": {"name": "clipboard-write"}, "setting": "granted"}
        for one in (other, client):
            await one.call("Browser.setPermission", granted)
        await other.call("Page.bringToFront", {}, at_other)
        await other.value("navigator.clipboard.writeText('a secret').then(() => 1)", at_other)
        for field in ("allowWithoutSanitization", "allowWithoutGesture"):
            params = {"permission": {"name": "clipboard-write", field: True}, "setting": "granted"}
            for level in (None, at_page):
                refused = (await client.ask("Browser.setPermission", params, level))["error"]
                assert refused["code"] == -32602
                assert field in refused["message"]
        read = "navigator.clipboard.readText().then(text => text, error => error.name)"
        await client.call("Page.bringToFront", {}, at_page)
        assert await client.value(read, at_page) == "NotAllowedError"


# -- traces ----------------------------------------------------------------------------------------------------------

EVERYTHING: Final = {"includedCategories": ["*", "disabled-by-default-*"]}


async def read_all(client: Raw, handle: str, size: int) -> str:
    parts = []
    while True:
        read = await client.call("IO.read", {"handle": handle, "size": size})
        assert not read.get("base64Encoded")
        parts.append(read["data"])
        if read["eof"]:
            await client.call("IO.close", {"handle": handle})
            return "".join(parts)


async def test_a_trace_does_not_reveal_paths_of_the_host(service: Running) -> None:
    made = await service.create(isolation="browser")
    async with raw(made["connect_url"]) as client:
        _, at_page = await client.page()
        for mode in ("ReportEvents", "ReturnAsStream"):
            client.events.clear()
            params = {"transferMode": mode, "streamCompression": "gzip", "traceConfig": EVERYTHING}
            await client.call("Tracing.start", params)
            await client.call("Page.navigate", {"url": "data:text/html,<p>traced"}, at_page)
            assert await client.value("1 + 1", at_page) == 2
            await client.call("Tracing.end")
            completed = (await client.event("Tracing.tracingComplete"))["params"]
            if mode == "ReturnAsStream":
                whole = await read_all(client, completed["stream"], 99_991)
                trace = json.loads(whole)
                assert trace["metadata"]["command_line"] == ""
                assert trace["metadata"]["clock-domain"]
            else:
                parts = [m["params"] for m in client.events if m["method"] == "Tracing.dataCollected"]
                whole, trace = json.dumps(parts), {"traceEvents": [e for part in parts for e in part["value"]]}
            assert len(trace["traceEvents"]) > 100
            folders = (service.inside.settings.data_dir, service.inside.work_dir)
            for hidden in (*map(str, folders), "user-data-dir", "remote-debugging", "--no-", "--enable-"):
                assert hidden not in whole, hidden
        assert (await client.ask("Tracing.start", {"streamFormat": "proto"}))["error"]["code"] == -32602
