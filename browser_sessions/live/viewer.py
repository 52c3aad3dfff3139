"""A live view of a session: frames to the viewer, and the viewer's input while they have control."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, Protocol

import orjson

from browser_sessions.chromium.ports import PageInfo, StreamSettings
from browser_sessions.domain.close_codes import close_code
from browser_sessions.domain.errors import BrowserSessionsError, InvalidField
from browser_sessions.domain.principal import Action, Principal, may
from browser_sessions.domain.session import EndReason
from browser_sessions.domain.text import clipped
from browser_sessions.live.frame_stream import FrameStream
from browser_sessions.live.thumbnails import Thumbnails
from browser_sessions.live.viewer_input import ViewerInput, problem_text
from browser_sessions.pool.live_session import Live
from browser_sessions.pool.manager import Pool

MAX_FPS: Final = 30.0
"""Chromium would send 60, at twice the cost."""
MAX_WIDTH: Final = 3840
"""Pixels: a 4K screen."""
QUALITY: Final = 70
"""JPEG quality of the best level: text is sharp, a 1280x720 page takes 40 to 120 kB."""
BATCH_S: Final = 0.05
"""Events within this time are reported together."""
MAX_MESSAGE_BYTES: Final = 512 * 1024
"""A paste of 100,000 characters, each of up to four bytes."""

MESSAGES_PER_S: Final = 500
"""Of a viewer: it is read no faster. The console sends an `ack` a frame, and a move of the mouse a refresh of its
screen."""

_PAGE_EVENTS: Final = frozenset({"page.opened", "page.closed", "page.crashed", "page.navigated"})
_CONTROL_EVENTS: Final = frozenset({"control.taken", "control.released", "control.waiting"})
_CONNECTION_EVENTS: Final = frozenset({"client.connected", "client.disconnected"})


class Channel(Protocol):
    """The viewer's side of a WebSocket."""

    async def send_bytes(self, data: bytes) -> None: ...

    async def send_text(self, data: str) -> None: ...

    async def receive(self) -> str | None:
        """The next text message; None when the viewer has disconnected."""


