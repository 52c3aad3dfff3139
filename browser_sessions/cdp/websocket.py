"""The server side of a client's WebSocket, on a transport whose handshake is complete."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum
from itertools import chain
from typing import Final, Protocol, cast

from browser_sessions.cdp.websocket_frames import (
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    ClientFrames,
    FrameError,
    check_close,
    close,
    head,
)
from browser_sessions.loop_shares import Share

WRITE_BYTES: Final = 2**20
"""Size of the transport's write buffer. The rest is queued here, where a close can overtake it."""
BACKPRESSURE_BYTES: Final = 8 * 2**20
"""Backpressure: with more unread messages, we stop reading from the client."""
QUEUE_BYTES: Final = 32 * 2**20
"""Unread messages, not counting the largest, above which the connection is closed with 1013. Chromium cannot be paused
for one client, because all clients share its pipe."""
TOO_SLOW: Final = 1013
CLOSING_S: Final = 2.0
"""Timeout for the client's close frame before the connection is aborted."""
LINGER_S: Final = 30.0
"""The same for a client that was too slow, so that it can still read the reason."""
LARGE_BYTES: Final = 2**20
"""From this length on, an incomplete message counts towards a limit over several clients."""
STEP_BYTES: Final = 4096
"""Of a message take about as long to decode as a short message to handle."""
COPY_BYTES: Final = 64 * 2**10
"""From this length, copying a message costs more than a second write."""


class State(Enum):
    CONNECTING = "no transport yet"
    OPEN = "open"
    CLOSING = "a close frame was sent or received"
    CLOSED = "the connection has ended"


class PauseReason(Enum):
    """Why reading from the client is paused. It resumes when no reason is left."""

    CLIENT_FULL = "the client does not read its responses"
    BROWSER_FULL = "too many commands wait for the browser"
    CONTROL = "a person has control, and too many commands wait"
    PRINCIPAL_FULL = "the principal's clients send too many large messages at once"
    NO_TIME = "the principal's share of the event loop is used up"


class Listener(Protocol):
    """Receives the client's messages."""

    def command(self, payload: bytes) -> None: ...

    def client_gone(self) -> None:
        """Called once, as soon as no more messages can be sent to the client."""


