"""The frames of one page, sent to one viewer as fast as it acknowledges them."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Final

import orjson

from browser_sessions.chromium.ports import ContextHandle, Frame, StreamSettings
from browser_sessions.domain.errors import BrowserSessionsError, PageNotFound
from browser_sessions.live.flow_control import FlowControl

RETRY_S: Final = 1.0
"""Pause after the page could not be streamed."""
SETTLE_S: Final = 0.05
"""For a page that has gone to be removed from the list of pages."""


class FrameStream:
    """Streams the selected page. `on_frame` is called with every frame that was sent."""

    def __init__(
        self,
        handle: ContextHandle,
        requested: StreamSettings,
        page_id: str | None,
        send: Callable[[bytes], Awaitable[None]],
        problem: Callable[[str], Awaitable[None]],
        on_frame: Callable[[Frame], None],
    ) -> None:
        self.page_id = page_id
        self._handle = handle
        self._flow = FlowControl(requested)
        self._send = send
        self._problem = problem
        self._on_frame = on_frame
        self._acked = asyncio.Event()
        self._restart = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    @property
    def requested(self) -> StreamSettings:
        """The settings that the viewer asked for; flow control may reduce them."""
        return self._flow.requested

    def current(self) -> str | None:
        """The page being streamed: the selected one while it exists, otherwise the newest."""
        pages = self._handle.pages()
        if self.page_id is None or all(page.page_id != self.page_id for page in pages):
            self.page_id = pages[-1].page_id if pages else None
        return self.page_id

    def restart(self) -> None:
        """Starts again with the selected page."""
        self._restart.set()

    def change(self, page_id: str | None, requested: StreamSettings | None = None) -> None:
        """Selects a page and, if given, other settings."""
        self.page_id = page_id
        if requested is not None:
            self._flow.requested = requested
        self.restart()

    def acked(self, seq: int) -> None:
        """The viewer has drawn this frame."""
        self._flow.acked(seq, self._loop.time())
        self._acked.set()

    async def run(self) -> None:
        while True:
            page_id = self.current()
            self._restart.clear()
            restarted = asyncio.ensure_future(self._restart.wait())
            streaming = asyncio.ensure_future(self._stream(page_id) if page_id else asyncio.sleep(RETRY_S))
            try:
                await asyncio.wait({restarted, streaming}, return_when=asyncio.FIRST_COMPLETED)
                if streaming.done():
                    streaming.result()
                    await asyncio.sleep(SETTLE_S)
            finally:
                restarted.cancel()
                streaming.cancel()
                await asyncio.gather(restarted, streaming, return_exceptions=True)

    async def _stream(self, page_id: str) -> None:
        """Returns when the page is gone, or after another error, which is reported to the viewer."""
        self._flow.reset()
        try:
            subscription = self._handle.screen(page_id).subscribe(self._flow.current)
        except PageNotFound:
            self.page_id = None
            return
        try:
            seq = 0
            while True:
                await self._until_may_send()
                frame = await subscription.after(seq)
                seq = frame.seq
                self._flow.sent(seq, self._loop.time())
                self._on_frame(frame)
                await self._send(encoded(frame))
                if self._flow.adjust(self._loop.time()):
                    subscription.change(self._flow.current)
        except PageNotFound:
            self.page_id = None
        except BrowserSessionsError as error:
            await self._problem(error.detail)
            await asyncio.sleep(RETRY_S)
        finally:
            subscription.close()

    async def _until_may_send(self) -> None:
        while not self._flow.may_send(self._loop.time()):
            self._acked.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._flow.until_timeout(self._loop.time()) + 0.01):
                    await self._acked.wait()


@lru_cache(maxsize=8)
def encoded(frame: Frame) -> bytes:
    """The frame's message: length of the header, header, JPEG (docs/live.md). Cached for all viewers of a page."""
    header = orjson.dumps(
        {
            "page_id": frame.page_id,
            "seq": frame.seq,
            "width": frame.width,
            "height": frame.height,
            "css_width": frame.css_width,
            "css_height": frame.css_height,
            "scroll_x": frame.scroll_x,
            "scroll_y": frame.scroll_y,
            "scale": frame.scale,
            "at": frame.at,
        }
    )
    return struct.pack(">I", len(header)) + header + frame.jpeg
