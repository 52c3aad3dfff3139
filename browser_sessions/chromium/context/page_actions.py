"""Actions on one page, each a few Playwright or CDP calls under one deadline.

All raise `BrowserTimeout`, `BrowserGone`, `PageFailed` and `playwright_calls.TargetClosed`, which the context
translates.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final, Literal, TypeVar, cast

from playwright.async_api import FloatRect, Frame, Locator, Page
from pydantic_core import Url

from browser_sessions.chromium.context.context_host import CHECK_SECONDS, Host
from browser_sessions.chromium.context.javascript_values import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_OBJECTS,
    SERIALISE,
    parse,
)
from browser_sessions.chromium.deadline import Deadline, seconds
from browser_sessions.chromium.driver.playwright_calls import CRASHED, Calls, NoResponse, PageCrashed
from browser_sessions.chromium.ports import Picture
from browser_sessions.domain.errors import (
    BrowserSessionsError,
    BrowserTimeout,
    DownloadStarted,
    InvalidField,
    PageFailed,
)
from browser_sessions.domain.limits import MAX_PIXELS
from browser_sessions.domain.text import valid
from browser_sessions.domain.urls import REFUSED, may_open, normalise
from browser_sessions.egress.failures import Failures
from browser_sessions.egress.http.own_responses import response_id_of

FULL_PAGE_HEIGHT: Final = 16_384
"""CSS pixels of a full-page screenshot: Chromium's largest texture, beyond which the image repeats or is blank."""
CONTENT_CHARACTERS: Final = 16 * 2**20
"""Limit of a page's HTML. Receiving it blocks the event loop for some 100 ms (20 million characters: 200 ms measured);
the largest pages of the web have a quarter of it."""
FIRST_SCREENSHOT_S: Final = 10.0
"""Timeout of the first attempt: Chromium never responds if the page has navigated by itself meanwhile. The slowest full
page took seven seconds on a busy machine."""
IDLE_S: Final = 0.2
"""A page that responds within this time is not kept busy: its script awaits something."""
ERROR_PAGE_S: Final = 2.0
"""Limit for the error page of a failed navigation, which takes 5 ms, on a busy machine 100."""
HUNG_S: Final = 0.5
"""A page that does not respond for this long after its navigation timed out is kept busy. The caller waits for that
beyond the timeout."""
HUNG: Final = "The page does not respond: a script keeps it busy. Close it, and open another."
MOVES: Final = (
    "The element is larger than the viewport and did not stop moving in time. Take a clip of the full page instead."
)
NOT_DRAWN: Final = "The page did not draw itself in time. Try again, or take a smaller part of it."
_ONE: Final = {"expression": "1"}
_NETWORK_ERROR: Final = re.compile(r"net::ERR_\w+")
_DOWNLOAD: Final = "Download is starting"
_ABORTED: Final = "net::ERR_ABORTED"
"""Of a download or an empty response: the page stays as it is."""
_NO_TUNNEL: Final = "net::ERR_TUNNEL_CONNECTION_FAILED"
"""Whatever the reason of the egress proxy was."""
SCREENSHOT_TRIES: Final = 5
"""A newly committed document may have nothing to draw yet."""
_NOTHING_TO_DRAW: Final = ("Unable to capture screenshot", "Not attached to an active page")
_SELECTOR_MESSAGES: Final = ("selector", "Unknown engine")
_SCROLL: Final = "e => e.scrollIntoView({block: 'nearest', inline: 'nearest', behavior: 'instant'})"
_WORLD: Final = "browser-sessions"
_CONTENT: Final = f"""(() => {{
  const type = document.doctype ? new XMLSerializer().serializeToString(document.doctype) : ''
  const all = type + (document.documentElement ? document.documentElement.outerHTML : '')
  return all.length > {CONTENT_CHARACTERS} ? all.length : all
}})()"""
CRASH_POLL_SECONDS: Final = 0.25
"""How often to check whether the page of a running call has crashed."""

T = TypeVar("T")
_GRACE_SECONDS: Final = 0.25
"""Our deadline is this much later than Playwright's, so that it can clean up."""

LoadState = Literal["domcontentloaded", "load", "networkidle"]


def _milliseconds(timeout: float) -> float:
    """Playwright's timeout, never 0, which Playwright takes for none."""
    return max(timeout * 1000, 1.0)


