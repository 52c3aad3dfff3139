"""Follows the events of a session until it has ended, while another task drives it."""

import asyncio

from browser_sessions import Client, Session, SessionEvent


async def drive(session: Session) -> None:
    await session.goto("data:text/html,<title>One</title>")
    await session.evaluate("console.log('hello')")
    await session.end()


def line(event: SessionEvent) -> str | None:
    match event.type:
        case "console":
            return f"console: {event.data['text']}"
        case "session.ended":
            return f"ended: {event.data['reason']}"
        case _:
            return None


async def main() -> None:
    async with Client() as client, client.session() as session:
        driving = asyncio.create_task(drive(session))
        async for event in session.events(since="start"):
            if text := line(event):
                print(text)
        await driving


if __name__ == "__main__":
    asyncio.run(main())