class ClientSocket(asyncio.Protocol):
    """Receives and sends text messages, responds to pings, closes with a code and a reason."""

    def __init__(self, listener: Listener, *, queue_bytes: int | None = None, share: Share | None = None) -> None:
        """`share`: in which messages are handled; None for a client that is trusted."""
        loop = asyncio.get_running_loop()
        self.last_received = loop.time()
        """When the client last sent data, on the loop's clock."""
        self.closed: asyncio.Future[None] = loop.create_future()
        """Done when the connection has ended."""
        self.code: int | None = None
        """The code that we have closed it with."""
        self.on_backlog: Callable[[], None] | None = None
        """Called when a message is queued, for a limit over several clients."""
        self.may_send: Callable[[int], bool] | None = None
        """Asked before a message longer than `WRITE_BYTES` is sent, for a limit over several clients. False: the client
        is closed instead."""
        self.on_half_message: Callable[[], None] | None = None
        """Called when part of a large message has arrived, and when it is complete."""
        self._listener = listener
        self._queue_bytes = QUEUE_BYTES if queue_bytes is None else queue_bytes
        self._loop = loop
        self._state = State.CONNECTING
        self._share = share
        self._frames = ClientFrames()
        self._received: Iterator[tuple[int, bytes]] | None = None
        """What has been received and not handled."""
        self._invalid = False
        """The client has violated the protocol, or is too slow: its further data is ignored."""
        self._paused: set[PauseReason] = set()
        self._writable = True
        self._queue: deque[tuple[bytes, ...]] = deque()
        """Frames that wait for the transport. Each is complete, so that a close frame can follow any of them."""
        self._queued = 0
        self._batch: list[bytes] | None = None
        """Further small frames of this iteration of the loop after the first; None if there was none yet."""
        self._largest = 0
        """Length of the largest unread message."""
        self._full_since: float | None = None
        self._last_waiting = 0
        """`waiting` at the last `stalled_for`."""
        self._close_early: tuple[int, str] | None = None
        """Code and reason of a close before there was a transport."""
        self._abort_timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    @property
    def waiting(self) -> int:
        """Bytes that the client has not read yet, as far as we know: kernel buffers are not included."""
        if self._state is State.CLOSED:
            return 0
        return self._queued + (self._transport.get_write_buffer_size() if self._transport is not None else 0)

    @property
    def backlog(self) -> int:
        """Unread bytes without the largest message, which alone does not mean that the client is slow."""
        return max(0, self.waiting - self._largest)

    @property
    def largest(self) -> int:
        """What is unread of the largest message."""
        return min(self._largest, self.waiting)

    @property
    def half_message(self) -> int:
        """Bytes of a large message that is not complete yet, else 0."""
        return held if (held := self._frames.held) > LARGE_BYTES and self._state is not State.CLOSED else 0

    @property
    def paused(self) -> bool:
        """Whether reading from the client is paused, so that its silence does not count."""
        return bool(self._paused)

    def send(self, payload: bytes) -> None:
        """Sends a message as one text frame."""
        large = len(payload) > WRITE_BYTES and self._state is State.OPEN
        if large and self.may_send is not None and not self.may_send(len(payload)):
            self.close(TOO_SLOW, "this principal's clients have too many unread messages for another large one")
            return
        self._frame(TEXT, payload)

    def ping(self) -> None:
        self._frame(PING, b"")

    def pause(self, why: PauseReason, paused: bool) -> None:
        """Adds or removes a reason to pause reading from the client."""
        before = self.paused
        if paused:
            self._paused.add(why)
        else:
            self._paused.discard(why)
        if self.paused is before or self._transport is None or self._transport.is_closing():
            return
        self.last_received = self._loop.time()
        if self.paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def stalled_for(self, now: float) -> float:
        """Seconds since the client last read data while the write buffer was full, else 0. A slow client is not
        stalled: a large response over a slow connection can take minutes. Called once a second."""
        if self._full_since is None:
            return 0.0
        waiting = self.waiting
        if waiting < self._last_waiting:
            self._full_since = now
        self._last_waiting = waiting
        return now - self._full_since

    def close(self, code: int, reason: str) -> None:
        """Sends a close frame. The connection ends with the client's close frame, at the latest after `CLOSING_S`. For
        a client that is too slow, drops the queue and waits for `LINGER_S`."""
        if self._state is State.CONNECTING:
            self._close_early = self._close_early or (code, reason)
        if self._state is not State.OPEN:
            return
        self.code = code
        if code == TOO_SLOW:
            self._flush()
            self._queue.clear()
            self._queued = 0
        self._frame(CLOSE, close(code, reason))
        self._end()
        self._abort_after(LINGER_S if code == TOO_SLOW else CLOSING_S)

    def abort(self) -> None:
        """Ends the connection at once, which drops what the client has not read."""
        if self._transport is not None:
            self._transport.abort()

    def shutdown(self) -> None:
        """Called when the HTTP server stops."""
        self.close(1001, "the server is shutting down")

    # -- asyncio.Protocol ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports do not subclass it
        self._transport.set_write_buffer_limits(high=WRITE_BYTES)
        self._state = State.OPEN
        if self._close_early is not None:
            self.close(*self._close_early)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        self._state = State.CLOSED
        self._frames = ClientFrames()
        self._received = None
        self._queue.clear()
        self._queued = 0
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self._writable = False
        self._full_since = self._loop.time()
        self._last_waiting = 0

    def resume_writing(self) -> None:
        self._writable = True
        self._full_since = None
        while self._queue and self._writable and self._transport is not None:
            for part in self._queue.popleft():
                self._queued -= len(part)
                self._transport.write(part)
        if self._writable:
            self._largest = 0
        if self.waiting < BACKPRESSURE_BYTES:
            self.pause(PauseReason.CLIENT_FULL, False)

    def data_received(self, data: bytes) -> None:
        self.last_received = self._loop.time()
        if self._invalid:
            return
        received = self._frames.feed(data)
        self._received = received if self._received is None else chain(self._received, received)
        if self._share is None:
            self._handle(sys.maxsize)
        elif not self._share.run(self._handle):
            self.pause(PauseReason.NO_TIME, True)

    def _handle(self, steps: int) -> int:
        """`loop_shares.Work`: handles what has been received, a step a frame, and more for a long one."""
        if self._received is None:
            return steps
        before = self.half_message
        try:
            for opcode, payload in self._received:
                steps -= 1 + len(payload) // STEP_BYTES
                if opcode == TEXT:
                    if self._state is State.OPEN:
                        self._listener.command(payload)
                elif opcode == PING:
                    self._frame(PONG, payload)
                elif opcode == CLOSE:
                    self._closed_by_client(payload)
                    break
                elif opcode not in (PONG, CONTINUATION):
                    self.close(1003, "CDP messages are text")
                if steps <= 0:
                    return 0
        except FrameError as error:
            self._ignore()
            self.close(error.code, error.reason)
        except BaseException:
            if self._transport is not None:  # else it would stay paused
                self._transport.abort()
            raise
        self._received = None
        if self._paused:
            self.pause(PauseReason.NO_TIME, False)
        if self.code == TOO_SLOW and self.half_message:
            self._ignore()
        if self.on_half_message is not None and (before or self.half_message):
            self.on_half_message()
        return steps

    def _ignore(self) -> None:
        """Drops what the client has sent, and ignores the rest."""
        self._invalid = True
        self._frames = ClientFrames()

    # -- internals -------------------------------------------------------------------------------------------------

    def _frame(self, opcode: int, payload: bytes) -> None:
        if self._transport is None or self._state is not State.OPEN:
            return
        if len(payload) < COPY_BYTES:
            self._write(head(opcode, len(payload)) + payload)
        else:
            self._write(head(opcode, len(payload)), payload)
        if not self._writable and opcode != CLOSE:
            self._check_queue(len(payload))

    def _write(self, *frame: bytes) -> None:
        assert self._transport is not None
        if len(frame) > 1 or not self._free:
            self._flush()
        if not self._free:
            self._queue.append(frame)
            self._queued += sum(map(len, frame))
        elif len(frame) > 1:
            for part in frame:
                self._transport.write(part)
        elif self._batch is None:
            self._transport.write(frame[0])
            self._batch = []
            self._loop.call_soon(self._end_iteration)
        else:
            self._batch.append(frame[0])

    @property
    def _free(self) -> bool:
        """Whether frames can be written to the transport now."""
        return self._writable and not self._queue

    def _end_iteration(self) -> None:
        self._flush()
        self._batch = None
        if not self._writable and self._state is State.OPEN:
            self._check_queue(0)

    def _flush(self) -> None:
        """Writes many small frames at once: each write is a system call and wakes the client."""
        if not self._batch or self._transport is None or self._state is State.CLOSED:
            return
        if self._free:
            self._transport.write(b"".join(self._batch))
        else:
            self._queue.extend((each,) for each in self._batch)
            self._queued += sum(map(len, self._batch))
        self._batch.clear()

    def _check_queue(self, added: int) -> None:
        self._largest = max(self._largest, added)
        if self.backlog > self._queue_bytes:
            self.close(TOO_SLOW, "the client does not read")
            return
        if self.waiting > BACKPRESSURE_BYTES:
            self.pause(PauseReason.CLIENT_FULL, True)
        if self.on_backlog is not None:
            self.on_backlog()

    def _closed_by_client(self, payload: bytes) -> None:
        assert self._transport is not None
        if self._state is State.OPEN:
            check_close(payload)
        self._frame(CLOSE, payload[:2])
        self._end()
        self._abort_after(CLOSING_S)  # the client may never read the queue
        self._flush()
        if not self._queue:
            self._transport.close()

    def _end(self) -> None:
        """Stops sending messages to the client and receiving from it."""
        if self._state is State.OPEN:
            self._state = State.CLOSING
            self._listener.client_gone()
            for reason in self._paused - {PauseReason.NO_TIME}:
                self.pause(reason, False)  # for the client's own close frame
        elif self._state is State.CONNECTING:
            self._state = State.CLOSED
            self._listener.client_gone()

    def _abort_after(self, seconds: float) -> None:
        assert self._transport is not None
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        self._abort_timer = self._loop.call_later(seconds, self._transport.abort)
