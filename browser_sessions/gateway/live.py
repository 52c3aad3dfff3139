"""One operator's view of a session: frames out as fast as they are drawn, hands in while the wheel is theirs."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import deque
from collections.abc import Coroutine, Mapping
from functools import lru_cache
from typing import Any, Final, Protocol

import orjson

from browser_sessions.gateway.codes import close_code
from browser_sessions.gateway.pace import Pace
from browser_sessions.gateway.pictures import Pictures
from browser_sessions.model.errors import BrowserSessionsError, InvalidField, PageNotFound
from browser_sessions.model.ports import Demand, Frame, PageInfo
from browser_sessions.model.principal import Action, Principal, may
from browser_sessions.model.session import EndReason
from browser_sessions.pool.journal import clip
from browser_sessions.pool.live import Live
from browser_sessions.pool.pool import Pool

MOST_FPS: Final = 30.0
"""What the console promises; Chromium would send 60, at twice the cost."""
WIDEST: Final = 3840
"""Pixels: a 4K screen."""
QUALITY: Final = 70
"""JPEG quality of the best level: text is sharp, a 1280x720 page takes 40 to 120 kB."""
GATHER_S: Final = 0.05
"""Between two looks at what happened."""
HAND_S: Final = 2.0
"""What a page may take to hear of one movement; after that the next one is tried."""
PAGE_S: Final = 10.0
"""For a page to open."""
HANDS_WAITING: Final = 256
"""Movements that wait for a busy page; moves of the mouse take each other's place, so these are keys and clicks."""
MESSAGE_BYTES: Final = 512 * 1024
"""Of one message: a paste of 100,000 characters, each of up to four bytes."""
LOOK_AGAIN_S: Final = 1.0
"""After a page could not be shown."""

_PAGES: Final = frozenset({"page.opened", "page.closed", "page.crashed", "page.navigated"})
_CONTROL: Final = frozenset({"control.taken", "control.released", "control.waiting"})
_WATCHERS: Final = frozenset({"client.connected", "client.disconnected"})


class Channel(Protocol):
    """The viewer's side of a WebSocket."""

    async def send_bytes(self, data: bytes) -> None: ...

    async def send_text(self, data: str) -> None: ...

    async def receive(self) -> str | None:
        """The next text message; None when the viewer has gone."""


