"""Saves what a page downloads."""

import asyncio
import tempfile
from pathlib import Path

from browser_sessions import Client, Session

PAGE = "data:text/html,<a download='note.txt' href='data:text/plain,some text'>note</a>"


async def finished(session: Session) -> str:
    while True:
        for download in await session.downloads():
            if download.state == "completed":
                return download.download_id
        await asyncio.sleep(0.05)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with Client() as client, client.session(start_url=PAGE) as session:
            await session.evaluate("document.querySelector('a').click()")
            download = session.download(await finished(session))
            file = await download.save_as(Path(folder) / "note.txt")
            print(file.name, file.read_text(), sum([len(piece) async for piece in download.aiter_bytes()]))


if __name__ == "__main__":
    asyncio.run(main())
