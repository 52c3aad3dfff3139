"""The protocols through which the rest of the service uses Chromium, with the errors that they raise."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Container, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol

from browser_sessions.cdp import Browser
from browser_sessions.cdp.page_overrides import MethodCall
from browser_sessions.domain.download_ledger import Download
from browser_sessions.domain.errors import PageFailed
from browser_sessions.domain.session import EndReason
from browser_sessions.domain.session_spec import Proxy, SessionSpec
from browser_sessions.domain.uploads import Upload
from browser_sessions.egress.egress import EgressPort
from browser_sessions.egress.usage import Usage


@dataclass(frozen=True, slots=True)
class PageInfo:
    """One open page. `page_id` is its CDP target id, in the HTTP API, the gateway and the live view. `error`: why it
    shows Chromium's error page instead of `url`; None if it does not."""

    page_id: str
    url: str
    title: str
    created_at: datetime
    crashed: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Navigation:
    page: PageInfo
    http_status: int | None
    """None for a document that did not come over HTTP."""
    download_id: str | None = None
    """Of the file if the address is one; the page stays where it was."""


@dataclass(frozen=True, slots=True)
class ContextEvent:
    """An event in a session's context.

    `kind` is one of the event names of docs/events.md (`page.opened`, `page.closed`, `page.crashed`, `page.navigated`,
    `console`, `network.failed`, `download.started`, `dialog.opened`, …), `data` its fields: few, JSON-serialisable,
    with truncated strings.
    """

    kind: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Frame:
    """One screencast frame. `width` and `height` are the JPEG's in pixels, `css_width` and `css_height` the viewport's
    in CSS pixels, `at` the time of capture in seconds since the epoch."""

    page_id: str
    seq: int
    jpeg: bytes = field(repr=False)
    width: int
    height: int
    css_width: float
    css_height: float
    scroll_x: float
    scroll_y: float
    scale: float
    at: float


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What a subscriber needs: pixels, frames a second, JPEG quality (1 to 100)."""

    max_width: int
    max_height: int
    fps: float
    quality: int


@dataclass(frozen=True, slots=True)
class FileChooser:
    """A page asks for files."""

    element: int
    """The input, as CDP's `backendNodeId`."""
    multiple: bool
    directory: bool
    accept: str
    """As the input's attribute: untrusted text."""


ChooserListener = Callable[[FileChooser | None], None]
"""Called with None when the page no longer waits for the last one: it has another document, or files were chosen."""


class FrameSubscription(Protocol):
    """A subscription to the frames of a page, until `close`."""

    def change(self, settings: StreamSettings) -> None:
        """The maximum over all subscriptions determines the screencast."""

    async def after(self, seq: int) -> Frame:
        """Waits for a frame newer than `seq` and returns the newest. Frames in between are skipped. Raises
        `PageNotFound` when the page is gone."""

    def close(self) -> None: ...


class Screen(Protocol):
    """The screencast of one page, shared by all subscribers, and its input."""

    newest: Frame | None

    def subscribe(self, settings: StreamSettings) -> FrameSubscription:
        """Subscribes. The screencast runs while there is a subscription."""

    async def snapshot(self, max_width: int, *, timeout: float) -> Frame:
        """One current frame. Raises `PageNotFound`, `BrowserGone`, `BrowserTimeout`."""

    async def dispatch_input(self, message: Mapping[str, Any], *, timeout: float) -> None:
        """Sends an input message to the page (docs/live.md, "Input"). Raises `InvalidField`, `PageNotFound`,
        `BrowserGone`, `BrowserTimeout`, `PageFailed`. After a timeout the page may still process it later."""

    async def selected_text(self, *, timeout: float) -> str:
        """The selected text of the page. Raises `PageNotFound`, `BrowserGone`, `BrowserTimeout`, `PageFailed`."""

    async def open_picker(self, *, timeout: float) -> dict[str, Any] | None:
        """The open pop-up of a form control, which no frame shows (docs/live.md). Raises as `selected_text`."""

    async def choose(self, choice: Any, *, timeout: float) -> None:
        """Closes that pop-up with this choice. Raises `InvalidField`, and as `selected_text`."""

    async def watch_choosers(self, listener: ChooserListener, *, timeout: float) -> Callable[[], None]:
        """Calls `listener` for each file chooser that the page opens from now on, instead of Chromium showing it where
        nobody sees it. Returns a function that ends this. Raises `PageNotFound`, `BrowserGone`, `BrowserTimeout`."""

    async def choose_files(self, chooser: FileChooser, paths: Sequence[str], *, timeout: float) -> None:
        """Gives the input files or a folder, which must be of the session's uploads. Raises as `selected_text`."""

    async def release_input(self, *, timeout: float) -> None:
        """Releases all pressed keys, buttons and touches. Returns when the page has processed all input, or after
        `timeout` seconds. Raises `PageNotFound`, `BrowserGone`, `BrowserTimeout`."""


