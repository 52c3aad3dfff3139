"""One handler for each thing that can go wrong."""

import asyncio

from browser_sessions import (
    BrowserTimeout,
    Client,
    ClientError,
    InvalidArgument,
    InvalidRequest,
    NotFound,
    NotReachable,
    PageFailed,
    ScriptFailed,
    Session,
    WrongState,
)


async def attempt(session: Session, url: str, script: str) -> str:
    try:
        await session.goto(url, timeout_seconds=10)
        return f"value {await session.evaluate(script, timeout_seconds=10)}"
    except PageFailed as error:
        return f"page: {error.detail.partition(' at ')[0]}"
    except ScriptFailed as error:
        return f"script: {error}"
    except BrowserTimeout:
        return "timeout"


async def main() -> None:
    async with Client(attempts=1) as client:
        async with client.session() as session:
            print(await attempt(session, "http://127.0.0.1:1/", "1"))
            print(await attempt(session, "data:text/html,x", "throw new Error('no')"))
            print(await attempt(session, "data:text/html,x", "6 * 7"))
        try:
            await session.evaluate("1")
        except WrongState as error:
            print("ended:", error.session_id == session.id)
        for wrong in ("ses_0000", "../../auth/keys"):
            try:
                await client.get(wrong)
            except NotFound as error:
                print("not found:", error.status)
            except InvalidArgument:
                print("no id")
        try:
            await client.create(viewport_width=-1)
        except InvalidRequest as error:
            print("invalid:", error.errors[0]["loc"][-1])
        try:
            async with Client("http://127.0.0.1:1", "none", attempts=1) as nobody:
                await nobody.healthz()
        except NotReachable as error:
            print("nobody:", error.reason)
        except ClientError:
            raise


if __name__ == "__main__":
    asyncio.run(main())
