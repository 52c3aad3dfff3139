"""The console in an operator's browser, on the fake server of `fakes.fake_console_server`."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from playwright.async_api import Browser, BrowserContext, Page

from tests.harness.fakes.fake_console_server import FakeConsole, row, serving, stamp
from tests.harness.waiting import until

DRAW = """([width, height, colour]) => {
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const paint = canvas.getContext("2d");
    paint.fillStyle = colour;
    paint.fillRect(0, 0, width, height);
    return canvas.toDataURL("image/jpeg", 0.8).split(",")[1];
}"""


_drawn: Final[dict[tuple[str, int, int], bytes]] = {}
"""A page takes a renderer process, and nearly every test has the same picture."""


async def jpeg(operator: Browser, colour: str, width: int = 1280, height: int = 720) -> bytes:
    known = (colour, width, height)
    if known not in _drawn:
        page = await operator.new_page()
        _drawn[known] = base64.b64decode(await page.evaluate(DRAW, [width, height, colour]))
        await page.close()
    return _drawn[known]


@asynccontextmanager
async def watching(
    operator: Browser, console: FakeConsole, path: str = "/", **options: Any
) -> AsyncIterator[tuple[Page, str]]:
    """A signed-in console at `path`. Afterwards: no script error, no CSP report, no request to another server."""
    console.signed_in = True
    errors: list[str] = []
    foreign: list[str] = []
    async with AsyncExitStack() as stack:
        base_url = await stack.enter_async_context(serving(console))
        context: BrowserContext = await operator.new_context(**{"viewport": {"width": 1440, "height": 900}} | options)
        stack.push_async_callback(context.close)
        page = await context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if "Content Security Policy" in line.text else None)
        page.on(
            "request",
            lambda made: foreign.append(made.url) if not made.url.startswith((base_url, "data:", "blob:")) else None,
        )
        await page.goto(base_url + path)
        yield page, base_url
        assert await page.evaluate("window.pwned") is None
    assert errors == []
    assert console.violations == []
    assert foreign == []


def fleet(count: int, **changed: Any) -> dict[str, Any]:
    ids = [f"s{n:04d}-aaaa-bbbb-cccc-dddddddddddd" for n in range(count)]
    return {i: row(i, title=f"Page{n}", created_at=stamp(-n), **changed) for n, i in enumerate(ids)}


async def got(console: FakeConsole, kind: str, **fields: Any) -> list[dict[str, Any]]:
    """Waits until the page has sent such a message."""
    return list(await until(lambda: sent(console, kind, **fields)))


def sent(console: FakeConsole, kind: str, **fields: Any) -> list[dict[str, Any]]:
    return [m for m in console.sent if m["type"] == kind and all(m.get(k) == v for k, v in fields.items())]


@asynccontextmanager
async def driving(
    operator: Browser, session: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[Page, FakeConsole]]:
    """One session with these options, watched by an operator with control."""
    console = FakeConsole(rows={"s1": row("s1")}, frames={"": [await jpeg(operator, "#336699")]}, options=session or {})
    async with watching(operator, console, "/sessions/s1", **options) as (page, _):
        await page.locator("canvas[data-seq]").wait_for()
        await page.get_by_role("button", name="Take control").click()
        await page.locator(".stage.mine .pad:focus").wait_for(state="attached")  # from then on it receives keys
        console.sent.clear()
        yield page, console
