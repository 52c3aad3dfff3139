"""A fleet to take pictures of: forty canned sessions, an hour of the pool's history, and one session's story."""

from __future__ import annotations

import math
import random
import re
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser

from tests.e2e.fake_console_server import FakeConsole, Row, row, stamp

PAGES: Final = Path(__file__).parents[1] / "tests" / "data" / "pages"
WIDE_PAGE: Final = (1280, 720)
PHONE_PAGE: Final = (390, 844)
ADDRESSES: Final = {
    "shop": "https://nordlys.example/kettles",
    "dashboard": "https://app.fleetline.example/today",
    "docs": "https://docs.harbor.example/retries",
    "inbox": "https://mail.postkasten.example/",
    "search": "https://finn.example/?q=ferry+to+bergen",
    "form": "https://lerche.example/book",
    "phone": "https://m.trams.example/12",
}
OWNERS: Final = (("p_anna", "anna"), ("p_ci", "ci-runner"), ("p_crawl", "crawler"), ("p_bo", "bo"))
ENDINGS: Final = (("expired", "idle_timeout"), ("crashed", "browser_crashed"), ("closed", "ended_by_request"))


def viewport_of(name: str) -> tuple[int, int]:
    return PHONE_PAGE if name == "phone" else WIDE_PAGE


def title_of(name: str) -> str:
    """As the page itself has it."""
    found = re.search("<title>(.*)</title>", (PAGES / f"{name}.html").read_text())
    assert found is not None
    return found.group(1)


async def draw(browser: Browser) -> dict[str, list[bytes]]:
    """Two frames of each demo page, as a screencast would give them."""
    frames = {}
    for name in ADDRESSES:
        width, height = viewport_of(name)
        page = await browser.new_page(viewport={"width": width, "height": height})
        await page.goto((PAGES / f"{name}.html").as_uri())
        frames[name] = [await page.screenshot(type="jpeg", quality=70)]
        later = await page.evaluate("performance.now() + 300")
        await page.wait_for_function("later => performance.now() > later", arg=later)
        frames[name].append(await page.screenshot(type="jpeg", quality=70))
        await page.close()
    return frames


def fleet(frames: dict[str, list[bytes]]) -> FakeConsole:
    dice = random.Random(7)  # the same picture each time
    console = FakeConsole()
    names = list(ADDRESSES)
    for n in range(40):
        name = names[n % len(names)]
        made = session(dice, n, name)
        console.rows[made["session_id"]] = made
        if made["status"] != "queued":
            console.frames[made["session_id"]] = frames[name]
        console.sizes[made["session_id"]] = viewport_of(name)
    console.pool = pool_state()
    console.history = history(dice)
    console.options = {
        "locale": "de-DE",
        "timezone_id": "Europe/Berlin",
        "permissions": ["clipboard-read"],
        "storage_state": {"cookies": 12, "origins": 2},
        "start_url": "https://nordlys.example/",
    }
    return console


def session(dice: random.Random, n: int, name: str) -> Row:
    owner, owner_name = dice.choice(OWNERS)
    width, height = viewport_of(name)
    made = row(
        f"{dice.randrange(16**8):08x}-5a1e-4f6b-9c0d-{dice.randrange(16**12):012x}",
        title=title_of(name),
        url=ADDRESSES[name],
        owner=owner,
        owner_name=owner_name,
        viewport_width=width,
        viewport_height=height,
        created_at=stamp(-30 - n * 47),
        last_activity=stamp(-dice.randrange(60)),
        expires_at=stamp(dice.choice((40, 150, 240, 290, 900, 2400))),
        page_count=dice.choice((1, 1, 2, 3)),
        connections=dice.choice((0, 1, 1, 1, 2)),
        memory_bytes=dice.randrange(90, 420) * 10**6,
        metadata={"team": dice.choice(("search", "checkout"))},
        browser_id=f"br_{dice.randrange(5):02d}c41f",
    )
    if n == 0:
        made |= {"controlled_by": "olga", "viewers": 1}
    elif n in (1, 2):
        made |= {"status": "queued", "title": "", "url": "", "memory_bytes": None, "expires_at": None}
        made |= {"page_count": 0, "connections": 0, "browser_id": None}
    elif n > 33:
        status, reason = ENDINGS[n % 3]
        ended_at = stamp(-dice.randrange(5, 300))
        made |= {"status": status, "end_reason": reason, "ended_at": ended_at, "connections": 0}
    return made


