"""The server's side of a client's WebSocket, on a transport whose handshake somebody else has made."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Final, Protocol, cast

from browser_sessions.cdp.websocket_frames import CLOSE, PING, PONG, TEXT, ClientFrames, FrameError, close, head

WRITE_BYTES: Final = 2**20
"""Handed to the system ahead of what the client takes; the rest waits here, where a close can overtake it."""
BEHIND_BYTES: Final = 8 * 2**20
"""Of unread messages; beyond, the client is not read either."""
QUEUE_BYTES: Final = 32 * 2**20
"""Of unread messages, besides the largest of them; beyond, the connection is closed with 1013. Chromium cannot be made
to wait for one client: its pipe is everybody's."""
TOO_SLOW: Final = 1013
CLOSING_S: Final = 2.0
"""How long a client may take to answer a close before the connection is cut."""
LINGER_S: Final = 30.0
"""The same for one that did not read: it finds the reason when it does."""
COPY_BYTES: Final = 64 * 2**10
"""From this length on a copy of a message costs more than a second write."""


class State(Enum):
    CONNECTING = "the transport is still to come"
    OPEN = "open"
    CLOSING = "our close frame is under way, or the client's has come"
    CLOSED = "the connection is over"


class Why(Enum):
    """Why the client is not read for now. Reading goes on when no reason is left."""

    CLIENT_FULL = "it does not read its responses"
    BROWSER_FULL = "the browser is behind with its commands"
    CONTROL = "somebody else is in control, and much waits already"


class Listener(Protocol):
    """Who gets what the client sends."""

    def command(self, payload: bytes) -> None: ...

    def client_gone(self) -> None:
        """Called once, as soon as nothing more can be said to the client."""


