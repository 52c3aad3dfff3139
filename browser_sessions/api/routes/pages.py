"""Pages of a session over HTTP, without a CDP client. While an action runs, the idle timeout does not."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Depends, Query, Response

from browser_sessions.api.caller_credentials import Caller, CheckedRoute
from browser_sessions.api.dependencies import Here, Services
from browser_sessions.api.large_responses import bounded
from browser_sessions.api.models.page_models import (
    EvaluateBody,
    EvaluateResponse,
    NavigateBody,
    NavigationResponse,
    OpenPageBody,
    PageContent,
    PageList,
    PageResponse,
    PdfQuery,
    ScreenshotQuery,
)
from browser_sessions.api.responses import problems
from browser_sessions.api.session_access import find, find_active
from browser_sessions.chromium.deadline import Deadline
from browser_sessions.chromium.ports import Clip, ContextHandle, PageInfo, Picture
from browser_sessions.domain.errors import BrowserSessionsError, InvalidField, ScriptFailed, WrongState
from browser_sessions.domain.principal import Principal
from browser_sessions.domain.session import EndReason, SessionStatus, require_active
from browser_sessions.domain.text import valid

router = APIRouter(prefix="/v1/browser/sessions/{session_id}/pages", tags=["pages"], route_class=CheckedRoute)

OPEN_TIMEOUT_S: Final = 30.0
READ_TIMEOUT_S: Final = 30.0
"""Playwright's default for the same calls."""
CLOSE_TIMEOUT_S: Final = 5.0
"""Closing takes milliseconds and does not need the renderer."""
_PAGE_PROBLEMS: Final = (401, 404, 409, 503, 504)
_BODY_PROBLEMS: Final = (400, 401, 404, 409, 413, 415, 503, 504)
_LARGE_PROBLEMS: Final = (401, 404, 409, 429, 503, 504)
_SIDES: Final = ("top", "right", "bottom", "left")
BYTES_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}
"""Content of a page must not be rendered as a page of this service in the caller's browser."""


async def large_response(services: Here, principal: Caller) -> None:
    """For operations with a response that may be large. Raises `QuotaExceeded`."""
    services.unsent.check(principal.principal_id)


MAY_BE_LARGE: Final = [Depends(large_response)]


def bytes_of(media_type: str) -> dict[str, Any]:
    return {media_type: {"schema": {"type": "string", "format": "binary"}}}


@asynccontextmanager
async def driving(services: Services, principal: Principal, session_id: str) -> AsyncIterator[ContextHandle]:
    """The session's context for one action.

    Raises `SessionNotFound`, `WrongState`: also for whatever the action met where the session ended under it.
    """
    await services.slow_requests.turn(principal.principal_id)
    await find_active(services.pool, principal, session_id)
    with services.pool.using(session_id) as context:
        try:
            yield context
        except BrowserSessionsError as error:
            error.session_id = session_id  # the browser does not know sessions
            if (reason := _ended(services, session_id)) is not None:
                raise WrongState(
                    f"The session is {reason.status} ({reason}): it ended during the call. Create another one.",
                    session_id=session_id,
                ) from error
            raise


@asynccontextmanager
async def acting(
    services: Services, principal: Principal, session_id: str, timeout: float
) -> AsyncIterator[tuple[ContextHandle, float]]:
    """As `driving`, for an action that may change a page: it waits while another principal has control. With the
    seconds that are left of `timeout`. Also raises `Conflict`."""
    async with driving(services, principal, session_id) as context:
        deadline = Deadline(timeout)
        live = services.pool.registry.live(session_id)
        await live.control.allows(principal, timeout=timeout)
        require_active(live.session)  # its end releases control
        yield context, deadline.left


def _ended(services: Services, session_id: str) -> EndReason | None:
    """Why the session has ended, or None; None too when its browser died, which the error of the call says."""
    known = services.pool.registry.known(session_id)
    if known is None or known.end_reason is None or known.end_reason.status is SessionStatus.CRASHED:
        return None
    return known.end_reason


@router.get("", response_model=PageList, responses=problems(401, 404, 503))
async def list_pages(session_id: str, services: Here, principal: Caller) -> dict[str, Any]:
    """List open pages, oldest first. Not an activity; empty for an ended session."""
    found = await find(services.pool, principal, session_id)
    if found.status is not SessionStatus.ACTIVE:
        return {"pages": []}
    return {"pages": [_shown(page) for page in services.pool.context(session_id).pages()]}


@router.post("", status_code=201, response_model=PageResponse, responses=problems(*_BODY_PROBLEMS))
async def open_page(
    session_id: str, services: Here, principal: Caller, body: OpenPageBody | None = None
) -> dict[str, Any]:
    """Open a page, empty or at `url`. A session has a limit of pages (409)."""
    async with acting(services, principal, session_id, OPEN_TIMEOUT_S) as (context, left):
        page = await context.open_page(body.url if body else None, timeout=left)
    return _shown(page)


@router.delete("/{page_id}", status_code=204, responses=problems(*_PAGE_PROBLEMS))
async def close_page(session_id: str, page_id: str, services: Here, principal: Caller) -> None:
    """Close a page."""
    async with acting(services, principal, session_id, CLOSE_TIMEOUT_S) as (context, left):
        await context.close_page(page_id, timeout=left)


