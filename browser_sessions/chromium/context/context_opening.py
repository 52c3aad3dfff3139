"""Opens a session's context with one page. A failed attempt leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from playwright.async_api import BrowserContext, Page

from browser_sessions.chromium.context import page_actions
from browser_sessions.chromium.context.context import Context, EventListener, remove
from browser_sessions.chromium.context.context_host import Host
from browser_sessions.chromium.context.context_options import context_options, invalid_field
from browser_sessions.chromium.context.spare_contexts import Prepared, Spares
from browser_sessions.chromium.deadline import Deadline, seconds
from browser_sessions.chromium.driver.playwright_calls import TargetClosed
from browser_sessions.chromium.driver.ready_contexts import EVERYTHING
from browser_sessions.chromium.launch import folders
from browser_sessions.chromium.launch.user import BrowserUser
from browser_sessions.chromium.ports import Assign, Permit
from browser_sessions.domain.errors import (
    BrowserGone,
    BrowserSessionsError,
    BrowserTimeout,
    DownloadStarted,
    PageFailed,
    StartPageFailed,
    Unavailable,
)
from browser_sessions.domain.session_spec import SessionSpec
from browser_sessions.egress.egress import BrowserEgress, EgressPort

CLOSE_SECONDS: Final = 5.0
"""Limit for an unused context to close, which takes 10 ms."""
A = TypeVar("A")
B = TypeVar("B")


def can_be_ready(spec: SessionSpec) -> bool:
    """Whether a context of these options may be one that was made before they were known: the first document of a
    mobile context has properties that cannot be added later (`window.orientation`)."""
    return not (spec.is_mobile or spec.has_touch)


async def open_context(
    host: Host,
    spares: Spares,
    spec: SessionSpec,
    folder: Path,
    on_event: EventListener,
    assign: Assign,
    permit: Permit,
    *,
    timeout: float,
) -> Context:
    """See `BrowserProcess.open_context`."""
    deadline = Deadline(timeout)
    start_url = None if spec.start_url is None else page_actions.check_address(spec.start_url, ("body", "start_url"))
    making = asyncio.create_task(_make_folder(folder, host.user))
    undo = AsyncExitStack()
    port: EgressPort | None = None
    try:
        with spares.create(), host.link.ready.create(suitable=can_be_ready(spec)):
            if (spare := spares.take(spec)) is None:
                async with permit:
                    if host.egress is not None:
                        port = await _open_port(host, host.egress, spec, undo)
                        assign(port)
                    prepared = await _prepare(host, spec, port, undo, deadline)
            else:
                prepared = spare
                undo.push_async_callback(prepared.inner.close)
                if (port := prepared.port) is not None:
                    assign(port)
            context = Context(host, prepared.inner, prepared.context_id, folder, port, on_event)
            undo.callback(context.stop_events)
            allowing = context.downloads.allow(prepared.context_id, True, timeout=deadline.left)
            if spare is None:
                await allowing
            else:
                await _both(_hand_over(host, spare, spec, deadline), allowing)
        await asyncio.shield(making)
        context.start_events()
        context.first_page_ready(prepared.page, prepared.page_id)
        if start_url is not None:
            failures = None if port is None else port.failures
            try:
                await page_actions.goto(
                    host,
                    prepared.page,
                    prepared.page_id,
                    start_url,
                    wait_until="commit",
                    timeout=deadline.left,
                    failures=failures,
                )
            except DownloadStarted:
                pass
            except PageFailed as error:
                explained = await page_actions.explained(host, prepared.page_id, error, failures, start_url)
                raise StartPageFailed(explained.detail) from None
            except BrowserTimeout:
                raise StartPageFailed(f"the address did not respond within {seconds(timeout)}.") from None
    except BaseException as error:
        await host.calls.finish(undo.aclose())
        await asyncio.shield(_discard(making, folder, port))
        if isinstance(error, TargetClosed):
            raise BrowserGone("The browser or the page closed while the session was starting.") from None
        if isinstance(error, PageFailed):
            raise invalid_field(error.detail, spec) or error from None
        raise
    return context


async def prepare_spare(host: Host, options: SessionSpec, *, timeout: float) -> Prepared:
    """A context for a session to come. Raises any `BrowserSessionsError`. The ready one is left for creates with other
    options."""
    undo = AsyncExitStack()
    port = None
    try:
        if host.egress is not None:
            port = await host.egress.open()
        return await _prepare(host, options, port, undo, Deadline(timeout))
    except BaseException as error:
        await host.calls.finish(undo.aclose())
        if port is not None:
            await asyncio.shield(port.close())
        if isinstance(error, TargetClosed):
            raise BrowserGone("The browser or the page closed.") from None
        raise


def is_usable(host: Host, spare: Prepared) -> bool:
    """Whether its page is as it was made."""
    pages = host.registry.pages(spare.context_id)
    return [page.target_id for page in pages] == [spare.page_id] and not pages[0].crashed


async def dispose(host: Host, spare: Prepared) -> None:
    with contextlib.suppress(BrowserSessionsError, TargetClosed):
        await host.calls(spare.inner.close(), timeout=CLOSE_SECONDS)
    if spare.port is not None:  # not before the context is gone: another session could get the same port
        await spare.port.close()


async def _open_port(host: Host, egress: BrowserEgress, spec: SessionSpec, undo: AsyncExitStack) -> EgressPort:
    """That of a ready context, else a new one."""
    ready = host.link.ready
    port = ready.reserve() if can_be_ready(spec) else None
    if port is None:
        port = await egress.open()
    else:
        undo.callback(ready.give_up, port)
    return port


async def _prepare(
    host: Host, spec: SessionSpec, port: EgressPort | None, undo: AsyncExitStack, deadline: Deadline
) -> Prepared:
    options = context_options(spec)
    if port is not None:
        options["proxy"] = {"server": port.server, "bypass": EVERYTHING}
    calls = host.calls
    inner = await calls(host.browser.new_context(**options), timeout=deadline.left, undo=BrowserContext.close)
    undo.push_async_callback(inner.close)
    await _grant_permissions(host, inner, spec, deadline)
    page, context_id = await _both(_first_page(host, inner, deadline), _identify(host, inner, deadline))
    (target,) = host.registry.pages(context_id)  # no client knows the context yet
    return Prepared(inner, context_id, page, target.target_id, port)


async def _hand_over(host: Host, spare: Prepared, spec: SessionSpec, deadline: Deadline) -> None:
    """Sets what `options_of` leaves out. Playwright sends Chromium the same commands as for a new context, and nothing
    has been loaded yet, so nobody can tell when they came. The page starts anew, so that no clock in it can either."""
    calls, inner = host.calls, spare.inner
    await _grant_permissions(host, inner, spec, deadline)
    if spec.geolocation is not None:
        place: Any = asdict(spec.geolocation)
        await calls(inner.set_geolocation(place), timeout=deadline.left)
    if spec.extra_http_headers:
        await calls(inner.set_extra_http_headers(dict(spec.extra_http_headers)), timeout=deadline.left)
    if spec.offline:
        await calls(inner.set_offline(True), timeout=deadline.left)
    if spec.storage_state is not None and (cookies := spec.storage_state.get("cookies")):
        await calls(inner.add_cookies(cookies), timeout=deadline.left)
    await calls(spare.page.goto("about:blank", wait_until="commit"), timeout=deadline.left)


async def _grant_permissions(host: Host, inner: BrowserContext, spec: SessionSpec, deadline: Deadline) -> None:
    if spec.permissions:
        await host.calls(inner.grant_permissions(list(spec.permissions)), timeout=deadline.left)


async def _first_page(host: Host, inner: BrowserContext, deadline: Deadline) -> Page:
    return await host.calls(inner.new_page(), timeout=deadline.left)


async def _identify(host: Host, inner: BrowserContext, deadline: Deadline) -> str:
    """The context's id, while its page opens."""
    claim = host.link.claim()
    await host.calls(inner.grant_permissions([], origin=claim), timeout=deadline.left)
    return host.link.claimed(claim)


async def _both(first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """Runs both concurrently and returns their results. Waits for both to end before it raises the first error."""
    one, other = await asyncio.gather(first, second, return_exceptions=True)
    for result in (one, other):
        if isinstance(result, BaseException):
            raise result
    return cast("tuple[A, B]", (one, other))


async def _make_folder(folder: Path, user: BrowserUser | None) -> None:
    try:
        await asyncio.to_thread(folders.make_session, folder, user)
    except OSError as error:
        raise Unavailable(f"The session's folder could not be created: {error.strerror}. Is the disk full?") from error


async def _discard(making: asyncio.Task[None], folder: Path, port: EgressPort | None) -> None:
    """What is left of a failed attempt when the browser is gone too."""
    if port is not None:
        await port.close()
    with contextlib.suppress(Unavailable):
        await making
    await remove(folder)
