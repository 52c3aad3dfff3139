"""The console in an operator's browser, on the fake server of `fakes.fake_console_server`."""

from __future__ import annotations

import base64
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from playwright.async_api import Browser, BrowserContext, Page, ViewportSize

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


VIEWPORT: Final[ViewportSize] = {"width": 1280, "height": 720}


class OperatorPage:
    """A page in a context of its own, with what it has requested and what went wrong."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.requested: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda line: self.errors.append(line.text) if "Content Security" in line.text else None)
        page.on("request", lambda request: self.requested.append(request.url))

    async def clear(self) -> None:
        """Leaves nothing in the context but the scripts in its cache."""
        for page in self.page.context.pages:
            if page is not self.page:
                await page.close()
        await self.page.evaluate("localStorage.clear()")
        await self.page.context.clear_cookies()
        await self.page.goto("about:blank")
        await self.page.mouse.move(0, 0)
        await self.page.emulate_media(color_scheme="null", reduced_motion="null")
        self.errors.clear()
        self.requested.clear()


_kept: Final[weakref.WeakKeyDictionary[Browser, OperatorPage]] = weakref.WeakKeyDictionary()


def is_kept(context: BrowserContext) -> bool:
    return any(kept.page.context is context for kept in _kept.values())


@asynccontextmanager
async def operator_page(
    operator: Browser, *, viewport: ViewportSize | None = None, **options: Any
) -> AsyncIterator[OperatorPage]:
    """A page in a context with these options. Tests without any use the same page one after the other, because a
    renderer process and forty cold scripts take longer than most tests; after one that failed there is a new page."""
    shown = None if options else _kept.pop(operator, None)
    if shown is None:
        context = await operator.new_context(**options)
        shown = OperatorPage(await context.new_page())
    await shown.page.set_viewport_size(viewport or VIEWPORT)
    yield shown
    if options:
        await shown.page.context.close()
    else:
        await shown.clear()
        _kept[operator] = shown


@asynccontextmanager
async def watching(
    operator: Browser, console: FakeConsole, path: str = "/", **options: Any
) -> AsyncIterator[tuple[Page, str]]:
    """A signed-in console at `path`. Afterwards: no script error, no CSP report, no request to another server."""
    console.signed_in = True
    async with serving(console) as base_url, operator_page(operator, **options) as shown:
        await shown.page.goto(base_url + path)
        yield shown.page, base_url
        assert await shown.page.evaluate("window.pwned") is None
        assert shown.errors == []
        assert [url for url in shown.requested if not url.startswith((base_url, "data:", "blob:"))] == []
    assert console.violations == []


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
