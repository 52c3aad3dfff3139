"""Takes the console's pictures for the documentation: every page, both themes, wide and on a phone.

Against a service that runs (`--base-url`, an operator's key in BROWSER_SESSIONS_API_KEY): its sessions are made here
and ended afterwards. Without one, against the stand-in of the tests, which shows a fleet that a laptop could not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import functools
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Literal

import httpx
from playwright.async_api import Browser, Page, async_playwright

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from scripts.demo_fleet import ADDRESSES, PAGES, draw, fleet, tell_story, viewport_of  # noqa: E402 - needs the path
from tests.e2e.fake_console_server import KEY, FakeConsole, serving  # noqa: E402 - needs the path

MAX_BYTES: Final = 150_000
"""Of one picture: the README shows several, and every clone carries them all."""
QUALITIES: Final = (0.9, 0.8, 0.7, 0.5)
"""Of WebP, tried in this order until the picture is small enough."""
SIZES: Final = {"": (1440, 900, 1), "-phone": (390, 844, 2)}
"""Name's end, CSS px, device scale."""
THEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
PACK: Final = """async ([shot, quality]) => {
    const picture = await createImageBitmap(await (await fetch("data:image/png;base64," + shot)).blob());
    const canvas = new OffscreenCanvas(picture.width, picture.height);
    canvas.getContext("2d").drawImage(picture, 0, 0);
    const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: "image/webp", quality })).arrayBuffer());
    return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}"""
SETTLED: Final = """() => {
    const inView = (e) => { const box = e.getBoundingClientRect(); return box.top < innerHeight && box.bottom > 0; };
    const cards = [...document.querySelectorAll(".card:not(.ghost)")].filter(inView);
    const bare = cards.filter((card) => !card.querySelector(".drawn, .none"));
    const stage = document.querySelector(".stage canvas");
    return !bare.length && (!stage || stage.dataset.seq) && !document.querySelector("[aria-busy]");
}"""


@dataclass(frozen=True, slots=True)
class Scene:
    """Where pictures are taken. `empty`: a service without sessions, where there is one."""

    base_url: str
    key: str
    live: str
    ended: str
    empty: str | None = None


@asynccontextmanager
async def stand_in(browser: Browser) -> AsyncIterator[Scene]:
    console = fleet(await draw(browser))
    rows = list(console.rows.values())
    free = [r for r in rows if r["status"] == "active" and not r["controlled_by"]]
    live = next(r["session_id"] for r in free if r["url"] == ADDRESSES["shop"])
    ended = next(r["session_id"] for r in rows if r["status"] == "crashed" and r["url"] != ADDRESSES["phone"])
    for session_id in (live, ended):
        tell_story(console, session_id)
    bare = FakeConsole(pool=None if console.pool is None else console.pool | {"taken": 0, "queue": 0})
    async with serving(console) as base_url, serving(bare) as empty:
        yield Scene(base_url, KEY, live, ended, empty)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        pass


