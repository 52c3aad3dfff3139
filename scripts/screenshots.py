"""Takes the screenshots of the console for the documentation, with the sessions of `scripts/demo_fleet.py`."""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import sys
import tempfile
from pathlib import Path
from typing import Final, Literal

from playwright.async_api import Browser, Page, async_playwright

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from browser_sessions.chromium.launch.executable import locate  # noqa: E402 - needs the path
from scripts.demo_fleet import Fleet, fleet  # noqa: E402 - needs the path
from tests.harness.service import ADMIN_KEY, serving  # noqa: E402 - needs the path

MAX_BYTES: Final = 70_000
"""Maximum size of one picture: the README shows several, and every clone of the repository contains all of them."""
QUALITIES: Final = (0.85, 0.75, 0.65, 0.5, 0.35)
"""WebP qualities, tried in this order until the picture is small enough."""
SIZES: Final = {"": (1280, 800, 1), "-phone": (390, 844, 1.5)}
"""Suffix of the name: width and height in CSS px, device scale."""
THEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
HISTORY_SECONDS: Final = 90.0
"""Wait before the first picture, so that the plots have several points."""
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


class Camera:
    """Saves screenshots as WebP, at the best quality below `MAX_BYTES`."""

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


async def take_all(browser: Browser, at: Fleet, empty: str, camera: Camera, only: str) -> None:
    for theme in THEMES:
        for end, (width, height, scale) in SIZES.items():
            context = await browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme=theme,
                device_scale_factor=scale,
                has_touch=bool(end),
                reduced_motion="reduce",
            )
            page = await context.new_page()

            async def take(
                name: str, path: str, shown: str, page: Page = page, more: str = f"{end}-{theme}", to: str = at.url
            ) -> None:
                if only in f"{name}{more}":
                    await page.goto(f"{to}{path}")
                    await page.wait_for_selector(shown)
                    await camera.take(page, f"{name}{more}")

            await take("sign-in", "/sign-in", "input[name=api_key]")
            await sign_in(page, at.url, at.key)
            await page.mouse.move(width - 1, height - 1)
            await take("overview", "/", ".card:not(.ghost)")
            if not end:
                await take("table", "/?view=table", "table")
            await take("session", f"/sessions/{at.live}", ".stage canvas[data-seq]")
            await take("ended", f"/sessions/{at.crashed}", ".session.final .stage .picture")
            await sign_in(page, empty, ADMIN_KEY)
            await take("empty", "/", ".words pre", to=empty)
            await context.close()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--only", default="", help="only pictures whose name contains this, for example `phone-dark`")
    options = parser.parse_args()
    await asyncio.to_thread(options.out.mkdir, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        async with (
            async_playwright() as playwright,
            fleet(Path(folder) / "fleet") as at,
            serving(Path(folder) / "empty" / "data") as empty,
        ):
            await asyncio.sleep(HISTORY_SECONDS)
            browser = await playwright.chromium.launch(
                executable_path=locate(None).executable, args=["--no-sandbox"] if os.geteuid() == 0 else []
            )
            camera = Camera(await browser.new_page(), options.out)
            await take_all(browser, at, empty.url, camera, options.only)
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
