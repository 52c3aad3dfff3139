"""Looks into JPEGs with the eyes of a real Chromium: no image library is needed for a test."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

Colour = tuple[int, int, int]


class Eye:
    """`evaluate` runs JavaScript in a page that serves only to look at pictures."""

    def __init__(self, evaluate: Callable[[str], Awaitable[Any]]) -> None:
        self._evaluate = evaluate

    async def pixel(self, jpeg: bytes, x: float = 0.5, y: float = 0.5) -> Colour:
        """The colour at a place given in parts of width and height."""
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

    async def sees(self, jpeg: bytes, colour: Colour, x: float = 0.5, y: float = 0.5) -> bool:
        """True when the place has about this colour: JPEGs are not exact."""
        found = await self.pixel(jpeg, x, y)
        return all(abs(a - b) < 16 for a, b in zip(found, colour, strict=True))