@contextmanager
def demo_pages() -> Iterator[int]:
    """The demo pages on a free port of loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(PAGES)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@asynccontextmanager
async def real(base_url: str, key: str) -> AsyncIterator[Scene]:
    """Seven sessions on the service, one of them ended; all are ended when the pictures are taken."""
    made: list[str] = []
    with demo_pages() as port:
        async with httpx.AsyncClient(base_url=base_url, headers={"X-API-Key": key}, timeout=60) as http:
            try:
                for name in reversed(ADDRESSES):
                    width, height = viewport_of(name)
                    wanted = {
                        "start_url": f"http://{name}.localhost:{port}/{name}.html",
                        "viewport_width": width,
                        "viewport_height": height,
                        "metadata": {"demo": name},
                    }
                    answer = await http.post("/v1/browser/sessions", json=wanted)
                    answer.raise_for_status()
                    made.append(answer.json()["session_id"])
                ended, live = made[1], made[-1]
                for session_id in made:
                    await has_picture(http, session_id)
                for session_id in (ended, live):
                    await speak(http, session_id)
                (await http.delete(f"/v1/browser/sessions/{ended}")).raise_for_status()
                yield Scene(base_url, key, live, ended)
            finally:
                for session_id in made:
                    await http.delete(f"/v1/browser/sessions/{session_id}")


async def has_picture(http: httpx.AsyncClient, session_id: str) -> None:
    path = f"/v1/browser/sessions/{session_id}/thumbnail?width=640"
    async with asyncio.timeout(30):
        while (await http.get(path)).status_code != 200:  # noqa: ASYNC110 - the answer is all there is to wait for
            await asyncio.sleep(0.2)


async def speak(http: httpx.AsyncClient, session_id: str) -> None:
    """Lines for its console, and an error that nobody catches."""
    pages = (await http.get(f"/v1/browser/sessions/{session_id}/pages")).json()["pages"]
    says = """console.info("cart: restored 2 items"); console.warn("copper@2x.webp is larger than its box");
        console.error("TypeError: Cannot read properties of null (reading 'price')");
        setTimeout(() => { throw new Error("basket: no price for item 7") })"""
    path = f"/v1/browser/sessions/{session_id}/pages/{pages[0]['page_id']}/evaluate"
    (await http.post(path, json={"expression": says})).raise_for_status()


class Camera:
    """Saves what a page shows, as WebP at the best quality that stays below MAX_BYTES."""

    def __init__(self, packer: Page, out: Path) -> None:
        self._packer = packer
        self._out = out

    async def take(self, page: Page, name: str) -> None:
        await page.wait_for_function(SETTLED)
        shot = base64.b64encode(await page.screenshot()).decode()
        for quality in QUALITIES:
            picture = base64.b64decode(await self._packer.evaluate(PACK, [shot, quality]))
            if len(picture) <= MAX_BYTES:
                await asyncio.to_thread((self._out / f"{name}.webp").write_bytes, picture)
                print(f"{name}.webp  {len(picture) / 1000:.0f} kB")
                return
        raise SystemExit(f"{name} does not fit into {MAX_BYTES} bytes")


async def sign_in(page: Page, base_url: str, key: str) -> None:
    await page.goto(f"{base_url}/sign-in")
    await page.fill("input[name=api_key]", key)
    await page.click("button.primary")
    await page.wait_for_selector(".overview")


async def take_all(browser: Browser, scene: Scene, camera: Camera) -> None:
    for theme in THEMES:
        for end, (width, height, scale) in SIZES.items():
            name = f"{end}-{theme}"
            context = await browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme=theme,
                device_scale_factor=scale,
                has_touch=bool(end),
                reduced_motion="reduce",
            )
            page = await context.new_page()
            await page.goto(f"{scene.base_url}/sign-in")
            await page.wait_for_selector("input[name=api_key]")
            await camera.take(page, f"sign-in{name}")
            await sign_in(page, scene.base_url, scene.key)
            await page.mouse.move(width - 1, height - 1)
            await page.wait_for_selector(".card:not(.ghost)")
            await camera.take(page, f"overview{name}")
            await page.goto(f"{scene.base_url}/?view=table")
            await page.wait_for_selector("table")
            await camera.take(page, f"table{name}")
            await page.goto(f"{scene.base_url}/sessions/{scene.live}")
            await page.wait_for_selector(".stage canvas[data-seq]")
            await camera.take(page, f"session{name}")
            await page.goto(f"{scene.base_url}/sessions/{scene.ended}")
            await page.wait_for_selector(".session.final .stage .picture")
            await camera.take(page, f"ended{name}")
            if scene.empty:
                await sign_in(page, scene.empty, scene.key)
                await page.wait_for_selector(".words pre")
                await camera.take(page, f"empty{name}")
            await context.close()


async def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--base-url", help="a service that runs; an operator's key in BROWSER_SESSIONS_API_KEY")
    asked.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    given = asked.parse_args()
    await asyncio.to_thread(given.out.mkdir, parents=True, exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=os.environ.get("BROWSER_SESSIONS_CHROMIUM", "/usr/bin/chromium-headless-shell"),
            args=["--no-sandbox"] if os.geteuid() == 0 else [],
        )
        camera = Camera(await browser.new_page(), given.out)
        at = real(given.base_url, os.environ["BROWSER_SESSIONS_API_KEY"]) if given.base_url else stand_in(browser)
        async with at as scene:
            await take_all(browser, scene, camera)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