DownloadListener = Callable[[str, str, Mapping[str, Any]], None]
"""Called with the context, `Browser.downloadWillBegin` or `Browser.downloadProgress`, and the event's params."""


class Downloads(Protocol):
    """The downloads of one session's pages."""

    async def allow(self, context_id: str, allowed: bool, *, timeout: float) -> None:
        """Allows or denies downloads of a context: the session's own, or one that a client has created, whose downloads
        are not handled before. Raises `BrowserTimeout`, `BrowserGone`, `PageFailed`."""

    def listen(self, listener: DownloadListener) -> Callable[[], None]:
        """Calls `listener` for every download event of those contexts. Returns a function that removes it."""

    def all(self) -> list[Download]:
        """Oldest first."""

    async def open(self, download_id: str) -> tuple[Download, int]:
        """A complete download and a descriptor of its file, which the caller closes. Raises `DownloadNotFound`,
        `Conflict` (not complete)."""

    async def remove(self, download_id: str) -> None:
        """Removes a download and its file, which frees its quota; a running one is cancelled. Raises
        `DownloadNotFound`."""


class Uploads(Protocol):
    """The files that a session's pages may be given."""

    @property
    def paths(self) -> Container[str]:
        """What a file input of the session's pages takes, now and later."""

    def all(self) -> list[Upload]:
        """Oldest first."""

    async def add(self, name: str, size: int | None, content: AsyncIterator[bytes]) -> Upload:
        """Saves a file as its bytes arrive. `name` must be one of `domain.uploads.check_name`; `size` is what the
        caller announces. A failure leaves nothing behind. Raises `UploadTooLarge`, `Conflict` (too many, or the name is
        taken), `BrowserGone` (the session has ended), `Unavailable` (disk full)."""

    async def remove(self, upload_id: str) -> None:
        """Removes an upload and its file, which frees its quota. Raises `UploadNotFound`."""


class Owner(Protocol):
    """Applies the session's options to its pages. Clients can override them while they are connected; the names of
    settings are in `cdp.page_overrides`."""

    def remove_override(self, page_id: str, setting: str, *, in_all_pages: bool = False) -> None:
        """Removes the session's setting, so that Chromium accepts a client's: of one page, or of all pages of its
        context, which may share a renderer process."""

    def restore(self, page_id: str, setting: str) -> None:
        """Applies the session's setting again, after a client has overridden it."""

    def metrics(self, page_id: str) -> MethodCall | None:
        """The session's device metrics, None if they are a desktop's, which is what a page has without any."""

    def restore_permissions(self, context_id: str) -> None:
        """Applies all permissions of the session to the context again."""

    def keep_size(self, page_id: str) -> None:
        """Keeps the size with which a client has created a page."""


class Clip(NamedTuple):
    """CSS pixels from the top left of the viewport, or of the whole page."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Picture:
    """What a screenshot shows, and how it is encoded."""

    format: Literal["png", "jpeg", "webp"] = "png"
    quality: int | None = None
    full_page: bool = False
    clip: Clip | None = None
    selector: str | None = None
    """The first element that matches, instead of the page."""
    omit_background: bool = False


Assign = Callable[[EgressPort], None]
"""Assigns a context's egress proxy, which refuses everything before, to its session."""


def leave_unassigned(_port: EgressPort) -> None:
    """For contexts that reach nothing."""


Permit = AbstractAsyncContextManager[None]
ANY_TIME: Final[Permit] = nullcontext()


class ContextHandle(Protocol):
    """One session's isolated browser context. Methods raise `BrowserTimeout`, `BrowserGone`, `PageNotFound`,
    `PageFailed`."""

    @property
    def context_id(self) -> str:
        """Chromium's browserContextId."""

    def connections_changed(self, *, clients: int, viewers: int, controlled: bool) -> None:
        """Sets the number of connected clients and viewers, and whether a person has control. Without clients and
        control, dialogs are dismissed automatically; with viewers, network responses are events too."""

    def close_dialog(self, page_id: str) -> None:
        """Dismisses the page's dialog, if one is open. Every navigation begins with it, see `cdp.open_dialogs`."""

    def pages(self) -> list[PageInfo]:
        """Open pages, oldest first, from memory."""

    def load_failed(self, page_id: str, error: str) -> None:
        """A client's navigation of a page failed. No error if it is not one of these pages."""

    async def explained(self, page_id: str, failed: PageFailed, address: str) -> PageFailed:
        """The error of a navigation to `address`, with the egress proxy's reason where Chromium's error has none."""

    async def open_page(self, url: str | None, *, timeout: float) -> PageInfo:
        """Also raises `TooManyPages`."""

    async def close_page(self, page_id: str, *, timeout: float) -> None: ...

    async def navigate(self, page_id: str, url: str, *, wait_until: str, timeout: float) -> Navigation:
        """Returns the page and the HTTP status of the main resource (None if there is none)."""

    async def screenshot(self, page_id: str, picture: Picture, *, timeout: float) -> bytes:
        """Also raises `InvalidField` for a selector that cannot be parsed."""

    async def content(self, page_id: str, *, timeout: float) -> str: ...

    async def pdf(self, page_id: str, options: Mapping[str, Any], *, timeout: float) -> bytes:
        """`options` are those of Playwright's `page.pdf`."""

    async def evaluate(self, page_id: str, expression: str, *, timeout: float) -> Any:
        """The value of the expression, as decoded JSON. A promise is awaited."""

    async def storage_state(self, *, timeout: float) -> dict[str, Any]:
        """Cookies and local storage of the whole context, in Playwright's format."""

    @property
    def proxy(self) -> Proxy | None:
        """The egress proxy, which contexts of the session's clients use too; None where the server has it off."""

    @property
    def traffic(self) -> Usage | None:
        """What has passed the egress proxy so far; None where the server has it off."""

    @property
    def downloads(self) -> Downloads: ...

    @property
    def uploads(self) -> Uploads: ...

    @property
    def owner(self) -> Owner: ...

    async def responsive(self, *, timeout: float) -> bool:
        """Whether the renderer of the first page responds within `timeout` seconds. True without pages."""

    def screen(self, page_id: str) -> Screen:
        """The screencast and input of a page. Raises `PageNotFound`."""

    async def usage(self) -> tuple[int | None, float | None]:
        """JavaScript heap in bytes and CPU seconds of the main threads of its pages' renderers; None if the browser
        does not respond."""

    async def close(self, *, timeout: float) -> None:
        """Closes the context; its folder is removed in the background. No error if it is gone already."""


