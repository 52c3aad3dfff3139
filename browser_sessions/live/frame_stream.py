"""What one viewer sees: the frames of one page, as fast as they are drawn."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Final

import orjson

from browser_sessions.chromium.ports import ContextHandle, Demand, Frame
from browser_sessions.domain.errors import BrowserSessionsError, PageNotFound
from browser_sessions.live.flow_control import Pace

LOOK_AGAIN_S: Final = 1.0
"""After a page could not be shown."""
GATHER_S: Final = 0.05
"""For a page that has gone to be off the list."""


class Show:
    """Which page, how large, and its frames. `saw` is told every frame that was sent."""

    def __init__(
        self,
        handle: ContextHandle,
        demand: Demand,
        page_id: str | None,
        send: Callable[[bytes], Awaitable[None]],
        problem: Callable[[str], Awaitable[None]],
        saw: Callable[[Frame], None],
    ) -> None:
        self.page_id = page_id
        self._handle = handle
        self._pace = Pace(demand)
        self._send = send
        self._problem = problem
        self._saw = saw
        self._drawn = asyncio.Event()
        self._turn = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    @property
    def asked(self) -> Demand:
        """What the viewer can use, whatever it can take."""
        return self._pace.asked

    @asked.setter
    def asked(self, demand: Demand) -> None:
        self._pace.asked = demand

    def current(self) -> str | None:
        """The page that is shown: the one that was asked for while it is there, else the newest."""
        pages = self._handle.pages()
        if self.page_id is None or all(page.page_id != self.page_id for page in pages):
            self.page_id = pages[-1].page_id if pages else None
        return self.page_id

    def turn(self) -> None:
        """Another page or another size: begins anew."""
        self._turn.set()

    def turn_to(self, page_id: str) -> None:
        self.page_id = page_id
        self.turn()

    def drawn(self, seq: int) -> None:
        """The viewer has drawn this frame."""
        self._pace.drawn(seq, self._loop.time())
        self._drawn.set()

    async def run(self) -> None:
        while True:
            page_id = self.current()
            self._turn.clear()
            turned = asyncio.ensure_future(self._turn.wait())
            showing = asyncio.ensure_future(self._show(page_id) if page_id else asyncio.sleep(LOOK_AGAIN_S))
            try:
                await asyncio.wait({turned, showing}, return_when=asyncio.FIRST_COMPLETED)
                if showing.done():
                    showing.result()
                    await asyncio.sleep(GATHER_S)
            finally:
                turned.cancel()
                showing.cancel()
                await asyncio.gather(turned, showing, return_exceptions=True)

    async def _show(self, page_id: str) -> None:
        """Until the page is gone; what else keeps it from being shown is told, and tried again."""
        self._pace.restart()
        try:
            look = self._handle.screen(page_id).look(self._pace.demand)
        except PageNotFound:
            self.page_id = None
            return
        try:
            seq = 0
            while True:
                await self._until_it_may_send()
                frame = await look.after(seq)
                seq = frame.seq
                self._pace.sent(seq, self._loop.time())
                self._saw(frame)
                await self._send(packed(frame))
                if self._pace.judge(self._loop.time()):
                    look.change(self._pace.demand)
        except PageNotFound:
            self.page_id = None
        except BrowserSessionsError as error:
            await self._problem(error.detail)
            await asyncio.sleep(LOOK_AGAIN_S)
        finally:
            look.close()

    async def _until_it_may_send(self) -> None:
        while not self._pace.may_send(self._loop.time()):
            self._drawn.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pace.wait(self._loop.time()) + 0.01):
                    await self._drawn.wait()


@lru_cache(maxsize=8)
def packed(frame: Frame) -> bytes:
    """A frame as it goes out: the length of the header, the header, the JPEG. Once for all viewers of a page."""
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