def pool_state() -> dict[str, Any]:
    browser = {
        "pid": 4711,
        "version": "156.0",
        "state": "ready",
        "principal_id": None,
        "dedicated": False,
        "sessions": 7,
        "places": 12,
        "age_seconds": 4000,
        "memory_bytes": 1_310_000_000,
    }
    return {
        "node": "node-1",
        "capacity": 60,
        "taken": 31,
        "free": 29,
        "queue": 2,
        "warm_spares": 2,
        "draining": False,
        "sandbox": True,
        "refused_total": 12,
        "browsers": [browser | {"browser_id": f"br_{i:02d}c41f"} for i in range(5)],
    }


def history(dice: random.Random) -> dict[str, Any]:
    points: list[dict[str, Any]] = []
    refused = 0
    for n in range(360):
        busy = 26 + 8 * math.sin(n / 40) + 4 * math.sin(n / 11) + dice.random() * 2
        refused += 150 < n < 160 or n in (40, 41, 300)
        point = {
            "at": stamp((n - 359) * 10),
            "active": round(busy),
            "queue": max(0, round(busy - 34)),
            "refused": refused,
            "browsers": 3 + (n > 90) + (n > 200),
            "memory_bytes": (busy * 190 + 400) * 1e6,
            "loop_lag_ms": 0.6 + dice.random() + (6 if n % 97 == 60 else 0),
        }
        points.append(point)
    return {"step_seconds": 10, "points": points}


def tell_story(console: FakeConsole, session_id: str) -> None:
    """What happened to a session, up to its end where it has ended."""
    known = console.rows[session_id]
    url, title = known["url"], known["title"]
    script = f"{url}/app.js"
    error = "TypeError: Cannot read properties of null (reading 'price')\n    at basket (app.js:212:17)"
    told: list[tuple[float, str, dict[str, Any]]] = [
        (-290, "session.active", {"seconds": 0.2}),
        (-288, "client.connected", {"kind": "cdp"}),
        (-287, "page.opened", {"url": "about:blank"}),
        (-285, "network.response", {"url": url, "method": "GET", "status": 200, "type": "document", "ms": 184}),
        (-285, "page.navigated", {"url": url, "title": title}),
        (-284, "console", {"level": "info", "text": "cart: restored 2 items", "url": script, "line": 41}),
        (-283, "console", {"level": "warning", "text": "Image copper@2x.webp is larger than its box", "url": url}),
        (-240, "network.failed", {"url": "https://stats.example/beacon", "error": "net::ERR_BLOCKED_BY_CLIENT"}),
        (-200, "page.navigated", {"url": f"{url}/details", "title": f"{title} (details)"}),
        (-198, "console", {"level": "error", "text": error, "url": script, "line": 212}),
        (-120, "network.response", {"url": f"{url}/api", "method": "PUT", "status": 409, "type": "fetch", "ms": 31}),
        (-60, "control.taken", {"by": "olga"}),
        (-31, "control.released", {"by": "olga"}),
    ]
    if known["ended_at"]:
        told += [
            (-4, "page.crashed", {}),
            (-3, "session.ended", {"status": known["status"], "reason": known["end_reason"]}),
        ]
    console.stories[session_id] = [
        console.event(kind, session_id, at, **({"page_id": "pg1"} | data)) for at, kind, data in told
    ]
    console.pages[session_id] = [
        {"page_id": "pg1", "url": url, "title": title, "crashed": False},
        {"page_id": "pg2", "url": f"{url}/terms", "title": "Terms of delivery", "crashed": False},
    ]
