"""Many concurrent HTTP actions on the pages of one session."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from tests.harness.service import Running
from tests.harness.sites.plain_site import Site
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

PAGES, CALLERS, CALLS = 6, 20, 240
KINDS = ("screenshot", "full_page", "pdf", "content", "evaluate", "navigate", "health", "storage_state")


@pytest.mark.slow
async def test_concurrent_mixed_actions_on_a_few_pages_all_succeed(service: Running, site: Site) -> None:
    """A call that hangs has a 504."""
    site.pages["/"] = "<title>Long</title>" + "<p style='height:80px'>paragraph</p>" * 60
    base = f"/v1/browser/sessions/{(await service.create(start_url=site.url))['session_id']}"
    pages = [page["page_id"] for page in (await service.http.get(f"{base}/pages")).json()["pages"]]
    while len(pages) < PAGES:
        opened = await service.http.post(f"{base}/pages", json={"url": site.url})
        pages.append(opened.json()["page_id"])
    rng = random.Random(18)
    calls = [(KINDS[number % len(KINDS)], rng.choice(pages)) for number in range(CALLS)]
    rng.shuffle(calls)
    failed: Counter[tuple[str, int, str]] = Counter()

    async def caller() -> None:
        while calls:
            kind, page = calls.pop()
            response = await _act(service.http, base, kind, page, f"{site.url}/?{len(calls)}")
            if response.status_code != 200:
                failed[kind, response.status_code, response.text] += 1

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    assert failed == Counter()


async def test_concurrent_navigations_of_a_page_do_not_interrupt_each_other(service: Running, site: Site) -> None:
    session_id = (await service.create())["session_id"]
    path = f"/v1/browser/sessions/{session_id}/pages/{await service.first_page(session_id)}/navigate"
    wanted = [f"{site.url}/?{number}" for number in range(6)]
    responses = await asyncio.gather(*(service.http.post(path, json={"url": url}) for url in wanted))
    assert [response.status_code for response in responses] == [200] * 6
    assert [response.json()["url"] for response in responses] == wanted


async def test_a_screenshot_requested_while_the_page_loads_succeeds(service: Running, site: Site) -> None:
    session_id = (await service.create())["session_id"]
    base = f"/v1/browser/sessions/{session_id}/pages/{await service.first_page(session_id)}"
    navigation, picture, document = await asyncio.gather(
        service.http.post(f"{base}/navigate", json={"url": site.url}),
        service.http.get(f"{base}/screenshot"),
        service.http.get(f"{base}/pdf"),
    )
    assert [response.status_code for response in (navigation, picture, document)] == [200, 200, 200]


async def test_closing_a_page_fails_all_waiting_calls(service: Running, site: Site) -> None:
    session_id = (await service.create())["session_id"]
    opened = await service.http.post(f"/v1/browser/sessions/{session_id}/pages")
    base = f"/v1/browser/sessions/{session_id}/pages/{opened.json()['page_id']}"
    hanging = asyncio.create_task(service.http.post(f"{base}/navigate", json={"url": f"{site.url}/hang"}))
    await until(lambda: bool(site.requests))
    waiting = [asyncio.create_task(service.http.get(f"{base}/{what}")) for what in ("screenshot", "content")]
    waiting.append(asyncio.create_task(service.http.post(f"{base}/navigate", json={"url": site.url})))
    assert (await service.http.delete(base)).status_code == 204
    responses = await asyncio.gather(hanging, *waiting)
    assert [response.status_code for response in responses] == [404] * 4


async def _act(http: Any, base: str, kind: str, page: str, url: str) -> Any:
    at = f"{base}/pages/{page}"
    match kind:
        case "screenshot":
            return await http.get(f"{at}/screenshot")
        case "full_page":
            return await http.get(f"{at}/screenshot", params={"full_page": True})
        case "pdf" | "content":
            return await http.get(f"{at}/{kind}")
        case "evaluate":
            return await http.post(f"{at}/evaluate", json={"expression": "document.title"})
        case "navigate":
            return await http.post(f"{at}/navigate", json={"url": url})
        case "health":
            return await http.get(f"{base}/health")
        case _:
            return await http.get(f"{base}/storage-state")
