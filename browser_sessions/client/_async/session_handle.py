"""A handle on one session: its URLs, and actions on its page."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from os import PathLike
from typing import Any, Final, Literal, Unpack, get_args

from browser_sessions.api.models.event_models import SessionEvent, SessionHistory
from browser_sessions.api.models.file_models import DownloadResponse, UploadResponse
from browser_sessions.api.models.live_models import ControlResponse, LiveTicket
from browser_sessions.api.models.page_models import NavigationResponse, PageContent, PageResponse
from browser_sessions.api.models.session_models import (
    BrowserSessionCreated,
    BrowserSessionDetails,
    BrowserSessionHealth,
    BrowserSessionResponse,
)
from browser_sessions.client._async.file_calls import Download
from browser_sessions.client._async.operations import Operations
from browser_sessions.client.concurrency import async_sleep
from browser_sessions.client.errors import (
    ClientError,
    InvalidArgument,
    NotFound,
    NotReachable,
    WaitTimeout,
    WrongState,
)
from browser_sessions.client.http_options import positive_seconds
from browser_sessions.client.page_options import PdfOptions, ScreenshotOptions
from browser_sessions.client.paths import checked_page_id
from browser_sessions.client.session_options import StatusName, WaitUntil, documented
from browser_sessions.client.upload_files import Uploadable

FINAL: Final[Sequence[StatusName]] = ("closed", "expired", "crashed", "lost")
POLL_S: Final = 0.5
"""Between two looks at a session's status, which cost the service next to nothing."""