def check_address(url: str, loc: tuple[str | int, ...]) -> str:
    """The normalised URL. Raises `InvalidField` at `loc` if sessions may not navigate to it."""
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
    failures: Failures | None,
    committed: Callable[[], None] = lambda: None,
) -> int | None:
    """Navigates and returns the HTTP status of the main resource, None if there is none (data:, about:, the same
    document). Raises `DownloadStarted`. `committed` is called when the new document is committed. `failures` are those
    of the egress proxy, whose own pages are failures too.

    If the response has not begun at the deadline or on cancellation, the navigation is aborted, because Playwright
    blocks other calls to the page during a navigation. A committed one continues to load.
    """
    calls, deadline = host.calls, Deadline(timeout)
    async with host.link.navigation(page_id, everything=wait_until == "networkidle"):
        with _error_page(page) as error_page:
            try:
                response = await calls(
                    page.goto(url, wait_until="commit", timeout=_milliseconds(deadline.left)),
                    timeout=deadline.left + _GRACE_SECONDS,
                )
            except BrowserTimeout:
                await _stop_loading(host, page_id)
                await _check_not_hung(host, page_id)
                raise
            except asyncio.CancelledError:
                calls.background(_stop_loading(host, page_id))
                raise
            except PageFailed as error:
                if _DOWNLOAD in error.detail:
                    raise DownloadStarted(error.detail) from None
                if network_error(error.detail) is not None:
                    await asyncio.wait({error_page}, timeout=min(deadline.left, ERROR_PAGE_S))
                raise
        committed()
        if response is not None and failures is not None:
            response_id = response_id_of(response.headers.get("proxy-status", ""))
            if response_id is not None and (reason := failures.of_response(response_id)) is not None:
                raise PageFailed(reason)
        if wait_until != "commit":
            try:
                await calls(
                    page.wait_for_load_state(cast("LoadState", wait_until), timeout=_milliseconds(deadline.left)),
                    timeout=deadline.left + _GRACE_SECONDS,
                )
            except BrowserTimeout:
                await _check_not_hung(host, page_id)
                raise
    return None if response is None else response.status


async def explained(
    host: Host, page_id: str, failed: PageFailed, failures: Failures | None, address: str
) -> PageFailed:
    """Instead of Chromium's error, which is the same for every tunnel, the reason of the egress proxy. `address` is the
    one that was asked for; the page's, after redirects, is preferred."""
    if failures is None or network_error(failed.detail) != _NO_TUNNEL:
        return failed
    with suppress(BrowserSessionsError, ValueError):
        (found,) = await host.call_page(page_id, ("Page.getFrameTree", {}), timeout=CHECK_SECONDS)
        url = Url(found["frameTree"]["frame"].get("unreachableUrl", address))
        reason = failures.of_tunnel((url.host or "").strip("[]").removesuffix("."), url.port or 443)
        return failed if reason is None else PageFailed(reason)
    return failed


def network_error(detail: str) -> str | None:
    """The error in a text about a navigation, if an error page follows: such as net::ERR_NAME_NOT_RESOLVED."""
    found = _NETWORK_ERROR.search(detail)
    return None if found is None or found[0] == _ABORTED else found[0]


async def _stop_loading(host: Host, page_id: str) -> None:
    """Aborts a navigation, during which the page responds to nothing."""
    with suppress(BrowserSessionsError):
        await host.call_page(page_id, ("Page.stopLoading", {}), timeout=CHECK_SECONDS)


async def _check_not_hung(host: Host, page_id: str) -> None:
    """Raises `BrowserTimeout` if the page does not respond."""
    try:
        await ping(host, page_id, timeout=HUNG_S)
    except BrowserTimeout:
        raise BrowserTimeout(HUNG) from None
    except BrowserSessionsError:
        return


@contextmanager
def _error_page(page: Page) -> Iterator[asyncio.Future[None]]:
    """Done once Chromium's error page has replaced a page that did not load. Until then it would interrupt the next
    navigation."""
    shown: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_navigated(frame: Frame) -> None:
        if frame.parent_frame is None and frame.url.startswith("chrome-error:") and not shown.done():
            shown.set_result(None)

    page.on("framenavigated", on_navigated)
    try:
        yield shown
    finally:
        page.remove_listener("framenavigated", on_navigated)
        shown.cancel()


