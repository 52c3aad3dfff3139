"""Screenshots of several pages, three at a time."""

import asyncio
import tempfile
from pathlib import Path

from browser_sessions import Client

COLOURS = ("red", "green", "blue", "white")


async def shoot(client: Client, limit: asyncio.Semaphore, colour: str, folder: Path) -> Path:
    async with limit, client.session(viewport_width=320, viewport_height=200, wait_seconds=30) as session:
        await session.goto(f"data:text/html,<body bgcolor={colour}>")
        file = folder / f"{colour}.jpg"
        file.write_bytes(await session.screenshot(format="jpeg", quality=50))
        return file


async def main() -> None:
    limit = asyncio.Semaphore(3)
    with tempfile.TemporaryDirectory() as folder:
        async with Client() as client:
            files = await asyncio.gather(*(shoot(client, limit, colour, Path(folder)) for colour in COLOURS))
        print(*(file.name for file in files if file.stat().st_size > 100))


if __name__ == "__main__":
    asyncio.run(main())