class Session:
    """A session of `client.session()` or `client.attach()`. `created` is the service's response then; `connect_url` is
    for CDP clients.

    Actions apply to one page: the session's first, until `open_page` or `use_page` selects another.
    """

    def __init__(self, calls: Operations, created: BrowserSessionCreated | BrowserSessionDetails) -> None:
        self.created = created
        self._calls = calls
        self._page_id: str | None = None

    def __repr__(self) -> str:
        return f"<Session {self.id}>"

    @property
    def id(self) -> str:
        return self.created.session_id

    @property
    def connect_url(self) -> str:
        """The WebSocket URL for CDP clients. It contains a ticket: keep it secret. Raises `WrongState` if the session
        had ended when it was attached to."""
        return self._url(self.created.connect_url)

    @property
    def live_url(self) -> str:
        """The URL of the live view. It contains a ticket: keep it secret."""
        return self._url(self.created.live_url)

    def _url(self, url: str | None) -> str:
        if url is None:
            raise WrongState(409, f"The session has no URLs: it is {self.created.status}.", session_id=self.id)
        return url

    async def state(self) -> BrowserSessionResponse:
        """The session's current state."""
        return await self._calls.get(self.id)

    async def wait_for(self, *status: StatusName, timeout: float | None = None) -> BrowserSessionResponse:
        """Waits until the session has one of these statuses, by default until it has ended. Returns its state.

        Raises `WrongState` if it has ended with another one, `WaitTimeout` after `timeout` seconds.
        """
        if wrong := set(status) - set(get_args(StatusName)):
            raise InvalidArgument(f"There is no status {wrong.pop()!r}.")
        if timeout is not None and timeout != 0:
            positive_seconds("timeout", timeout)
        wanted = status or FINAL
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            state = await self.state()
            if state.status in wanted:
                return state
            if state.status in FINAL:
                text = f"The session is {state.status} and will not be {' or '.join(wanted)}."
                raise WrongState(409, text, session_id=self.id)
            if deadline is not None and time.monotonic() >= deadline:
                raise WaitTimeout(f"The session is still {state.status} after {timeout:g} s.", session_id=self.id)
            await async_sleep(POLL_S)

    async def details(self) -> BrowserSessionDetails:
        """All details of the session, with new connect and live URLs."""
        return await self._calls.details(self.id)

    async def health(self) -> BrowserSessionHealth:
        """Probes the live browser."""
        return await self._calls.health(self.id)

    async def keepalive(self, *, extend_seconds: float | None = None) -> BrowserSessionResponse:
        """Counts as activity; `extend_seconds` extends the maximum lifetime, within the server's limit."""
        return await self._calls.keepalive(self.id, extend_seconds=extend_seconds)

    async def storage_state(self) -> dict[str, Any]:
        """Cookies and local storage, for the option `storage_state` of another session. Keep it secret."""
        return await self._calls.storage_state(self.id)

    async def history(self) -> SessionHistory:
        """The kept events of the session, oldest first, also after its end."""
        return await self._calls.history(self.id)

    def events(
        self,
        *,
        types: str | Iterable[str] = (),
        since: Literal["start"] | None = None,
        last_event_id: str | None = None,
    ) -> AsyncGenerator[SessionEvent]:
        """Events until the session has ended: from now on, from its start, or after `last_event_id`; only of these
        types (`page.crashed`) or groups (`page`)."""
        return self._calls.session_events(self.id, types=types, since=since, last_event_id=last_event_id)

    # -- files -----------------------------------------------------------------------------------------------------

    async def downloads(self) -> Sequence[DownloadResponse]:
        """The session's downloads, oldest first."""
        return await self._calls.downloads(self.id)

    def download(self, download_id: str) -> Download:
        """A handle of a download: `save_as` writes it to a file, `read` returns its content."""
        return Download(self._calls, self.id, download_id)

    async def uploads(self) -> Sequence[UploadResponse]:
        """The session's uploads, oldest first."""
        return await self._calls.uploads(self.id)

    async def upload(self, file: Uploadable, *, name: str | None = None) -> UploadResponse:
        """Uploads a file for the session's pages: a path, bytes, or a binary file object, which is read from its
        position. It is sent while it is read. `name` is by default the file's own, and necessary for bytes; with
        folders in it, `docs/a.txt`, it is a file of a folder. The `path` of the result is for file inputs, over CDP.
        Also raises `OSError`."""
        return await self._calls.upload(self.id, file, name=name)

    async def upload_folder(self, folder: str | PathLike[str], *, name: str | None = None) -> Sequence[UploadResponse]:
        """Uploads all files of a folder, one after the other. They have the same `path`, that of the folder. `name` is
        by default the folder's own. A symbolic link in it is an `InvalidArgument`. Also raises `OSError`."""
        return await self._calls.upload_folder(self.id, folder, name=name)

    async def delete_upload(self, upload_id: str) -> None:
        """Deletes an upload, which frees its share of the quota."""
        await self._calls.delete_upload(self.id, upload_id)

    # -- watching and controlling ----------------------------------------------------------------------------------

    async def thumbnail(self, *, width: int = 320) -> bytes | None:
        """A small JPEG of the newest page, at most a second old. None: no picture."""
        return await self._calls.thumbnail(self.id, width=width)

    async def last_frame(self) -> bytes | None:
        """The last picture of the session, a JPEG, also after its end. None: no picture."""
        return await self._calls.last_frame(self.id)

    async def live_ticket(self) -> LiveTicket:
        """A new URL of the live view, valid for a minute. Keep it secret."""
        return await self._calls.live_ticket(self.id)

    async def take_control(self) -> ControlResponse:
        """Clients' commands wait from now on."""
        return await self._calls.control(self.id, "take")

    async def release_control(self) -> ControlResponse:
        """Clients' commands continue."""
        return await self._calls.control(self.id, "release")

    async def devtools(self) -> str:
        """A URL that opens Chromium's DevTools for the page, valid for a minute. Keep it secret."""
        return await self._calls.devtools(self.id, await self.page_id())

    # -- the page --------------------------------------------------------------------------------------------------

    async def pages(self) -> Sequence[PageResponse]:
        """Open pages, oldest first."""
        return await self._calls.pages(self.id)

    async def page_id(self) -> str:
        """The page that actions apply to; opens one if the session has none."""
        if self._page_id is None:
            open_pages = await self.pages()
            self._page_id = open_pages[0].page_id if open_pages else (await self._calls.open_page(self.id)).page_id
        return self._page_id

    def use_page(self, page_id: str) -> None:
        """Applies further actions to this page."""
        self._page_id = checked_page_id(page_id)

    async def open_page(self, url: str | None = None) -> PageResponse:
        """Opens a page and applies further actions to it."""
        page = await self._calls.open_page(self.id, url)
        self.use_page(page.page_id)
        return page

    async def close_page(self, page_id: str | None = None) -> None:
        """Closes a page, by default the one that actions apply to."""
        closing = await self.page_id() if page_id is None else page_id
        await self._calls.close_page(self.id, closing)
        if closing == self._page_id:
            self._page_id = None

    async def goto(
        self, url: str, *, wait_until: WaitUntil = "load", timeout_seconds: float = 30.0
    ) -> NavigationResponse:
        """Navigates the page to a URL and waits for `wait_until`."""
        return await self._calls.navigate(
            self.id, await self.page_id(), url, wait_until=wait_until, timeout_seconds=timeout_seconds
        )

    async def evaluate(self, expression: str, *, timeout_seconds: float = 30.0) -> Any:
        """The JSON value of a JavaScript expression; a promise is awaited."""
        return await self._calls.evaluate(self.id, await self.page_id(), expression, timeout_seconds=timeout_seconds)

    @documented(ScreenshotOptions)
    async def screenshot(self, **options: Unpack[ScreenshotOptions]) -> bytes:
        """A screenshot."""
        return await self._calls.screenshot(self.id, await self.page_id(), **options)

    async def content(self) -> PageContent:
        """The page's current HTML, URL and title."""
        return await self._calls.content(self.id, await self.page_id())

    @documented(PdfOptions)
    async def pdf(self, **options: Unpack[PdfOptions]) -> bytes:
        """The page as a PDF."""
        return await self._calls.pdf(self.id, await self.page_id(), **options)

    # -- ending ----------------------------------------------------------------------------------------------------

    async def end(self) -> BrowserSessionResponse | None:
        """Ends the session. None if its record no longer exists."""
        try:
            return await self._calls.end(self.id)
        except NotFound:
            return None

    async def end_on_error(self, error: BaseException) -> None:
        """Ends the session after `error`. A failure to do so is added to `error` as a note instead of hiding it."""
        try:
            await self.end()
        except ClientError as second:
            reaped = " Its timeouts will end it." if isinstance(second, NotReachable) else ""
            error.add_note(f"Session {self.id} could not be ended: {second}{reaped}")
