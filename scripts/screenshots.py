"""Takes the console's pictures for the documentation: every page, both themes, wide and on a phone.

Against a service that runs (`--base-url`, key in BROWSER_SESSIONS_API_KEY): its sessions are made here, shown, and
ended. Without one, against the stand-in of the tests, which shows a fleet that a laptop could not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import math
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
from playwright.async_api import Browser, Page, async_playwright

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.e2e.fake_console_server import KEY, FakeConsole, Row, row, serving, stamp  # noqa: E402 - needs the path

PAGES: Final = ROOT / "tests" / "data" / "pages"
MAX_BYTES: Final = 150_000
"""Of one picture: the README shows several, and every clone carries them all."""
WIDE: Final = (1440, 900)
PHONE: Final = (390, 844)
DEMO: Final = ("shop", "dashboard", "docs", "inbox", "search", "form", "phone")


@dataclass(frozen=True)
class Scene:
    """Where the pictures are taken: a service, a key for it, and the sessions to open there."""

    base_url: str
    key: str
    live: str
    ended: str


async def draw(browser: Browser) -> dict[str, list[bytes]]:
    """Two frames of each demo page, as a screencast would give them."""
    frames = {}
    for name in DEMO:
        width, height = PHONE if name == "phone" else (1280, 720)
        page = await browser.new_page(viewport={"width": width, "height": height})
        await page.goto((PAGES / f"{name}.html").as_uri())
        frames[name] = [await page.screenshot(type="jpeg", quality=70)]
        await page.wait_for_function("n => performance.now() > n", arg=await page.evaluate("performance.now() + 300"))
        frames[name].append(await page.screenshot(type="jpeg", quality=70))
        await page.close()
    return frames


TITLES: Final = {
    "shop": ("Kettles and pots – Nordlys Kitchen", "https://nordlys.example/kettles"),
    "dashboard": ("Deliveries today – Fleetline", "https://app.fleetline.example/today"),
    "docs": ("Retries and timeouts – Harbor SDK", "https://docs.harbor.example/retries"),
    "inbox": ("Inbox (4) – Postkasten", "https://mail.postkasten.example/"),
    "search": ("ferry to bergen – Finn", "https://finn.example/?q=ferry+to+bergen"),
    "form": ("Book a room – Hotel Lerche", "https://lerche.example/book"),
    "phone": ("Line 12 – Tram times", "https://m.trams.example/12"),
}
OWNERS: Final = (("p_anna", "anna"), ("p_ci", "ci-runner"), ("p_crawl", "crawler"), ("p_bo", "bo"))


def fleet(frames: dict[str, list[bytes]]) -> FakeConsole:
    """Forty sessions of four owners, some waiting, some over, and an hour of the pool's history."""
    dice = random.Random(7)  # noqa: S311 - the same picture each time
    console = FakeConsole()
    for n in range(40):
        name = DEMO[n % len(DEMO)]
        title, url = TITLES[name]
        owner, owner_name = OWNERS[dice.randrange(4)]
        width, height = PHONE if name == "phone" else (1280, 720)
        made: Row = row(
            f"{dice.randrange(16**8):08x}-5a1e-4f6b-9c0d-{dice.randrange(16**12):012x}",
            title=title, url=url, owner=owner, owner_name=owner_name, viewport_width=width, viewport_height=height,
            created_at=stamp(-30 - n * 47), last_activity=stamp(-dice.randrange(60)), page_count=dice.choice((1, 1, 2, 3)),
            expires_at=stamp(dice.choice((40, 150, 240, 290, 900, 2400))), memory_bytes=dice.randrange(90, 420) * 10**6,
            connections=dice.choice((0, 1, 1, 1, 2)), metadata={"team": dice.choice(("search", "checkout"))},
            browser_id=f"br_{dice.randrange(5):02d}c41f",
        )  # fmt: skip
        if n == 0:
            made |= {"controlled_by": "olga", "viewers": 1}
        if n in (1, 2):
            made |= {"status": "queued", "title": "", "url": "", "memory_bytes": None, "expires_at": None}
        if n == 3:
            made |= {"status": "starting", "memory_bytes": None}
        if n > 33:
            status, reason = (("expired", "idle_timeout"), ("crashed", "browser_crashed"), ("closed", "ended_by_request"))[n % 3]
            made |= {"status": status, "end_reason": reason, "ended_at": stamp(-dice.randrange(60, 900)), "connections": 0}
        console.rows[made["session_id"]] = made
        if made["status"] != "queued":
            console.frames[made["session_id"]] = frames[name]
        console.sizes[made["session_id"]] = (width, height)
    console.pool = pool_state(31)
    console.history = history(dice)
    console.options = {"locale": "de-DE", "timezone_id": "Europe/Berlin", "permissions": ["clipboard-read"],
                       "storage_state": {"cookies": 12, "origins": 2}, "start_url": "https://nordlys.example/"}  # fmt: skip
    return console


