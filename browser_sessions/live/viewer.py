"""One operator's view of a session: frames out as fast as they are drawn, hands in while the wheel is theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, Protocol

import orjson

from browser_sessions.chromium.ports import Demand, PageInfo
from browser_sessions.domain.close_codes import close_code
from browser_sessions.domain.errors import BrowserSessionsError, InvalidField
from browser_sessions.domain.principal import Action, Principal, may
from browser_sessions.domain.session import EndReason
from browser_sessions.domain.text import clipped
from browser_sessions.live.frame_stream import Show
from browser_sessions.live.thumbnails import Pictures
from browser_sessions.live.viewer_input import Hands, in_words
from browser_sessions.pool.live_session import Live
from browser_sessions.pool.manager import Pool

MOST_FPS: Final = 30.0
"""What the console promises; Chromium would send 60, at twice the cost."""
WIDEST: Final = 3840
"""Pixels: a 4K screen."""
QUALITY: Final = 70
"""JPEG quality of the best level: text is sharp, a 1280x720 page takes 40 to 120 kB."""
GATHER_S: Final = 0.05
"""Between two looks at what happened."""
MESSAGE_BYTES: Final = 512 * 1024
"""Of one message: a paste of 100,000 characters, each of up to four bytes."""

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
    """Implements `pool.live_session.Attached`. Looking is no activity; what hands do is."""

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
        self.principal = principal
        self.session = live.session
        self._pool = pool
        self._live = live
        self._handle = live.opened.context
        self._channel = channel
        self._session_id = live.session.session_id
        self._can_control = may(principal, Action.DRIVE, live.session.owner)
        self._show = Show(
            self._handle,
            _demand(max_width, max_fps),
            page_id,
            channel.send_bytes,
            self._problem,
            lambda frame: pictures.saw(live.session.session_id, frame),
        )
        self._hands = Hands(live.control, self._handle, self._problem, self._show.turn_to)
        self._over: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._told_problem = 0.0
        self._told_pages: Any = None

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
            await self._hands.close()

    def _parts(self) -> list[Coroutine[Any, Any, None]]:
        return [self._listen(), self._show.run(), self._tell(), self._hands.run()]

    def _let_go(self) -> None:
        """The wheel goes back to the client when the last view of its holder does."""
        control = self._live.control
        if not control.held_by(self.principal.principal_id):
            return
        others = [who for who in self._live.attached if isinstance(who, Viewer)]
        if not any(who.principal.principal_id == self.principal.principal_id for who in others):
            control.release()

    # -- what happens ----------------------------------------------------------------------------------------------

    async def _tell(self) -> None:
        journal = self._pool.journal
        seq = journal.newest
        page_id = self._show.current()
        await self._say(
            "hello", page_id=page_id, can_control=self._can_control, viewers=self._live.viewers, **self._control()
        )
        await self._say_pages()
        while not journal.closed:
            await journal.news(seq)
            fresh, _ = journal.since(seq, session_id=self._session_id)
            seq = journal.newest
            kinds = {event.kind for event in fresh}
            if kinds & _PAGES or any("title" in event.data or "url" in event.data for event in fresh):
                await self._say_pages()
            if kinds & (_CONTROL | _WATCHERS):
                await self._say("control", viewers=self._live.viewers, **self._control())
            await asyncio.sleep(GATHER_S)

    async def _say_pages(self) -> None:
        """The tabs and the address of the one that is shown, when they are others than was told."""
        before = self._show.page_id
        if self._show.current() != before:
            self._show.turn()
        page_id = self._show.page_id
        pages = [_shown(page) for page in self._handle.pages()]
        current = next((page for page in pages if page["page_id"] == page_id), None)
        if self._told_pages != (pages, page_id):
            self._told_pages = pages, page_id
            await self._say("pages", pages=pages, page_id=page_id)
            if current is not None:
                await self._say("url", url=current["url"], title=current["title"])

    def _control(self) -> dict[str, Any]:
        control = self._live.control
        holder = control.holder
        return {
            "controlled_by": holder.name if holder else None,
            "yours": holder is not None and holder.principal_id == self.principal.principal_id,
            "waiting": control.waiting,
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
            except BrowserSessionsError as error:
                await self._problem(in_words(error))

    async def _heard(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "ack":
            if isinstance(seq := message.get("seq"), int):
                self._show.drawn(seq)
        elif kind == "view":
            self._view(message)
            if self._told_pages is not None:  # `hello` comes first
                await self._say_pages()  # nothing need have happened in the page that is shown now
        elif not self._control()["yours"]:
            await self._problem("Take the wheel first: until then you only look.")
        elif (page_id := self._show.current()) is not None or kind == "new_page":
            self._pool.touch(self._session_id)
            if kind == "dialog" and page_id is not None:  # the hand before it may wait for the dialog to close
                await self._hands.answer(page_id, message)
            else:
                await self._hands.add(page_id or "", message)

    def _view(self, message: dict[str, Any]) -> None:
        asked = self._show.asked
        width, fps = message.get("max_width", asked.max_width), message.get("max_fps", asked.fps)
        if isinstance(width, bool) or not isinstance(width, int | float) or not 1 <= width <= WIDEST * 4:
            raise InvalidField(("max_width",), f"must be a number of pixels from 1 to {WIDEST}")
        if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps <= 1000:
            raise InvalidField(("max_fps",), f"must be a number from 1 to {MOST_FPS:g}")
        page_id = message.get("page_id")
        if isinstance(page_id, str) and page_id != self._show.page_id:
            self._handle.screen(page_id)  # raises when it is no page of this session
            self._show.page_id = page_id
        self._show.asked = _demand(width, fps)
        self._show.turn()


def _demand(max_width: float, max_fps: float) -> Demand:
    width = min(max(int(max_width), 1), WIDEST)
    return Demand(width, width * 2, min(max(float(max_fps), 1.0), MOST_FPS), QUALITY)


def _shown(page: PageInfo) -> dict[str, Any]:
    return {"page_id": page.page_id, "url": clipped(page.url), "title": clipped(page.title), "crashed": page.crashed}
