"""Decodes Chromium's screencast frames. Pure."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from browser_sessions.chromium.ports import Frame


def read_frame(params: Mapping[str, Any], page_id: str, before: Frame | None) -> Frame:
    """The frame of a `Page.screencastFrame` event, numbered after `before`; or `before` itself if the image and its
    place on the page are the same."""
    jpeg = base64.b64decode(params["data"])
    seen = params["metadata"]
    width, height = jpeg_size(jpeg)
    scale = seen["pageScaleFactor"] or 1.0  # below 1 if a phone's viewport shows a page laid out for a desktop
    frame = Frame(
        page_id=page_id,
        seq=before.seq if before else 1,
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
    if before is None:
        return frame
    return before if replace(frame, at=before.at) == before else replace(frame, seq=before.seq + 1)


def jpeg_size(jpeg: bytes) -> tuple[int, int]:
    """(width, height) from the frame header (ITU T.81, B.2.2); (0, 0) if it is not a JPEG."""
    offset = 2
    while offset + 9 <= len(jpeg) and jpeg[offset] == 0xFF:
        marker, length = jpeg[offset + 1], struct.unpack_from(">H", jpeg, offset + 2)[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", jpeg, offset + 5)
            return width, height
        offset += 2 + length
    return 0, 0
