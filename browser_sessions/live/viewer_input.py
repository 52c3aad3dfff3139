"""Input of the viewer who has control: sent to the page in order, and released with the control lock."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

from browser_sessions.background_tasks import Background
from browser_sessions.chromium.ports import ContextHandle, FileChooser
from browser_sessions.domain.errors import BrowserSessionsError, DownloadStarted, InvalidField, PageFailed
from browser_sessions.pool.control_lock import ControlLock

INPUT_TIMEOUT_S: Final = 2.0
"""For a page to process one input event; after that the next one is sent."""
PAGE_TIMEOUT_S: Final = 10.0
"""For opening, closing and navigating a page."""
RELEASE_TIMEOUT_S: Final = 5.0
"""How long the clients' commands wait, after control is released, for a page that has not processed all input. Chromium
keeps the order of input, so a client's own still comes after it."""
MAX_QUEUED: Final = 256
"""Input events that wait for a busy page; consecutive moves replace each other, so these are keys and clicks."""
OPENING_S: Final = 2.0
"""A page that opens within this time after the viewer's input was opened by it."""

MAX_LOOKS: Final = 2
"""Looks for a pop-up at once: after the press and after the release of a click."""

_OPENING_KEYS: Final = frozenset({" ", "Enter", "ArrowDown", "ArrowUp", "F4"})
_CTRL: Final = 2
"""In `modifiers`."""
_NAVIGATIONS: Final = frozenset({"navigate", "go", "reload"})

Message = Mapping[str, Any]