class Disconnected(Exception):
    """The connection has ended or must be closed, with this close code."""

    def __init__(self, code: int = 1000, reason: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Viewer:
    """Implements `pool.live_session.Attached`. Watching does not count as activity; input does."""

    drives = False

    def __init__(
        self,
        pool: Pool,
        live: Live,
        thumbnails: Thumbnails,
        principal: Principal,
        channel: Channel,
        *,
        page_id: str | None = None,
        max_width: int = 1280,
        max_fps: float = MAX_FPS,
    ) -> None:
        self.principal = principal
        self.session = live.session
        self._pool = pool
        self._live = live
        self._handle = live.opened.context
        self._channel = channel
        self._session_id = live.session.session_id
        self._can_control = may(principal, Action.DRIVE, live.session.owner)
        self._stream = FrameStream(
            self._handle,
            _stream_settings(max_width, max_fps),
            page_id,
            channel.send_bytes,
            self._problem,
            lambda frame: thumbnails.add(live.session.session_id, frame),
        )
        self._input = ViewerInput(live.control, self._handle, self._problem, self._send, self._show)
        self._session_end: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._last_problem_at = 0.0
        self._sent_pages: Any = None

    def session_ended(self, reason: EndReason) -> None:
        if not self._session_end.done():
            self._session_end.set_result(close_code(reason))

    async def run(self) -> tuple[int, str]:
        """Runs until the viewer disconnects or the session ends. Returns the close code and reason. Raises
        `WrongState`."""
        self._live.attach(self)
        if self._live.control.held_by(self.principal.principal_id):
            self._live.control.has_view()
        tasks = [asyncio.create_task(work) for work in self._parts()]
        try:
            either: set[asyncio.Future[Any]] = {self._session_end, *tasks}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._session_end.done():
                return self._session_end.result()
            for task in tasks:
                if task.done() and (error := task.exception()) is not None:
                    if isinstance(error, Disconnected):
                        return error.code, error.reason
                    raise error
            return 1000, ""
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._live.detach(self)
            self._release_control()
            await self._input.close()

    def _parts(self) -> list[Coroutine[Any, Any, None]]:
        return [self._receive(), self._stream.run(), self._report_events(), self._input.run()]

    def _release_control(self) -> None:
        """Releases control if this was the last view of its holder."""
        principal_id = self.principal.principal_id
        if self._live.control.held_by(principal_id) and not watches(self._live, principal_id):
            self._live.control.release()

    # -- messages to the viewer ------------------------------------------------------------------------------------

    async def _report_events(self) -> None:
        journal = self._pool.journal
        seq = journal.newest
        page_id = self._stream.current()
        await self._send(
            "hello", page_id=page_id, can_control=self._can_control, viewers=self._live.viewers, **self._control()
        )
        await self._send_pages()
        while not journal.closed:
            await journal.news(seq)
            fresh, _ = journal.since(seq, session_id=self._session_id)
            seq = journal.newest
            kinds = {event.kind for event in fresh}
            opened = [event.data["page_id"] for event in fresh if event.kind == "page.opened"]
            if opened and self._control()["yours"] and self._input.may_open_page:
                self._stream.change(opened[-1])
            if kinds & _PAGE_EVENTS or any("title" in event.data or "url" in event.data for event in fresh):
                await self._send_pages()
            if kinds & (_CONTROL_EVENTS | _CONNECTION_EVENTS):
                await self._send("control", viewers=self._live.viewers, **self._control())
            await asyncio.sleep(BATCH_S)

    async def _send_pages(self) -> None:
        """Sends the pages and the URL of the streamed one, if they have changed."""
        before = self._stream.page_id
        if self._stream.current() != before:
            self._stream.restart()
        page_id = self._stream.page_id
        pages = [_page_fields(page) for page in self._handle.pages()]
        current = next((page for page in pages if page["page_id"] == page_id), None)
        if self._sent_pages != (pages, page_id):
            self._sent_pages = pages, page_id
            await self._send("pages", pages=pages, page_id=page_id)
            if current is not None:
                await self._send("url", url=current["url"], title=current["title"])

    def _control(self) -> dict[str, Any]:
        control = self._live.control
        holder = control.holder
        return {
            "controlled_by": holder.name if holder else None,
            "yours": holder is not None and holder.principal_id == self.principal.principal_id,
            "waiting": control.waiting,
        }

    async def _problem(self, detail: str) -> None:
        """Reports a problem to the viewer, at most one a second."""
        if self._loop.time() - self._last_problem_at >= 1.0:
            self._last_problem_at = self._loop.time()
            await self._send("problem", detail=detail)

    async def _send(self, kind: str, **fields: Any) -> None:
        await self._channel.send_text(orjson.dumps({"type": kind, **fields}, option=orjson.OPT_UTC_Z).decode())

    # -- messages from the viewer ----------------------------------------------------------------------------------

    async def _receive(self) -> None:
        number, since = 0, self._loop.time()
        while (text := await self._channel.receive()) is not None:
            if len(text) > MAX_MESSAGE_BYTES:
                raise Disconnected(1009, f"a message may have {MAX_MESSAGE_BYTES} bytes")
            number += 1
            if number > MESSAGES_PER_S:
                await asyncio.sleep(since + 1.0 - self._loop.time())
                number, since = 1, self._loop.time()
            try:
                message = orjson.loads(text)
                if not isinstance(message, dict):
                    raise InvalidField((), "must be a JSON object")
                await self._handle_message(message)
            except orjson.JSONDecodeError:
                await self._problem("A message must be a JSON object.")
            except BrowserSessionsError as error:
                await self._problem(problem_text(error))

    async def _handle_message(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "ack":
            if isinstance(seq := message.get("seq"), int):
                self._stream.acked(seq)
        elif kind == "ping":
            await self._send("pong")
        elif kind == "view":
            self._change_view(message)
            if self._sent_pages is not None:  # `hello` comes first
                await self._send_pages()  # no event follows if the newly selected page does not change
        elif not self._control()["yours"]:
            await self._problem("Take control first: your input is ignored until then.")
        elif (page_id := self._stream.current()) is not None or kind == "new_page":
            self._pool.touch(self._session_id)
            if kind == "dialog" and page_id is not None:  # queued input may be waiting for the dialog to close
                await self._input.close_dialog(page_id, message)
            else:
                await self._input.add(page_id or "", message)

    async def _show(self, page_id: str) -> None:
        """Streams a page that the viewer has opened. The event of its opening may have been reported already."""
        self._stream.change(page_id)
        await self._send_pages()

    def _change_view(self, message: dict[str, Any]) -> None:
        requested = self._stream.requested
        width, fps = message.get("max_width", requested.max_width), message.get("max_fps", requested.fps)
        if isinstance(width, bool) or not isinstance(width, int | float) or not 1 <= width <= MAX_WIDTH * 4:
            raise InvalidField(("max_width",), f"must be a number of pixels from 1 to {MAX_WIDTH}")
        if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps <= 1000:
            raise InvalidField(("max_fps",), f"must be a number from 1 to {MAX_FPS:g}")
        page_id = self._stream.page_id
        selected = message.get("page_id")
        if isinstance(selected, str) and selected != page_id:
            self._handle.screen(selected)  # raises if it is not a page of this session
            page_id = selected
        self._stream.change(page_id, _stream_settings(width, fps))


def watches(live: Live, principal_id: str) -> bool:
    """Whether the principal has a live view of the session."""
    return any(isinstance(who, Viewer) and who.principal.principal_id == principal_id for who in live.attached)


def _stream_settings(max_width: float, max_fps: float) -> StreamSettings:
    width = min(max(int(max_width), 1), MAX_WIDTH)
    return StreamSettings(width, width * 2, min(max(float(max_fps), 1.0), MAX_FPS), QUALITY)


def _page_fields(page: PageInfo) -> dict[str, Any]:
    return {
        "page_id": page.page_id,
        "url": clipped(page.url),
        "title": clipped(page.title),
        "crashed": page.crashed,
        "failed": page.error is not None,
        "error": page.error,
    }