class ClientSocket(asyncio.Protocol):
    """Text messages in, text messages out; answers pings, closes with a code and a reason."""

    def __init__(self, listener: Listener, *, queue_bytes: int | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.heard = loop.time()
        """When the client last sent anything, on the loop's clock."""
        self.closed: asyncio.Future[None] = loop.create_future()
        """Done when the connection is over."""
        self.code: int | None = None
        """With which we have closed it."""
        self.on_behind: Callable[[], None] | None = None
        """Called when a message has to wait, for who counts what waits for several clients."""
        self._listener = listener
        self._queue_bytes = QUEUE_BYTES if queue_bytes is None else queue_bytes
        self._loop = loop
        self._state = State.CONNECTING
        self._frames = ClientFrames()
        self._broken = False
        """It has sent what is no WebSocket: nothing after that means anything."""
        self._paused: set[Why] = set()
        self._writable = True
        self._queue: deque[tuple[bytes, ...]] = deque()
        """Frames that wait for the system to take more, each whole: a close may come after any of them."""
        self._queued = 0
        self._batch: list[bytes] | None = None
        """Small frames of this turn of the loop after its first; None: nothing was written yet."""
        self._largest = 0
        """Of what waits."""
        self._full_since: float | None = None
        self._waited = 0
        """Bytes that waited when last looked at."""
        self._early: tuple[int, str] | None = None
        """How it was closed before the transport came."""
        self._cut: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    @property
    def waiting(self) -> int:
        """Bytes that the client has not taken yet, as far as the system tells."""
        return self._queued + (self._transport.get_write_buffer_size() if self._transport is not None else 0)

    @property
    def behind(self) -> int:
        """Bytes that wait besides the largest message: that one alone is no sign of a client that does not read."""
        return max(0, self.waiting - self._largest)

    @property
    def paused(self) -> bool:
        """Whether we do not read the client: then its silence means nothing."""
        return bool(self._paused)

    def send(self, payload: bytes) -> None:
        """A whole message, as one text frame."""
        self._frame(TEXT, payload)

    def ping(self) -> None:
        self._frame(PING, b"")

    def pause(self, why: Why, paused: bool) -> None:
        """Stops reading the client for a reason, or takes the reason away."""
        before = self.paused
        if paused:
            self._paused.add(why)
        else:
            self._paused.discard(why)
        if self.paused is before or self._transport is None or self._transport.is_closing():
            return
        self.heard = self._loop.time()
        if self.paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def stalled_for(self, now: float) -> float:
        """Seconds for which the client has taken nothing of what waits for it; 0 while little waits. Slow is not
        stalled: a large answer over a thin line may take minutes. Looked at once a second."""
        if self._full_since is None:
            return 0.0
        waiting = self.waiting
        if waiting < self._waited:
            self._full_since = now
        self._waited = waiting
        return now - self._full_since

    def close(self, code: int, reason: str) -> None:
        """Sends the reason, then ends the connection once the client has answered, at the latest after `CLOSING_S`.
        A client that does not read has `LINGER_S`, and gets no more of what waits for it."""
        if self._state is State.CONNECTING:
            self._early = self._early or (code, reason)
        if self._state is not State.OPEN:
            return
        self.code = code
        if code == TOO_SLOW:
            self._flush()
            self._queue.clear()
            self._queued = 0
        self._frame(CLOSE, close(code, reason))
        self._end()
        self._cut_in(LINGER_S if code == TOO_SLOW else CLOSING_S)

    def shutdown(self) -> None:
        """The HTTP server stops."""
        self.close(1001, "the server is going down")

    # -- asyncio's side --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._transport.set_write_buffer_limits(high=WRITE_BYTES)
        self._state = State.OPEN
        if self._early is not None:
            self.close(*self._early)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        self._state = State.CLOSED
        self._queue.clear()
        self._queued = 0
        if self._cut is not None:
            self._cut.cancel()
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self._writable = False
        self._full_since = self._loop.time()
        self._waited = 0

    def resume_writing(self) -> None:
        self._writable = True
        self._full_since = None
        while self._queue and self._writable and self._transport is not None:
            for part in self._queue.popleft():
                self._queued -= len(part)
                self._transport.write(part)
        if self._writable:
            self._largest = 0
        if self.waiting < BEHIND_BYTES:
            self.pause(Why.CLIENT_FULL, False)

    def data_received(self, data: bytes) -> None:
        self.heard = self._loop.time()
        if self._broken:
            return
        try:
            for opcode, payload in self._frames.feed(data):
                if opcode == TEXT:
                    if self._state is State.OPEN:
                        self._listener.command(payload)
                elif opcode == PING:
                    self._frame(PONG, payload)
                elif opcode == CLOSE:
                    self._closed_by_client(payload)
                    return
                elif opcode != PONG:
                    self.close(1003, "CDP is text")
        except FrameError as error:
            self._broken = True
            self.close(error.code, error.reason)

    # -- inside ----------------------------------------------------------------------------------------------------

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
            self._loop.call_soon(self._end_turn)
        else:
            self._batch.append(frame[0])

    @property
    def _free(self) -> bool:
        """Whether a frame goes to the system at once."""
        return self._writable and not self._queue

    def _end_turn(self) -> None:
        self._flush()
        self._batch = None
        if not self._writable and self._state is State.OPEN:
            self._check_queue(0)

    def _flush(self) -> None:
        """One write for many small frames: each is a call to the system, and wakes the client."""
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
        if self.behind > self._queue_bytes:
            self.close(TOO_SLOW, "the client does not read")
            return
        if self.waiting > BEHIND_BYTES:
            self.pause(Why.CLIENT_FULL, True)
        if self.on_behind is not None:
            self.on_behind()

    def _closed_by_client(self, payload: bytes) -> None:
        assert self._transport is not None
        if len(payload) == 1 and self._state is State.OPEN:
            raise FrameError(1002, "a close code has two bytes")
        self._frame(CLOSE, payload[:2])
        self._end()
        self._cut_in(CLOSING_S)  # it may never read what waits for it
        self._flush()
        if not self._queue:
            self._transport.close()

    def _end(self) -> None:
        """Nothing more is said to the client, and nothing more of it is heard."""
        if self._state is State.OPEN:
            self._state = State.CLOSING
            self._listener.client_gone()
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()  # for the client's own close frame
        elif self._state is State.CONNECTING:
            self._state = State.CLOSED
            self._listener.client_gone()

    def _cut_in(self, seconds: float) -> None:
        assert self._transport is not None
        if self._cut is not None:
            self._cut.cancel()
        self._cut = self._loop.call_later(seconds, self._transport.abort)
