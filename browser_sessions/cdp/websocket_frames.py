"""WebSocket frames (RFC 6455, section 5.2) without extensions. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from websockets.exceptions import ProtocolError
from websockets.frames import Close
from websockets.speedups import apply_mask

from browser_sessions.cdp.pipe import MAX_COMMAND_BYTES

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

MAX_MESSAGE_BYTES: Final = MAX_COMMAND_BYTES
"""A longer message closes the connection with 1009."""
MAX_CONTROL_BYTES: Final = 125
"""RFC 6455, section 5.5."""
MAX_REASON_BYTES: Final = 123


class FrameError(Exception):
    """A violation of the protocol or a limit, for which the connection is closed with `code`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def head(opcode: int, length: int) -> bytes:
    """The header of an unmasked, unfragmented frame with a payload of `length` bytes."""
    if length < 126:
        return bytes((0x80 | opcode, length))
    if length < 65_536:
        return struct.pack("!BBH", 0x80 | opcode, 126, length)
    return struct.pack("!BBQ", 0x80 | opcode, 127, length)


def close(code: int, reason: str) -> bytes:
    """The payload of a close frame, with the reason truncated to `MAX_REASON_BYTES`."""
    return struct.pack("!H", code) + reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore").encode()


def check_close(payload: bytes) -> None:
    """Raises `FrameError` for the payload of a close frame that no client may send (RFC 6455, section 7.4)."""
    try:
        if payload:
            Close.parse(payload).check()
    except ProtocolError:
        raise FrameError(1002, "invalid close code") from None
    except UnicodeDecodeError:
        raise FrameError(1007, "the reason is not UTF-8") from None


class ClientFrames:
    """Incremental parser for a client's frames."""

    def __init__(self) -> None:
        self._held = bytearray()
        """The beginning of a frame. Not a list of chunks: those of a byte each take forty times as much memory."""
        self._need = 2
        """Bytes needed for the next step, so that the chunks of a large message are joined only once."""
        self._message = bytearray()
        """Payload of a fragmented message. Not a list of fragments: a million empty ones would take megabytes."""
        self._kind = 0
        """Opcode of a fragmented message, 0 if there is none."""

    @property
    def held(self) -> int:
        """Bytes of a message that is not complete yet."""
        return len(self._held) + len(self._message)

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """(opcode, payload) of every complete message and control frame, and (CONTINUATION, b"") for a fragment that
        does not complete one: it takes time too. Raises `FrameError`."""
        if self._held or len(data) < self._need:
            self._held += data
            if len(self._held) < self._need:
                return
            data, self._held = bytes(self._held), bytearray()
        position, end = 0, len(data)
        self._need = 2
        try:
            while end - position >= 2:
                first, second = data[position], data[position + 1]
                length, start = second & 0x7F, position + 2
                if length == 126:
                    if end < start + 2:
                        self._need = 4
                        return
                    length, start = int.from_bytes(data[start : start + 2]), start + 2
                elif length == 127:
                    if end < start + 8:
                        self._need = 10
                        return
                    length, start = int.from_bytes(data[start : start + 8]), start + 8
                self._check(first, second, length)
                after = start + 4 + length
                if end < after:
                    self._need = after - position
                    return
                payload = apply_mask(data[start + 4 : after], data[start : start + 4])
                position = after
                if first & 0x80 and (opcode := first & 0x0F) != CONTINUATION and not self._kind:
                    yield opcode, payload
                else:
                    yield self._join(first, payload)
        finally:
            if position < end:
                self._held += memoryview(data)[position:]

    def _check(self, first: int, second: int, length: int) -> None:
        if first & 0x70:
            raise FrameError(1002, "reserved bits are set")
        if not second & 0x80:
            raise FrameError(1002, "a client must mask its frames")
        opcode = first & 0x0F
        if opcode >= CLOSE:
            if opcode > PONG or length > MAX_CONTROL_BYTES or not first & 0x80:
                raise FrameError(1002, "invalid control frame")
        elif opcode > BINARY:
            raise FrameError(1002, "unknown opcode")
        elif length + len(self._message) > MAX_MESSAGE_BYTES:
            raise FrameError(1009, f"message longer than {MAX_MESSAGE_BYTES} bytes")

    def _join(self, first: int, payload: bytes) -> tuple[int, bytes]:
        opcode = first & 0x0F
        if opcode >= CLOSE:
            return opcode, payload
        if (opcode == CONTINUATION) is not bool(self._kind):
            raise FrameError(1002, "fragments out of order")
        self._kind = self._kind or opcode
        self._message += payload
        if not first & 0x80:
            return CONTINUATION, b""
        whole = self._kind, bytes(self._message)
        self._kind, self._message = 0, bytearray()
        return whole