class ViewerInput:
    """Implements `pool.control_lock.InputSource`. `problem` reports an error to the viewer, `send` sends a message with
    these fields; `opened` is called with the id of a page that the viewer opened."""

    def __init__(
        self,
        control: ControlLock,
        handle: ContextHandle,
        problem: Callable[[str], Awaitable[None]],
        send: Callable[..., Awaitable[None]],
        opened: Callable[[str], Awaitable[None]],
    ) -> None:
        self._control = control
        self._handle = handle
        self._problem = problem
        self._send = send
        self._opened = opened
        self._queue: deque[tuple[str, Message]] = deque()
        self._used_pages: set[str] = set()
        """Ids of pages that got input since control was taken."""
        self._watched: dict[str, Callable[[], None]] = {}
        """Pages whose file choosers are watched, by id, with the function that ends it."""
        self._choosers: dict[str, FileChooser] = {}
        """The newest of each page that waits for files, by page id."""
        self._changed = asyncio.Event()
        self._looking = Background()
        self._released = False
        self._loop = asyncio.get_running_loop()
        self._opening_until = 0.0

    @property
    def may_open_page(self) -> bool:
        """Whether a page that opens now is one to show: the viewer's input opened it, and not in the background."""
        return self._loop.time() < self._opening_until

    async def add(self, page_id: str, message: Message) -> None:
        """Queues input of the holder. It is validated when it is sent."""
        self._begin(page_id)
        if self._queue and _is_move(message) and _is_move(self._queue[-1][1]):
            self._queue.pop()
        if len(self._queue) >= MAX_QUEUED:
            self._queue.clear()
            await self._problem("The page does not process input fast enough: pending input was dropped.")
        self._queue.append((page_id, message))
        self._changed.set()

    async def close_dialog(self, page_id: str, message: Message) -> None:
        """Sends a dialog's response past the queue: earlier input may be waiting for the dialog to close."""
        self._begin(page_id)
        self._opening_until = self._loop.time() + OPENING_S
        await self._handle.screen(page_id).dispatch_input(message, timeout=INPUT_TIMEOUT_S)

    def control_released(self) -> None:
        """Drops queued input; `run` waits for input in progress."""
        self._queue.clear()
        self._released = True
        self._changed.set()

    async def run(self) -> None:
        """Sends the queued input in order."""
        while True:
            if self._queue:
                page_id, message = self._queue.popleft()
                try:
                    await self._perform(page_id, message)
                except DownloadStarted:
                    await self._send("download", url=message.get("url"))
                except BrowserSessionsError as error:
                    await self._problem(problem_text(error))
            elif self._released:
                self._released = False
                await self._finish()
            else:
                self._changed.clear()
                await self._changed.wait()

    async def close(self) -> None:
        """Releases everything that the viewer holds down."""
        self._looking.cancel()
        self._queue.clear()
        await self._finish()

    def _begin(self, page_id: str) -> None:
        self._control.input_begins(self)
        if page_id:
            self._used_pages.add(page_id)

    async def _finish(self) -> None:
        """Reports the input as done once every page has processed it, unless control was taken again meanwhile."""
        used, self._used_pages = self._used_pages, set()
        watched, self._watched = self._watched, {}
        self._choosers.clear()
        for stop in watched.values():
            stop()
        try:
            await asyncio.gather(*(self._release(page_id) for page_id in used))
        finally:
            if not self._used_pages:
                self._control.input_done(self)

    async def _release(self, page_id: str) -> None:
        with contextlib.suppress(BrowserSessionsError):  # a page that is gone has nothing pressed
            await self._handle.screen(page_id).release_input(timeout=RELEASE_TIMEOUT_S)

    async def _perform(self, page_id: str, message: Message) -> None:
        kind = message.get("type")
        if kind == "new_page":
            await self._opened((await self._handle.open_page(None, timeout=PAGE_TIMEOUT_S)).page_id)
        elif kind == "close_page":
            await self._handle.close_page(str(message.get("page_id", page_id)), timeout=PAGE_TIMEOUT_S)
        elif kind == "copy":
            await self._send("copied", text=await self._handle.screen(page_id).selected_text(timeout=INPUT_TIMEOUT_S))
        elif kind == "choose_files":
            await self._choose_files(page_id, message)
        elif kind == "choose":
            await self._handle.screen(page_id).choose(message.get("choice"), timeout=INPUT_TIMEOUT_S)
        else:
            timeout = PAGE_TIMEOUT_S if kind in _NAVIGATIONS else INPUT_TIMEOUT_S
            if kind == "key" or (kind in ("mouse", "touch") and message.get("action") != "move"):
                self._opening_until = 0.0 if _is_for_background(message) else self._loop.time() + OPENING_S
                await self._watch_choosers(page_id)
            if kind in _NAVIGATIONS:
                self._handle.close_dialog(page_id)
            try:
                await self._handle.screen(page_id).dispatch_input(message, timeout=timeout)
            except PageFailed as failed:
                raise await self._handle.explained(page_id, failed, str(message.get("url", ""))) from None
            if _may_open_picker(message) and len(self._looking) < MAX_LOOKS:
                _ = self._looking.run(self._look_for_picker(page_id))

    async def _watch_choosers(self, page_id: str) -> None:
        """Before the first click or key, which may open one."""
        if page_id not in self._watched:
            opened = partial(self._chooser_opened, page_id)
            self._watched[page_id] = await self._handle.screen(page_id).watch_choosers(opened, timeout=INPUT_TIMEOUT_S)

    def _chooser_opened(self, page_id: str, chooser: FileChooser | None) -> None:
        if chooser is None:
            self._choosers.pop(page_id, None)
            _ = self._looking.run(self._withdraw(page_id))
        else:
            self._choosers[page_id] = chooser
            _ = self._looking.run(self._offer(page_id, chooser))

    async def _offer(self, page_id: str, chooser: FileChooser) -> None:
        facts = {"multiple": chooser.multiple, "directory": chooser.directory, "accept": chooser.accept}
        await self._send("file_chooser", page_id=page_id, **facts)

    async def _withdraw(self, page_id: str) -> None:
        await self._send("file_chooser_closed", page_id=page_id)

    async def _choose_files(self, page_id: str, message: Message) -> None:
        path_of = {each.upload_id: each.path for each in self._handle.uploads.all()}
        ids = message.get("upload_ids")
        if not isinstance(ids, list) or not all(isinstance(each, str) and each in path_of for each in ids):
            raise InvalidField(("upload_ids",), "must be a list of ids of the session's uploads")
        if (chooser := self._choosers.get(page_id)) is None:
            raise PageFailed("The page does not ask for files.")
        paths = list(dict.fromkeys(path_of[each] for each in ids))
        if not chooser.directory and any(path.endswith("/") for path in paths):
            raise InvalidField(("upload_ids",), "must be files: the page's input does not take a folder")
        await self._handle.screen(page_id).choose_files(chooser, paths, timeout=PAGE_TIMEOUT_S)

    async def _look_for_picker(self, page_id: str) -> None:
        """Beside the queue: a page that does not answer must not delay the next input."""
        with contextlib.suppress(BrowserSessionsError):
            if (picker := await self._handle.screen(page_id).open_picker(timeout=INPUT_TIMEOUT_S)) is not None:
                await self._send("picker", **picker)


def problem_text(error: BrowserSessionsError) -> str:
    """The error for a viewer, with the name of an invalid field."""
    if isinstance(error, InvalidField):
        return f"{'.'.join(map(str, error.loc)) or 'A message'} {error.detail}"
    return error.detail


def _may_open_picker(message: Message) -> bool:
    """A press opens a select, a click an input's picker, and a key that is no text either."""
    kind, action = message.get("type"), message.get("action")
    return (kind in ("mouse", "touch") and action != "move") or (kind == "key" and message.get("key") in _OPENING_KEYS)


def _is_for_background(message: Message) -> bool:
    """A link that is clicked with Ctrl or the middle button opens behind the page."""
    modifiers = message.get("modifiers")
    return message.get("button") == "middle" or (isinstance(modifiers, int) and bool(modifiers & _CTRL))


def _is_move(message: Message) -> bool:
    return message.get("action") == "move" and message.get("type") in ("mouse", "touch")
