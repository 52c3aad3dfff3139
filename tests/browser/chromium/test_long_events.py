"""Very long or very many events of a page reach neither our event loop nor Playwright; later ones do."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.harness.service import Running
from tests.harness.sites.client_site import client_site
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

LONG: Final = "'x'.repeat(2 * 2**20)"
LOG_AND_THROW: Final = "void setTimeout(() => { console.log(%s); throw new Error(%s) })"


async def test_too_long_events_are_dropped_and_later_ones_published(service: Running) -> None:
    session_id = (await service.create())["session_id"]
    handle: Any = service.inside.pool.context(session_id)
    thrown: list[str] = []
    handle._inner.on("weberror", lambda error: thrown.append(str(error.error)))
    await service.evaluate(session_id, LOG_AND_THROW % (LONG, LONG))
    await service.evaluate(session_id, LOG_AND_THROW % ("'logged'", "'thrown'"))

    def published() -> list[str]:
        events = service.inside.pool.journal.of(session_id)
        return [event.data["text"] for event in events if event.kind in ("console", "page.error")]

    await until(lambda: len(published()) >= 2, what="the short messages are published")
    assert [text.splitlines()[0][:50] for text in published()] == ["logged", "Error: thrown"]
    assert thrown == []  # console events do not go through the driver


async def test_requests_are_not_forwarded_to_the_driver_while_unused(service: Running) -> None:
    with client_site() as site:
        session_id = (await service.create(start_url=site.url))["session_id"]
        handle: Any = service.inside.pool.context(session_id)
        sent: list[str] = []
        handle._inner.on("request", lambda request: sent.append(request.url))
        fetch_status = "fetch('/').then((response) => response.status)"
        assert await service.evaluate(session_id, fetch_status) == 200
        assert sent == []


SEND: Final = "void fetch('/', {method: 'POST', body: %s}).catch(() => 0)"
PROMPT: Final = "void setTimeout(() => prompt('what?', %s))"
TRUNCATED: Final = 2**16
"""What remains of each string, in bytes of Chromium's JSON."""


async def test_required_events_are_forwarded_with_truncated_strings(service: Running) -> None:
    """Dialogs and requests must be forwarded however long their text, because something waits for them. The driver gets
    requests when Playwright sets something that needs network events, such as headers."""
    with client_site() as site:
        headers = {"X-Any": "1"}
        session_id = (await service.create(start_url=site.url, extra_http_headers=headers))["session_id"]
        handle: Any = service.inside.pool.context(session_id)
        prompts: list[str] = []
        sent: list[int] = []
        handle._inner.on("dialog", lambda dialog: prompts.append(dialog.default_value))
        handle._inner.on("request", lambda request: sent.append(len(request.post_data_buffer or b"")))
        await service.evaluate(session_id, SEND % LONG)
        await service.evaluate(session_id, SEND % "'short'")
        await until(lambda: len(sent) == 2, what="both requests are forwarded")
        assert sent == [TRUNCATED * 3 // 4, len("short")]
        for text in (LONG, "'short'"):
            await service.evaluate(session_id, PROMPT % text)
        await until(lambda: len(prompts) == 2, what="both dialogs are forwarded")
        assert [len(each) for each in prompts] == [TRUNCATED, len("short")]

        def dialogs() -> int:
            return sum(event.kind == "dialog.opened" for event in service.inside.pool.journal.of(session_id))

        await until(lambda: dialogs() == 2, what="both are in the history")
        assert await service.evaluate(session_id, "1 + 1") == 2


CHANGES: Final = 1_000
WITHIN_TEN_SECONDS: Final = 200
"""Chromium's limit: Blink's `NavigationRateLimiter`."""


@pytest.mark.parametrize(
    "change", ["location.hash = i", pytest.param("history.replaceState(0, '', '#' + i)", marks=pytest.mark.slow)]
)
async def test_url_changes_of_a_page_are_limited(service: Running, change: str) -> None:
    """By Chromium itself, before any event reaches us."""
    session_id = (await service.create())["session_id"]
    handle: Any = service.inside.pool.context(session_id)
    changes: list[str] = []
    handle._inner.pages[0].on("framenavigated", lambda frame: changes.append(frame.url))
    await service.evaluate(session_id, f"(() => {{ for (let i = 0; i < {CHANGES}; i++) {change} }})()")
    assert await service.evaluate(session_id, "document.title = 'goes on'") == "goes on"
    await until(lambda: len(changes) >= WITHIN_TEN_SECONDS, what="the allowed changes are reported")
    assert len(changes) < CHANGES / 2
