"""Sizes of PNGs, and pixels of JPEGs read in a real Chromium, so that tests need no image library."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

Colour = tuple[int, int, int]


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height out of the IHDR chunk."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])


class PixelReader:
    """`evaluate` runs JavaScript in a page used only for this."""

    def __init__(self, evaluate: Callable[[str], Awaitable[Any]]) -> None:
        self._evaluate = evaluate

    async def pixel(self, jpeg: bytes, x: float = 0.5, y: float = 0.5) -> Colour:
        """The colour at a point given as fractions of width and height."""
        address = json.dumps("data:image/jpeg;base64," + base64.b64encode(jpeg).decode())
        red, green, blue = await self._evaluate(
            f"""(async () => {{
                const image = new Image();
                image.src = {address};
                await image.decode();
                const canvas = new OffscreenCanvas(image.width, image.height);
                const context = canvas.getContext('2d');
                context.drawImage(image, 0, 0);
                const [x, y] = [Math.floor(image.width * {x}), Math.floor(image.height * {y})];
                return Array.from(context.getImageData(x, y, 1, 1).data).slice(0, 3);
            }})()"""
        )
        return red, green, blue

    async def matches(self, jpeg: bytes, colour: Colour, x: float = 0.5, y: float = 0.5) -> bool:
        """Whether the point has about this colour: JPEG compression changes it slightly."""
        found = await self.pixel(jpeg, x, y)
        return all(abs(a - b) < 16 for a, b in zip(found, colour, strict=True))
