"""What can be done with one page: each a few Playwright calls under one deadline.

All raise `BrowserTimeout`, `BrowserGone`, `PageFailed` and `playwright_calls.TargetClosed`, which the context turns
into what it means there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Literal, TypeVar, cast

from playwright.async_api import Page

from browser_sessions.chromium.context.context_host import CHECK_SECONDS, Host
from browser_sessions.chromium.context.javascript_values import (
    BOXES_AT_MOST,
    CHARACTERS_AT_MOST,
    DEPTH_AT_MOST,
    WRITE,
    read,
)
from browser_sessions.chromium.deadline import Deadline
from browser_sessions.chromium.driver.playwright_calls import CRASHED, Calls, PageCrashed
from browser_sessions.domain.errors import BrowserTimeout, InvalidField, PageFailed
from browser_sessions.domain.limits import MAX_PIXELS
from browser_sessions.domain.text import valid
from browser_sessions.domain.urls import REFUSED, may_open, normalise

FULL_PAGE_HEIGHT: Final = 16_384
"""CSS pixels of a full-page screenshot: Chromium's own largest texture; beyond it, pictures repeat or stay blank."""
CONTENT_CHARACTERS: Final = 16 * 2**20
"""Of a page's HTML. Receiving it holds the event loop up for some 100 ms, for 20 million a fifth of a second was
measured; the largest pages of the web have a quarter of it."""
FIRST_PICTURE_S: Final = 10.0
"""After this a picture is asked for once more: Chromium never answers for one of a page that has navigated by itself
meanwhile, and the slowest full page on a busy machine took seven seconds."""
PICTURE_TRIES: Final = 5
"""A document that is just there may have nothing to draw yet."""
_NOTHING_TO_DRAW: Final = ("Unable to capture screenshot", "Not attached to an active page")
_WORLD: Final = "browser-sessions"
_CONTENT: Final = f"""(() => {{
  const type = document.doctype ? new XMLSerializer().serializeToString(document.doctype) : ''
  const all = type + (document.documentElement ? document.documentElement.outerHTML : '')
  return all.length > {CONTENT_CHARACTERS} ? all.length : all
}})()"""
LOOK_SECONDS: Final = 0.25
"""Between looks at whether the page of a question has crashed."""

T = TypeVar("T")
_GRACE_SECONDS: Final = 0.25
"""Playwright's own deadline comes this much before ours, so that it cleans up after itself where it can."""

LoadState = Literal["domcontentloaded", "load", "networkidle"]


def _milliseconds(timeout: float) -> float:
    """Playwright's deadline; never 0, which means none there."""
    return max((timeout - _GRACE_SECONDS) * 1000, 1.0)


def check_address(url: str, loc: tuple[str | int, ...]) -> str:
    """The address as Chromium will read it. Raises `InvalidField` at `loc` when a session may not be sent there."""
    if not may_open(url):
        raise InvalidField(loc, REFUSED)
    return normalise(url)


async def goto(
    host: Host,
    page: Page,
    page_id: str,
    url: str,
    *,
    wait_until: str,
    timeout: float,
    committed: Callable[[], None] = lambda: None,
) -> int | None:
    """Navigates; the HTTP status of the main resource, None where there is none (data:, about:, the same document).
    `committed` is called when the new document is there.

    A navigation whose answer has not begun by the deadline, or when the caller leaves, is given up: Playwright lets no
    call at the page through while one is under way. One that is still loading goes on.
    """
    calls, deadline = host.calls, Deadline(timeout)
    with host.link.navigation(page_id, everything=wait_until == "networkidle"):
        try:
            response = await calls(
                page.goto(url, wait_until="commit", timeout=_milliseconds(deadline.left)), timeout=deadline.left
            )
        except (BrowserTimeout, asyncio.CancelledError):
            calls.background(host.ask(page_id, ("Page.stopLoading", {}), timeout=CHECK_SECONDS))
            raise
        committed()
        if wait_until != "commit":
            await calls(
                page.wait_for_load_state(cast("LoadState", wait_until), timeout=_milliseconds(deadline.left)),
                timeout=deadline.left,
            )
    return None if response is None else response.status


async def screenshot(
    host: Host,
    page: Page,
    page_id: str,
    *,
    image_format: str,
    quality: int | None,
    full_page: bool,
    timeout: float,
) -> bytes:
    """A picture of what is seen, or of the whole page within `FULL_PAGE_HEIGHT` and `MAX_PIXELS`."""
    deadline = Deadline(timeout)
    if full_page:
        await _check_size(host, page_id, timeout=timeout)
    tries = 0
    while True:
        tries += 1
        left = deadline.left
        within = left if tries > 1 else min(left, FIRST_PICTURE_S)
        try:
            return await host.calls(
                page.screenshot(
                    type=cast("Literal['jpeg', 'png']", image_format),
                    quality=quality if image_format == "jpeg" else None,
                    full_page=full_page,
                    timeout=_milliseconds(within),
                ),
                timeout=within,
            )
        except BrowserTimeout:
            if within == left:
                raise
        except PageFailed as error:
            if tries == PICTURE_TRIES or not any(words in error.detail for words in _NOTHING_TO_DRAW):
                raise


