"""Signs in once, and starts another session with the cookies and storage of the first."""

import asyncio
import sys
from typing import Any

from browser_sessions import Client


async def sign_in(client: Client, site: str) -> dict[str, Any]:
    async with client.session(start_url=site) as session:
        await session.evaluate("document.cookie = 'user=ann'; localStorage.theme = 'dark'")
        return await session.storage_state()


async def main(site: str) -> None:
    async with Client() as client:
        state = await sign_in(client, site)
        async with client.session(storage_state=state, start_url=site) as session:
            print(await session.evaluate("[document.cookie, localStorage.theme].join(' ')"))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
