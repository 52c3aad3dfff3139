"""What Chromium sends of a screencast, as a frame. Pure."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from typing import Any

from browser_sessions.chromium.ports import Frame


def read_frame(params: Mapping[str, Any], page_id: str, before: Frame | None) -> Frame:
    """The frame of a `Page.screencastFrame`, numbered after the one before; that one again when it shows the same."""
    jpeg = base64.b64decode(params["data"])
    if before is not None and jpeg == before.jpeg:
        return before
    seen = params["metadata"]
    width, height = jpeg_size(jpeg)
    scale = seen["pageScaleFactor"] or 1.0  # below 1: a phone's screen that shows a page made for a desk
    return Frame(
        page_id=page_id,
        seq=before.seq + 1 if before else 1,
        jpeg=jpeg,
        width=width,
        height=height,
        css_width=seen["deviceWidth"] / scale,
        css_height=seen["deviceHeight"] / scale,
        scroll_x=seen["scrollOffsetX"],
        scroll_y=seen["scrollOffsetY"],
        scale=scale,
        at=seen.get("timestamp", 0.0),
    )


def jpeg_size(jpeg: bytes) -> tuple[int, int]:
    """(width, height) from the frame header (ITU T.81, B.2.2); (0, 0) for what is no JPEG."""
    place = 2
    while place + 9 <= len(jpeg) and jpeg[place] == 0xFF:
        marker, length = jpeg[place + 1], struct.unpack_from(">H", jpeg, place + 2)[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", jpeg, place + 5)
            return width, height
        place += 2 + length
    return 0, 0