@router.post("/{page_id}/navigate", response_model=NavigationResponse, responses=problems(*_BODY_PROBLEMS))
async def navigate_page(
    session_id: str, page_id: str, services: Here, principal: Caller, body: NavigateBody
) -> dict[str, Any]:
    """Navigate, and wait for the event `wait_until`."""
    async with acting(services, principal, session_id, body.timeout_seconds) as (context, left):
        done = await context.navigate(page_id, body.url, wait_until=body.wait_until, timeout=left)
    page = done.page
    return {
        "page_id": page.page_id,
        "url": valid(page.url),
        "title": valid(page.title),
        "http_status": done.http_status,
        "download_id": done.download_id,
    }


@router.get(
    "/{page_id}/screenshot",
    response_class=Response,
    dependencies=MAY_BE_LARGE,
    responses=problems(*_LARGE_PROBLEMS)
    | {200: {"content": bytes_of("image/png") | bytes_of("image/jpeg") | bytes_of("image/webp")}},
)
async def take_screenshot(
    session_id: str, page_id: str, services: Here, principal: Caller, query: Annotated[ScreenshotQuery, Query()]
) -> Response:
    """Take a screenshot of a page."""
    if query.quality is not None and query.format == "png":
        raise InvalidField(("query", "quality"), "goes with format=jpeg and webp only; leave it out for png")
    if query.omit_background and query.format == "jpeg":
        raise InvalidField(("query", "omit_background"), "goes with format=png and webp only: jpeg has no transparency")
    if query.selector is not None and (query.full_page or query.clip is not None):
        raise InvalidField(("query", "selector"), "goes without full_page and clip: it is a part of the page by itself")
    clip = None if query.clip is None else Clip(*map(float, query.clip.split(",")))
    if clip is not None and not (clip.width and clip.height):
        raise InvalidField(("query", "clip"), "must have a width and a height")
    picture = Picture(
        format=query.format,
        quality=query.quality,
        full_page=query.full_page,
        clip=clip,
        selector=query.selector,
        omit_background=query.omit_background,
    )
    async with driving(services, principal, session_id) as context:
        image = await context.screenshot(page_id, picture, timeout=READ_TIMEOUT_S)
    bounded(image, "The screenshot", "Take a part of it with clip, or another format, or a lower quality.")
    return _file(image, f"image/{query.format}", f"screenshot.{query.format}")


@router.get(
    "/{page_id}/content",
    response_model=PageContent,
    dependencies=MAY_BE_LARGE,
    responses=problems(*_LARGE_PROBLEMS),
)
async def get_page_content(session_id: str, page_id: str, services: Here, principal: Caller) -> Response:
    """Get the page's current HTML."""
    async with driving(services, principal, session_id) as context:
        content = await context.content(page_id, timeout=READ_TIMEOUT_S)
        page = next((page for page in context.pages() if page.page_id == page_id), None)
    fields = {
        "url": valid(page.url) if page else "",
        "title": valid(page.title) if page else "",
        "content": valid(content),
    }
    body = await asyncio.to_thread(orjson.dumps, fields)
    bounded(body, "The page's HTML as JSON", "Read parts of it with evaluate, or over CDP.")
    return Response(body, media_type="application/json")


@router.get(
    "/{page_id}/pdf",
    response_class=Response,
    dependencies=MAY_BE_LARGE,
    responses=problems(*_LARGE_PROBLEMS) | {200: {"content": bytes_of("application/pdf")}},
)
async def print_page(
    session_id: str, page_id: str, services: Here, principal: Caller, query: Annotated[PdfQuery, Query()]
) -> Response:
    """Print the page as a PDF."""
    options = query.model_dump(exclude_unset=True)
    margins = {side: options.pop(f"margin_{side}") for side in _SIDES if f"margin_{side}" in options}
    for name in ("width", "height"):
        if name in options and not re.search("[1-9]", options[name]):
            raise InvalidField(("query", name), "must be more than zero")
    async with driving(services, principal, session_id) as context:
        document = await context.pdf(page_id, options | {"margin": margins}, timeout=READ_TIMEOUT_S)
    bounded(document, "The PDF", "Print some of its pages with page_ranges.")
    return _file(document, "application/pdf", "page.pdf")


@router.post(
    "/{page_id}/evaluate",
    response_model=EvaluateResponse,
    dependencies=MAY_BE_LARGE,
    responses=problems(429, *_BODY_PROBLEMS),
)
async def evaluate_in_page(
    session_id: str, page_id: str, services: Here, principal: Caller, body: EvaluateBody
) -> Response:
    """Evaluate a JavaScript expression. Promises are awaited; the value is written by the rules of JSON.stringify."""
    async with acting(services, principal, session_id, body.timeout_seconds) as (context, left):
        result = await context.evaluate(page_id, body.expression, timeout=left)
    text = await asyncio.to_thread(_result, result)
    bounded(text, "The value as JSON", "Return less, or parts of it.", ScriptFailed)
    return Response(text, media_type="application/json")


def _result(value: Any) -> bytes:
    """For a thread, because the value may have megabytes. The standard library encodes what orjson does not; as ASCII,
    because JavaScript strings may be invalid Unicode."""
    try:
        return orjson.dumps({"result": value})
    except TypeError:
        pass
    try:
        return json.dumps({"result": _finite(value)}, allow_nan=False).encode("ascii")
    except (TypeError, ValueError, RecursionError):
        raise ScriptFailed(
            "The value of the expression is not JSON: return numbers, strings, arrays or plain objects."
        ) from None


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value


def _shown(page: PageInfo) -> dict[str, Any]:
    return {
        "page_id": page.page_id,
        "url": valid(page.url),
        "title": valid(page.title),
        "created_at": page.created_at,
        "crashed": page.crashed,
    }


def _file(content: bytes, media_type: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', **BYTES_HEADERS}
    return Response(content, media_type=media_type, headers=headers)