class Gone(Exception):
    """The viewer has gone, or must go: with this code."""

    def __init__(self, code: int = 1000, reason: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Viewer:
    """Implements `pool.live.Attached`. Looking is no activity; what hands do is."""

    drives = False

    def __init__(
        self,
        pool: Pool,
        live: Live,
        pictures: Pictures,
        principal: Principal,
        channel: Channel,
        *,
        page_id: str | None = None,
        max_width: int = 1280,
        max_fps: float = MOST_FPS,
    ) -> None:
        assert live.handle is not None
        self.principal = principal
        self.session = live.session
        self._pool = pool
        self._live = live
        self._handle = live.handle
        self._pictures = pictures
        self._channel = channel
        self._session_id = live.session.session_id
        self._can_control = may(principal, Action.DRIVE, live.session.owner)
        self._pace = Pace(_demand(max_width, max_fps))
        self._page_id = page_id
        self._over: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self._drawn = asyncio.Event()
        self._turn = asyncio.Event()
        self._moved = asyncio.Event()
        self._hands: deque[tuple[str, Mapping[str, Any]]] = deque()
        self._loop = asyncio.get_running_loop()
        self._told_problem = 0.0

    def session_ended(self, reason: EndReason) -> None:
        if not self._over.done():
            self._over.set_result(close_code(reason))

    async def run(self) -> tuple[int, str]:
        """Until the viewer goes or the session ends; the code and words to close with. Raises `WrongState`."""
        self._live.attach(self)
        tasks = [asyncio.create_task(work) for work in self._parts()]
        try:
            either: set[asyncio.Future[Any]] = {self._over, *tasks}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._over.done():
                return self._over.result()
            for task in tasks:
                if task.done() and (error := task.exception()) is not None:
                    if isinstance(error, Gone):
                        return error.code, error.reason
                    raise error
            return 1000, ""
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._live.detach(self)
            self._let_go()

    def _parts(self) -> list[Coroutine[Any, Any, None]]:
        return [self._listen(), self._show(), self._tell(), self._pass_on()]

    def _let_go(self) -> None:
        """The wheel goes back to the client when the last view of its holder does."""
        wheel = self._live.wheel
        if wheel.holder is None or wheel.holder.principal_id != self.principal.principal_id:
            return
        others = [who for who in self._live.attached if isinstance(who, Viewer)]
        if not any(who.principal.principal_id == self.principal.principal_id for who in others):
            wheel.release()

    # -- frames ----------------------------------------------------------------------------------------------------

    async def _show(self) -> None:
        while True:
            page_id = self._current()
            self._turn.clear()
            turned = asyncio.ensure_future(self._turn.wait())
            showing = asyncio.ensure_future(self._show_page(page_id) if page_id else asyncio.sleep(LOOK_AGAIN_S))
            try:
                await asyncio.wait({turned, showing}, return_when=asyncio.FIRST_COMPLETED)
                if showing.done():
                    showing.result()
                    await asyncio.sleep(GATHER_S)  # the page has gone, and is not off the list yet
            finally:
                turned.cancel()
                showing.cancel()
                await asyncio.gather(turned, showing, return_exceptions=True)

    async def _show_page(self, page_id: str) -> None:
        """Until the page is gone; what else keeps it from being shown is told, and tried again."""
        self._pace.restart()
        try:
            look = self._handle.screen(page_id).look(self._pace.demand)
        except PageNotFound:
            self._page_id = None
            return
        try:
            seq = 0
            while True:
                await self._until_it_may_send()
                frame = await look.after(seq)
                seq = frame.seq
                self._pace.sent(seq, self._loop.time())
                self._pictures.saw(self._session_id, frame)
                await self._channel.send_bytes(packed(frame))
                if self._pace.judge(self._loop.time()):
                    look.demand = self._pace.demand
        except PageNotFound:
            self._page_id = None
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

    def _current(self) -> str | None:
        """The page that is shown: the one that was asked for while it is there, else the newest."""
        pages = self._handle.pages()
        if self._page_id is None or all(page.page_id != self._page_id for page in pages):
            self._page_id = pages[-1].page_id if pages else None
        return self._page_id

    # -- what happens ----------------------------------------------------------------------------------------------

    async def _tell(self) -> None:
        journal = self._pool.journal
        seq = journal.newest
        page_id = self._current()
        await self._say(
            "hello", page_id=page_id, can_control=self._can_control, viewers=self._live.viewers, **self._wheel()
        )
        told = await self._say_pages(None)
        while not journal.closed:
            await journal.news(seq)
            fresh, _ = journal.since(seq, session_id=self._session_id)
            seq = journal.newest
            kinds = {event.kind for event in fresh}
            if kinds & _PAGES or any("title" in event.data or "url" in event.data for event in fresh):
                told = await self._say_pages(told)
            if kinds & (_CONTROL | _WATCHERS):
                await self._say("control", viewers=self._live.viewers, **self._wheel())
            await asyncio.sleep(GATHER_S)

    async def _say_pages(self, told: Any) -> Any:
        """The tabs and the address of the one that is shown, when they are others than was told."""
        before = self._page_id
        if self._current() != before:
            self._turn.set()
        pages = [_shown(page) for page in self._handle.pages()]
        current = next((page for page in pages if page["page_id"] == self._page_id), None)
        if told != (pages, self._page_id):
            await self._say("pages", pages=pages, page_id=self._page_id)
            if current is not None:
                await self._say("url", url=current["url"], title=current["title"])
        return pages, self._page_id

    def _wheel(self) -> dict[str, Any]:
        wheel = self._live.wheel
        holder = wheel.holder
        return {
            "controlled_by": holder.name if holder else None,
            "yours": holder is not None and holder.principal_id == self.principal.principal_id,
            "waiting": wheel.waiting,
        }

    async def _problem(self, detail: str) -> None:
        """Tells what went wrong, at most once a second."""
        if self._loop.time() - self._told_problem >= 1.0:
            self._told_problem = self._loop.time()
            await self._say("problem", detail=detail)

    async def _say(self, kind: str, **fields: Any) -> None:
        await self._channel.send_text(orjson.dumps({"type": kind, **fields}, option=orjson.OPT_UTC_Z).decode())

    # -- what the viewer says --------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while (text := await self._channel.receive()) is not None:
            if len(text) > MESSAGE_BYTES:
                raise Gone(1009, f"a message may have {MESSAGE_BYTES} bytes")
            try:
                message = orjson.loads(text)
                if not isinstance(message, dict):
                    raise InvalidField((), "must be a JSON object")
                await self._heard(message)
            except orjson.JSONDecodeError:
                await self._problem("A message must be a JSON object.")
            except InvalidField as error:
                await self._problem(f"{'.'.join(map(str, error.loc)) or 'A message'} {error.detail}")
            except BrowserSessionsError as error:
                await self._problem(error.detail)

    async def _heard(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "ack":
            if isinstance(seq := message.get("seq"), int):
                self._pace.drawn(seq, self._loop.time())
                self._drawn.set()
        elif kind == "view":
            self._view(message)
        elif not self._wheel()["yours"]:
            await self._problem("Take the wheel first: until then you only look.")
        elif (page_id := self._current()) is not None or kind == "new_page":
            self._pool.touch(self._session_id)
            if kind == "dialog" and page_id is not None:  # the hand before it may wait for the dialog to close
                await self._handle.screen(page_id).do(message, timeout=HAND_S)
            else:
                await self._queue(page_id or "", message)

    def _view(self, message: dict[str, Any]) -> None:
        asked = self._pace.asked
        width, fps = message.get("max_width", asked.max_width), message.get("max_fps", asked.fps)
        if isinstance(width, bool) or not isinstance(width, int | float) or not 1 <= width <= WIDEST * 4:
            raise InvalidField(("max_width",), f"must be a number of pixels from 1 to {WIDEST}")
        if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps <= 1000:
            raise InvalidField(("max_fps",), f"must be a number from 1 to {MOST_FPS:g}")
        page_id = message.get("page_id")
        if isinstance(page_id, str) and page_id != self._page_id:
            self._handle.screen(page_id)  # raises when it is no page of this session
            self._page_id = page_id
        self._pace.asked = _demand(width, fps)
        self._turn.set()

    async def _queue(self, page_id: str, message: dict[str, Any]) -> None:
        if self._hands and _is_move(message) and _is_move(self._hands[-1][1]):
            self._hands.pop()
        if len(self._hands) >= HANDS_WAITING:
            self._hands.clear()
            await self._problem("The page does not keep up: what your hands did last is forgotten.")
        self._hands.append((page_id, message))
        self._moved.set()

    async def _pass_on(self) -> None:
        """One movement after the other, in their order."""
        while True:
            while not self._hands:
                self._moved.clear()
                await self._moved.wait()
            page_id, message = self._hands.popleft()
            try:
                await self._act(page_id, message)
            except InvalidField as error:
                await self._problem(f"{'.'.join(map(str, error.loc))} {error.detail}")
            except BrowserSessionsError as error:
                await self._problem(error.detail)

    async def _act(self, page_id: str, message: Mapping[str, Any]) -> None:
        kind = message.get("type")
        if kind == "new_page":
            opened = await self._handle.open_page(None, timeout=PAGE_S)
            self._page_id = opened.page_id
            self._turn.set()
        elif kind == "close_page":
            await self._handle.close_page(str(message.get("page_id", page_id)), timeout=PAGE_S)
        else:
            await self._handle.screen(page_id).do(message, timeout=PAGE_S if kind in _SLOW else HAND_S)


_SLOW: Final = frozenset({"navigate", "go", "reload"})


def _demand(max_width: float, max_fps: float) -> Demand:
    width = min(max(int(max_width), 1), WIDEST)
    return Demand(width, width * 2, min(max(float(max_fps), 1.0), MOST_FPS), QUALITY)


def _is_move(message: Mapping[str, Any]) -> bool:
    return message.get("action") == "move" and message.get("type") in ("mouse", "touch")


def _shown(page: PageInfo) -> dict[str, Any]:
    return {"page_id": page.page_id, "url": clip(page.url), "title": clip(page.title), "crashed": page.crashed}


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