async def content(host: Host, page: Page, page_id: str, *, timeout: float) -> str:
    """The page's HTML as it stands now, within `CONTENT_CHARACTERS`. Read in a world of its own: the page's scripts
    have no say in how long it is."""
    deadline = Deadline(timeout)
    try:
        found = await _unless_crashed(host, page, page_id, _content(host, page_id, deadline))
    except PageCrashed:
        raise
    except PageFailed:  # it went elsewhere between the two questions
        found = await _unless_crashed(host, page, page_id, _content(host, page_id, deadline))
    if not isinstance(found, str):
        raise PageFailed(
            f"The page is longer than {CONTENT_CHARACTERS} characters. Read parts of it with evaluate, or over CDP."
        )
    return valid(found)


async def _content(host: Host, page_id: str, deadline: Deadline) -> Any:
    """The HTML, or its length when it is too long."""
    named = {"frameId": page_id, "worldName": _WORLD}  # a page's main frame has its id
    (world,) = await host.ask(page_id, ("Page.createIsolatedWorld", named), timeout=deadline.left)
    asked = {"expression": _CONTENT, "contextId": world["executionContextId"], "returnByValue": True}
    (answer,) = await host.ask(page_id, ("Runtime.evaluate", asked), timeout=deadline.left)
    return answer["result"].get("value")


async def _unless_crashed(host: Host, page: Page, page_id: str, asking: Coroutine[Any, Any, T]) -> T:
    """Chromium leaves a question to a renderer that dies unanswered. Raises `PageCrashed` instead of waiting.

    Playwright tells of a crash once, and at times before the registry does: a question that comes between would hear of
    it from neither, so the registry is looked at too."""
    crashed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def told(_: Page) -> None:
        if not crashed.done():
            crashed.set_result(None)

    page.on("crash", told)
    task: asyncio.Future[Any] = asyncio.ensure_future(asking)
    try:
        while not (crashed.done() or task.done()):
            target = host.registry.get(page_id)
            if target is not None and target.crashed:
                break
            await asyncio.wait({task, crashed}, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return cast("T", task.result())
        raise PageCrashed(CRASHED)
    finally:
        page.remove_listener("crash", told)
        task.cancel()


async def pdf(calls: Calls, page: Page, *, timeout: float) -> bytes:
    """The page printed. Headless Chromium only, which is what we start."""
    return await calls(page.pdf(), timeout=timeout)


async def evaluate(calls: Calls, page: Page, expression: str, *, timeout: float) -> Any:
    """The value of a JavaScript expression as `jsonable` has it; a function is called, a promise awaited."""
    asked = page.evaluate(WRITE, [expression, CHARACTERS_AT_MOST, DEPTH_AT_MOST, BOXES_AT_MOST])
    return await read(await calls(asked, timeout=timeout))


async def responds(host: Host, page_id: str, *, timeout: float) -> None:
    """Returns when the page's renderer has answered; a page that waits for its site answers too. Raises as all here."""
    await host.ask(page_id, ("Runtime.evaluate", {"expression": "1"}), timeout=timeout)


async def measure(host: Host, page_id: str) -> None:
    """Has Chromium count what `metrics` tells, from now on."""
    await host.ask(page_id, ("Performance.enable", {}), timeout=CHECK_SECONDS)


async def metrics(host: Host, page_id: str, *, timeout: float) -> tuple[str, dict[str, float]]:
    """(id of the page's renderer, Chromium's `Performance.getMetrics` of it by name): empty before `measure`."""
    renderer, answer = await host.ask(
        page_id, ("Runtime.getIsolateId", {}), ("Performance.getMetrics", {}), timeout=timeout
    )
    return renderer["id"], {entry["name"]: float(entry["value"]) for entry in answer["metrics"]}


async def _check_size(host: Host, page_id: str, *, timeout: float) -> None:
    """Raises `PageFailed` for a page too large to draw. Asks the layout, not the page's scripts."""
    (answer,) = await host.ask(page_id, ("Page.getLayoutMetrics", {}), timeout=timeout)
    size, drawn = answer["cssContentSize"], answer["contentSize"]
    width, height = float(size["width"]), float(size["height"])
    pixels = float(drawn["width"]) * float(drawn["height"])
    if height > FULL_PAGE_HEIGHT or pixels > MAX_PIXELS:
        raise PageFailed(
            f"The page is {width:.0f} x {height:.0f} pixels, too large for one picture (height at most "
            f"{FULL_PAGE_HEIGHT}, {MAX_PIXELS} pixels in all). Take one without full_page, or the PDF."
        )