def pool_state(taken: int) -> dict[str, Any]:
    browser = {
        "pid": 4711, "version": "156.0", "state": "ready", "principal_id": None, "dedicated": False, "sessions": 7,
        "places": 12, "age_seconds": 4000, "memory_bytes": 1_310_000_000,
    }  # fmt: skip
    return {
        "node": "node-1", "capacity": 60, "taken": taken, "free": 60 - taken, "queue": 2, "warm_spares": 2,
        "draining": False, "sandbox": True, "refused_total": 14, "browsers": [browser | {"browser_id": f"br_{i}"} for i in range(5)],
    }  # fmt: skip


def history(dice: random.Random) -> dict[str, Any]:
    points = []
    for n in range(360):
        wave = 26 + 8 * math.sin(n / 40) + 4 * math.sin(n / 11) + dice.random() * 2
        points.append({
            "at": stamp((n - 359) * 10), "active": round(wave), "queue": max(0, round(wave - 34)),
            "refused": 1 if 150 < n < 160 or n in (40, 41, 300) else 0, "browsers": 3 + (n > 90) + (n > 200),
            "memory_bytes": (wave * 190 + 400) * 1e6, "loop_lag_ms": 0.6 + dice.random() + (6 if n % 97 < 3 else 0),
        })  # fmt: skip
    return {"step_seconds": 10, "points": points}


def tell_story(console: FakeConsole, session_id: str, *, ended: bool) -> None:
    """An hour's worth of what happens to a session, shortened."""
    page = {"page_id": "pg1"}
    url = console.rows[session_id]["url"]
    told = [
        (-290, "session.active", {}), (-288, "client.connected", {"kind": "playwright"}), (-287, "page.opened", page | {"url": "about:blank"}),
        (-285, "network.response", page | {"url": url, "method": "GET", "status": 200, "type": "document", "ms": 184}),
        (-285, "page.navigated", page | {"url": url, "title": console.rows[session_id]["title"]}),
        (-284, "console", page | {"level": "info", "text": "cart: restored 2 items", "url": f"{url}/app.js", "line": 41}),
        (-283, "console", page | {"level": "warning", "text": "Image copper-kettle@2x.webp is larger than its box", "url": url, "line": 12}),
        (-240, "network.failed", page | {"url": "https://stats.nordlys.example/beacon", "method": "POST", "error": "net::ERR_BLOCKED_BY_CLIENT"}),
        (-200, "page.navigated", page | {"url": f"{url}/copper", "title": "Copper kettle – Nordlys Kitchen"}),
        (-200, "network.response", page | {"url": f"{url}/copper", "method": "GET", "status": 200, "type": "document", "ms": 96}),
        (-198, "console", page | {"level": "error", "text": "TypeError: Cannot read properties of null (reading 'price')\n    at basket (app.js:212:17)", "url": f"{url}/app.js", "line": 212}),
        (-120, "network.response", page | {"url": f"{url}/api/basket", "method": "PUT", "status": 409, "type": "fetch", "ms": 31}),
        (-60, "control.taken", {"by": "olga"}), (-31, "control.released", {"by": "olga"}),
    ]  # fmt: skip
    if ended:
        row_ = console.rows[session_id]
        told += [(-4, "page.crashed", page | {"url": url}), (-3, "session.ended", {"status": row_["status"], "reason": row_["end_reason"]})]
    console.stories[session_id] = [console.event(kind, session_id, at=at, **data) for at, kind, data in told]
    console.pages[session_id] = [
        {"page_id": "pg1", "url": url, "title": console.rows[session_id]["title"], "crashed": False},
        {"page_id": "pg2", "url": f"{url}/terms", "title": "Terms of delivery", "crashed": False},
    ]


