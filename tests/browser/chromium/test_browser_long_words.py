"""What a page says or throws at great length reaches neither our loop nor Playwright's; what follows does."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.harness.service import Running
from tests.harness.sites.client_site import client_site
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

LONG: Final = "'x'.repeat(2 * 2**20)"
SAY: Final = "void setTimeout(() => { console.log(%s); throw new Error(%s) })"


async def test_too_long_events_are_dropped_and_later_ones_published(service: Running) -> None:
    session_id = (await service.create())["session_id"]
    handle: Any = service.inside.pool.context(session_id)
    thrown: list[str] = []
    handle._inner.on("weberror", lambda error: thrown.append(str(error.error)))
    await service.evaluate(session_id, SAY % (LONG, LONG))
    await service.evaluate(session_id, SAY % ("'said'", "'thrown'"))

    def told() -> list[str]:
        events = service.inside.pool.journal.of(session_id)
        return [event.data["text"] for event in events if event.kind in ("console", "page.error")]

    await until(lambda: len(told()) >= 2, what="the short words are told")
    assert [text.splitlines()[0][:50] for text in told()] == ["said", "Error: thrown"]
    assert thrown == []  # nothing of a console goes through the driver


async def test_requests_are_not_forwarded_to_the_driver_while_unused(service: Running) -> None:
    with client_site() as site:
        session_id = (await service.create(start_url=site.url))["session_id"]
        handle: Any = service.inside.pool.context(session_id)
        sent: list[str] = []
        handle._inner.on("request", lambda request: sent.append(request.url))
        answered = "fetch('/').then((answer) => answer.status)"
        assert await service.evaluate(session_id, answered) == 200
        assert sent == []


SEND: Final = "void fetch('/', {method: 'POST', body: %s}).catch(() => 0)"
ASK: Final = "void setTimeout(() => prompt('what?', %s))"
WORD: Final = 2**16
"""What is left of each string, as Chromium writes it."""


async def test_required_events_are_forwarded_with_truncated_strings(service: Running) -> None:
    """A dialog waits for an answer and a request is waited for, however much they say. The driver hears of requests
    where Playwright sets something that needs the network's events, as headers do."""
    with client_site() as site:
        headers = {"X-Any": "1"}
        session_id = (await service.create(start_url=site.url, extra_http_headers=headers))["session_id"]
        handle: Any = service.inside.pool.context(session_id)
        asked: list[str] = []
        sent: list[int] = []
        handle._inner.on("dialog", lambda dialog: asked.append(dialog.default_value))
        handle._inner.on("request", lambda request: sent.append(len(request.post_data_buffer or b"")))
        await service.evaluate(session_id, SEND % LONG)
        await service.evaluate(session_id, SEND % "'short'")
        await until(lambda: len(sent) == 2, what="both requests are told")
        assert sent == [WORD * 3 // 4, len("short")]
        for words in (LONG, "'short'"):
            await service.evaluate(session_id, ASK % words)
        await until(lambda: len(asked) == 2, what="both questions are told")
        assert [len(each) for each in asked] == [WORD, len("short")]

        def answered() -> int:
            return sum(event.kind == "dialog.opened" for event in service.inside.pool.journal.of(session_id))

        await until(lambda: answered() == 2, what="both are in the history")
        assert await service.evaluate(session_id, "1 + 1") == 2
