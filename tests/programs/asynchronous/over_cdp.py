"""Playwright on a session."""

import asyncio

from playwright.async_api import async_playwright

from browser_sessions import Client


async def main() -> None:
    async with async_playwright() as playwright, Client() as client, client.session(locale="de-CH") as session:
        browser = await playwright.chromium.connect_over_cdp(session.connect_url)
        page = browser.contexts[0].pages[0]
        await page.goto("data:text/html,<button onclick='document.title = 1'>Go</button>")
        await page.click("button")
        print(await page.title(), await page.evaluate("navigator.language"))
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