@asynccontextmanager
async def stand_in(browser: Browser) -> AsyncIterator[Scene]:
    console = fleet(await draw(browser))
    rows = list(console.rows.values())
    live = next(r["session_id"] for r in rows if r["status"] == "active" and "Nordlys" in r["title"] and not r["controlled_by"])
    ended = next(r["session_id"] for r in rows if r["status"] == "crashed")
    tell_story(console, live, ended=False)
    tell_story(console, ended, ended=True)
    async with serving(console) as base_url:
        yield Scene(base_url, KEY, live, ended)


async def save(page: Page, target: Path) -> None:
    """As WebP, at the best quality that stays below MAX_BYTES."""
    shot = base64.b64encode(await page.screenshot()).decode()
    for quality in (0.92, 0.85, 0.75, 0.6):
        packed = await PACKER["page"].evaluate(
            """async ([shot, quality]) => {
                const picture = await createImageBitmap(await (await fetch("data:image/png;base64," + shot)).blob());
                const canvas = Object.assign(document.createElement("canvas"), { width: picture.width, height: picture.height });
                canvas.getContext("2d").drawImage(picture, 0, 0);
                return canvas.toDataURL("image/webp", quality).split(",")[1];
            }""",
            [shot, quality],
        )
        picture = base64.b64decode(packed)
        if len(picture) <= MAX_BYTES:
            break
    target.write_bytes(picture)
    print(f"{target.name}  {len(picture) / 1000:.0f} kB")


PACKER: Final[dict[str, Page]] = {}


async def settled(page: Page) -> None:
    """Thumbnails on the screen are drawn, the live picture has a frame."""
    await page.wait_for_function(
        """() => {
            const inView = (e) => { const b = e.getBoundingClientRect(); return b.top < innerHeight && b.bottom > 0; };
            const cards = [...document.querySelectorAll(".card:not(.ghost)")].filter(inView);
            const waiting = cards.filter((c) => !c.querySelector(".drawn") && !c.querySelector(".s-queued"));
            const stage = document.querySelector(".stage canvas");
            return !waiting.length && (!stage || stage.dataset.seq) && !document.querySelector("[aria-busy]");
        }"""
    )


async def take_all(browser: Browser, scene: Scene, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for theme in ("light", "dark"):
        for size, (width, height) in (("", WIDE), ("-phone", PHONE)):
            context = await browser.new_context(
                viewport={"width": width, "height": height}, color_scheme="light" if theme == "light" else "dark",
                device_scale_factor=2 if size else 1, has_touch=bool(size),
            )  # fmt: skip
            page = await context.new_page()
            name = lambda what, size=size, theme=theme: out / f"{what}{size}-{theme}.webp"  # noqa: E731 - one use, here
            await page.goto(f"{scene.base_url}/sign-in")
            await page.get_by_label("API key").last.wait_for()
            await save(page, name("sign-in"))
            await page.fill("input[name=api_key]", scene.key)
            await page.click("button.primary")
            await page.wait_for_selector(".card:not(.ghost)")
            await settled(page)
            await save(page, name("overview"))
            await page.goto(f"{scene.base_url}/?view=table")
            await page.wait_for_selector("table")
            await save(page, name("table"))
            await page.goto(f"{scene.base_url}/sessions/{scene.live}")
            await page.wait_for_selector(".stage canvas[data-seq]")
            await settled(page)
            await save(page, name("session"))
            await page.goto(f"{scene.base_url}/sessions/{scene.ended}")
            await page.wait_for_selector(".session.final img")
            await save(page, name("ended"))
            await context.close()


async def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--base-url", help="a service that runs; its key in BROWSER_SESSIONS_API_KEY")
    asked.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    given = asked.parse_args()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=os.environ.get("BROWSER_SESSIONS_CHROMIUM", "/usr/bin/chromium-headless-shell"),
            args=["--no-sandbox"] if os.geteuid() == 0 else [],
        )
        PACKER["page"] = await browser.new_page()
        async with stand_in(browser) as scene:
            await take_all(browser, scene, given.out)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
