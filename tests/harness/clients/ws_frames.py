"""WebSocket frames as a client sends them."""

from __future__ import annotations

import struct
from typing import Final

from websockets.frames import Frame, Opcode

from browser_sessions.cdp.websocket_frames import MAX_MESSAGE_BYTES


def masked(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """One masked frame."""
    return Frame(Opcode(opcode), payload, fin=fin).serialize(mask=True)


BROKEN: Final = {
    "unmasked": (Frame(Opcode.TEXT, b"{}").serialize(mask=False), 1002),
    "reserved bit": (b"\xc1\x80\0\0\0\0", 1002),
    "unknown opcode": (b"\x83\x80\0\0\0\0", 1002),
    "unknown control": (b"\x8b\x80\0\0\0\0", 1002),
    "long ping": (b"\x89\xfe\x00\x7e\0\0\0\0", 1002),
    "ping in fragments": (b"\x09\x80\0\0\0\0", 1002),
    "continuation without a message": (masked(0, b"x"), 1002),
    "text within a message": (masked(1, b"x", fin=False) + masked(1, b"y"), 1002),
    "too long": (b"\x81\xff" + struct.pack("!Q", MAX_MESSAGE_BYTES + 1), 1009),
    "too long, all bits": (b"\x81\xff" + b"\xff" * 8, 1009),
    "too long in fragments": (masked(1, b"x", fin=False) + b"\x80\xff" + struct.pack("!Q", MAX_MESSAGE_BYTES), 1009),
}
"""Invalid frames by name, with the code that the connection is closed with."""
