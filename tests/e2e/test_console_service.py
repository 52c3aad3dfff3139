"""The console in a real browser, looking at the real service with real sessions: seen, watched, driven, ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from browser_sessions.browser.locate import locate
from tests.service import ADMIN_KEY, Running, serving, until

pytestmark = pytest.mark.browser

SHOP = (
    "data:text/html,<title>Shop</title><body style='margin:0;background:white'>"
    "<button style='position:absolute;left:40px;top:40px;width:200px;height:80px' "
    "onclick='document.title=%22bought%22'>Buy</button>"
    "<input style='position:absolute;left:40px;top:160px;width:300px;height:40px' "
    "oninput='document.body.dataset.typed=this.value'>"
)


@pytest_asyncio.fixture
async def service(tmp_path: Path) -> AsyncIterator[Running]:
    async with serving(tmp_path / "data") as running:
        yield running


@pytest_asyncio.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=locate(None).executable)
        yield browser
        await browser.close()


async def signed_in(chromium: Browser, service: Running, *, scale: float = 1, width: int = 1280) -> Page:
    context = await chromium.new_context(
        viewport={"width": width, "height": 800}, device_scale_factor=scale, base_url=service.url
    )
    page = await context.new_page()
    await page.goto("/")
    await page.get_by_label("API key", exact=True).last.fill(ADMIN_KEY)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    return page


async def pixel(page: Page, x: float, y: float) -> list[int]:
    """The colour at a point of the picture, in shares of its size; none of all while there is no picture."""
    colour: list[int] = await page.evaluate(
        """([x, y]) => { const c = document.querySelector('canvas.picture'); if (!c) return [-99, -99, -99];
            const d = c.getContext('2d').getImageData(Math.floor(c.width * x), Math.floor(c.height * y), 1, 1).data;
            return [...d].slice(0, 3) }""",
        [x, y],
    )
    return colour


async def test_an_operator_sees_sessions_come_filters_them_and_opens_one(service: Running, chromium: Browser) -> None:
    page = await signed_in(chromium, service)
    await expect(page.get_by_label("Command that makes a session")).to_be_visible()
    for name in ("apples", "pears", "plums"):
        await service.create(start_url=f"data:text/html,<title>{name}</title>", metadata={"fruit": name})
    cards = page.locator("ul.sessions a.open")
    await expect(cards).to_have_count(3)
    await page.keyboard.press("/")
    await page.keyboard.type("fruit=pears")
    await expect(cards).to_have_count(1)
    await cards.first.click()
    await expect(page.get_by_role("heading", name="pears")).to_be_visible()
    await expect(page.get_by_label("Live picture of the page")).to_be_visible()


async def test_an_empty_console_fits_a_phone(service: Running, chromium: Browser) -> None:
    page = await signed_in(chromium, service, width=390)
    command = page.get_by_label("Command that makes a session")
    await expect(command).to_contain_text(f"curl -X POST {service.url}/v1/browser/sessions")
    box = await page.locator(".code").bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= 390


async def test_the_picture_follows_the_page_and_watching_keeps_nothing_alive(
    service: Running, chromium: Browser
) -> None:
    session_id = (await service.create(start_url=SHOP))["session_id"]
    page = await signed_in(chromium, service)
    await page.goto(f"/sessions/{session_id}")
    await until(lambda: _is(page, 0.9, 0.9, [255, 255, 255]), what="the page's white", every=0.1)
    await service.evaluate(session_id, "document.body.style.background = 'rgb(0, 128, 0)'")
    used = (await service.get(session_id))["last_activity"]
    await until(lambda: _is(page, 0.9, 0.9, [0, 128, 0]), what="the page's green", every=0.1)
    assert (await service.get(session_id))["last_activity"] == used


async def _is(page: Page, x: float, y: float, colour: list[int]) -> bool:
    return all(abs(a - b) <= 12 for a, b in zip(await pixel(page, x, y), colour, strict=True))


@pytest.mark.parametrize(("scale", "width"), [(1, 1280), (2, 1280), (1, 820)])
async def test_who_takes_the_wheel_drives_the_page_while_the_client_waits(
    service: Running, chromium: Browser, scale: float, width: int
) -> None:
    created = await service.create(start_url=SHOP, viewport_width=1000, viewport_height=700)
    session_id = created["session_id"]
    async with async_playwright() as playwright:
        client = await playwright.chromium.connect_over_cdp(created["connect_url"])
        driven = client.contexts[0].pages[0]
        page = await signed_in(chromium, service, scale=scale, width=width)
        await page.goto(f"/sessions/{session_id}")
        await page.get_by_role("button", name="Take the wheel").click()
        await expect(page.get_by_text("You drive")).to_be_visible()
        waiting = asyncio.create_task(driven.evaluate("document.title"))
        box = await page.get_by_label("Live picture of the page").bounding_box()
        assert box is not None

        async def click(x: float, y: float) -> None:
            await page.mouse.click(box["x"] + box["width"] * x / 1000, box["y"] + box["height"] * y / 700)

        await click(140, 80)
        await until(lambda: _title(service, session_id, "bought"), what="the button was clicked", every=0.1)
        await click(190, 180)
        await page.keyboard.type("three apples")
        await until(lambda: _typed(service, session_id, "three apples"), what="the text arrived", every=0.1)
        assert not waiting.done(), "the client's command waits"
        await page.get_by_role("button", name="Release").click()
        assert await waiting == "bought"
        await client.close()


async def _title(service: Running, session_id: str, title: str) -> bool:
    pages = (await service.http.get(f"/v1/browser/sessions/{session_id}/pages")).json()["pages"]
    return bool(pages[0]["title"] == title)


async def _typed(service: Running, session_id: str, text: str) -> bool:
    return bool(await service.evaluate(session_id, "document.body.dataset.typed || ''") == text)


async def test_what_is_ended_in_the_console_says_why_and_keeps_its_last_picture(
    service: Running, chromium: Browser
) -> None:
    session_id = (await service.create(start_url=SHOP))["session_id"]
    page = await signed_in(chromium, service)
    await page.goto(f"/sessions/{session_id}")
    await until(lambda: _is(page, 0.9, 0.9, [255, 255, 255]), what="a picture", every=0.1)
    await page.get_by_role("button", name="End…").click()
    await page.get_by_role("dialog").get_by_role("button", name="End").last.click()
    await expect(page.get_by_text("closed").first).to_be_visible()
    assert (await service.details(session_id))["end_reason"] == "deleted"


async def test_hostile_pages_run_nothing_in_the_console(service: Running, chromium: Browser) -> None:
    evil = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>"
    session_id = (await service.create(start_url="data:text/html,<body>x"))["session_id"]
    await service.evaluate(session_id, f"document.title = {evil!r}; console.log({evil!r})")
    page = await signed_in(chromium, service)
    reports: list[str] = []
    page.on("console", lambda message: reports.append(message.text))
    await page.goto(f"/sessions/{session_id}")
    await expect(page.get_by_role("heading", name=evil)).to_be_visible()
    await page.get_by_role("tab", name="Console").click()
    await expect(page.get_by_role("tabpanel").get_by_text("onerror").first).to_be_visible()
    assert await page.evaluate("window.hacked") is None
    assert [report for report in reports if "Content Security Policy" in report] == []
