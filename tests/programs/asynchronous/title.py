"""The title of a page."""

import asyncio

from browser_sessions import Client


async def main() -> None:
    async with Client() as client, client.session(viewport_width=800) as session:
        page = await session.goto("data:text/html,<title>Hello</title>")
        print(page.title, await session.evaluate("innerWidth"))


if __name__ == "__main__":
    asyncio.run(main())
