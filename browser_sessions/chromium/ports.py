"""The protocols by which the rest of the service uses Chromium. Each says how it fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from browser_sessions.cdp import Browser
from browser_sessions.domain.download_ledger import Download
from browser_sessions.domain.session import EndReason
from browser_sessions.domain.session_spec import SessionSpec


@dataclass(frozen=True, slots=True)
class PageInfo:
    """One open page. `page_id` is its CDP target id: HTTP, gateway and live view name a page alike."""

    page_id: str
    url: str
    title: str
    created_at: datetime
    crashed: bool = False


@dataclass(frozen=True, slots=True)
class ContextEvent:
    """Something that happened in a session's context, not asked for by its owner.

    `kind` is one of the event names of docs/events.md (`page.opened`, `page.closed`, `page.crashed`, `page.navigated`,
    `console`, `network.failed`, `download.started`, `dialog.opened`, …), `data` its fields: short, JSON-able, strings
    clipped.
    """

    kind: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a page. `width` and `height` are the JPEG's in pixels, `css_width` and `css_height` the viewport's
    in CSS pixels, `at` the moment that it shows in seconds since the epoch."""

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
class Demand:
    """What somebody who looks can use: pixels, frames a second, JPEG quality (1 to 100)."""

    max_width: int
    max_height: int
    fps: float
    quality: int


class Look(Protocol):
    """Somebody's look at a screen, until `close`."""

    def change(self, demand: Demand) -> None:
        """At any time. The most demanding look decides for all."""

    async def after(self, seq: int) -> Frame:
        """The newest frame as soon as it is newer than `seq`; what came between is not seen. Raises `PageNotFound` when
        the page is gone."""

    def close(self) -> None: ...


class Screen(Protocol):
    """The moving picture of one page, shared by everybody who looks, and the way in for somebody's hands."""

    newest: Frame | None

    def look(self, demand: Demand) -> Look:
        """The first look starts the moving picture, the last one's end stops it."""

    async def still(self, max_width: int, *, timeout: float) -> Frame:
        """One picture of now. Raises `PageNotFound`, `BrowserGone`, `BrowserTimeout`."""

    async def do(self, message: Mapping[str, Any], *, timeout: float) -> None:
        """Passes on what a hand did (docs/live.md, "Input"). Raises `InvalidField`, `PageNotFound`, `BrowserGone`,
        `BrowserTimeout`, `PageFailed`. What timed out may still reach the page, once it has time."""

    async def let_go(self, *, timeout: float) -> None:
        """Lets go of every key, button and finger that is down, and returns when the page has taken all that hands did,
        or `timeout` seconds have passed. Raises `PageNotFound`, `BrowserGone`, `BrowserTimeout`."""


DownloadListener = Callable[[str, str, Mapping[str, Any]], None]
"""Called with the context, `Browser.downloadWillBegin` or `Browser.downloadProgress`, and the event's params."""


class Downloads(Protocol):
    """The files that one session's pages download."""

    async def allow(self, context_id: str, allowed: bool, *, timeout: float) -> None:
        """Whether pages of a context may download: the session's own, where they may until this is said, or one that a
        client has made, where this comes first. Raises `BrowserTimeout`, `BrowserGone`, `PageFailed`."""

    def listen(self, listener: DownloadListener) -> Callable[[], None]:
        """Tells of every download in those contexts. Returns what ends it."""

    def all(self) -> list[Download]:
        """Oldest first."""

    def complete(self, download_id: str) -> tuple[Download, Path]:
        """A complete file, and where it lies. Raises `DownloadNotFound`, `Conflict` (it is not complete)."""

    async def remove(self, download_id: str) -> None:
        """Forgets a file, so that there is room for another; one that is on its way is cancelled. Raises
        `DownloadNotFound`."""


class Owner(Protocol):
    """Who has set the session's options in its pages. Clients may override them while they are connected; see
    `cdp.page_overrides` for the names of settings."""

    def give_way(self, page_id: str, setting: str, *, in_all_pages: bool = False) -> None:
        """Takes the owner's override off, for a client's to be accepted: that of one page, or of all pages of its
        context, one of which may be in the same process."""

    def restore(self, page_id: str, setting: str) -> None:
        """Puts the owner's word back in place, after a client that said something else."""

    def restore_permissions(self, context_id: str) -> None:
        """The same for all permissions of a context."""

    def leave_size(self, page_id: str) -> None:
        """A new page keeps the size that a client has created it with."""


