"""Many HTTP actions at the pages of one session at once."""

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
NONE_SLOWER_S = 15.0
"""Half of the 30 s that a call has: where one hung it took all of it. The slowest of a bad run took 7 s."""


@pytest.mark.slow
async def test_mixed_actions_at_a_few_pages_all_succeed_in_time(service: Running, site: Site) -> None:
    site.pages["/"] = "<title>Long</title>" + "<p style='height:80px'>paragraph</p>" * 60
    base = f"/v1/browser/sessions/{(await service.create(start_url=site.url))['session_id']}"
    pages = [page["page_id"] for page in (await service.http.get(f"{base}/pages")).json()["pages"]]
    while len(pages) < PAGES:
        opened = await service.http.post(f"{base}/pages", json={"url": site.url})
        pages.append(opened.json()["page_id"])
    chance = random.Random(18)
    calls = [(KINDS[number % len(KINDS)], chance.choice(pages)) for number in range(CALLS)]
    chance.shuffle(calls)
    failed: Counter[tuple[str, int, str]] = Counter()
    slowest = 0.0

    async def caller() -> None:
        nonlocal slowest
        while calls:
            kind, page = calls.pop()
            began = asyncio.get_running_loop().time()
            answer = await _act(service.http, base, kind, page, f"{site.url}/?{len(calls)}")
            slowest = max(slowest, asyncio.get_running_loop().time() - began)
            if answer.status_code != 200:
                failed[kind, answer.status_code, answer.text] += 1

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    assert failed == Counter()
    assert slowest < NONE_SLOWER_S


async def test_no_navigation_of_a_page_interrupts_another(service: Running, site: Site) -> None:
    session_id = (await service.create())["session_id"]
    path = f"/v1/browser/sessions/{session_id}/pages/{await service.first_page(session_id)}/navigate"
    wanted = [f"{site.url}/?{number}" for number in range(6)]
    answers = await asyncio.gather(*(service.http.post(path, json={"url": url}) for url in wanted))
    assert [answer.status_code for answer in answers] == [200] * 6
    assert [answer.json()["url"] for answer in answers] == wanted


async def test_a_picture_asked_for_while_the_page_loads_shows_the_new_document(service: Running, site: Site) -> None:
    session_id = (await service.create())["session_id"]
    base = f"/v1/browser/sessions/{session_id}/pages/{await service.first_page(session_id)}"
    navigation, picture, document = await asyncio.gather(
        service.http.post(f"{base}/navigate", json={"url": site.url}),
        service.http.get(f"{base}/screenshot"),
        service.http.get(f"{base}/pdf"),
    )
    assert [answer.status_code for answer in (navigation, picture, document)] == [200, 200, 200]


async def test_closing_a_page_lets_go_of_everybody_who_waits_for_it(service: Running, site: Site) -> None:
    session_id = (await service.create())["session_id"]
    opened = await service.http.post(f"/v1/browser/sessions/{session_id}/pages")
    base = f"/v1/browser/sessions/{session_id}/pages/{opened.json()['page_id']}"
    hanging = asyncio.create_task(service.http.post(f"{base}/navigate", json={"url": f"{site.url}/hang"}))
    await until(lambda: bool(site.requests))
    waiting = [asyncio.create_task(service.http.get(f"{base}/{what}")) for what in ("screenshot", "content")]
    waiting.append(asyncio.create_task(service.http.post(f"{base}/navigate", json={"url": site.url})))
    assert (await service.http.delete(base)).status_code == 204
    async with asyncio.timeout(10):
        answers = await asyncio.gather(hanging, *waiting)
    assert [answer.status_code for answer in answers] == [404] * 4


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