async def screenshot(
    host: Host,
    page: Page,
    page_id: str,
    picture: Picture,
    *,
    timeout: float,
) -> bytes:
    """An image of the viewport, the page, a part of it or an element, up to `FULL_PAGE_HEIGHT` and `MAX_PIXELS`."""
    deadline = Deadline(timeout)
    options: dict[str, Any] = {
        "type": picture.format,
        "quality": picture.quality,
        "omit_background": picture.omit_background,
    }
    target: Page | Locator = page
    if picture.selector is not None:
        element = page.locator(picture.selector).first
        box = await _element_box(host, element, timeout=deadline.left)
        await _check_size(host, page_id, (box["width"], box["height"]), timeout=deadline.left)
        viewport = page.viewport_size
        if viewport and box["width"] <= viewport["width"] and box["height"] <= viewport["height"]:
            options |= {"clip": _whole_pixels(box)}
        else:
            target = element
    elif picture.clip is not None:
        options |= {"full_page": picture.full_page, "clip": picture.clip._asdict()}
        await _check_size(host, page_id, (picture.clip.width, picture.clip.height), timeout=deadline.left)
    elif picture.full_page:
        options |= {"full_page": True}
        await _check_size(host, page_id, None, timeout=deadline.left)
    tries = 0
    while True:
        tries += 1
        left = deadline.left
        within = left if tries > 1 else min(left, FIRST_SCREENSHOT_S)
        try:
            return await host.calls(
                target.screenshot(**options, timeout=_milliseconds(within)),
                timeout=within + _GRACE_SECONDS,
            )
        except BrowserTimeout:
            if within == left:
                raise BrowserTimeout(MOVES if target is not page else NOT_DRAWN) from None
        except PageFailed as error:
            if tries == SCREENSHOT_TRIES or not any(message in error.detail for message in _NOTHING_TO_DRAW):
                raise


async def _element_box(host: Host, element: Locator, *, timeout: float) -> FloatRect:
    """The element's place in the viewport, after scrolling to it. Playwright's own screenshot of an element would wait
    until it has stopped moving. Raises `InvalidField`, `PageFailed`."""
    deadline = Deadline(timeout)
    try:
        found = await host.calls(element.count(), timeout=timeout)
    except PageFailed as error:
        if any(message in error.detail for message in _SELECTOR_MESSAGES):
            raise InvalidField(("query", "selector"), f"must be a selector ({error.detail[:200]})") from None
        raise
    if not found:
        raise PageFailed("No element of the page matches the selector. Wait for it with evaluate.")
    left = deadline.left
    await host.calls(element.evaluate(_SCROLL, timeout=_milliseconds(left + _GRACE_SECONDS)), timeout=left)
    left = deadline.left
    box = await host.calls(element.bounding_box(timeout=_milliseconds(left + _GRACE_SECONDS)), timeout=left)
    if box is None or not (box["width"] and box["height"]):
        raise PageFailed("The element that matches the selector is not visible.")
    return box


def _whole_pixels(box: FloatRect) -> dict[str, float]:
    x, y = math.floor(box["x"]), math.floor(box["y"])
    return {
        "x": x,
        "y": y,
        "width": math.ceil(box["x"] + box["width"]) - x,
        "height": math.ceil(box["y"] + box["height"]) - y,
    }


async def content(host: Host, page: Page, page_id: str, *, timeout: float) -> str:
    """The page's current HTML, at most `CONTENT_CHARACTERS`. Read in an isolated world, so that the page's scripts
    cannot evade the limit."""
    deadline = Deadline(timeout)
    try:
        found = await _unless_crashed(host, page, page_id, _content(host, page_id, deadline))
    except PageCrashed:
        raise
    except PageFailed:  # it navigated between the two calls
        found = await _unless_crashed(host, page, page_id, _content(host, page_id, deadline))
    if not isinstance(found, str):
        raise PageFailed(
            f"The page is longer than {CONTENT_CHARACTERS} characters. Read parts of it with evaluate, or over CDP."
        )
    return valid(found)


async def _content(host: Host, page_id: str, deadline: Deadline) -> Any:
    """The HTML, or its length if it is too long."""
    frame = {"frameId": page_id, "worldName": _WORLD}  # the id of a page's main frame is the page's
    (world,) = await host.call_page(page_id, ("Page.createIsolatedWorld", frame), timeout=deadline.left)
    expression = {"expression": _CONTENT, "contextId": world["executionContextId"], "returnByValue": True}
    (response,) = await host.call_page(page_id, ("Runtime.evaluate", expression), timeout=deadline.left)
    return response["result"].get("value")