class BrowserProcess(Protocol):
    """One Chromium process group."""

    browser_id: str
    pid: int
    version: str
    cdp: Browser
    """The owner of its pipe."""
    started: float
    exit: str | None
    """How it exited by itself, such as "was killed by SIGKILL"; None if it runs, or if we have ended it."""

    @property
    def context_count(self) -> int:
        """Number of contexts of sessions and clients at the last probe, without the default one and those kept
        ready."""

    @property
    def ready_count(self) -> int:
        """Number of contexts that are ready for creates with any options."""

    @property
    def spare_count(self) -> int:
        """Number of contexts that are prepared with the options of earlier creates."""

    @property
    def alive(self) -> bool: ...

    async def open_context(
        self,
        spec: SessionSpec,
        folder: Path,
        on_event: Callable[[ContextEvent], None],
        *,
        timeout: float,
        assign: Assign = leave_unassigned,
        permit: Permit = ANY_TIME,
    ) -> ContextHandle:
        """Opens a context with one page. An error or a cancellation leaves nothing behind. `permit` is held while the
        context is made: not for a spare one, and not while the start page loads.

        Raises `BrowserTimeout`, `BrowserGone`, `EgressUnavailable`, `InvalidField` (an option that Chromium rejects),
        `StartPageFailed`. `assign` is called with its egress proxy before anything loads. `on_event` is called on the
        event loop; `context.died` means that the context was disposed of without us.
        """

    def keep_ready(self, on: bool) -> None:
        """Whether to keep contexts ready for creates, which is the default. Switching it off disposes of them at
        once."""

    async def probe(self, *, timeout: float) -> None:
        """Checks that the browser and its driver respond. Raises `BrowserTimeout` or `BrowserGone`."""

    def cpu_seconds(self) -> tuple[float, ...]:
        """Processor time used by each process that has to respond to a probe: the browser and its driver. 0.0 if gone.
        It does not increase in a hung process."""

    async def sample_renderers(self) -> None:
        """Records the processor time of its renderers, for `kill_busiest_renderer`. Does not use CDP."""

    async def kill_busiest_renderer(self) -> int | None:
        """Kills the renderer that gave the browser most work since the last sample, and takes a new sample. Returns its
        pid, or None if none was busy. The page crashes, its session goes on. Does not use CDP."""

    async def memory_bytes(self) -> int:
        """PSS of the whole process group (RSS where the system has no PSS)."""

    async def close(self, *, timeout: float) -> None:
        """Closes the browser, kills its process group after `timeout` seconds, removes its folders, and returns when it
        is gone."""

    def kill(self) -> None:
        """Sends SIGKILL to the process group."""


class BrowserLauncher(Protocol):
    """Launches browsers with one Playwright driver, which is replaced at the next launch if it has died."""

    @property
    def sandbox(self) -> bool:
        """Whether Chromium's sandbox is used."""

    @property
    def sandbox_reason(self) -> str:
        """Why it is not used; empty if it is."""

    @property
    def devices(self) -> dict[str, dict[str, Any]]:
        """Playwright's device descriptors by name."""

    async def start(self) -> None:
        """Finds the executable and starts the driver. Raises `BrowserMissing`, `SettingsError` (sandbox required)."""

    async def launch(self, on_death: Callable[[BrowserProcess, EndReason], None]) -> BrowserProcess:
        """Raises `NoBrowser`, and `SettingsError` if the sandbox is required but does not work in the first browser.
        `on_death` is called once, on the event loop, if the process or its driver dies unexpectedly."""

    async def stop(self) -> None: ...