class ContextHandle(Protocol):
    """One session's isolated context in a browser. Calls raise `BrowserTimeout`, `BrowserGone`, `PageNotFound`,
    `PageFailed`."""

    @property
    def context_id(self) -> str:
        """Chromium's browserContextId."""

    def connections_changed(self, *, clients: int, viewers: int) -> None:
        """How many clients drive it: without one, dialogs are dismissed for the page. How many viewers look at it live:
        with one, responses of the network are events too."""

    def pages(self) -> list[PageInfo]:
        """Open pages, oldest first; from memory, never asks the browser."""

    async def open_page(self, url: str | None, *, timeout: float) -> PageInfo:
        """Raises `TooManyPages` too."""

    async def close_page(self, page_id: str, *, timeout: float) -> None: ...

    async def navigate(self, page_id: str, url: str, *, wait_until: str, timeout: float) -> tuple[PageInfo, int | None]:
        """Returns the page and the HTTP status of the main resource (None where there is none)."""

    async def screenshot(
        self, page_id: str, *, image_format: str, quality: int | None, full_page: bool, timeout: float
    ) -> bytes: ...

    async def content(self, page_id: str, *, timeout: float) -> str: ...

    async def pdf(self, page_id: str, *, timeout: float) -> bytes: ...

    async def evaluate(self, page_id: str, expression: str, *, timeout: float) -> Any:
        """The JSON value of the expression; a promise is awaited."""

    async def storage_state(self, *, timeout: float) -> dict[str, Any]:
        """Cookies and local storage of the whole context, in Playwright's form."""

    @property
    def downloads(self) -> Downloads: ...

    @property
    def owner(self) -> Owner: ...

    async def responsive(self, *, timeout: float) -> bool:
        """True when the renderer of its first page answers within `timeout` seconds (True without pages)."""

    def screen(self, page_id: str) -> Screen:
        """What one of its pages shows. Raises `PageNotFound`."""

    async def usage(self) -> tuple[int | None, float | None]:
        """JavaScript heap in bytes and CPU seconds of the main threads of its pages' renderers; None where the browser
        does not tell."""

    async def close(self, *, timeout: float) -> None:
        """Closes the context and removes its folder. Never raises because it is gone already."""


class BrowserProcess(Protocol):
    """One Chromium process group."""

    browser_id: str
    pid: int
    version: str
    cdp: Browser
    """The owner of its pipe."""
    started: float

    @property
    def context_count(self) -> int:
        """Contexts beside the default one that Chromium had at the last probe: of sessions, and what clients made;
        not those that are only ready."""

    @property
    def alive(self) -> bool: ...

    async def open_context(
        self, spec: SessionSpec, folder: Path, on_event: Callable[[ContextEvent], None], *, timeout: float
    ) -> ContextHandle:
        """A context with one open page, ready. On any failure or cancellation nothing is left of it.

        Raises `BrowserTimeout`, `BrowserGone`, `InvalidField` (an option that Chromium refuses), `PageFailed`
        (start_url). `on_event` is called on the event loop; `context.died` means the context is gone without our
        asking.
        """

    def keep_ready(self, on: bool) -> None:
        """Whether contexts are kept ready for creates, as they are at first. What is ready is given up at once."""

    async def probe(self, *, timeout: float) -> None:
        """Asks the browser for its contexts. Raises `BrowserTimeout` or `BrowserGone`."""

    def cpu_seconds(self) -> tuple[float, ...]:
        """Processor time used so far by each of those that have to answer a probe, the browser and its driver; 0.0 for
        one that is gone. Who stands still uses none."""

    async def look_at_pages(self) -> None:
        """Notes what its pages have done so far, for `end_loudest_page`. Does not ask the browser."""

    async def end_loudest_page(self) -> int | None:
        """Ends the process of the page that gave the browser most to do since the last look, and looks anew. Its pid,
        or None when none stands out. The page is crashed, its session lives. Does not ask the browser."""

    async def memory_bytes(self) -> int:
        """PSS of the whole process group (RSS where the system does not tell PSS)."""

    async def close(self, *, timeout: float) -> None:
        """Asks it to end, kills the whole group when it does not within `timeout`, removes its folders, and returns
        when it is gone."""

    def kill(self) -> None:
        """SIGKILL to the whole group, now."""


class BrowserLauncher(Protocol):
    """Starts browsers. One Playwright driver behind it; a dead driver is replaced at the next launch."""

    @property
    def sandbox(self) -> bool:
        """True when Chromium's sandbox is in use."""

    @property
    def sandbox_reason(self) -> str:
        """Why it is not; empty when it is."""

    @property
    def devices(self) -> dict[str, dict[str, Any]]:
        """Playwright's device descriptors by name."""

    async def start(self) -> None:
        """Finds the executable and starts the driver. Raises `BrowserMissing`, `SettingsError` (sandbox required)."""

    async def launch(self, on_death: Callable[[BrowserProcess, EndReason], None]) -> BrowserProcess:
        """Raises `NoBrowser`, and `SettingsError` where the first browser shows that the sandbox that is required does
        not work. `on_death` is called once, on the event loop, when the process or its driver dies unasked."""

    async def stop(self) -> None: ...