async def _unless_crashed(host: Host, page: Page, page_id: str, call: Coroutine[Any, Any, T]) -> T:
    """Awaits `call`. Raises `PageCrashed` if the renderer dies meanwhile: Chromium does not respond then.

    Playwright reports a crash once, sometimes before the registry. A call made in between would miss Playwright's
    event, so the registry is polled too."""
    crashed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def on_crash(_: Page) -> None:
        if not crashed.done():
            crashed.set_result(None)

    page.on("crash", on_crash)
    task: asyncio.Future[Any] = asyncio.ensure_future(call)
    try:
        while not (crashed.done() or task.done()):
            target = host.registry.get(page_id)
            if target is not None and target.crashed:
                break
            await asyncio.wait({task, crashed}, timeout=CRASH_POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return cast("T", task.result())
        raise PageCrashed(CRASHED)
    finally:
        page.remove_listener("crash", on_crash)
        task.cancel()


async def pdf(calls: Calls, page: Page, options: Mapping[str, Any], *, timeout: float) -> bytes:
    """The page as a PDF. `options` are Playwright's."""
    return await calls(page.pdf(**options), timeout=timeout)


async def evaluate(host: Host, page: Page, page_id: str, expression: str, deadline: Deadline) -> Any:
    """The value of a JavaScript expression, see `javascript_values`. A function is called, a promise awaited.

    A script that keeps the page busy at the deadline is terminated; one of the page's own, which did so before the
    call, is not.
    """
    responsive = asyncio.ensure_future(_responds(host, page_id, timeout=deadline.left))
    try:
        await asyncio.wait({responsive}, timeout=min(deadline.left, IDLE_S))  # it could arrive after the script
        call = page.evaluate(SERIALISE, [expression, MAX_CHARACTERS, MAX_DEPTH, MAX_OBJECTS])
        return await parse(await host.calls(call, timeout=deadline.left))
    except (BrowserTimeout, asyncio.CancelledError) as error:
        began = responsive.done() and responsive.result()
        if began:
            host.calls.background(_terminate(host, page_id))
        if isinstance(error, NoResponse):
            within = seconds(deadline.timeout)
            raise BrowserTimeout(
                f"The script did not finish within {within}. Allow more time, or return without waiting."
                if began
                else f"The page did not respond within {within}: its own script keeps it busy, or it is navigating."
            ) from None
        raise
    finally:
        responsive.cancel()


async def _terminate(host: Host, page_id: str) -> None:
    if not await _responds(host, page_id, timeout=IDLE_S):
        await host.call_page(page_id, ("Runtime.terminateExecution", {}), timeout=CHECK_SECONDS)


async def _responds(host: Host, page_id: str, *, timeout: float) -> bool:
    try:
        await ping(host, page_id, timeout=timeout)
    except BrowserSessionsError:
        return False
    return True


async def ping(host: Host, page_id: str, *, timeout: float) -> None:
    """Returns when the page's renderer has responded."""
    await host.call_page(page_id, ("Runtime.evaluate", _ONE), timeout=timeout)


async def enable_metrics(host: Host, page_id: str) -> None:
    """Starts the collection of `metrics` in Chromium."""
    await host.call_page(page_id, ("Performance.enable", {}), timeout=CHECK_SECONDS)


async def metrics(host: Host, page_id: str, *, timeout: float) -> tuple[str, dict[str, float]]:
    """(id of the page's renderer, its `Performance.getMetrics` by name). No metrics before `enable_metrics`."""
    renderer, response = await host.call_page(
        page_id, ("Runtime.getIsolateId", {}), ("Performance.getMetrics", {}), timeout=timeout
    )
    return renderer["id"], {entry["name"]: float(entry["value"]) for entry in response["metrics"]}


async def _check_size(host: Host, page_id: str, part: tuple[float, float] | None, *, timeout: float) -> None:
    """Raises `PageFailed` if the page, or a part of it, is too large to draw. Uses the layout, which the page's scripts
    cannot fake."""
    (layout,) = await host.call_page(page_id, ("Page.getLayoutMetrics", {}), timeout=timeout)
    size, drawn = layout["cssContentSize"], layout["contentSize"]
    scale = float(drawn["width"]) / max(float(size["width"]), 1.0)
    width, height = part or (float(size["width"]), float(size["height"]))
    if height > FULL_PAGE_HEIGHT or width * height * scale * scale > MAX_PIXELS:
        raise PageFailed(
            f"The picture would have {width:.0f} x {height:.0f} pixels, which is too large (height at most "
            f"{FULL_PAGE_HEIGHT}, {MAX_PIXELS} pixels in all). Take one of a part of the page, or a PDF."
        )
